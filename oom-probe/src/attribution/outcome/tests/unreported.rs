//! What is told of an event once the kernel is done with it.

use super::*;
use crate::sinks::kube_events::{object::Subject, unreported::Unreported};

/// Outcomes and what is not told of them, as the daemon feeds both.
#[derive(Default)]
struct Told {
    outcomes: Outcomes,
    unreported: Unreported,
}

impl Told {
    /// Takes a kill; whether its event's outcome became known by it.
    fn kill(&mut self, record: &Record) -> bool {
        self.unreported.on_kill(record);
        let now = Instant::now();
        let settled = self.outcomes.on_kill(record, now, record.kill.time);
        let is_settled = settled.is_some();
        if let Some(settled) = settled {
            let subject = Subject::of(&settled, None).unwrap();
            self.unreported.add(settled, subject);
        }
        is_settled
    }

    /// Container and number of kills of each event that is over.
    fn over(&mut self, under_way: Option<&str>) -> Vec<(String, u32)> {
        let over = self.unreported.over(under_way).into_iter();
        over.map(|(settled, _)| {
            let container = settled.kill.pod.and_then(|pod| pod.container);
            (container.unwrap_or_default(), settled.kills)
        })
        .collect()
    }
}

fn told(container: u32, kills: u32) -> (String, u32) {
    (format!("c{container}"), kills)
}

#[test]
fn a_group_kill_of_eight_is_settled_by_the_first_and_told_with_the_last() {
    let mut told_of = Told::default();
    let settled: Vec<bool> = (0..8)
        .map(|_| {
            let settled = told_of.kill(&group("e", 1, &path(1)));
            assert_eq!(told_of.over(Some("e")), [], "more may come");
            settled
        })
        .collect();
    assert_eq!(settled.iter().filter(|settled| **settled).count(), 1);
    assert!(settled[0]);
    assert!(!told_of.unreported.is_empty());
    assert_eq!(told_of.over(None), [told(1, 8)]);
    assert!(told_of.unreported.is_empty());
    assert_eq!(told_of.over(None), [], "once");
}

#[test]
fn the_next_event_does_not_wait_for_the_one_before_nor_count_in_it() {
    let mut told_of = Told::default();
    told_of.kill(&init("e", 1));
    told_of.kill(&init("f", 1));
    assert_eq!(told_of.over(Some("f")), [told(1, 1)]);
    told_of.kill(&group("f", 1, &path(1)));
    assert_eq!(told_of.over(None), [told(1, 2)]);
}

#[test]
fn each_container_of_an_event_is_told_with_its_own_kills() {
    let mut told_of = Told::default();
    for (container, kills) in [(1, 3), (2, 2)] {
        for _ in 0..kills {
            told_of.kill(&group("e", container, "/kubepods"));
        }
    }
    assert_eq!(told_of.over(None), [told(1, 3), told(2, 2)]);
}

#[test]
fn kills_that_had_waited_for_their_pod_are_told_together() {
    let mut told_of = Told::default();
    // Their status came long after the event was over.
    for _ in 0..8 {
        told_of.kill(&init("e", 1));
    }
    assert_eq!(told_of.over(None), [told(1, 8)]);
    told_of.kill(&child("e", 1));
    assert_eq!(told_of.over(None), [], "a straggler is no news");
}
