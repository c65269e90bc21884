//! The kills that all of these tests show, as records.

use crate::apiserver::pods::{container_id, container_path, uid};
use capture::model::kill::Record;
use serde_json::{Value, json};

/// Each with what it is there for. No two have the same id.
pub(super) fn all() -> Vec<(&'static str, Record)> {
    let container = container_path(&uid(1), 1);
    let pod_of_it = format!("/kubepods/burstable/pod{}", uid(1));
    let beside_it = container_path(&uid(1), 2);
    let other_pods = container_path(&uid(2), 3);
    let records = [
        ("a child of a pod", json!({})),
        (
            "init of a pod",
            json!({"victim": {"kind": "init", "ns_pid": 1,
                              "start_time": "2025-11-20T11:00:00.5Z"}}),
        ),
        (
            "a group",
            json!({"role": "group", "domain": {"group": true, "group_path": container},
                   "victim": {"pid": 4712, "shmem_rss_bytes": 104_857_600}}),
        ),
        (
            "one that shares memory, at its pod's limit",
            json!({"role": "shared_mm", "limit": "pod", "victim": {"kind": "unknown"},
                   "domain": {"path": pod_of_it, "limit_bytes": 536_870_912},
                   "trigger": {"pid": 9, "comm": "nginx", "cgroup": beside_it,
                               "same_container": false}}),
        ),
        (
            "at a limit above its pod, of a pod that was gone",
            json!({"limit": "ancestor", "limit_source": "inferred", "attribution": "tombstone",
                   "domain": {"path": "/kubepods/burstable", "limit_bytes": 4_294_967_296_u64,
                              "group": null},
                   "trigger": {"pid": 9, "comm": "secret", "cgroup": other_pods,
                               "same_container": false}}),
        ),
        (
            "a limit that was lowered",
            json!({"cause": "limit_lowered", "limit_source": "oom_lock", "attribution": "late",
                   "trigger": {"pid": 1, "comm": "runc", "same_container": false}}),
        ),
        (
            "the whole machine",
            json!({"limit": "node", "constraint": "none", "domain": null,
                   "victim": {"swap_bytes": 1_073_741_824},
                   "trigger": {"pid": 88, "comm": "kswapd0", "kernel_thread": true,
                               "same_container": false}}),
        ),
        (
            "asked for by SysRq",
            json!({"limit": "node", "cause": "sysrq", "constraint": "none", "limit_source": null,
                   "domain": null, "trigger": null}),
        ),
        (
            "a cpuset",
            json!({"limit": "cpuset", "constraint": "cpuset", "domain": null}),
        ),
        (
            "a memory policy",
            json!({"limit": "mempolicy", "constraint": "memory_policy", "domain": null}),
        ),
        (
            "the sandbox of a static pod",
            json!({"pod": {"namespace": "kube-system", "name": "etcd-node-1",
                           "uid": "00000000000000000000000000000007", "container": "POD",
                           "image": null, "workload": {"kind": "Node", "name": "node-1"}}}),
        ),
        (
            "a pod that is not known",
            json!({"attribution": "unresolved",
                   "pod": {"namespace": null, "name": null, "container": null, "image": null,
                           "workload": null}}),
        ),
        (
            "seen in counters only",
            json!({"attribution": "recovered", "victim": null, "trigger": null, "domain": null,
                   "limit_source": null, "cause": null, "constraint": null, "points": null,
                   "cgroup": {"usage_bytes": null}}),
        ),
        (
            "a unit of the host",
            json!({"scope": "host", "attribution": "host", "pod": null,
                   "host": {"unit": "nginx.service"}, "from_proc": true,
                   "victim": {"kind": "unknown", "comm": "nginx"},
                   "cgroup": {"id": null, "path": "/system.slice/nginx.service", "version": 1}}),
        ),
        (
            "a container of the host",
            json!({"scope": "host", "attribution": "host", "pod": null,
                   "host": {"unit": "docker.service", "container_id": container_id(9)}}),
        ),
        (
            "another node's",
            json!({"scope": "other_node", "attribution": "unresolved", "pod": null,
                   "cgroup": {"path": "/kubelet/pods/x"}}),
        ),
        (
            "unknown",
            json!({"scope": "unknown", "attribution": "unresolved", "limit": "unknown",
                   "pod": null, "cgroup": null, "domain": null, "limit_source": null,
                   "victim": {"comm": null, "anon_rss_bytes": null}}),
        ),
        (
            "names made to deceive",
            json!({"truncated": true, "victim": {"comm": r"x\n\x1b[2J"},
                   "trigger": {"pid": 9, "comm": r"\\n"},
                   "cgroup": {"path": r"/a\n/\xff//b\\"},
                   "pod": {"namespace": "x\n", "name": "\u{1b}[2J", "container": "\u{202e}\\n"}}),
        ),
    ];
    let number = |(n, (what, changes)): (usize, (_, Value))| (what, record(n, &changes));
    records.into_iter().enumerate().map(number).collect()
}

/// A child of a pod, killed at its container's limit, with some fields changed; null takes one
/// away.
fn record(n: usize, changes: &Value) -> Record {
    let path = container_path(&uid(1), 1);
    let mut record = json!({
        "type": "oom_kill", "schema": 1, "id": format!("3b8a1c9e-{}-4711-184460000000", 1000 + n),
        "time": format!("2025-11-20T12:03:{:02}.120456789Z", 10 + n),
        "node": "node-1", "event": format!("3b8a1c9e-{}-4711", 1000 + n),
        "role": "primary", "limit": "container", "limit_source": "kernel", "cause": "charge",
        "constraint": "memcg",
        "victim": {
            "pid": 4711, "tid": 4713, "ns_pid": 27, "kind": "child", "comm": "python3", "uid": 1000,
            "oom_score_adj": 985, "anon_rss_bytes": 242_640_486, "file_rss_bytes": 4096,
            "shmem_rss_bytes": 0, "swap_bytes": 0, "pgtables_bytes": 1_048_576,
            "total_vm_bytes": 402_653_184,
        },
        "trigger": {"pid": 4711, "tid": 4713, "comm": "python3", "kernel_thread": false,
                    "cgroup": path, "same_container": true},
        "cgroup": {"id": 4321, "path": path, "version": 2, "usage_bytes": 268_435_456,
                   "limit_bytes": 268_435_456},
        "domain": {"path": path, "usage_bytes": 268_435_456, "limit_bytes": 268_435_456,
                   "group": false},
        "points": 59_392, "truncated": false, "scope": "pod",
        "pod": {"namespace": "shop", "name": "cart-7d9f8b6c5d-x2x9z", "uid": uid(1),
                "container": "app", "container_id": container_id(1), "image": "registry/app:1",
                "qos": "Burstable", "workload": {"kind": "Deployment", "name": "cart"}},
        "attribution": "live",
    });
    merge(&mut record, changes);
    serde_json::from_value(record).unwrap()
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let (Some(fields), Some(changes)) = (target.as_object_mut(), patch.as_object()) else {
        *target = patch.clone();
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), change);
        }
    }
}
