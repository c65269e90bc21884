//! The init container of `components/mount-bpffs`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::programs::{output, program};

#[test]
fn a_bpffs_is_mounted_once() {
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        eprintln!("skipped: mounting takes root");
        return;
    }
    let Some(unshare) = program("unshare") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let script =
        r#""$0" mount-bpffs "$1" && "$0" mount-bpffs "$1" && grep " $1 " /proc/self/mounts"#;
    let text = output(
        Command::new(unshare)
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(env!("CARGO_BIN_EXE_oom-probe"))
            .arg(directory.path()),
    );
    let shown = directory.path().display();
    let lines: Vec<_> = text.lines().collect();
    let [first, second, mounted] = lines[..] else {
        panic!("not two answers and one mount: {text}")
    };
    assert_eq!(first, format!("mounted a bpffs at {shown}"));
    assert_eq!(second, format!("{shown} is a bpffs already"));
    assert!(mounted.contains(" bpf rw,nosuid,nodev,noexec"), "{mounted}");
}
