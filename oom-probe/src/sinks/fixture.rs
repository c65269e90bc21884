//! Records for the tests of the sinks, in the form in which the API serves them.

use serde_json::{Value, json};

use capture::model::kill::Record;

/// A child in a container killed at the container's limit while PID 1 lives on.
pub(crate) fn pod_child() -> Record {
    from(&json!({}))
}

/// A systemd service killed at its own limit.
pub(crate) fn host_unit() -> Record {
    from(&json!({
        "scope": "host", "pod": null, "host": {"unit": "nginx.service"}, "attribution": "host",
        "victim": {"kind": "unknown", "comm": "nginx"},
        "cgroup": {"path": "/system.slice/nginx.service"},
    }))
}

/// [`pod_child`] with some fields changed; null takes one away.
pub(crate) fn from(changes: &Value) -> Record {
    let mut record = json!({
        "type": "oom_kill", "schema": 1,
        "id": "3b8a1c9e-184467440737-4711-184460000000", "time": "2025-11-20T12:03:44.120456789Z",
        "node": "node-1", "event": "3b8a1c9e-184467440737-4711",
        "role": "primary", "limit": "container", "limit_source": "kernel", "cause": "charge",
        "constraint": "memcg",
        "victim": {
            "pid": 4711, "tid": 4711, "ns_pid": 27, "kind": "child", "comm": "python3", "uid": 1000,
            "oom_score_adj": 985, "anon_rss_bytes": 242_640_486, "file_rss_bytes": 4096,
            "shmem_rss_bytes": 0, "swap_bytes": 0, "pgtables_bytes": 1_048_576,
            "total_vm_bytes": 402_653_184,
        },
        "trigger": {"pid": 4711, "tid": 4711, "comm": "python3", "kernel_thread": false,
                    "same_container": true},
        "cgroup": {"id": 4321, "path": "/kubepods/burstable/pod3b8a/5f00", "version": 2,
                   "usage_bytes": 268_435_456, "limit_bytes": 268_435_456},
        "domain": {"path": "/kubepods/burstable/pod3b8a/5f00", "usage_bytes": 268_435_456,
                   "limit_bytes": 268_435_456, "group": false},
        "points": 59_392, "truncated": false, "scope": "pod",
        "pod": {"namespace": "shop", "name": "cart-7d9f8b6c5d-x2x9z", "container": "app",
                "uid": "3b8a1c9e-5d2f-4c55-9d0a-0f4f4b2e8a11",
                "container_id": "5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00",
                "qos": "Burstable", "workload": {"kind": "Deployment", "name": "cart"}},
        "attribution": "live",
    });
    merge(&mut record, changes);
    serde_json::from_value(record).expect("the fixture is a record")
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
