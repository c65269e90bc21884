//! A client that keeps asking, and a Service's way of choosing whom.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::time::{MissedTickBehavior, interval};

use super::replica::Replica;
use super::{REQUEST, web};
use crate::drill::recorder::Recorder;

const EVERY: Duration = Duration::from_millis(50);

/// Asks the ready replicas in turn, without trying again: a failure stays one.
pub(super) async fn keep_asking(replicas: Vec<Arc<Replica>>, recorder: Recorder) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut turn = 0;
    loop {
        tick.tick().await;
        let Some(replica) = next(&replicas, &mut turn, |replica| replica.is_ready()) else {
            recorder.failed("no replica is ready".to_owned());
            continue;
        };
        let Some(address) = replica.address() else {
            continue;
        };
        match web::ask(&address, Method::GET, "/readyz", REQUEST).await {
            Ok(_) => recorder.served(Some(replica.name())),
            Err(error) => recorder.failed(format!("{}: {error:#}", replica.name())),
        }
    }
}

/// The next one of those that are ready.
fn next<'a, T>(all: &'a [T], turn: &mut usize, is_ready: impl Fn(&T) -> bool) -> Option<&'a T> {
    let count = all.len();
    let at = (0..count).find(|ahead| is_ready(&all[(*turn + ahead) % count]))?;
    let chosen = (*turn + at) % count;
    *turn = chosen + 1;
    Some(&all[chosen])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_ready_take_turns() {
        let mut turn = 0;
        let mut ask = |ready: [bool; 3]| next(&ready, &mut turn, |ready| *ready).map(|_| ());
        assert_eq!(ask([false; 3]), None);
        let names = ["a", "b", "c"];
        let mut turn = 0;
        let mut asked = |down: &str| *next(&names, &mut turn, |name| *name != down).unwrap();
        let order: Vec<_> = ["", "", "", "", "b", "b", "", ""].map(&mut asked).into();
        assert_eq!(order, ["a", "b", "c", "a", "c", "a", "b", "c"]);
    }
}
