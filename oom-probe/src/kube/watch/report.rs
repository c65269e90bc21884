//! Says once how the API server behaves, however often it does.

use tokio::{sync::watch, time::Instant};

use super::failure::Failure;
use crate::{kube::Link, sys::repeats::Repeats};

/// Tells the log and whoever asks how the watch stands.
pub(super) struct Report {
    node: String,
    link: watch::Sender<Link>,
    /// Pods of the last list.
    pods: usize,
    told: Repeats,
    /// The log's last word is that the pods are not known.
    told_away: bool,
    told_unreadable: Repeats,
    told_empty: bool,
}

impl Report {
    pub(super) fn new(node: &str, link: watch::Sender<Link>) -> Self {
        Self {
            node: node.to_owned(),
            link,
            pods: 0,
            told: Repeats::default(),
            told_away: true,
            told_unreadable: Repeats::default(),
            told_empty: false,
        }
    }

    /// The pods are not known any more.
    pub(super) fn away(&mut self, failure: &Failure) {
        let text = failure.to_string();
        if self.told.is_news(&text, Instant::now().into_std()) {
            tracing::warn!("pods of node {} are not known: {text}", self.node);
            self.told_away = true;
        }
        self.link.send_replace(Link::Away(text));
    }

    /// The pods are known: so many by a new list, or those of before.
    pub(super) fn synced(&mut self, listed: Option<usize>, strangers: usize) {
        self.pods = listed.unwrap_or(self.pods);
        let (node, pods) = (&self.node, self.pods);
        self.link.send_replace(Link::Synced { pods });
        if std::mem::take(&mut self.told_away) {
            let again = if listed.is_some() { "" } else { " again" };
            tracing::info!("pods of node {node} are known{again}: {pods}");
        }
        if listed == Some(0) && !self.told_empty {
            self.told_empty = true;
            let hint = if strangers > 0 {
                "; the API server sent pods of other nodes"
            } else {
                ""
            };
            tracing::warn!(
                "no pod is bound to node {}: --node must be the name that `kubectl get nodes` shows{hint}",
                self.node
            );
        }
    }

    /// An object could not be read and was left out.
    pub(super) fn unreadable(&mut self, object: &[u8]) {
        if self.told_unreadable.is_news("", Instant::now().into_std()) {
            tracing::warn!(
                "a pod of {} bytes cannot be read and is left out",
                object.len()
            );
        }
    }
}
