//! The Event object: core/v1, as the kubelet writes its own.
//!
//! `events.k8s.io` leaves `firstTimestamp`, `lastTimestamp` and `count` empty, which `kubectl get
//! events` and most exporters show.

use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use crate::journal::window::Subject;
use crate::{
    attribution::outcome::Settled,
    kube::pod::{ContainerKind, Pod},
};
use capture::model::labels::Outcome;

/// `k8s.io/apimachinery/pkg/util/validation`, `DNS1123SubdomainMaxLength`.
const MAX_NAME: usize = 253;
/// Who says it.
pub(crate) const COMPONENT: &str = "oom-probe";

/// An Event and the namespace that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it is created.
    pub namespace: String,
    /// The object in JSON.
    pub body: Vec<u8>,
}

/// What an Event says of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saying<'a> {
    pub(crate) kind: Kind,
    pub(crate) reason: &'static str,
    pub(crate) note: &'a str,
    pub(crate) time: Timestamp,
    /// What makes its name differ from those of other Events of the pod: the same is the same Event,
    /// told by however many daemons and however often.
    pub(crate) key: &'a str,
}

/// `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

impl Subject {
    /// A pod, or a container of it.
    pub(crate) fn of_pod(pod: &Pod, container: Option<&str>) -> Self {
        Self {
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            uid: pod.config_hash.unwrap_or(pod.uid).to_string(),
            field_path: container.and_then(|name| field_path(name, Some(pod))),
        }
    }

    /// Absent for a pod that is not known by name.
    pub(crate) fn of(settled: &Settled, pod: Option<&Pod>) -> Option<Self> {
        let reference = settled.kill.pod.as_ref()?;
        let container = reference.container.as_deref();
        Some(Self {
            namespace: reference.namespace.clone()?,
            name: reference.name.clone()?,
            // For a mirror pod `kubectl describe` asks for the static pod's Events
            // (`k8s.io/kubectl/pkg/describe/describe.go`, PodDescriber).
            uid: match pod.and_then(|pod| pod.config_hash) {
                Some(hash) => hash.to_string(),
                None => reference.uid.clone()?,
            },
            field_path: container.and_then(|name| field_path(name, pod)),
        })
    }
}

/// `pkg/kubelet/container/ref.go`, `fieldPath`. Absent for what is in no list of the spec.
fn field_path(name: &str, pod: Option<&Pod>) -> Option<String> {
    if name == capture::model::kill::SANDBOX {
        return None;
    }
    let container = pod.and_then(|pod| pod.container(name));
    let list = match container.map(|container| container.kind) {
        None | Some(ContainerKind::App) => "containers",
        Some(ContainerKind::Init | ContainerKind::Sidecar) => "initContainers",
        Some(ContainerKind::Ephemeral) => "ephemeralContainers",
    };
    Some(format!("spec.{list}{{{name}}}"))
}

/// The Event of an OOM event, which says `note`.
pub(super) fn event(settled: &Settled, subject: &Subject, note: &str, node: &str) -> Event {
    let kill = &settled.kill.kill;
    let reason = match settled.outcome {
        Outcome::Died => "OOMKilled",
        Outcome::Survived => "ProcessOOMKilled",
    };
    let saying = Saying {
        kind: Kind::Warning,
        reason,
        note,
        time: kill.time,
        key: &kill.id,
    };
    saying.of(subject, node)
}

impl Saying<'_> {
    /// The Event, as told by this node.
    pub(crate) fn of(&self, subject: &Subject, node: &str) -> Event {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "namespace": subject.namespace,
        "name": subject.name, "uid": subject.uid});
        if let Some(field_path) = &subject.field_path {
            object["fieldPath"] = json!(field_path);
        }
        let time = seconds(self.time);
        let kind = match self.kind {
            Kind::Normal => "Normal",
            Kind::Warning => "Warning",
        };
        let event: Value = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"namespace": subject.namespace, "name": name(&subject.name, self.key)},
            "involvedObject": object,
            "type": kind, "reason": self.reason, "message": self.note,
            "firstTimestamp": time, "lastTimestamp": time, "count": 1,
            "source": {"component": COMPONENT, "host": node},
            "reportingComponent": COMPONENT, "reportingInstance": node,
        });
        Event {
            namespace: subject.namespace.clone(),
            body: event.to_string().into_bytes(),
        }
    }
}

/// The pod's name and the key, such as a kill's id.
fn name(pod: &str, key: &str) -> String {
    let kill: String = key
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .filter(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || *c == '-')
        .take(MAX_NAME / 2)
        .collect();
    let mut room = MAX_NAME.saturating_sub(kill.len() + 1).min(pod.len());
    while !pod.is_char_boundary(room) {
        room -= 1;
    }
    let pod = pod[..room].trim_end_matches(['-', '.']);
    format!("{pod}.{}", kill.trim_matches('-'))
}

