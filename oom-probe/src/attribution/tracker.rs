//! What Kubernetes adds to a kill: its pod, the container's series, the outcome, the Event.
//!
//! What a restart must not forget is noted, for the pipeline to keep.
//!
//! Everything here is fed by the one loop of the daemon, and time with it. Without a cluster the
//! same way is gone: kills are then named by their cgroup paths alone.

mod restore;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{
    attribution::{
        attributor::{Attributor, Change, Decision},
        outcome::{self, Outcomes, Place, Settled, Signs, Untold},
    },
    cgroup::population::{Population, Populations},
    kube::{
        PodEvent,
        index::{Found, Index},
        pod::Pod,
    },
    model::{
        cgroup_path::names as names_of,
        kill::{Kill, Record},
        labels::{Outcome, Scope},
        pod::PodUid,
    },
    sinks::{kube_events::Events, metrics::containers::Containers},
    sys::allocator,
};

/// How often series whose time is over are looked for.
const EXPIRY: Duration = Duration::from_secs(60);

/// Pods, series of containers, outcomes and Events.
pub struct Cluster {
    attributor: Attributor,
    containers: Containers,
    outcomes: Outcomes,
    untold: Untold,
    events: Option<Events>,
    populations: Option<Populations>,
    expired: Instant,
    notes: Vec<Note>,
    /// The pods of this node have been listed.
    listed: bool,
}

/// What a restart must not forget, beside the records.
#[derive(Clone, Debug)]
pub enum Note {
    /// A kill waits for its pod: the last of [`Cluster::parked`], or the one before that if there
    /// are two such notes, and so on.
    Parked,
    /// It is known what became of a container.
    Settled(outcome::Key, Outcome),
    /// A pod is new, or has changed.
    Pod(Arc<Pod>),
    /// A pod is gone.
    Gone(PodUid),
}

/// What became of a kill.
pub struct Attributed {
    /// Whose it is.
    pub scope: Scope,
    /// The records that are complete now: this kill's, unless it waits for its pod.
    pub records: Vec<Record>,
}

impl Cluster {
    /// Without any pod. `populations` is where the node's cgroups are, to see whether a container lives
    /// on.
    #[must_use]
    pub fn new(
        attributor: Attributor,
        containers: Containers,
        events: Option<Events>,
        populations: Option<Populations>,
    ) -> Self {
        Self {
            attributor,
            containers,
            outcomes: Outcomes::default(),
            untold: Untold::default(),
            events,
            populations,
            expired: Instant::now(),
            notes: Vec::new(),
            listed: false,
        }
    }

    /// Takes a kill.
    pub fn on_kill(&mut self, mut kill: Kill, now: Instant) -> Attributed {
        self.attributor.identify(&mut kill);
        self.confirm(&kill);
        let (scope, records) = match self.attributor.on_kill(kill, now) {
            Decision::Record(record) => (record.scope, vec![*record]),
            Decision::Parked(scope, displaced) => {
                self.notes.push(Note::Parked);
                (scope, displaced.map(|record| *record).into_iter().collect())
            }
            Decision::OtherNode(_) => (Scope::OtherNode, Vec::new()),
        };
        self.count(&records, now);
        Attributed { scope, records }
    }

    /// After a restart, before the pods are listed: a container in which something runs is there, and
    /// so is its pod.
    fn confirm(&mut self, kill: &Kill) {
        let Some(uid) = self.attributor.unconfirmed(kill) else {
            return;
        };
        let signs = look(
            Place::of(kill),
            self.attributor.index(),
            self.populations.as_ref(),
        );
        if signs.population == Some(Population::Populated) {
            self.attributor.confirm(&uid);
        }
    }

    /// Takes what the watch tells; returns the records that had waited for it.
    pub fn on_pods(&mut self, event: PodEvent, now: Instant) -> Vec<Record> {
        let listed = matches!(event, PodEvent::Synced { listed: true });
        self.listed |= listed;
        let Change {
            applied,
            changed,
            gone,
            records,
            refused,
        } = self.attributor.on_pods(event, now);
        if let Some(refused) = refused {
            tracing::warn!("a pod is left out: {refused}");
        }
        if let Some(pod) = applied {
            self.containers.apply(&pod, now);
            if changed {
                self.on_status(&pod, now);
                self.notes.push(Note::Pod(pod));
            }
        }
        // Before the pods go: a kill of a pod's last moment counts on its series.
        self.count(&records, now);
        for pod in gone {
            self.containers.remove(&pod, now);
            self.notes.push(Note::Gone(pod.uid));
        }
        if listed {
            allocator::give_back();
        }
        records
    }

