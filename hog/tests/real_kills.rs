//! Real OOM kills in cgroups of this machine. They need root, and say so where they are skipped.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hog::cgroup::{Cgroup, Error, Hierarchy, Version};
use hog::resident::Resident;

const LIMIT: u64 = 16 << 20;

/// A cgroup of a name of its own, or the reason why there is none, printed.
fn limited(limit: u64) -> Option<Cgroup> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("hog-test-{}-{number}/leaf", std::process::id());
    let cgroup = Hierarchy::detect()
        .and_then(|hierarchy| Cgroup::create(&hierarchy, name))
        .and_then(|cgroup| cgroup.set_limit(limit).map(|()| cgroup));
    match cgroup {
        Ok(cgroup) => Some(cgroup),
        Err(error) => {
            assert!(!is_root(), "root, and still: {error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn is_root() -> bool {
    // SAFETY: geteuid(2) takes no argument.
    unsafe { libc::geteuid() == 0 }
}

/// A hog of whose cgroup's limit all is left for what it takes.
fn hog(arguments: &str) -> Command {
    static HOG: OnceLock<Resident> = OnceLock::new();
    let program = env!("CARGO_BIN_EXE_hog");
    HOG.get_or_init(|| Resident::hold(Path::new(program)).unwrap());
    let mut command = Command::new(program);
    command
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped());
    command
}

/// Runs a hog inside the cgroup to its end; returns how it ended and what it said.
fn run(cgroup: &Cgroup, arguments: &str) -> (ExitStatus, String) {
    let mut child = cgroup.spawn(hog(arguments)).unwrap();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (child.wait().unwrap(), said)
}

/// Waits until a hog that goes on running has said something.
fn first_line(child: &mut Child) {
    let mut byte = [0];
    let stdout = child.stdout.as_mut().unwrap();
    while byte != *b"\n" {
        stdout.read_exact(&mut byte).unwrap();
    }
}

/// Looks until it is as wanted, a minute at most; processes do not end in an instant.
fn wait_until(look: impl Fn() -> Vec<i32>, wanted: impl Fn(&Vec<i32>) -> bool) -> Vec<i32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "still {seen:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn directory_and_parent(cgroup: &Cgroup) -> (PathBuf, PathBuf) {
    let directory = cgroup.directory().to_owned();
    let parent = directory.parent().unwrap().to_owned();
    (directory, parent)
}

#[test]
fn each_kind_of_memory_is_killed_at_the_limit() {
    for kind in ["anon", "shmem", "tmpfs", "file --lock"] {
        let Some(cgroup) = limited(LIMIT) else { return };
        let (status, said) = run(&cgroup, &format!("grow --interval 0 --kind {kind}"));
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{kind}: {said}");
        assert!(
            said.contains("hog: 8 MiB") && !said.contains("hog: 16 MiB"),
            "{kind}: {said}"
        );
        assert_eq!(cgroup.oom_kill_count().unwrap(), 1, "{kind}");
        cgroup.remove().unwrap();
    }
}

#[test]
fn below_the_limit_it_ends_with_0() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (status, said) = run(&cgroup, "grow --interval 0 --max 6M --step 4M");
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(
        said,
        "hog: 4 MiB of 6 MiB anon\nhog: 6 MiB of 6 MiB anon\nhog: done at 6 MiB\n"
    );
    assert_eq!(cgroup.oom_kill_count().unwrap(), 0);
}

#[test]
fn the_parent_of_a_herd_lives_on() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (status, said) = run(
        &cgroup,
        "herd --children 3 --parallel 2 --interval 0 --step 4M",
    );
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.ends_with("hog: 3 of 3 children killed by SIGKILL, parent alive\n"),
        "{said}"
    );
    assert_eq!(cgroup.oom_kill_count().unwrap(), 3);
}

