//! What a pod's annotations ask for: `oom-probe.io/memory.oom.group: "0"` for all of its containers,
//! `oom-probe.io/memory.oom.group.<container>` for one.

use crate::{
    kube::{object::OOM_GROUP, pod::Pod},
    model::labels::closed_set,
};

closed_set! {
    /// A value of `memory.oom.group`.
    Setting {
        /// An OOM kill takes one process.
        Process = "0",
        /// An OOM kill takes every process of the cgroup.
        Group = "1",
    }
}

impl Setting {
    /// The setting that a value of the file or of an annotation spells.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|all| all.as_str() == text)
    }
}

/// Longer values are not shown whole, nor are longer keys: the API allows 63 bytes behind the slash
/// (`k8s.io/apimachinery/pkg/util/validation`, `IsQualifiedName`).
const MAX_SHOWN: usize = 64;

/// What a pod asks for. Takes no memory of its own where it asks for nothing, as nearly all do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pod: Option<Setting>,
    containers: Box<[(Box<str>, Setting)]>,
    malformed: Box<[Refusal]>,
}

/// An annotation that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Its key, cut to a length that can be shown.
    pub annotation: String,
    /// Its value, cut to a length that can be shown.
    pub value: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Why an annotation is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// Neither 0 nor 1.
    #[error("the value must be \"0\" or \"1\"")]
    Value,
    /// What follows the key is no dot and a name.
    #[error("the key must end there, or with a dot and a container's name")]
    Key,
    /// The pod has no such container.
    #[error("the pod has no container of that name")]
    NoSuchContainer,
}

impl Asked {
    /// From the annotations of a pod.
    #[must_use]
    pub fn by(pod: &Pod) -> Self {
        Self::new(&pod.oom_group)
    }

    /// From what follows [`OOM_GROUP`] in each key, and the values.
    fn new(annotations: &[(Box<str>, Box<str>)]) -> Self {
        let mut pod = None;
        let (mut containers, mut malformed) = (Vec::new(), Vec::new());
        for (rest, value) in annotations {
            let mut refuse = |reason| malformed.push(Refusal::new(rest, value, reason));
            match (rest.strip_prefix('.'), Setting::parse(value)) {
                (None | Some(""), _) if !rest.is_empty() => refuse(Reason::Key),
                (_, None) => refuse(Reason::Value),
                (None, setting) => pod = setting,
                (Some(name), Some(setting)) => containers.push((name.into(), setting)),
            }
        }
        Self {
            pod,
            containers: containers.into(),
            malformed: malformed.into(),
        }
    }

    /// Whether anything is asked for that can be followed.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.pod.is_some() || !self.containers.is_empty()
    }

    /// What is asked for the container of that name: its own annotation comes before the pod's.
    #[must_use]
    pub fn of(&self, container: &str) -> Option<Setting> {
        let own = self
            .containers
            .iter()
            .find(|(name, _)| **name == *container);
        own.map(|(_, setting)| *setting).or(self.pod)
    }
}

impl Refusal {
    fn new(rest: &str, value: &str, reason: Reason) -> Self {
        Self {
            annotation: format!("{OOM_GROUP}{}", start(rest, MAX_SHOWN)),
            value: start(value, MAX_SHOWN).to_owned(),
            reason,
        }
    }
}

fn start(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The annotations of a pod that are not followed.
#[must_use]
pub fn refusals(pod: &Pod) -> Vec<Refusal> {
    let asked = Asked::by(pod);
    let strangers = asked
        .containers
        .iter()
        .filter(|(name, _)| pod.container(name).is_none());
    let strangers = strangers.map(|(name, setting)| {
        Refusal::new(
            &format!(".{name}"),
            setting.as_str(),
            Reason::NoSuchContainer,
        )
    });
    asked.malformed.iter().cloned().chain(strangers).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube::{fixture, names::Names};

    fn asked(annotations: &[(&str, &str)]) -> Asked {
        let annotations: Vec<(Box<str>, Box<str>)> = annotations
            .iter()
            .map(|(rest, value)| ((*rest).into(), (*value).into()))
            .collect();
        Asked::new(&annotations)
    }

    #[test]
    fn a_containers_own_annotation_comes_before_the_pods() {
        let (zero, one) = (Some(Setting::Process), Some(Setting::Group));
        for (annotations, app, proxy) in [
            (&[][..], None, None),
            (&[("", "0")], zero, zero),
            (&[("", "1")], one, one),
            (&[(".app", "0")], zero, None),
            (&[("", "0"), (".proxy", "1")], zero, one),
            (&[(".proxy", "1"), ("", "0")], zero, one),
        ] {
            let asked = asked(annotations);
            assert_eq!((asked.of("app"), asked.of("proxy")), (app, proxy));
            assert_eq!(asked.is_any(), !annotations.is_empty());
            assert!(asked.malformed.is_empty());
        }
    }

    #[test]
    fn what_is_not_0_or_1_is_refused_and_the_rest_is_followed() {
        let long = "ä".repeat(100);
        for (rest, value, reason) in [
            ("", "", Reason::Value),
            ("", "true", Reason::Value),
            ("", " 0", Reason::Value),
            ("", "01", Reason::Value),
            (".proxy", "yes", Reason::Value),
            (".proxy", &long, Reason::Value),
            (".", "0", Reason::Key),
            ("s", "0", Reason::Key),
            ("-app", "1", Reason::Key),
            (&long, "1", Reason::Key),
        ] {
            let asked = asked(&[(rest, value), (".app", "0")]);
            assert_eq!(asked.malformed.len(), 1, "{rest} {value}");
            assert_eq!(asked.malformed[0].reason, reason, "{rest} {value}");
            assert!(asked.malformed[0].value.len() <= MAX_SHOWN);
            assert!(asked.malformed[0].annotation.len() <= OOM_GROUP.len() + MAX_SHOWN);
            assert_eq!(asked.of("app"), Some(Setting::Process));
            assert_eq!(asked.of("proxy"), None);
        }
    }

    #[test]
    fn a_container_that_the_pod_does_not_have_is_refused() {
        let mut pod = fixture::pod("cart", 1).container("proxy");
        pod.0["metadata"]["annotations"] = json!({
            "oom-probe.io/memory.oom.group": "0",
            "oom-probe.io/memory.oom.group.proxy": "1",
            "oom-probe.io/memory.oom.group.gone": "1",
            "oom-probe.io/memory.oom.groups": "1",
            "kubernetes.io/config.source": "file", "null": null,
        });
        let object = serde_json::from_value(pod.0).unwrap();
        let pod = Pod::new(&object, None, &mut Names::default()).unwrap();
        let mut refused: Vec<_> = refusals(&pod)
            .into_iter()
            .map(|refusal| (refusal.annotation, refusal.reason))
            .collect();
        refused.sort_by(|a, b| a.0.cmp(&b.0));
        let annotation = |rest| format!("oom-probe.io/memory.oom.group{rest}");
        assert_eq!(
            refused,
            [
                (annotation(".gone"), Reason::NoSuchContainer),
                (annotation("s"), Reason::Key),
            ]
        );
        let asked = Asked::by(&pod);
        assert_eq!(asked.of("app"), Some(Setting::Process));
        assert_eq!(asked.of("proxy"), Some(Setting::Group));
    }
}
