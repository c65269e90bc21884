//! Sends Events to the API server, one after another, in a task of its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use hyper::StatusCode;
use kube::{Client, client::Body};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::object::Event;
use crate::{
    kube::api_error::{Refusal, cause},
    sys::repeats::Repeats,
};

/// Events that may wait while the API server is away: more than a minute's worth of the limiter's.
const QUEUE: usize = 64;
/// How long the API server may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Times an Event is tried.
const ATTEMPTS: usize = 5;
/// Takes Events and never waits.
#[derive(Debug)]
pub(crate) struct Poster {
    queue: mpsc::Sender<Event>,
    task: JoinHandle<()>,
    /// Events that were queued and are not dealt with.
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
    full: bool,
}

impl Poster {
    /// `dropped` counts the Events that will not be sent.
    pub(crate) fn start(client: Client, dropped: Counter) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let waiting = Arc::<AtomicUsize>::default();
        Self {
            queue,
            task: tokio::spawn(post_all(
                client,
                receiver,
                Arc::clone(&waiting),
                dropped.clone(),
            )),
            waiting,
            dropped,
            full: false,
        }
    }

    /// Queues an Event, or drops it where too many wait.
    pub(crate) fn post(&mut self, event: Event) {
        let full = self.queue.try_send(event).is_err();
        if full {
            self.dropped.inc();
        } else {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
        if full && !self.full {
            tracing::warn!("{QUEUE} Kubernetes Events wait to be sent; further ones are dropped");
        }
        self.full = full;
    }

    /// Sends what is queued, for that long.
    pub(crate) async fn finish(self, within: Duration) {
        let Self {
            queue,
            mut task,
            waiting,
            ..
        } = self;
        drop(queue);
        if timeout(within, &mut task).await.is_err() {
            task.abort();
            let left = waiting.load(Ordering::Relaxed);
            tracing::warn!("{left} Kubernetes Events are not sent: the API server takes too long");
        }
    }
}

async fn post_all(
    client: Client,
    mut queue: mpsc::Receiver<Event>,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
) {
    let mut told = Repeats::default();
    while let Some(event) = queue.recv().await {
        let posted = post(&client, &event).await;
        waiting.fetch_sub(1, Ordering::Relaxed);
        let Err(trouble) = posted else {
            continue;
        };
        dropped.inc();
        if told.is_news(&trouble, Instant::now().into_std()) {
            tracing::warn!("a Kubernetes Event is dropped: {trouble}");
        }
    }
}

/// Sends an Event until it is taken or never will be.
async fn post(client: &Client, event: &Event) -> Result<(), String> {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(30))
        .with_max_times(ATTEMPTS - 1)
        .with_jitter()
        .build();
    loop {
        let trouble = match attempt(client, event).await {
            Ok(()) => return Ok(()),
            Err(Trouble::ForGood(text)) => return Err(text),
            Err(trouble) => trouble,
        };
        let Some(wait) = waits.next() else {
            return Err(trouble.to_string());
        };
        let asked_for = match trouble {
            Trouble::ForNow(_, retry_after) => retry_after,
            Trouble::ForGood(_) => None,
        };
        sleep(asked_for.unwrap_or_default().max(wait)).await;
    }
}

/// Why an Event was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    ForNow(String, Option<Duration>),
    #[error("{0}")]
    ForGood(String),
}

async fn attempt(client: &Client, event: &Event) -> Result<(), Trouble> {
    let path = format!("/api/v1/namespaces/{}/events", event.namespace);
    let request = hyper::Request::post(path)
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Body::from(event.body.clone()))
        .map_err(|error| Trouble::ForGood(error.to_string()))?;
    let seconds = WITHIN.as_secs();
    let response = timeout(WITHIN, client.send(request))
        .await
        .map_err(|_| Trouble::ForNow(format!("no answer within {seconds} s"), None))?
        .map_err(|error| Trouble::ForNow(cause(&error), None))?;
    if response.status().is_success() {
        return Ok(());
    }
    judge(Refusal::read(response).await)
}

/// What a refusal means for the Event.
fn judge(refusal: Refusal) -> Result<(), Trouble> {
    let Refusal {
        status,
        message,
        retry_after,
    } = refusal;
    let text = format!("the API server answers {}: {message}", status.as_u16());
    match status {
        // This kill has been told already.
        StatusCode::CONFLICT => Ok(()),
        // The namespace goes away or is gone, and its pods with it.
        StatusCode::FORBIDDEN if message.contains("being terminated") => Ok(()),
        StatusCode::NOT_FOUND => Ok(()),
        StatusCode::FORBIDDEN => Err(Trouble::ForGood(format!(
            "{text}; the daemon's role must allow create on events in all namespaces, or --events none"
        ))),
        StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(Trouble::ForNow(text, retry_after))
        }
        status if status.is_server_error() => Err(Trouble::ForNow(text, retry_after)),
        _ => Err(Trouble::ForGood(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Then {
        Done,
        Again,
        Drop,
    }

    #[test]
    fn a_refusal_ends_an_event_or_delays_it() {
        let terminating = "events \"x\" is forbidden: unable to create new content in namespace \
                           shop because it is being terminated";
        for (status, message, expected) in [
            (409, "already exists", Then::Done),
            (403, terminating, Then::Done),
            (404, "namespaces \"shop\" not found", Then::Done),
            (403, "cannot create resource", Then::Drop),
            (400, "", Then::Drop),
            (422, "Invalid value", Then::Drop),
            (401, "", Then::Again),
            (429, "", Then::Again),
            (500, "", Then::Again),
            (503, "", Then::Again),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let then = match judge(Refusal::new(status, message)) {
                Ok(()) => Then::Done,
                Err(Trouble::ForNow(..)) => Then::Again,
                Err(Trouble::ForGood(_)) => Then::Drop,
            };
            assert_eq!(then, expected, "{status} {message}");
        }
    }
}
