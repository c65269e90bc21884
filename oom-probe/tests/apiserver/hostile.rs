//! Pods with names that a real API server would refuse.

use serde_json::json;

use super::pods::{PodJson, pod};

/// Containers of each pod.
pub(crate) const CONTAINERS_EACH: usize = 2;

/// Each would end a label, a line, a comment or an escape, if it could; the last is as long as a
/// name may be with a number behind it.
const NAMES: [&str; 13] = [
    "\"} 1\nup 1\n",
    "\\",
    "a\\\"b",
    "\n# EOF\n",
    "\r\n\r\nHTTP/1.1 200 OK",
    "{pod=\"x\"}",
    "\u{0}\u{1b}[2J\u{7f}",
    "\u{202e}\u{feff}\u{2028}\u{85}",
    "# HELP oom_probe_kills_total\n# TYPE oom_probe_kills_total gauge",
    " ,=\"\",",
    "\u{fffd}\u{10ffff}é",
    "NaN 1 # {} 1 1",
    LONG,
];
const LONG: &str = match str::from_utf8(&[b'\\'; 249]) {
    Ok(long) => long,
    Err(_) => panic!("ASCII is UTF-8"),
};

/// Pod number `n`: name, namespace, owner and containers are such names.
pub(crate) fn hostile(n: u32) -> PodJson {
    let name = |at: u32| NAMES[((n + at) as usize) % NAMES.len()];
    let mut json = pod(&format!("{}{n}", name(0)), n).0;
    json["metadata"]["namespace"] = name(1).into();
    json["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": name(2), "name": name(3), "controller": true,
    }]);
    json["spec"]["containers"] = (0..CONTAINERS_EACH)
        .map(|c| json!({"name": format!("{}{c}", name(4)), "image": name(5)}))
        .collect();
    PodJson(json)
}
