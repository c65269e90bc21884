//! Each scenario, in cgroups of this machine, and what it promises. They need root, and say so where
//! they are skipped. Intervals are shorter than in a pod; the shapes are the same.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hog::cgroup::Hierarchy;
use hog::scenario::{self, Stage};

const HOG: &str = env!("CARGO_BIN_EXE_hog");
const PATIENCE: Duration = Duration::from_secs(60);

/// A scenario's cgroups, or the reason why there are none, printed.
fn stage(name: &str) -> Option<Stage> {
    // SAFETY: geteuid(2) takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: not root, and making a memory cgroup takes root");
        return None;
    }
    let path = format!("hog-test-{}-{name}", std::process::id());
    let scenario = scenario::find(name).unwrap();
    let hierarchy = Hierarchy::detect().unwrap();
    Some(Stage::set(&hierarchy, Path::new(&path), scenario, None).unwrap())
}

/// A container that runs, killed on drop.
struct Running(Child);

impl Running {
    fn start(stage: &Stage, index: usize, environment: &[(&str, &str)]) -> Self {
        let (container, cgroup) = stage.container(index);
        let mut command = container.command(Path::new(HOG));
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Self(cgroup.spawn(command).unwrap())
    }

    /// Reads until a line has this in it.
    fn line(&mut self, part: &str) -> String {
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        lines.find(|line| line.contains(part)).unwrap()
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap(), said)
    }

    fn stop(self) -> (ExitStatus, String) {
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        unsafe { libc::kill(self.0.id().cast_signed(), libc::SIGTERM) };
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has been reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_killed((status, said): (ExitStatus, String)) -> String {
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{said}");
    said
}

fn wait_until<T: Debug>(look: impl Fn() -> T, wanted: impl Fn(&T) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if wanted(&seen) {
            return;
        }
        assert!(Instant::now() < deadline, "still {seen:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for_kills(stage: &Stage, kills: u64) {
    wait_until(|| stage.oom_kill_count().unwrap(), |now| *now >= kills);
}

#[test]
fn single_dies_at_each_start_once() {
    let Some(stage) = stage("single") else { return };
    for start in 1..=stage.container(0).0.starts {
        let said = is_killed(Running::start(&stage, 0, &[("HOG_INTERVAL", "5ms")]).end());
        assert!(
            said.contains("hog: 40 MiB anon") && !said.contains("hog: 50 MiB"),
            "{said}"
        );
        assert_eq!(stage.oom_kill_count().unwrap(), u64::from(start));
    }
}

#[test]
fn increment_grows_by_what_the_environment_says() {
    let Some(stage) = stage("increment") else {
        return;
    };
    for (increment, first) in [
        ("10", "hog: 10 MiB anon\nhog: 20 MiB"),
        ("25", "hog: 25 MiB anon\nhog: 50 MiB"),
    ] {
        let environment = [("MEMORY_INCREMENT_MB", increment), ("HOG_INTERVAL", "5ms")];
        let said = is_killed(Running::start(&stage, 0, &environment).end());
        assert!(said.starts_with(first), "{said}");
    }
    assert_eq!(stage.oom_kill_count().unwrap(), 2);
}

#[test]
fn invisible_goes_on_while_its_children_die() {
    let Some(stage) = stage("invisible") else {
        return;
    };
    let running = Running::start(&stage, 0, &[("HOG_INTERVAL", "2ms")]);
    wait_for_kills(&stage, 4);
    let (status, said) = running.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.matches("killed by SIGKILL\n").count() >= 3, "{said}");
}

#[test]
fn herder_has_two_children_at_any_time_and_outlives_them() {
    let Some(stage) = stage("herder") else { return };
    let running = Running::start(&stage, 0, &[("HOG_INTERVAL", "2ms")]);
    let processes = || stage.container(0).1.processes().unwrap();
    wait_until(processes, |all| all.len() == 3);
    wait_for_kills(&stage, 4);
    let (status, said) = running.stop();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn sidecar_costs_its_idle_neighbour() {
    let Some(stage) = stage("sidecar") else {
        return;
    };
    let mut idle = Running::start(&stage, 0, &[]);
    idle.line("holding 64 MiB");
    let trigger = Running::start(&stage, 1, &[("HOG_INTERVAL", "5ms")]);
    is_killed(idle.end());
    let (status, said) = trigger.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(stage.container(0).1.oom_kill_count().unwrap(), 1);
    assert_eq!(stage.container(1).1.oom_kill_count().unwrap(), 0);
}

#[test]
fn leak_grows_in_a_straight_line() {
    let Some(stage) = stage("leak") else { return };
    let said = is_killed(Running::start(&stage, 0, &[("HOG_INTERVAL", "2ms")]).end());
    for mebibytes in 1..=56 {
        assert!(
            said.contains(&format!("hog: {mebibytes} MiB anon\n")),
            "{said}"
        );
    }
}

#[test]
fn spike_stays_at_its_base_and_then_goes_at_once() {
    let Some(stage) = stage("spike") else { return };
    let mut running = Running::start(&stage, 0, &[("HOG_AFTER", "500ms")]);
    running.line("hog: 20 MiB anon");
    let quiet = stage.container(0).1.usage().unwrap();
    assert!((20 << 20..30 << 20).contains(&quiet), "{quiet}");
    let said = is_killed(running.end());
    assert!(
        said.contains("hog: 36 MiB anon\nhog: 52 MiB anon\n"),
        "{said}"
    );
}

#[test]
fn tmpfs_kills_a_victim_that_has_next_to_nothing() {
    let Some(stage) = stage("tmpfs") else { return };
    let mut running = Running::start(&stage, 0, &[("HOG_INTERVAL", "50ms")]);
    running.line("hog: 40 MiB tmpfs");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    let anon = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    let kibibytes: u64 = anon.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 8 << 10, "{status}");
    is_killed(running.end());
}

#[test]
fn pagecache_is_at_the_limit_and_nothing_is_killed() {
    let Some(stage) = stage("pagecache") else {
        return;
    };
    let running = Running::start(&stage, 0, &[("HOG_INTERVAL", "5ms")]);
    let (status, said) = running.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.ends_with("hog: done at 256 MiB\n"), "{said}");
    assert_eq!(stage.oom_kill_count().unwrap(), 0);
}

#[test]
fn init_dies_before_the_app_begins() {
    let Some(stage) = stage("init") else { return };
    assert_eq!(stage.container(0).0.name, "migrate");
    assert_eq!(stage.container(1).0.starts, 0);
    is_killed(Running::start(&stage, 0, &[("HOG_INTERVAL", "5ms")]).end());
    assert_eq!(stage.container(0).1.oom_kill_count().unwrap(), 1);
}

#[test]
fn job_dies_of_its_own_limit() {
    let Some(stage) = stage("job") else { return };
    is_killed(Running::start(&stage, 0, &[("HOG_INTERVAL", "5ms")]).end());
    assert_eq!(stage.oom_kill_count().unwrap(), 1);
}

#[cfg(feature = "drill")]
mod service;
