//! A pod as a manifest of `deploy/` has it, in the words of `ctr run`: what is tested is what users
//! apply.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::cmd;

/// What `ctr` gives every container and `drop: [ALL]` takes away.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The pod of a DaemonSet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pod {
    #[serde(default)]
    init_containers: Vec<Container>,
    containers: Vec<Container>,
    security_context: PodSecurity,
    volumes: Vec<Volume>,
}

/// A container of a pod. Of what bears on its rights nothing is passed over: an unknown field is an
/// error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) image: String,
    pub(super) args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    resources: Resources,
    security_context: Security,
    volume_mounts: Vec<Mount>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodSecurity {
    seccomp_profile: SeccompProfile,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum SeccompProfile {
    RuntimeDefault,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Security {
    run_as_user: u32,
    run_as_group: u32,
    privileged: bool,
    allow_privilege_escalation: bool,
    read_only_root_filesystem: bool,
    capabilities: Capabilities,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capabilities {
    drop: Vec<String>,
    #[serde(default)]
    add: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Variable {
    name: String,
    value: Option<String>,
    value_from: Option<Source>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    field_ref: Field,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Field {
    field_path: String,
}

#[derive(Debug, Deserialize)]
struct Resources {
    limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    memory: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mount {
    name: String,
    mount_path: String,
    mount_propagation: Option<Propagation>,
    #[serde(default)]
    read_only: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Propagation {
    HostToContainer,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Volume {
    name: String,
    host_path: HostPath,
}

/// A directory of the node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostPath {
    pub(super) path: PathBuf,
    pub(super) r#type: HostPathType,
}

/// Who makes a directory of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum HostPathType {
    /// It has to be there.
    Directory,
    /// The kubelet, where it is not there.
    DirectoryOrCreate,
}

impl Pod {
    /// That of a DaemonSet in a file below `deploy/`.
    ///
    /// # Errors
    /// It is not there, or asks for what is not known here.
    pub(super) fn of_daemon_set(file: &str, name: &str) -> Result<Self> {
        let path = cmd::workspace().join("deploy").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text, name).with_context(|| format!("DaemonSet {name} in deploy/{file}"))
    }

    fn parse(manifest: &str, name: &str) -> Result<Self> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(manifest)?;
        let spec = objects
            .into_iter()
            .find(|object| object["kind"] == "DaemonSet" && object["metadata"]["name"] == name)
            .and_then(|mut object| Some(object.pointer_mut("/spec/template/spec")?.take()))
            .context("it is not there")?;
        Ok(serde_json::from_value(spec)?)
    }

    /// The only init container.
    ///
    /// # Errors
    /// There is another number of them.
    pub(super) fn init_container(&self) -> Result<&Container> {
        only(&self.init_containers)
    }

    /// The only container.
    ///
    /// # Errors
    /// There is another number of them.
    pub(super) fn container(&self) -> Result<&Container> {
        only(&self.containers)
    }

    /// The options of `ctr run` that give a container what the pod says. `on_node` finds the
    /// node's directories.
    ///
    /// # Errors
    /// The manifest asks for what this cannot give, or a directory is not there.
    pub(super) fn options(
        &self,
        container: &Container,
        node: &str,
        on_node: impl Fn(&HostPath) -> Result<PathBuf>,
    ) -> Result<Vec<String>> {
        let Security {
            run_as_user,
            run_as_group,
            privileged,
            allow_privilege_escalation,
            read_only_root_filesystem,
            capabilities: Capabilities { drop, add },
        } = &container.security_context;
        if *privileged || *allow_privilege_escalation || !read_only_root_filesystem {
            bail!("it asks for more than a test should give");
        }
        if drop != &["ALL"] {
            bail!("it keeps capabilities of the runtime's: {drop:?}");
        }
        let SeccompProfile::RuntimeDefault = self.security_context.seccomp_profile;
        let mut options = vec![
            "--seccomp".to_owned(),
            "--read-only".to_owned(),
            format!("--user={run_as_user}:{run_as_group}"),
            format!(
                "--memory-limit={}",
                bytes(&container.resources.limits.memory)?
            ),
        ];
        options.extend(DEFAULT_CAPABILITIES.map(|name| format!("--cap-drop=CAP_{name}")));
        options.extend(add.iter().map(|name| format!("--cap-add=CAP_{name}")));
        for Variable {
            name,
            value,
            value_from,
        } in &container.env
        {
            let value = match (value, value_from) {
                (Some(value), None) => value,
                (None, Some(source)) if source.field_ref.field_path == "spec.nodeName" => node,
                _ => bail!("the value of {name} is not known"),
            };
            options.push(format!("--env={name}={value}"));
        }
        for mount in &container.volume_mounts {
            let volume = self.volumes.iter().find(|volume| volume.name == mount.name);
            let volume = volume.with_context(|| format!("no volume {}", mount.name))?;
            let source = on_node(&volume.host_path)?;
            let propagation = match mount.mount_propagation {
                Some(Propagation::HostToContainer) => "rslave",
                None => "rprivate",
            };
            let access = if mount.read_only { "ro" } else { "rw" };
            options.push(format!(
                "--mount=type=bind,src={},dst={},options=rbind:{propagation}:{access}",
                source.display(),
                mount.mount_path
            ));
        }
        Ok(options)
    }
}

fn only(containers: &[Container]) -> Result<&Container> {
    match containers {
        [one] => Ok(one),
        several => bail!("{} containers instead of one", several.len()),
    }
}

/// A quantity as the manifests write it.
fn bytes(quantity: &str) -> Result<u64> {
    let mebibytes = quantity
        .strip_suffix("Mi")
        .and_then(|number| number.parse::<u64>().ok());
    mebibytes
        .map(|mebibytes| mebibytes << 20)
        .with_context(|| format!("{quantity:?} is no number of Mi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "
kind: Namespace
metadata: {name: probe}
---
kind: DaemonSet
metadata: {name: probe}
spec:
  template:
    spec:
      securityContext: {seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: probe
          image: localhost/probe:1
          args: [run]
          env:
            - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: ROOT, value: /host}
          resources: {limits: {memory: 64Mi}}
          securityContext:
            runAsUser: 0
            runAsGroup: 7
            privileged: false
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL], add: [BPF]}
          volumeMounts:
            - {name: pins, mountPath: /pins, mountPropagation: HostToContainer, readOnly: true}
      volumes:
        - {name: pins, hostPath: {path: /sys/fs/bpf, type: Directory}}
";

    fn options(manifest: &str) -> Result<Vec<String>> {
        let pod = Pod::parse(manifest, "probe")?;
        let on_node = |host: &HostPath| {
            assert_eq!(host.r#type, HostPathType::Directory);
            Ok(PathBuf::from("/node").join(host.path.strip_prefix("/")?))
        };
        pod.options(pod.container()?, "node-1", on_node)
    }

    #[test]
    fn a_container_is_run_as_the_manifest_says() {
        let mut options = options(MANIFEST).unwrap();
        options.retain(|option| !option.starts_with("--cap-drop="));
        assert_eq!(
            options,
            [
                "--seccomp",
                "--read-only",
                "--user=0:7",
                "--memory-limit=67108864",
                "--cap-add=CAP_BPF",
                "--env=NODE=node-1",
                "--env=ROOT=/host",
                "--mount=type=bind,src=/node/sys/fs/bpf,dst=/pins,options=rbind:rslave:ro",
            ]
        );
    }

    #[test]
    fn what_the_test_would_not_give_is_an_error() {
        for (written, instead) in [
            ("privileged: false", "privileged: true"),
            ("Escalation: false", "Escalation: true"),
            ("Filesystem: true", "Filesystem: false"),
            ("drop: [ALL]", "drop: [KILL]"),
            ("type: RuntimeDefault", "type: Unconfined"),
            (
                "runAsGroup: 7",
                "procMount: Unmasked\n            runAsGroup: 7",
            ),
            ("memory: 64Mi", "memory: 64M"),
            ("fieldPath: spec.nodeName", "fieldPath: status.podIP"),
            ("HostToContainer", "Bidirectional"),
            ("- {name: pins, hostPath", "- {name: other, hostPath"),
            ("kind: DaemonSet", "kind: Deployment"),
        ] {
            assert!(MANIFEST.contains(written), "{written}");
            let manifest = MANIFEST.replace(written, instead);
            assert!(options(&manifest).is_err(), "{instead} was taken");
        }
    }
}