/// The kernel would rather read a program again than kill: without its locks, hundreds of times for
/// each kill.
#[test]
fn a_program_that_was_not_in_memory_is_not_read_again_and_again() {
    const CHILDREN: u64 = 20;
    let program = Path::new(env!("CARGO_BIN_EXE_hog"));
    // All of it fits, and little else.
    let limit = program.metadata().unwrap().len() + (4 << 20);
    let Some(cgroup) = limited(limit) else { return };
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let cold = directory.path().join("hog");
    fs::copy(program, &cold).unwrap();
    drop_from_page_cache(&cold);
    let mut herd = Command::new(cold);
    herd.args(["herd", "--parallel", "3", "--interval", "0"]);
    herd.args(["--step", "512K", "--children", &CHILDREN.to_string()]);
    herd.stdout(Stdio::null());
    let status = cgroup.spawn(herd).unwrap().wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(cgroup.oom_kill_count().unwrap(), CHILDREN);
    let statistics = fs::read_to_string(cgroup.directory().join("memory.stat")).unwrap();
    let read = statistics
        .lines()
        .find_map(|line| line.strip_prefix("pgmajfault "));
    let read: u64 = read.unwrap().parse().unwrap();
    if read == 0 {
        eprintln!("skipped: the program was in memory, as on tmpfs it always is");
    }
    assert!(read < 10 * CHILDREN, "{read} faults read from the disk");
}

fn drop_from_page_cache(path: &Path) {
    let file = File::open(path).unwrap();
    // Dirty pages stay.
    file.sync_all().unwrap();
    // SAFETY: posix_fadvise(2) takes numbers.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(error, 0);
}

#[test]
fn a_process_without_its_leader_is_killed() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (status, said) = run(&cgroup, "leader-exit --interval 0");
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{said}");
    assert!(
        said.starts_with("hog: leader ") && said.contains("hog: 8 MiB anon"),
        "{said}"
    );
    assert_eq!(cgroup.oom_kill_count().unwrap(), 1);
}

#[test]
fn processes_that_share_memory_die_together_and_count_once() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (status, said) = run(&cgroup, "shared-mm --processes 4 --interval 0 --step 4M");
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{said}");
    assert_eq!(cgroup.oom_kill_count().unwrap(), 1);
    // The last of them may still be on its way out when hog is reaped.
    wait_until(|| cgroup.processes().unwrap(), Vec::is_empty);
}

#[test]
fn without_the_group_flag_a_member_dies_alone() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (status, said) = run(&cgroup, "group --processes 4 --interval 0 --step 4M");
    assert_eq!(status.code(), Some(137), "{said}");
    assert!(
        said.ends_with("killed by SIGKILL\nhog: 2 others and this one live on\n"),
        "{said}"
    );
    assert_eq!(cgroup.oom_kill_count().unwrap(), 1);
    assert!(cgroup.processes().unwrap().is_empty());
}

#[test]
fn the_death_of_a_namespaces_init_is_one_kill_whatever_its_children() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (status, said) = run(&cgroup, "pidns --children 3 --interval 0 --step 4M");
    assert_eq!(status.code(), Some(137), "{said}");
    assert_eq!(cgroup.oom_kill_count().unwrap(), 1);

    let (status, said) = run(&cgroup, "pidns --victim child --interval 0 --step 4M");
    assert_eq!(status.code(), Some(137), "{said}");
    assert!(said.contains("hog[1]: child 5 killed by SIGKILL"), "{said}");
    assert_eq!(cgroup.oom_kill_count().unwrap(), 2);
}

#[test]
fn a_namespaces_init_that_joins_no_cgroup_does_not_grow() {
    if !is_root() {
        return eprintln!("skipped: a PID namespace takes root");
    }
    let scratch = tempfile::tempdir().unwrap();
    let procs = scratch.path().join("cgroup.procs");
    let output = hog("pidns --max 1M --init-cgroup-procs")
        .arg(&procs)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!procs.exists());
}

#[test]
fn a_victim_that_is_dying_anyway_is_not_killed() {
    // The child has to be the larger one by far: a program's own pages count as well, and those of
    // an unstripped hog, of which only the parent has them mapped, are some megabytes.
    let Some(cgroup) = limited(4 * LIMIT) else {
        return;
    };
    let (status, said) = run(&cgroup, "exiting 48M --max 24M --step 4M --interval 0");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stands in its exit with 48 MiB"), "{said}");
    assert!(said.ends_with("hog: done at 24 MiB\n"), "{said}");
    assert_eq!(cgroup.oom_kill_count().unwrap(), 0);
}

