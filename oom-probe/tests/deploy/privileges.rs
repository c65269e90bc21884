//! The privileges that the manifests ask for, and no more.

use serde_json::{Value, json};

use super::objects::{Objects, committed, pod_specs};

fn probe(objects: &Objects) -> (&Value, &Value) {
    let (_, spec) = pod_specs(objects)
        .find(|(name, _)| name.starts_with("apps/v1 DaemonSet "))
        .expect("there is a DaemonSet");
    (spec, &spec["containers"][0])
}

#[test]
fn the_daemon_has_two_capabilities_and_nothing_else() {
    for (file, objects) in committed() {
        let (spec, container) = probe(&objects);
        assert_eq!(
            container["securityContext"],
            json!({
                "runAsUser": 0,
                "runAsGroup": 0,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["BPF", "PERFMON"]},
            }),
            "{file}"
        );
        assert_eq!(
            spec["securityContext"]["seccompProfile"],
            json!({"type": "RuntimeDefault"}),
            "{file}"
        );
        for host in ["hostPID", "hostNetwork", "hostIPC"] {
            assert!(spec[host].is_null(), "{file}: {host}");
        }
    }
}

#[test]
fn the_daemon_may_list_and_watch_pods_and_create_events() {
    for (file, objects) in committed() {
        let role = &objects["rbac.authorization.k8s.io/v1 ClusterRole /oom-probe"];
        assert_eq!(
            role["rules"],
            json!([
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
                {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
            ]),
            "{file}"
        );
    }
}

#[test]
fn the_nodes_folders_are_mounted_outside_sys_and_the_cgroups_read_only() {
    for (file, objects) in committed() {
        let (spec, container) = probe(&objects);
        let paths: Vec<_> = spec["volumes"]
            .as_array()
            .expect("there are volumes")
            .iter()
            .map(|volume| volume["hostPath"]["path"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(
            paths,
            ["/sys/fs/bpf", "/sys/fs/cgroup", "/var/lib/oom-probe"],
            "{file}"
        );
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        for mount in mounts {
            let path = mount["mountPath"].as_str().unwrap_or_default();
            assert!(!path.starts_with("/sys/fs"), "{file}: {path}");
            assert_eq!(
                mount["name"] == "cgroup",
                mount["readOnly"] == true,
                "{file}: {path}"
            );
        }
        let variable = |name: &str| {
            let mut variables = container["env"].as_array().expect("variables").iter();
            variables
                .find_map(|variable| (variable["name"] == name).then(|| variable["value"].clone()))
                .and_then(|value| value.as_str().map(String::from))
                .unwrap_or_else(|| panic!("{file}: no {name}"))
        };
        let mounted = |path: &str| {
            mounts.iter().any(|mount| {
                let at = mount["mountPath"].as_str().unwrap_or("//");
                path == at || path.starts_with(&format!("{at}/"))
            })
        };
        for name in [
            "OOM_PROBE_PIN_DIR",
            "OOM_PROBE_STATE_DIR",
            "OOM_PROBE_CGROUP_ROOT",
        ] {
            let path = variable(name);
            assert!(mounted(&path), "{file}: {name}={path} is not on the node");
        }
    }
}

#[test]
fn the_probe_goes_to_every_node_that_has_a_kernel_of_its_own() {
    for (file, objects) in committed() {
        let (spec, container) = probe(&objects);
        assert_eq!(
            spec["tolerations"],
            json!([{"operator": "Exists"}]),
            "{file}"
        );
        assert_eq!(
            spec["nodeSelector"],
            json!({"kubernetes.io/os": "linux"}),
            "{file}"
        );
        let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"];
        assert_eq!(
            *terms,
            json!([{"matchExpressions": [
                {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
                {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
                {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]},
            ]}]),
            "{file}"
        );
        assert_eq!(
            container["resources"],
            json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}),
            "{file}"
        );
    }
}

#[test]
fn a_cluster_admits_the_probe_and_its_priority() {
    for (file, objects) in committed() {
        let labels = &objects["v1 Namespace /oom-probe"]["metadata"]["labels"];
        for mode in ["enforce", "audit", "warn"] {
            let label = format!("pod-security.kubernetes.io/{mode}");
            assert_eq!(labels[&label], "privileged", "{file}: {label}");
        }
        let (spec, _) = probe(&objects);
        assert_eq!(spec["priorityClassName"], "system-node-critical", "{file}");
        let quota = &objects["v1 ResourceQuota oom-probe/oom-probe"]["spec"];
        assert_eq!(
            quota["scopeSelector"]["matchExpressions"],
            json!([{
                "scopeName": "PriorityClass",
                "operator": "In",
                "values": [spec["priorityClassName"]],
            }]),
            "{file}"
        );
    }
}

#[test]
fn an_update_leaves_most_nodes_watched_and_never_runs_two_daemons_on_one() {
    for (file, objects) in committed() {
        let daemon_set = &objects["apps/v1 DaemonSet oom-probe/oom-probe"];
        assert_eq!(
            daemon_set["spec"]["updateStrategy"],
            json!({
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0},
            }),
            "{file}"
        );
    }
}

#[test]
fn images_have_a_version() {
    for (file, objects) in committed() {
        for (name, spec) in pod_specs(&objects) {
            let lists = [&spec["initContainers"], &spec["containers"]];
            let images = lists.into_iter().filter_map(Value::as_array).flatten();
            for image in images.map(|container| &container["image"]) {
                let tag = image.as_str().and_then(|image| image.rsplit_once(':'));
                let versioned = tag.is_some_and(|(_, tag)| tag != "latest" && !tag.contains('/'));
                assert!(versioned, "{file}: {name}: {image}");
            }
        }
    }
}

#[test]
fn the_daemon_that_writes_to_cgroups_is_apart_and_has_nothing_else() {
    for (file, objects) in committed() {
        let keeper = objects.get("apps/v1 DaemonSet oom-probe/oom-probe-oom-group");
        assert_eq!(
            keeper.is_some(),
            file == "oom-group",
            "{file}: off by default"
        );
        let Some(keeper) = keeper else { continue };
        let spec = &keeper["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        assert_eq!(
            container["securityContext"],
            json!({
                "runAsUser": 0,
                "runAsGroup": 0,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            })
        );
        assert_eq!(
            spec["volumes"],
            json!([{"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}}])
        );
        for host in ["hostPID", "hostNetwork", "hostIPC"] {
            assert!(spec[host].is_null(), "{host}");
        }
        // The probe is what it is without it.
        let (_, probe) = probe(&objects);
        let mounts = probe["volumeMounts"].as_array().expect("mounts");
        let cgroup = mounts.iter().find(|mount| mount["name"] == "cgroup");
        assert_eq!(cgroup.expect("cgroups")["readOnly"], true);
    }
}
