//! The pods of this node as the API server tells them: one list from its cache, then one watch.
//!
//! This is what `kube::runtime::watcher` does with `any_semantic()`, but for four things that a
//! daemon on every node needs: a list is never held whole, so that a list without end costs nothing
//! (one of 250 pods and 1.9 MB adds 1.1 MiB to the resident memory, index and series included, and
//! its peak is no higher); a hanging server is noticed by silence, not by the watch's own end;
//! `Retry-After` is obeyed; and every failure is one line for people.
//!
//! A watch lasts about five minutes, which spares the API server of a large cluster, while bookmarks,
//! sent every minute, show that it lives: after 75 s of silence it is taken up anew where it was.

mod changes;
mod failure;
mod list;
mod report;
mod roles;
pub(crate) mod split;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use http_body_util::BodyExt;
use hyper::{Response, StatusCode};
use kube::{Client, client::Body};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::{Link, PodEvent, object};
use crate::kube::api_error::{Refusal, cause};
use failure::Failure;
use report::Report;
use roles::{Roles, Verb};

/// Events that may wait for the daemon before the watch waits for it.
const QUEUE: usize = 64;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a response, and for the next piece of a list.
    pub answer: Duration,
    /// For a whole list.
    pub list: Duration,
    /// For the next event or bookmark of a watch: above the minute between bookmarks.
    pub silence: Duration,
    /// After the first failure; each further one doubles it, with a random part as long again.
    pub backoff: Duration,
    /// At most, that random part aside.
    pub max_backoff: Duration,
    /// A watch that ended sooner, without an event, failed.
    pub shortest_watch: Duration,
    /// For an API server that has just started to know the daemon's role.
    pub own_start: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(15),
            list: Duration::from_secs(120),
            silence: Duration::from_secs(75),
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(15),
            shortest_watch: Duration::from_secs(5),
            own_start: Duration::from_secs(60),
        }
    }
}

/// The running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    /// What it tells.
    pub events: mpsc::Receiver<PodEvent>,
    /// How it stands.
    pub link: watch::Receiver<Link>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Starts to watch the pods that are bound to `node`.
    pub fn start(client: Client, node: &str, patience: Patience) -> Self {
        let (events, receiver) = mpsc::channel(QUEUE);
        let (link, link_receiver) = watch::channel(Link::Connecting);
        let watcher = Watcher {
            client,
            node: node.to_owned(),
            patience,
            events,
            report: Report::new(node, link),
            version: None,
            synced: false,
            strangers: 0,
            failures: 0,
            relisted: None,
            roles: Roles::default(),
        };
        Self {
            events: receiver,
            link: link_receiver,
            task: tokio::spawn(watcher.run()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    client: Client,
    node: String,
    patience: Patience,
    events: mpsc::Sender<PodEvent>,
    report: Report,
    /// Where the watch goes on; none before the first list.
    version: Option<Box<str>>,
    synced: bool,
    /// Pods of other nodes in this list.
    strangers: usize,
    /// Failures since the last success.
    failures: u32,
    /// When a list was last asked for at once, because what changed was forgotten.
    relisted: Option<Instant>,
    roles: Roles,
}

/// Nobody takes the events any more.
struct Closed;

enum End {
    Closed,
    Failed(Failure),
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl<F: Into<Failure>> From<F> for End {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let (verb, end) = match self.version.clone() {
                None => (Verb::List, self.list().await),
                // Only a watch that works says that all is well: a server may list and not watch.
                Some(version) => {
                    let end = self.watch(&version).await.map(|()| self.failures = 0);
                    (Verb::Watch, end)
                }
            };
            let failure = match end {
                Ok(()) => continue,
                Err(End::Closed) => return,
                Err(End::Failed(failure)) => failure,
            };
            let (failures, own_start) = (self.failures, self.patience.own_start);
            let failure = self.roles.judge(failure, verb, failures, own_start);
            if failure.needs_list() {
                self.version = None;
            }
            if matches!(failure, Failure::Expired) && self.may_list_at_once(verb) {
                continue;
            }
            if self.away(&failure).await.is_err() {
                return;
            }
        }
    }

    /// Asking for a new list is how the API works, not a failure: an API server that was away has
    /// forgotten what it told before. But not again and again.
    fn may_list_at_once(&mut self, verb: Verb) -> bool {
        let lately = |at: Instant| at.elapsed() < self.patience.max_backoff;
        if verb == Verb::List || self.relisted.is_some_and(lately) {
            return false;
        }
        self.relisted = Some(Instant::now());
        // It answers: what fails from here on is no part of the outage.
        self.failures = 1;
        true
    }

    async fn away(&mut self, failure: &Failure) -> Result<(), Closed> {
        self.report.away(failure);
        if self.synced {
            self.synced = false;
            self.send(PodEvent::Away).await?;
        }
        let wait = backoff(self.patience, self.failures);
        self.failures = self.failures.saturating_add(1);
        sleep(failure.retry_after().unwrap_or_default().max(wait)).await;
        Ok(())
    }

    async fn back(&mut self, listed: Option<usize>) -> Result<(), Closed> {
        if !self.synced || listed.is_some() {
            self.synced = true;
            let listed_anew = listed.is_some();
            self.report.synced(listed, self.strangers);
            self.send(PodEvent::Synced {
                listed: listed_anew,
            })
            .await?;
        }
        Ok(())
    }

    fn is_ours(&mut self, pod: &object::Pod) -> bool {
        let ours = *pod.spec.node_name == *self.node;
        self.strangers += usize::from(!ours);
        ours
    }

    async fn request(&self, request: hyper::Request<Vec<u8>>) -> Result<Body, Failure> {
        let patience = self.patience.answer;
        let response: Response<Body> = timeout(patience, self.client.send(request.map(Body::from)))
            .await
            .map_err(|_| Failure::Silent(patience))?
            .map_err(|error| Failure::Unreachable(cause(&error)))?;
        if response.status() == StatusCode::OK {
            Ok(response.into_body())
        } else {
            Err(Refusal::read(response).await.into())
        }
    }

    fn selector(&self) -> String {
        format!("spec.nodeName={}", self.node)
    }

    async fn send(&self, event: PodEvent) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

/// The next piece of a body; none at its end.
async fn next_piece(body: &mut Body, patience: Duration) -> Result<Option<bytes::Bytes>, Failure> {
    loop {
        let frame = timeout(patience, body.frame())
            .await
            .map_err(|_| Failure::Silent(patience))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::Broken(cause(&error))),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// How long to wait after that many failures in a row before this one.
fn backoff(patience: Patience, failures: u32) -> Duration {
    let failures = failures.min(16) as usize;
    ExponentialBuilder::default()
        .with_min_delay(patience.backoff)
        .with_max_delay(patience.max_backoff)
        .without_max_times()
        .with_jitter()
        .build()
        .nth(failures)
        .unwrap_or(patience.max_backoff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_with_a_random_part_as_long_again() {
        let patience = Patience::default();
        for (failures, least) in [
            (0, 500),
            (1, 1000),
            (3, 4000),
            (5, 15_000),
            (1_000_000, 15_000),
        ] {
            let wait = backoff(patience, failures);
            let least = Duration::from_millis(least);
            assert!(least <= wait && wait <= least * 2, "{failures}: {wait:?}");
        }
    }
}