#[test]
fn a_small_trigger_takes_its_large_idle_neighbour() {
    let Some(cgroup) = limited(4 * LIMIT) else {
        return;
    };
    let mut idle = cgroup.spawn(hog("hold 48M")).unwrap();
    first_line(&mut idle);
    let (status, said) = run(&cgroup, "grow --max 24M --step 4M --interval 0");
    assert!(said.contains("hog: 12 MiB of 24 MiB anon"), "{said}");
    assert_eq!(idle.wait().unwrap().signal(), Some(libc::SIGKILL), "{said}");
    // A victim whose memory is not yet back may be passed over already, and then the trigger is
    // next (mm/oom_kill.c `oom_evaluate_task`).
    let taken = 1 + u64::from(!status.success());
    assert_eq!(cgroup.oom_kill_count().unwrap(), taken, "{said}");
}

#[test]
fn a_leaf_without_a_limit_dies_at_its_parents() {
    let Some(parent) = limited(LIMIT) else { return };
    let hierarchy = Hierarchy::detect().unwrap();
    let below = parent
        .directory()
        .strip_prefix(&hierarchy.root)
        .unwrap()
        .join("inner");
    let leaf = Cgroup::create(&hierarchy, below).unwrap();
    assert_eq!(leaf.limit().unwrap(), None);
    assert_eq!(parent.limit().unwrap(), Some(LIMIT));
    let (status, said) = run(&leaf, "grow --interval 0");
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{said}");
    assert_eq!(leaf.oom_kill_count().unwrap(), 1);
}

#[test]
fn removing_a_cgroup_ends_what_runs_in_it_and_leaves_nothing() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let (directory, parent) = directory_and_parent(&cgroup);
    assert_ne!(cgroup.id().unwrap(), 0);
    let mut child = cgroup
        .spawn(hog("grow --interval 0 --max 4M --hold forever"))
        .unwrap();
    let mut first = [0; 5];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(cgroup.processes().unwrap(), [child.id().cast_signed()]);
    assert!(cgroup.usage().unwrap() > 0);
    cgroup.remove().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(!directory.exists() && !parent.exists());

    let dropped = limited(LIMIT).unwrap();
    let (directory, parent) = directory_and_parent(&dropped);
    drop(dropped);
    assert!(!directory.exists() && !parent.exists());
}

#[test]
fn a_running_process_moves_in_and_the_limit_can_be_raised() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let mut child = hog("grow --max 1M --hold forever").spawn().unwrap();
    cgroup.add(child.id()).unwrap();
    assert_eq!(cgroup.processes().unwrap(), [child.id().cast_signed()]);
    cgroup.set_limit(2 * LIMIT).unwrap();
    assert_eq!(cgroup.limit().unwrap(), Some(2 * LIMIT));
    cgroup.remove().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_group_flag_exists_only_on_v2() {
    let Some(cgroup) = limited(LIMIT) else { return };
    let version = Hierarchy::detect().unwrap().version;
    match (version, cgroup.set_oom_group(true)) {
        (Version::V1, Err(Error::NoOomGroup)) | (Version::V2, Ok(())) => {}
        (version, result) => panic!("{version:?}: {result:?}"),
    }
}

#[test]
fn with_the_group_flag_all_die_but_the_spared() {
    let Some(cgroup) = limited(LIMIT) else { return };
    if let Err(error) = cgroup.set_oom_group(true) {
        assert!(matches!(error, Error::NoOomGroup), "{error}");
        eprintln!("skipped: {error}");
        return;
    }
    for victim in ["leader", "member"] {
        let arguments = format!(
            "group --processes 5 --victim {victim} --spare 1 --linger 1h --interval 0 --step 4M"
        );
        let mut child = cgroup.spawn(hog(&arguments)).unwrap();
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(libc::SIGKILL),
            "{victim}"
        );
        let survivors = wait_until(|| cgroup.processes().unwrap(), |pids| pids.len() == 1);
        assert_eq!(survivors.len(), 1, "{victim}");
        // SAFETY: kill(2) takes no pointer; the pid is the only one in a cgroup of this test's own.
        unsafe { libc::kill(survivors[0], libc::SIGKILL) };
        wait_until(|| cgroup.processes().unwrap(), Vec::is_empty);
    }
}
