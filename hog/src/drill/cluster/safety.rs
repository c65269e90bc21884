//! What the drill keeps its hands off, unless it is forced. Pure.

use std::collections::BTreeMap;

/// A label or annotation of a namespace: `oom-probe.io/drill: forbidden`.
pub(super) const MARK: &str = "oom-probe.io/drill";
const FORBIDDEN: &str = "forbidden";

/// Namespaces that a cluster lives by.
const OF_THE_CLUSTER: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Labels and annotations by which GitOps controllers know what is theirs, and whose they are.
const GITOPS: [(&str, &str); 8] = [
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("configmanagement.gke.io/managed", "Config Sync"),
    ("configsync.gke.io/resource-id", "Config Sync"),
    ("objectset.rio.cattle.io/id", "Fleet"),
    ("fleet.cattle.io/bundle-id", "Fleet"),
];

type Marks = Option<BTreeMap<String, String>>;

/// Why no drill is to be made in the namespace.
pub(super) fn forbidden(namespace: &str, labels: &Marks, annotations: &Marks) -> Option<String> {
    if OF_THE_CLUSTER.contains(&namespace) {
        return Some(format!(
            "{namespace} is a namespace that the cluster lives by"
        ));
    }
    let marked = |marks: &Marks| {
        let value = marks.as_ref()?.get(MARK)?;
        value.eq_ignore_ascii_case(FORBIDDEN).then_some(())
    };
    let what = match (marked(labels), marked(annotations)) {
        (Some(()), _) => "label",
        (None, Some(())) => "annotation",
        (None, None) => return None,
    };
    Some(format!(
        "namespace {namespace} has the {what} {MARK}: {FORBIDDEN}"
    ))
}

/// The GitOps controller that would put back what the drill changes.
pub(super) fn gitops(labels: &Marks, annotations: &Marks) -> Option<&'static str> {
    let has =
        |marks: &Marks, key: &str| marks.as_ref().is_some_and(|marks| marks.contains_key(key));
    let mut known = GITOPS.into_iter();
    let (_, name) = known.find(|(key, _)| has(labels, key) || has(annotations, key))?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(of: &[(&str, &str)]) -> Marks {
        let pairs = of
            .iter()
            .map(|(key, value)| (String::from(*key), String::from(*value)));
        Some(pairs.collect())
    }

    #[test]
    fn a_marked_namespace_and_those_of_the_cluster_are_forbidden() {
        let mark = marks(&[(MARK, "forbidden")]);
        let other = marks(&[(MARK, "welcome"), ("a", "b")]);
        for (name, labels, annotations, allowed) in [
            ("shop", &None, &None, true),
            ("shop", &other, &other, true),
            ("shop", &mark, &None, false),
            ("shop", &None, &mark, false),
            ("kube-system", &None, &None, false),
        ] {
            let why = forbidden(name, labels, annotations);
            assert_eq!(why.is_none(), allowed, "{name} {labels:?} {annotations:?}");
            assert!(why.is_none_or(|why| why.contains(name)));
        }
    }

    #[test]
    fn a_gitops_controller_is_known_by_its_marks() {
        let none = marks(&[("app", "cart")]);
        assert_eq!(gitops(&none, &None), None);
        let argo = marks(&[("argocd.argoproj.io/tracking-id", "x")]);
        assert_eq!(gitops(&none, &argo), Some("Argo CD"));
        let flux = marks(&[("kustomize.toolkit.fluxcd.io/name", "apps")]);
        assert_eq!(gitops(&flux, &None), Some("Flux"));
    }
}
