//! What pods are told of `memory.oom.group`, as Kubernetes Events.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use jiff::Timestamp;

use super::annotation::{Refusal, Setting};
use crate::{
    kube::{object::OOM_GROUP, pod::Pod},
    sinks::kube_events::{
        note::{MAX_NOTE, cut},
        object::{Event, Kind, Saying, Subject},
    },
};
use capture::sys::escape::{Escaped, escape};

/// Something that a pod's owner has to know.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The container of that name is kept at that value.
    Held(Arc<Pod>, Arc<str>, Setting),
    /// The annotation is gone, and so is what it asked for.
    PutBack(Arc<Pod>, Arc<str>, Setting),
    /// An annotation is not followed.
    Refused(Arc<Pod>, Refusal),
    /// This node has nothing that could be set.
    Unsupported(Arc<Pod>),
}

impl Notice {
    /// The Event that says it.
    pub fn event(&self, node: &str, now: Timestamp) -> Event {
        let note = cut(self.note(), MAX_NOTE);
        let key = self.key();
        let (subject, kind, reason) = match self {
            Self::Held(pod, container, _) => (
                Subject::of_pod(pod, Some(container)),
                Kind::Normal,
                "OOMGroupSet",
            ),
            Self::PutBack(pod, container, _) => (
                Subject::of_pod(pod, Some(container)),
                Kind::Normal,
                "OOMGroupPutBack",
            ),
            Self::Refused(pod, _) => (Subject::of_pod(pod, None), Kind::Warning, "OOMGroupRefused"),
            Self::Unsupported(pod) => (
                Subject::of_pod(pod, None),
                Kind::Warning,
                "OOMGroupUnsupported",
            ),
        };
        let saying = Saying {
            kind,
            reason,
            note: &note,
            time: now,
            key: &key,
        };
        saying.of(&subject, node)
    }

    /// Whom it tells: `namespace/name`.
    pub(super) fn pod(&self) -> String {
        let (Self::Held(pod, ..)
        | Self::PutBack(pod, ..)
        | Self::Refused(pod, _)
        | Self::Unsupported(pod)) = self;
        format!(
            "{}/{}",
            Escaped(pod.namespace.as_bytes()),
            Escaped(pod.name.as_bytes())
        )
    }

    /// What it says.
    pub(super) fn note(&self) -> String {
        match self {
            Self::Held(_, container, Setting::Process) => format!(
                "memory.oom.group of container {} is 0: an OOM kill takes one process of it, \
                 and the container lives on unless that is its main process",
                escape(container.as_bytes())
            ),
            Self::Held(_, container, Setting::Group) => format!(
                "memory.oom.group of container {} is 1: an OOM kill takes all of its processes",
                escape(container.as_bytes())
            ),
            Self::PutBack(_, container, setting) => format!(
                "memory.oom.group of container {} is {setting} again, as before the annotation",
                escape(container.as_bytes())
            ),
            Self::Refused(_, refusal) => format!(
                "the annotation {}: \"{}\" is not followed: {}",
                escape(refusal.annotation.as_bytes()),
                escape(refusal.value.as_bytes()),
                refusal.reason
            ),
            Self::Unsupported(_) => format!(
                "the annotation {OOM_GROUP} has no effect here: this node has cgroup v1, where every \
                 OOM kill takes one process"
            ),
        }
    }

    /// The same for the same notice of the same pod.
    fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        std::mem::discriminant(self).hash(&mut hasher);
        match self {
            Self::Held(pod, container, setting) | Self::PutBack(pod, container, setting) => {
                (pod.uid, container, setting).hash(&mut hasher);
            }
            Self::Refused(pod, refusal) => (pod.uid, refusal).hash(&mut hasher),
            Self::Unsupported(pod) => pod.uid.hash(&mut hasher),
        }
        format!("oom-group-{:016x}", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        kube::{fixture, names::Names},
        oom_group::annotation::Reason,
    };
    use capture::sys::escape::escape_again;

    fn pod() -> Arc<Pod> {
        let object = serde_json::from_value(fixture::pod("cart", 1).sidecar("mesh").0).unwrap();
        Pod::new(&object, None, &mut Names::default())
            .unwrap()
            .into()
    }

    fn written(notice: &Notice) -> Value {
        let event = notice.event("node-1", "2025-11-20T12:00:00.5Z".parse().unwrap());
        assert_eq!(event.namespace, "shop");
        serde_json::from_slice(&event.body).unwrap()
    }

