//! What has to be changed about the Deployment for the drill, and how it is put back. Pure.

use hog::units::format_size;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

/// A service that stays up needs at least so many.
const REPLICAS: i32 = 2;

/// One change: a strategic merge patch, and the one that undoes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) what: String,
    pub(super) patch: Value,
    pub(super) undo: Value,
}

/// The changes that give `container` this memory limit, and the Deployment two replicas; none for
/// what is so already.
pub(super) fn changes(
    deployment: &Deployment,
    container: &Container,
    limit: Option<u64>,
) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    if let Some(limit) = limit {
        changes.extend(set_limit(container, limit)?);
    }
    let spec = deployment.spec.as_ref();
    let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    if replicas < REPLICAS {
        changes.push(Change {
            what: format!("replicas {replicas} → {REPLICAS}"),
            patch: json!({"spec": {"replicas": REPLICAS}}),
            undo: json!({"spec": {"replicas": replicas}}),
        });
    }
    Ok(changes)
}

fn set_limit(container: &Container, limit: u64) -> Result<Option<Change>, String> {
    let resources = container.resources.as_ref();
    let memory = |quantities: Option<&std::collections::BTreeMap<String, Quantity>>| {
        quantities.and_then(|quantities| quantities.get("memory").cloned())
    };
    let old_limit = memory(resources.and_then(|resources| resources.limits.as_ref()));
    let old_request = memory(resources.and_then(|resources| resources.requests.as_ref()));
    if old_limit.as_ref().map(bytes).transpose()? == Some(limit) {
        return Ok(None);
    }
    let new = limit.to_string();
    let mut patch = json!({"limits": {"memory": new}});
    // null takes a key out.
    let mut undo = json!({"limits": {"memory": old_limit.as_ref().map(|quantity| &quantity.0)}});
    if let Some(request) = &old_request
        && bytes(request)? > limit
    {
        patch["requests"] = json!({"memory": new});
        undo["requests"] = json!({"memory": request.0});
    } else if old_request.is_none() {
        // Without this the API server would make the request equal to the limit, and leave it so.
        undo["requests"] = json!({"memory": null});
    }
    let of_container = |resources: Value| {
        let container = json!({"name": container.name, "resources": resources});
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    };
    let old = old_limit.map_or("none".to_owned(), |quantity| quantity.0);
    Ok(Some(Change {
        what: format!(
            "memory limit of {} {old} → {}",
            container.name,
            format_size(limit)
        ),
        patch: of_container(patch),
        undo: of_container(undo),
    }))
}

/// A quantity of memory in bytes (apimachinery's `resource.Quantity`): `128Mi`, `1G`, `1e9`, `512`.
pub(super) fn bytes(quantity: &Quantity) -> Result<u64, String> {
    let text = quantity.0.trim();
    let bad = || format!("`{text}` is no quantity of memory");
    let split = text
        .find(|character: char| character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        exponent => exponent
            .strip_prefix(['e', 'E'])
            .and_then(|power| power.parse().ok())
            .map(|power: i32| 10f64.powi(power))
            .ok_or_else(bad)?,
    };
    let bytes = number * factor;
    if !(0.0..1.8e19).contains(&bytes) {
        return Err(bad());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range, and the API server rounds up to whole bytes too"
    )]
    Ok(bytes.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: i32, resources: &Value) -> (Deployment, Container) {
        let container = json!({"name": "app", "resources": resources});
        let deployment = json!({"spec": {
            "replicas": replicas, "selector": {},
            "template": {"spec": {"containers": [container.clone()]}},
        }});
        (
            serde_json::from_value(deployment).unwrap(),
            serde_json::from_value(container).unwrap(),
        )
    }

    fn found(replicas: i32, resources: &Value, limit: Option<u64>) -> Vec<Change> {
        let (deployment, container) = deployment(replicas, resources);
        changes(&deployment, &container, limit).unwrap()
    }

    #[test]
    fn what_is_so_already_is_not_changed() {
        let resources = json!({"limits": {"memory": "128Mi"}});
        assert_eq!(found(2, &resources, Some(128 << 20)), []);
        assert_eq!(found(3, &json!({}), None), []);
    }

    #[test]
    fn every_change_has_its_undoing() {
        let resources = json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "512Mi"}});
        let changes = found(1, &resources, Some(128 << 20));
        assert_eq!(changes[0].what, "memory limit of app 1Gi → 128 MiB");
        let at = "/spec/template/spec/containers/0/resources";
        assert_eq!(
            changes[0].patch.pointer(at).unwrap(),
            &json!({"limits": {"memory": "134217728"}, "requests": {"memory": "134217728"}})
        );
        assert_eq!(
            changes[0].undo.pointer(at).unwrap(),
            &json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "512Mi"}})
        );
        assert_eq!(changes[1].what, "replicas 1 → 2");
        assert_eq!(changes[1].undo, json!({"spec": {"replicas": 1}}));
    }

    #[test]
    fn a_limit_that_was_not_there_is_taken_out_again() {
        let changes = found(2, &json!({}), Some(128 << 20));
        let undo = changes[0]
            .undo
            .pointer("/spec/template/spec/containers/0/resources");
        assert_eq!(
            undo.unwrap(),
            &json!({"limits": {"memory": null}, "requests": {"memory": null}})
        );
    }

    #[test]
    fn quantities_are_the_apis_own() {
        for (text, expected) in [
            ("128Mi", Some(128 << 20)),
            ("1G", Some(1_000_000_000)),
            ("1.5Gi", Some(3 << 29)),
            ("512", Some(512)),
            ("1e3", Some(1000)),
            ("100m", Some(1)),
            ("", None),
            ("Mi", None),
            ("12X", None),
            ("-1", None),
            ("1e300", None),
        ] {
            assert_eq!(bytes(&Quantity(text.to_owned())).ok(), expected, "{text}");
        }
    }
}