/// `metav1.Time` has no fractions.
fn seconds(time: Timestamp) -> String {
    let rounded = time.as_second();
    Timestamp::from_second(rounded).map_or_else(|_| time.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kube::{
            fixture::{PodJson, config_hash, pod, uid},
            names::Names,
        },
        sinks::kube_events::fixture::settled,
    };

    fn known(pod: &PodJson) -> Pod {
        let object = serde_json::from_value(pod.0.clone()).unwrap();
        Pod::new(&object, None, &mut Names::default()).unwrap()
    }

    #[test]
    fn an_event_is_as_the_kubelet_writes_it() {
        let settled = settled(Outcome::Survived, 1, &json!({}));
        let subject = Subject::of(&settled, None).unwrap();
        let event = event(&settled, &subject, "a note", "node-1");
        assert_eq!(event.namespace, "shop");
        let object: Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(
            object,
            json!({
                "apiVersion": "v1", "kind": "Event",
                "metadata": {
                    "namespace": "shop",
                    "name": "cart-7d9f8b6c5d-x2x9z.3b8a1c9e-184467440737-4711-184460000000",
                },
                "involvedObject": {
                    "apiVersion": "v1", "kind": "Pod", "namespace": "shop",
                    "name": "cart-7d9f8b6c5d-x2x9z",
                    "uid": "3b8a1c9e-5d2f-4c55-9d0a-0f4f4b2e8a11",
                    "fieldPath": "spec.containers{app}",
                },
                "type": "Warning", "reason": "ProcessOOMKilled", "message": "a note",
                "firstTimestamp": "2025-11-20T12:03:44Z", "lastTimestamp": "2025-11-20T12:03:44Z",
                "count": 1, "source": {"component": "oom-probe", "host": "node-1"},
                "reportingComponent": "oom-probe", "reportingInstance": "node-1",
            })
        );
    }

    #[test]
    fn the_reason_is_the_outcome() {
        for (outcome, reason) in [
            (Outcome::Died, "OOMKilled"),
            (Outcome::Survived, "ProcessOOMKilled"),
        ] {
            let settled = settled(outcome, 1, &json!({}));
            let subject = Subject::of(&settled, None).unwrap();
            let event = event(&settled, &subject, "", "node-1");
            let object: Value = serde_json::from_slice(&event.body).unwrap();
            assert_eq!(object["reason"], reason);
        }
    }

    #[test]
    fn the_field_path_is_the_containers_place_in_the_spec() {
        let cart = pod("cart", 1)
            .init("migrate")
            .sidecar("mesh")
            .ephemeral("debug");
        let cart = known(&cart);
        for (name, expected) in [
            ("app", Some("spec.containers{app}")),
            ("migrate", Some("spec.initContainers{migrate}")),
            ("mesh", Some("spec.initContainers{mesh}")),
            ("debug", Some("spec.ephemeralContainers{debug}")),
            ("POD", None),
        ] {
            assert_eq!(field_path(name, Some(&cart)).as_deref(), expected);
        }
        assert_eq!(
            field_path("app", None).as_deref(),
            Some("spec.containers{app}")
        );
    }

    #[test]
    fn a_static_pod_is_called_what_kubectl_asks_for() {
        let mirror = known(&pod("etcd", 1).mirror_of(7));
        let change = json!({"pod": {"uid": uid(1)}});
        let subject = Subject::of(&settled(Outcome::Died, 1, &change), Some(&mirror)).unwrap();
        assert_eq!(subject.uid, config_hash(7));
    }

    #[test]
    fn a_pod_without_a_name_has_no_events() {
        for missing in ["namespace", "name", "uid"] {
            let settled = settled(Outcome::Died, 1, &json!({"pod": {missing: null}}));
            assert_eq!(Subject::of(&settled, None), None, "{missing}");
        }
        assert_eq!(
            Subject::of(&settled(Outcome::Died, 1, &json!({"pod": null})), None),
            None
        );
    }

    #[test]
    fn a_name_is_a_dns_name_whatever_it_is_made_of() {
        let kill = "3b8a1c9e-184467440737-4711-184460000000";
        let long = format!("{}-.{}", "a".repeat(211), "b".repeat(40));
        for (pod, kill, expected) in [
            ("cart", kill, format!("cart.{kill}")),
            (&long, kill, format!("{}.{kill}", "a".repeat(211))),
            (
                "ä".repeat(200).as_str(),
                kill,
                format!("{}.{kill}", "ä".repeat(106)),
            ),
            ("cart", "A_B-", "cart.ab".to_owned()),
        ] {
            assert_eq!(name(pod, kill), expected);
            assert!(name(pod, kill).len() <= MAX_NAME);
        }
        assert!(name(&long, &"7".repeat(1000)).len() <= MAX_NAME);
    }
}
