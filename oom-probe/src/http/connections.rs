//! Who is connected, what each connection is at, and which one has to go.
//!
//! No peer can keep others out by holding connections: one too many pushes out the one that has
//! been idle longest, and only where all are at work the one that has been at it longest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Connections at once.
const MAX_CONNECTIONS: usize = 128;
/// Responses to scrapes on their way at once; each holds the whole exposition.
const MAX_SCRAPES: usize = 8;
/// Requests that wait for the next kill at once.
const MAX_WAITING: usize = 32;

/// The connections of a server.
#[derive(Debug)]
pub(super) struct Table {
    slots: Mutex<Vec<Arc<Slot>>>,
}

/// A connection's place in the table, given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    table: Arc<Table>,
    slot: Arc<Slot>,
}

#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    phase: Phase,
    since: Instant,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Accepted; nothing was received yet.
    Silent,
    /// Part of a request's head was received.
    Head,
    /// A request is being answered.
    Working(Work),
    /// The response was made; some of it may not be sent yet.
    Sending(Work),
    /// Between two requests.
    Idle,
    /// Pushed out.
    Evicted,
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Next to nothing.
    Small,
    /// Memory for the whole exposition.
    Scrape,
    /// Time until the next kill.
    Wait,
}

/// No more requests may wait for a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyWaiting;

impl Phase {
    /// How long a connection may be at it; for a response that includes the time for sending it.
    const fn allowance(self) -> Duration {
        Duration::from_secs(match self {
            Self::Silent | Self::Head => 10,
            Self::Working(Work::Small | Work::Scrape) => 30,
            Self::Sending(Work::Small | Work::Scrape) => 30,
            // The longest wait, and the time for sending what came.
            Self::Working(Work::Wait) | Self::Sending(Work::Wait) => 90,
            // Longer than the usual interval between scrapes.
            Self::Idle => 120,
            Self::Evicted => 0,
        })
    }

    const fn is_at_work(self) -> bool {
        matches!(self, Self::Working(_) | Self::Sending(_))
    }
}

impl State {
    fn deadline(self) -> Instant {
        self.since + self.phase.allowance()
    }
}

/// The one that has to go for a new connection.
fn most_dispensable(states: impl Iterator<Item = State>) -> Option<usize> {
    states
        .enumerate()
        .min_by_key(|(_, state)| (state.phase.is_at_work(), state.since))
        .map(|(index, _)| index)
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            slots: Mutex::new(Vec::new()),
        }
    }

    /// A place for a new connection; the most dispensable one loses its own if all are taken.
    pub(super) fn admit(table: &Arc<Self>) -> Seat {
        let slot = Arc::new(Slot {
            state: Mutex::new(State {
                phase: Phase::Silent,
                since: Instant::now(),
            }),
            changed: Notify::new(),
        });
        let mut slots = table.slots();
        if slots.len() >= MAX_CONNECTIONS
            && let Some(index) = most_dispensable(slots.iter().map(|slot| *slot.state()))
        {
            slots.swap_remove(index).evict();
        }
        slots.push(Arc::clone(&slot));
        drop(slots);
        Seat {
            table: Arc::clone(table),
            slot,
        }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evict(&self) {
        self.state().phase = Phase::Evicted;
        self.changed.notify_one();
    }
}

impl Seat {
    /// Bytes came in.
    pub(super) fn received(&self) {
        let mut state = self.slot.state();
        if matches!(state.phase, Phase::Silent | Phase::Idle) {
            *state = State {
                phase: Phase::Head,
                since: Instant::now(),
            };
            drop(state);
            // A head has less time than an idle connection: the sleeper has to look again.
            self.slot.changed.notify_one();
        }
    }

    /// A request is complete.
    pub(super) fn begin(&self) {
        self.enter(Work::Small);
    }

    /// It is a scrape; one too many ends the oldest one.
    pub(super) fn begin_scrape(&self) {
        let slots = self.table.slots();
        let scrapes: Vec<&Arc<Slot>> = self.others_at(&slots, Work::Scrape).collect();
        if scrapes.len() >= MAX_SCRAPES
            && let Some(index) = most_dispensable(scrapes.iter().map(|slot| *slot.state()))
        {
            scrapes[index].evict();
        }
        self.enter(Work::Scrape);
    }

    /// It waits for the next kill, unless too many do already.
    pub(super) fn begin_wait(&self) -> Result<(), TooManyWaiting> {
        let slots = self.table.slots();
        if self.others_at(&slots, Work::Wait).count() >= MAX_WAITING {
            return Err(TooManyWaiting);
        }
        self.enter(Work::Wait);
        Ok(())
    }

