//! What the server knows: pods, their history, Events, and what it was asked.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::AtomicUsize},
};

use serde_json::{Value, json};

use super::Answer;

/// What can be asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    List,
    Watch,
    CreateEvent,
    /// Anything that a daemon with the least role would be refused.
    Other,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) call: Call,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) token: Option<String>,
}

#[derive(Default)]
pub(super) struct State {
    version: u64,
    pods: BTreeMap<String, Value>,
    /// Changes that a watch can still be told.
    history: Vec<(u64, Value)>,
    /// The last version whose changes are forgotten.
    compacted: u64,
    pub(super) events: Vec<Value>,
    pub(super) requests: Vec<Request>,
    /// Bytes sent of answers without end.
    pub(super) endless: Arc<AtomicUsize>,
    scripts: HashMap<Call, VecDeque<Answer>>,
}

impl State {
    pub(super) fn apply(&mut self, pod: Value) {
        let uid = uid(&pod);
        let kind = if self.pods.contains_key(&uid) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let pod = self.change(kind, pod);
        self.pods.insert(uid, pod);
    }

    pub(super) fn delete(&mut self, pod: Value) {
        self.pods.remove(&uid(&pod));
        self.change("DELETED", pod);
    }

    pub(super) fn bookmark(&mut self) {
        let bookmark = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"resourceVersion": "", "creationTimestamp": null},
            "spec": {"containers": null}, "status": {},
        });
        self.change("BOOKMARK", bookmark);
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
    }

    pub(super) fn script(&mut self, call: Call, answers: impl IntoIterator<Item = Answer>) {
        self.scripts.entry(call).or_default().extend(answers);
    }

    pub(super) fn scripted(&mut self, call: Call) -> Option<Answer> {
        self.scripts.get_mut(&call)?.pop_front()
    }

    /// The list in the order of the API's own: kind, version, metadata, items.
    pub(super) fn list(&self, node: &str) -> String {
        let pods: Vec<_> = self.pods.values().filter(|pod| is_on(pod, node)).collect();
        format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"{}"}},"items":{}}}{}"#,
            self.version.max(1),
            serde_json::to_string(&pods).unwrap(),
            '\n'
        )
    }

    /// The changes after `since`, as lines, and the version of the last; `Err` if they are
    /// forgotten.
    pub(super) fn changes(&self, node: &str, since: u64) -> Result<(Vec<String>, u64), ()> {
        if since < self.compacted {
            return Err(());
        }
        let lines = self
            .history
            .iter()
            .filter(|(version, _)| *version > since)
            .filter(|(_, event)| event["type"] == "BOOKMARK" || is_on(&event["object"], node))
            .map(|(_, event)| format!("{event}\n"))
            .collect();
        Ok((lines, self.version))
    }

    /// Takes an Event as the registry does: once under each name, in its object's namespace.
    pub(super) fn create_event(&mut self, namespace: &str, event: Value) -> (u16, Value) {
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        let taken = |other: &Value| {
            other["metadata"]["name"] == name && other["metadata"]["namespace"] == namespace
        };
        if event["involvedObject"]["namespace"] != namespace
            || event["metadata"]["namespace"] != namespace
        {
            return (422, status(422, "involvedObject.namespace does not match"));
        }
        if name.is_empty() || name.len() > 253 || !name.bytes().all(is_name_byte) {
            return (422, status(422, "metadata.name is no DNS name"));
        }
        if self.events.iter().any(taken) {
            return (409, status(409, "it exists already"));
        }
        self.events.push(event.clone());
        (201, event)
    }

    fn change(&mut self, kind: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let event = json!({"type": kind, "object": object});
        self.history.push((self.version, event));
        object
    }
}

/// `io.k8s.apimachinery.pkg.apis.meta.v1.Status`.
pub(super) fn status(code: u16, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": code,
    })
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn is_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
}