    #[test]
    fn each_notice_says_what_it_means_for_the_pod() {
        let refusal = |value: &str| Refusal {
            annotation: OOM_GROUP.into(),
            value: value.into(),
            reason: Reason::Value,
        };
        for (notice, kind, reason, field_path, part) in [
            (
                Notice::Held(pod(), "app".into(), Setting::Process),
                "Normal",
                "OOMGroupSet",
                Value::from("spec.containers{app}"),
                "is 0: an OOM kill takes one process",
            ),
            (
                Notice::Held(pod(), "mesh".into(), Setting::Group),
                "Normal",
                "OOMGroupSet",
                Value::from("spec.initContainers{mesh}"),
                "is 1: an OOM kill takes all",
            ),
            (
                Notice::PutBack(pod(), "app".into(), Setting::Group),
                "Normal",
                "OOMGroupPutBack",
                Value::from("spec.containers{app}"),
                "is 1 again",
            ),
            (
                Notice::Refused(pod(), refusal("ye\ns")),
                "Warning",
                "OOMGroupRefused",
                Value::Null,
                "memory.oom.group: \"ye\\ns\" is not followed: the value must be \"0\" or \"1\"",
            ),
            (
                Notice::Unsupported(pod()),
                "Warning",
                "OOMGroupUnsupported",
                Value::Null,
                "cgroup v1",
            ),
        ] {
            let event = written(&notice);
            assert_eq!(event["type"], kind);
            assert_eq!(event["reason"], reason);
            assert_eq!(event["involvedObject"]["fieldPath"], field_path);
            assert_eq!(event["involvedObject"]["name"], "cart");
            assert_eq!(event["firstTimestamp"], "2025-11-20T12:00:00Z");
            let note = event["message"].as_str().unwrap();
            assert!(note.contains(part), "{note}");
        }
    }

    #[test]
    fn names_made_to_deceive_stay_in_one_line_and_keep_their_place() {
        for n in 0..HOSTILE_NAMES.len() {
            let (pod, container) = hostile_pod(n);
            let refusal = Refusal {
                annotation: format!("{OOM_GROUP}.{container}"),
                value: container.to_string(),
                reason: Reason::NoSuchContainer,
            };
            for notice in [
                Notice::Held(pod.clone(), container.clone(), Setting::Process),
                Notice::Held(pod.clone(), container.clone(), Setting::Group),
                Notice::PutBack(pod.clone(), container.clone(), Setting::Group),
                Notice::Refused(pod.clone(), refusal),
                Notice::Unsupported(pod.clone()),
            ] {
                let line = format!("{}: {}", notice.pod(), notice.note());
                assert_eq!(escape_again(&line), line);
                let event = notice.event("node-1", Timestamp::UNIX_EPOCH);
                let event: Value = serde_json::from_slice(&event.body).unwrap();
                let message = event["message"].as_str().unwrap();
                assert_eq!(escape_again(message), message);
                assert!(message.len() <= MAX_NOTE, "{}", message.len());
                // What is no text for people keeps the name that the API server knows.
                assert_eq!(event["involvedObject"]["name"], *pod.name);
            }
        }
    }

    const HOSTILE_NAMES: [&str; 5] = [
        "x\n2026-01-01 INFO all is well",
        "\u{1b}[2J\u{9b}",
        "\u{202e}\u{200b}\u{2028}",
        "\\n",
        LONG,
    ];
    const LONG: &str = match str::from_utf8(&[b'\\'; 253]) {
        Ok(long) => long,
        Err(_) => panic!("ASCII is UTF-8"),
    };

    fn hostile_pod(n: usize) -> (Arc<Pod>, Arc<str>) {
        let name = HOSTILE_NAMES[n];
        let mut json = fixture::pod(name, 1).container(name).0;
        json["metadata"]["namespace"] = name.into();
        let object = serde_json::from_value(json).unwrap();
        let pod = Pod::new(&object, None, &mut Names::default()).unwrap();
        (pod.into(), name.into())
    }

    #[test]
    fn the_same_notice_is_the_same_event_and_another_is_another() {
        let held = |container: &str, setting| Notice::Held(pod(), container.into(), setting);
        let name = |notice: &Notice| written(notice)["metadata"]["name"].clone();
        let app = held("app", Setting::Process);
        assert_eq!(name(&app), name(&held("app", Setting::Process)));
        for other in [
            held("app", Setting::Group),
            held("mesh", Setting::Process),
            Notice::PutBack(pod(), "app".into(), Setting::Process),
            Notice::Unsupported(pod()),
        ] {
            assert_ne!(name(&app), name(&other), "{other:?}");
        }
    }
}