    fn others_at<'a>(
        &self,
        slots: &'a [Arc<Slot>],
        work: Work,
    ) -> impl Iterator<Item = &'a Arc<Slot>> {
        slots.iter().filter(move |slot| {
            let phase = slot.state().phase;
            !Arc::ptr_eq(slot, &self.slot)
                && (phase == Phase::Working(work) || phase == Phase::Sending(work))
        })
    }

    fn enter(&self, work: Work) {
        let mut state = self.slot.state();
        if state.phase != Phase::Evicted {
            *state = State {
                phase: Phase::Working(work),
                since: Instant::now(),
            };
        }
    }

    /// All of the response was handed to the connection.
    pub(super) fn handed_over(&self) {
        let mut state = self.slot.state();
        if let Phase::Working(work) = state.phase {
            state.phase = Phase::Sending(work);
        }
    }

    /// Everything handed over was sent.
    pub(super) fn flushed(&self) {
        let mut state = self.slot.state();
        if matches!(state.phase, Phase::Sending(_)) {
            *state = State {
                phase: Phase::Idle,
                since: Instant::now(),
            };
        }
    }

    /// Ends when the connection has to.
    pub(super) async fn expired(&self) {
        loop {
            let deadline = self.slot.state().deadline();
            if deadline <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.slot.changed.notified() => {}
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table
            .slots()
            .retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Arc<Table> {
        Arc::new(Table::new())
    }

    async fn has_expired(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::ZERO, seat.expired())
            .await
            .is_ok()
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_time() {
        type Step = fn(&Seat);
        let received: Step = Seat::received;
        let small: Step = Seat::begin;
        let wait: Step = |seat| seat.begin_wait().unwrap();
        let handed_over: Step = Seat::handed_over;
        let flushed: Step = Seat::flushed;
        let table_of_steps: [(&[Step], u64); 7] = [
            (&[], 10),
            (&[received], 10),
            (&[received, small], 30),
            (&[received, small, handed_over], 30),
            (&[received, wait], 90),
            (&[received, small, handed_over, flushed], 120),
            (&[received, small, handed_over, flushed, received], 10),
        ];
        for (number, (steps, seconds)) in table_of_steps.into_iter().enumerate() {
            let seat = Table::admit(&table());
            for step in steps {
                step(&seat);
            }
            pass(seconds - 1).await;
            assert!(!has_expired(&seat).await, "row {number}");
            pass(1).await;
            assert!(has_expired(&seat).await, "row {number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_in_buy_no_time() {
        let seat = Table::admit(&table());
        for _ in 0..10 {
            seat.received();
            pass(1).await;
        }
        assert!(has_expired(&seat).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_before_all_is_handed_over_buys_no_time() {
        let seat = Table::admit(&table());
        seat.begin();
        for _ in 0..30 {
            seat.flushed();
            pass(1).await;
        }
        assert!(has_expired(&seat).await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_pushes_out_the_longest_idle() {
        let table = table();
        let mut seats = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            seats.push(Table::admit(&table));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        seats[0].begin();
        let newest = Table::admit(&table);
        assert!(!has_expired(&seats[0]).await, "it is at work");
        assert!(has_expired(&seats[1]).await);
        assert!(!has_expired(&seats[2]).await);
        assert!(!has_expired(&newest).await);
        assert_eq!(table.slots().len(), MAX_CONNECTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_at_work_the_longest_at_it_goes() {
        let table = table();
        let seats: Vec<Seat> = (0..MAX_CONNECTIONS).map(|_| Table::admit(&table)).collect();
        for seat in seats.iter().rev() {
            seat.begin();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let newest = Table::admit(&table);
        assert!(has_expired(&seats[MAX_CONNECTIONS - 1]).await);
        assert!(!has_expired(&seats[0]).await);
        assert!(!has_expired(&newest).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_too_many_ends_the_oldest_and_a_wait_too_many_is_refused() {
        let table = table();
        let scrapes: Vec<Seat> = (0..=MAX_SCRAPES).map(|_| Table::admit(&table)).collect();
        for seat in &scrapes {
            seat.begin_scrape();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(has_expired(&scrapes[0]).await);
        assert!(!has_expired(&scrapes[1]).await);
        assert!(!has_expired(&scrapes[MAX_SCRAPES]).await);

        let waits: Vec<Seat> = (0..=MAX_WAITING).map(|_| Table::admit(&table)).collect();
        for seat in &waits[..MAX_WAITING] {
            seat.begin_wait().unwrap();
        }
        assert_eq!(waits[MAX_WAITING].begin_wait(), Err(TooManyWaiting));
        assert_eq!(waits[0].begin_wait(), Ok(()), "its own does not count");
    }

    #[test]
    fn a_dropped_seat_is_free() {
        let table = table();
        let seat = Table::admit(&table);
        assert_eq!(table.slots().len(), 1);
        drop(seat);
        assert!(table.slots().is_empty());
    }
}
