//! Manifests as objects.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::programs::deploy;

/// Objects by what tells them apart in a cluster.
pub(crate) type Objects = BTreeMap<String, Value>;

/// The objects of a YAML stream.
pub(crate) fn parse(text: &str) -> Objects {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("manifests are YAML");
    let objects: Vec<_> = documents.into_iter().filter(|one| !one.is_null()).collect();
    let count = objects.len();
    let named: Objects = objects
        .into_iter()
        .map(|object| (name(&object), object))
        .collect();
    assert_eq!(named.len(), count, "two objects have one name");
    named
}

/// `apps/v1 DaemonSet oom-probe/oom-probe`.
fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {} {}/{}",
        text(&object["apiVersion"]),
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"])
    )
}

/// The committed manifests, by file name.
pub(crate) fn committed() -> Vec<(String, Objects)> {
    let directory = deploy().join("manifests");
    let mut all: Vec<_> = fs::read_dir(directory)
        .expect("deploy/manifests is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("manifests can be read");
            let name = path.file_stem().expect("it has a name").to_string_lossy();
            (name.into_owned(), parse(&text))
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// The pod templates of the objects.
pub(crate) fn pod_specs(objects: &Objects) -> impl Iterator<Item = (&str, &Value)> {
    objects.iter().filter_map(|(name, object)| {
        let spec = &object["spec"]["template"]["spec"];
        spec.is_object().then_some((name.as_str(), spec))
    })
}
