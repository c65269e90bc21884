//! Each way of deploying the probe, by kustomize and by the chart: both must give the same objects.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::copies;
use super::objects::{self, Objects};
use super::programs::{deploy, output, program};
use super::schema;

/// An overlay with components, and the chart's values that mean the same.
struct Variant {
    name: &'static str,
    overlay: &'static str,
    components: &'static [&'static str],
    /// Beside `deploy/helm/values/OVERLAY.yaml`.
    set: &'static [&'static str],
    /// Whether the manifests are in `deploy/manifests`, for those who have neither tool.
    committed: bool,
}

const VARIANTS: [Variant; 9] = [
    Variant {
        name: "plain",
        overlay: "plain",
        components: &[],
        set: &[],
        committed: true,
    },
    Variant {
        name: "prometheus-operator",
        overlay: "prometheus-operator",
        components: &[],
        set: &[],
        committed: true,
    },
    Variant {
        name: "openshift",
        overlay: "openshift",
        components: &[],
        set: &[],
        committed: true,
    },
    Variant {
        name: "kind",
        overlay: "kind",
        components: &[],
        set: &[],
        committed: true,
    },
    Variant {
        name: "old-kernels",
        overlay: "plain",
        components: &["mount-bpffs", "kernel-5.10", "plain-tracepoint"],
        set: &["mountBpffs=true", "kernel510=true", "plainTracepoint=true"],
        committed: false,
    },
    Variant {
        name: "hardened",
        overlay: "prometheus-operator",
        components: &["hardened", "network-policy"],
        set: &["hardened=true", "networkPolicy.enabled=true"],
        committed: false,
    },
    Variant {
        name: "oom-group",
        overlay: "oom-group",
        components: &[],
        set: &[],
        committed: true,
    },
    Variant {
        name: "oom-group, scraped",
        overlay: "prometheus-operator",
        components: &["oom-group", "oom-group-monitor"],
        set: &["oomGroup.enabled=true"],
        committed: false,
    },
    Variant {
        name: "near-limit",
        overlay: "prometheus-operator",
        components: &["alert-near-limit"],
        set: &["alerts.nearLimit=true"],
        committed: false,
    },
];

/// The kustomization of a variant: in a directory beside `deploy/`, as a user's would be.
fn kustomize(kubectl: &Path, variant: &Variant) -> String {
    if variant.components.is_empty() {
        let overlay = deploy().join("overlays").join(variant.overlay);
        return output(Command::new(kubectl).arg("kustomize").arg(overlay));
    }
    let directory = tempfile::Builder::new()
        .prefix(".kustomize-")
        .tempdir_in(deploy())
        .expect("deploy/ can be written to");
    let mut text = format!(
        "resources: [../overlays/{}]\ncomponents:\n",
        variant.overlay
    );
    for component in variant.components {
        let _ = writeln!(text, "  - ../components/{component}");
    }
    fs::write(directory.path().join("kustomization.yaml"), text).expect("it can be written");
    output(Command::new(kubectl).arg("kustomize").arg(directory.path()))
}

fn helm(helm: &Path, variant: &Variant) -> String {
    let values = deploy().join(format!("helm/values/{}.yaml", variant.overlay));
    let mut command = template(helm);
    command.arg("--values").arg(values);
    for set in variant.set {
        command.args(["--set", set]);
    }
    output(&mut command)
}

/// `helm template` of the chart, with its defaults.
pub(crate) fn template(helm: &Path) -> Command {
    let mut command = Command::new(helm);
    command
        .args(["template", "oom-probe", "--namespace", "oom-probe"])
        .arg(deploy().join("helm/oom-probe"));
    command
}

fn assert_same(name: &str, kustomize: &Objects, helm: &Objects) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(kustomize), names(helm), "{name}: other objects");
    for (object, ours) in kustomize {
        let text = |value| serde_json::to_string_pretty(value).expect("it is JSON");
        let (ours, theirs) = (text(ours), text(&helm[object]));
        assert!(
            ours == theirs,
            "{name}: {object}\nkustomize: {ours}\nhelm: {theirs}"
        );
    }
}

#[test]
fn kustomize_and_the_chart_render_the_same_valid_objects() {
    let (Some(kubectl), Some(helm_program)) = (program("kubectl"), program("helm")) else {
        return;
    };
    for variant in &VARIANTS {
        let text = kustomize(&kubectl, variant);
        let rendered = objects::parse(&text);
        schema::assert_valid(variant.name, &rendered);
        assert_same(
            variant.name,
            &rendered,
            &objects::parse(&helm(&helm_program, variant)),
        );
        if variant.committed {
            let header = format!(
                "# kubectl kustomize deploy/overlays/{}: made by `cargo xtask deploy`.\n",
                variant.overlay
            );
            copies::expect(
                &format!("manifests/{}.yaml", variant.name),
                &(header + &text),
            );
        }
    }
}

#[test]
fn what_kind_runs_beside_the_probe_is_valid() {
    let Some(kubectl) = program("kubectl") else {
        return;
    };
    let text = output(
        Command::new(kubectl)
            .arg("kustomize")
            .arg(deploy().join("kind")),
    );
    let objects = objects::parse(&text);
    assert!(objects.contains_key("apps/v1 Deployment monitoring/prometheus"));
    schema::assert_valid("kind", &objects);
}
