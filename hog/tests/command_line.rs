//! What hog says and how it ends, without root and without a kill.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn hog(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hog"));
    command.args(arguments);
    for name in ["MEMORY_INCREMENT_MB", "HOG_STEP", "HOG_INTERVAL", "HOG_MAX"] {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    hog(arguments).output().unwrap()
}

fn start(arguments: &[&str]) -> Child {
    hog(arguments).stdout(Stdio::piped()).spawn().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
    unsafe { libc::kill(child.id().cast_signed(), signal) };
}

#[test]
fn what_is_asked_wrongly_ends_with_2_and_names_the_cause() {
    for (arguments, named) in [
        (&["grow", "--step", "12X"][..], "12X"),
        (&["grow", "--interval", "soon"], "soon"),
        (
            &["grow", "--kind", "file", "--max", "forever"],
            "--max SIZE",
        ),
        (&["hold"], "SIZE"),
        (&["herd", "--rounds", "some"], "some"),
        (
            &["group", "--processes", "3", "--spare", "2", "--max", "1M"],
            "--spare 2",
        ),
        (&["grow", "--comm", "sixteen-bytes-ab"], "16 bytes"),
        (&["grow", "--oom-score-adj", "-2000"], "-2000"),
        (&["graze"], "graze"),
        (&[], "--list"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(named),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// It would grow without a limit, and be it that of the machine.
#[test]
fn a_path_that_is_no_cgroup_is_not_joined_and_stays_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let (missing, plain) = (
        scratch.path().join("cgroup.procs"),
        scratch.path().join("plain/cgroup.procs"),
    );
    std::fs::create_dir(plain.parent().unwrap()).unwrap();
    std::fs::write(&plain, "7").unwrap();
    for (path, named) in [
        (&*missing, "there is no such cgroup"),
        (&*plain, "is on no cgroup file system"),
        (Path::new("/sys/fs/cgroup/memory.max"), "is no cgroup.procs"),
        (Path::new("/dev/null"), "is no cgroup.procs"),
    ] {
        let path = path.to_str().unwrap();
        let output = run(&["grow", "--max", "1M", "--cgroup-procs", path]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{path}: {said}");
        assert!(said.contains(path) && said.contains(named), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty(), "{path}");
    }
    assert!(!missing.exists());
    assert_eq!(std::fs::read_to_string(plain).unwrap(), "7");
}

#[test]
fn memory_that_cannot_be_had_ends_with_1_and_says_so() {
    // More than the address space of any process: refused whatever vm.overcommit_memory says.
    let output = run(&["grow", "--step", "1000T", "--max", "1000T"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("hog: no 1000 TiB more after 0 B: cannot map memory"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn the_increment_comes_from_the_environment() {
    let output = hog(&["grow", "--interval", "0", "--max", "6M"])
        .env("MEMORY_INCREMENT_MB", "3")
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stdout),
        "hog: 3 MiB of 6 MiB anon\nhog: 6 MiB of 6 MiB anon\nhog: done at 6 MiB\n"
    );
}

#[test]
fn sigterm_and_sigint_end_every_mode_in_good_order() {
    for arguments in [
        &["grow", "--max", "1M", "--hold", "forever"][..],
        &["grow", "--max", "1G", "--interval", "1h"],
        &[
            "herd",
            "--children",
            "2",
            "--parallel",
            "2",
            "--max",
            "1M",
            "--hold",
            "forever",
        ],
        &["leader-exit", "--max", "1M", "--hold", "forever"],
        &["shared-mm", "--max", "1M", "--hold", "forever"],
        &["group", "--max", "1M", "--hold", "forever"],
        &["exiting", "1M", "--max", "1M", "--hold", "forever"],
        &["hold", "1M"],
    ] {
        for number in [libc::SIGTERM, libc::SIGINT] {
            let mut child = start(arguments);
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut String::new()).unwrap();
            signal(&child, number);
            // The end of its output is the end of every process that could write to it.
            stdout.read_to_string(&mut String::new()).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        }
    }
}

#[test]
fn a_herd_tells_how_its_children_ended() {
    let output = run(&[
        "herd",
        "--max",
        "1M",
        "--interval",
        "0",
        "--pause",
        "0",
        "--rounds",
        "2",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert_eq!(
        said.matches("ended with exit code 0\n").count(),
        6,
        "{said}"
    );
    assert!(
        said.ends_with("hog: 0 of 6 children killed by SIGKILL, parent alive\n"),
        "{said}"
    );
}

#[test]
fn a_hostile_name_is_set_byte_for_byte() {
    let mut child = start(&["hold", "1M", "--comm", r#"a"\\\n\xff"#]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let comm = std::fs::read(format!("/proc/{}/comm", child.id())).unwrap();
    signal(&child, libc::SIGTERM);
    child.wait().unwrap();
    assert_eq!(comm, b"a\"\\\n\xff\n");
}

#[test]
fn a_reader_that_has_gone_ends_it_in_good_order() {
    let mut child = start(&["grow", "--max", "1G", "--step", "4K", "--interval", "110ms"]);
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
