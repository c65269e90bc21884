//! Whoever stands guard clears up after a process that was killed. With a main of its own, since a
//! process that has a guard forks before it has threads.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const GUARDED: &str = "--guarded";
const NAME: &str = "guard";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [GUARDED, cleared] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return guarded(Path::new(cleared));
    }
    if words.iter().any(|word| word == "--list") {
        return println!("{NAME}: test");
    }
    let mut filters = words
        .iter()
        .filter(|word| !word.starts_with('-'))
        .peekable();
    let is_chosen = filters.peek().is_none() || filters.any(|part| NAME.contains(part.as_str()));
    if is_chosen {
        nothing_is_left();
        println!("test {NAME} ... ok");
    }
    let (passed, filtered) = if is_chosen { (1, 0) } else { (0, 1) };
    println!(
        "test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; {filtered} filtered out"
    );
}

/// What it starts leaves its session and its process group, as a daemon does, and has a child.
fn guarded(cleared: &Path) {
    let clear = || fs::write(cleared, "").unwrap();
    // SAFETY: this process has no other thread.
    unsafe { hog::guard::stand("hog-guard-test", clear) }.unwrap();
    let _left = tempfile::tempdir().unwrap().keep();
    println!("{}", std::env::temp_dir().display());
    let script = "sleep 1000 & echo $!; wait";
    let mut shell = Command::new("setsid");
    shell.args(["sh", "-c", script]).status().unwrap();
}

fn nothing_is_left() {
    let scratch = tempfile::tempdir().unwrap();
    let cleared = scratch.path().join("cleared");
    let mut guarded = Command::new(std::env::current_exe().unwrap())
        .args([Path::new(GUARDED), &cleared])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (process, directory) = told(&mut guarded);
    assert!(process.exists() && directory.exists() && !cleared.exists());
    guarded.kill().unwrap();
    guarded.wait().unwrap();

    let deadline = Instant::now() + Duration::from_secs(60);
    while is_alive(&process) || directory.exists() || !cleared.exists() {
        assert!(
            Instant::now() < deadline,
            "{process:?} alive: {}, {directory:?} there: {}, cleared: {}",
            is_alive(&process),
            directory.exists(),
            cleared.exists()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// The directory in /proc of what it started, and its own for temporary files.
fn told(guarded: &mut Child) -> (PathBuf, PathBuf) {
    let mut lines = BufReader::new(guarded.stdout.take().unwrap()).lines();
    let [directory, pid] = [(); 2].map(|()| lines.next().unwrap().unwrap());
    (Path::new("/proc").join(pid), directory.into())
}

/// A zombie is dead; who is to reap it may take its time.
fn is_alive(process: &Path) -> bool {
    fs::read(process.join("cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}
