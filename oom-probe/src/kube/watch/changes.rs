//! The watch: one event per line.

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::StatusCode;
use kube::{api::WatchParams, core::Request};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use super::{End, Verb, Watcher, failure::Failure, next_piece, split::LineSplitter};
use crate::kube::{
    PodEvent,
    api_error::{Refusal, Status},
    object,
};

impl Watcher {
    /// Ok when the watch came to its end.
    pub(super) async fn watch(&mut self, version: &str) -> Result<(), End> {
        let params = WatchParams::default()
            .fields(&self.selector())
            .timeout(watch_seconds(&self.node));
        let request = Request::new("/api/v1/pods")
            .watch(&params, version)
            .map_err(|error| Failure::Garbage(error.to_string()))?;
        let began = Instant::now();
        let mut body = self.request(request).await?;
        self.roles.allowed(Verb::Watch);
        self.back(None).await?;
        let (mut splitter, mut events) = (LineSplitter::default(), 0_usize);
        loop {
            let piece = match next_piece(&mut body, self.patience.silence).await {
                Ok(Some(piece)) => piece,
                // The network between may have dropped the connection without a word.
                Ok(None) | Err(Failure::Silent(_)) => break,
                Err(failure) => return Err(failure.into()),
            };
            let mut lines = Vec::new();
            splitter.feed(&piece, |line| lines.push(self.line(line)))?;
            for line in lines {
                events += 1;
                if let Some(event) = line? {
                    self.send(event).await?;
                }
            }
            if events > 0 {
                self.failures = 0;
            }
        }
        if events == 0 && began.elapsed() < self.patience.shortest_watch {
            return Err(Failure::ShortWatch.into());
        }
        // However many events a server sends before it ends a watch, the next is not at once.
        let breath = (began + self.patience.backoff).saturating_duration_since(Instant::now());
        sleep(breath).await;
        Ok(())
    }

    /// What a line of the watch means; nothing for bookmarks and for what cannot be read.
    fn line(&mut self, line: &[u8]) -> Result<Option<PodEvent>, Failure> {
        let Line { kind } = parse(line)?;
        match &*kind {
            "ADDED" | "MODIFIED" | "DELETED" => {
                let object = serde_json::from_slice(line);
                let Ok(WithObject::<Box<object::Pod>> { object: pod }) = object else {
                    self.report.unreadable(line);
                    return Ok(None);
                };
                self.go_on_after(&pod.metadata.resource_version);
                if !self.is_ours(&pod) {
                    return Ok(None);
                }
                Ok(Some(if &*kind == "DELETED" {
                    PodEvent::Deleted(pod)
                } else {
                    PodEvent::Applied(pod)
                }))
            }
            "BOOKMARK" => {
                let WithObject::<object::Pod> { object } = parse(line)?;
                self.go_on_after(&object.metadata.resource_version);
                Ok(None)
            }
            "ERROR" => {
                let WithObject::<Status> { object } = parse(line)?;
                let status = StatusCode::from_u16(object.code);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Err(Refusal::new(status, &object.message).into())
            }
            _ => Err(Failure::Garbage("a watch event of no known type".into())),
        }
    }

    fn go_on_after(&mut self, version: &str) {
        if !version.is_empty() {
            self.version = Some(version.into());
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: Box<str>,
}

#[derive(Deserialize)]
struct WithObject<T> {
    object: T,
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(line)
        .map_err(|_| Failure::Garbage("a line of the watch is no event".into()))
}

/// How long a watch may last, by node: a rollout starts them all in the same moment.
fn watch_seconds(node: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    let spread = u32::try_from(hasher.finish() % 120).unwrap_or_default();
    240 + spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_of_different_nodes_end_at_different_times() {
        let seconds: Vec<_> = (0..100)
            .map(|n| watch_seconds(&format!("node-{n}")))
            .collect();
        assert!(seconds.iter().all(|seconds| (240..360).contains(seconds)));
        let mut distinct = seconds.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 40, "{seconds:?}");
    }
}