    /// Does what is due; returns the records that waited long enough.
    pub fn tick(&mut self, now: Instant) -> Vec<Record> {
        let records = self.attributor.tick(now);
        self.count(&records, now);
        let (index, populations) = (self.attributor.index(), self.populations.as_ref());
        let settled = self
            .outcomes
            .tick(now, |place| look(place, index, populations));
        self.settle_all(settled, now);
        if let Some(events) = &mut self.events {
            events.tick(now);
        }
        if now.saturating_duration_since(self.expired) >= EXPIRY {
            self.expired = now;
            self.containers.tick(now);
        }
        records
    }

    /// When [`Cluster::tick`] has something to do. Series expire along with a scrape.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let events = self.events.as_ref().and_then(Events::next_tick);
        [
            self.attributor.next_tick(),
            self.outcomes.next_tick(),
            events,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Concludes what waits, since no more will come: kills for their pod, events for their
    /// outcome. Returns the records of the kills.
    pub fn conclude(&mut self, now: Instant) -> Vec<Record> {
        let records = self.attributor.conclude();
        self.count(&records, now);
        let (index, populations) = (self.attributor.index(), self.populations.as_ref());
        let settled = self
            .outcomes
            .conclude(now, |place| look(place, index, populations));
        self.settle_all(settled, now);
        records
    }

    /// Makes Kubernetes Events of the OOM events that are over; `under_way` is the id of the one that
    /// may still take more.
    pub fn tell(&mut self, under_way: Option<&str>, now: Instant) {
        let over = self.untold.over(under_way);
        let Some(events) = &mut self.events else {
            return;
        };
        for settled in over {
            let pod = self.attributor.index().lookup(&settled.kill.kill.identity);
            events.on_settled(&settled, known(&pod), now, Timestamp::now());
        }
    }

    /// Whether [`Cluster::tell`] has something to do.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Whether every pod that will have series has them, as far as can be known.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        self.listed || !self.attributor.has_kubernetes()
    }

    /// What there is to be kept since the last time.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The Events that wait to be posted; there will be no more.
    pub fn take_events(&mut self) -> Option<Events> {
        self.events.take()
    }

    fn count(&mut self, records: &[Record], now: Instant) {
        for record in records {
            self.containers.on_kill(record, now);
            self.untold.on_kill(record);
            if let Some(settled) = self.outcomes.on_kill(record, now, Timestamp::now()) {
                self.settle(settled, now);
            }
        }
    }

    /// For outcomes that another look brought: those that a kill's record tells by itself need not
    /// be kept beside it.
    fn note_settled(&mut self, settled: &Settled) {
        if let Some(key) = outcome::Key::of(&settled.kill) {
            self.notes.push(Note::Settled(key, settled.outcome));
        }
    }

    /// A status may tell how a container ended.
    fn on_status(&mut self, pod: &Pod, now: Instant) {
        let uid = pod.uid.to_string();
        let (index, populations) = (self.attributor.index(), self.populations.as_ref());
        let look = |place: Place<'_>| look(place, index, populations);
        let settled = self.outcomes.on_status(&uid, now, look);
        self.settle_all(settled, now);
    }

    fn settle_all(&mut self, settled: Vec<Settled>, now: Instant) {
        for settled in settled {
            self.note_settled(&settled);
            self.settle(settled, now);
        }
    }

    fn settle(&mut self, settled: Settled, now: Instant) {
        self.containers.on_settled(&settled, now);
        self.untold.add(settled);
    }
}

fn known(found: &Found) -> Option<&Pod> {
    match found {
        Found::Container(pod, _) | Found::Sandbox(pod) | Found::Unlisted(pod) => Some(&pod.pod),
        Found::Nothing => None,
    }
}

/// Whether the container still runs, by its cgroup and by its pod's status.
fn look(place: Place<'_>, index: &Index, populations: Option<&Populations>) -> Signs {
    let population = place
        .cgroup
        .zip(populations)
        .and_then(|(cgroup, populations)| {
            let names = names_of(cgroup).filter(|name| !name.is_empty());
            populations.of(names)
        });
    Signs {
        population,
        finished_at: place.id.and_then(|id| index.finished_at(&id)),
        exit_code: place.id.and_then(|id| index.exit_code(&id)),
    }
}
