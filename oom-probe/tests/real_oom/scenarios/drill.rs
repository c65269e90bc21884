//! The chaos drill, with the daemon as the probe that it asks.

use serde_json::Value;

use crate::case::Case;
use crate::world::World;

/// Everything that the drill checks holds, and the record in its report is the daemon's own.
pub(crate) fn drill(world: &World) -> String {
    let mut case = Case::begin(world);
    let parent = world.cgroup("drill");
    let below = parent.directory().strip_prefix(&world.hierarchy.root);
    let cgroup = below.expect("it is in this hierarchy").join("replicas");
    let scratch = tempfile::tempdir().unwrap();
    let output = world
        .hog(&["drill", "--limit", "32M", "--allocate", "48M"])
        .args(["--interval", "5ms", "--baseline", "500ms"])
        // Emulated machines are slow.
        .args(["--silence", "20s", "--restart-after", "200ms"])
        .args(["--probe", &world.daemon.url()])
        .arg("--cgroup")
        .arg(&cgroup)
        .arg("--out")
        .arg(scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let data = std::fs::read_to_string(scratch.path().join("drill.json")).unwrap();
    let data: Value = serde_json::from_str(&data).unwrap();
    let criteria = data["criteria"].as_array().unwrap();
    assert!(
        criteria
            .iter()
            .all(|criterion| criterion["finding"] == "met"),
        "{said}"
    );
    let kills = case.kills(1);
    let told: Vec<_> = data["kills"].as_array().unwrap().iter().collect();
    let own = serde_json::to_value(&kills[0]).unwrap();
    assert_eq!(told.len(), 1, "{said}");
    assert_eq!(told[0]["id"], own["id"], "{said}");
    assert_eq!(told[0]["victim"], own["victim"], "{said}");
    format!("{} of {} criteria met", criteria.len(), criteria.len())
}
