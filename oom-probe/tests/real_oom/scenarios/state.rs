//! What is kept over a restart, and what becomes of it where it cannot be.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{
    case::shown,
    daemon::Daemon,
    mounts::Mount,
    wait,
    world::{Running, World},
};
use capture::model::{
    kill::Record,
    labels::{Attribution, Scope},
};
use hog::cgroup::Cgroup;

use super::{CONTAINER, LIMIT, POD};

/// Everything that a daemon leaves, but for what it captures with.
struct Home {
    scratch: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    fn start(&self, world: &World) -> Daemon {
        self.start_with(world, &self.state())
    }

    /// The journal says that every line is written.
    fn all_logged(&self) -> bool {
        let files = fs::read_dir(self.state()).unwrap().flatten();
        let texts: String = files
            .map(|file| fs::read_to_string(file.path()).unwrap_or_default())
            .collect();
        let count = |text| texts.matches(text).count();
        let logged = texts.split(r#"{"logged":"#).skip(1);
        let logged = logged.filter_map(|rest| rest.split('}').next()?.parse::<usize>().ok());
        logged.sum::<usize>() >= count(r#""has_line":true"#) + count(r#"{"unlogged":"#)
    }

    fn start_with(&self, world: &World, state: &Path) -> Daemon {
        let state = state.display().to_string();
        let flags = ["--kubernetes", "off", "--state-dir", &state];
        Daemon::start(&world.programs().oom_probe, self.scratch.path(), &flags).unwrap()
    }
}

fn dies(world: &World, cgroup: &Cgroup) -> u32 {
    let hog = world.hog(&["grow", "--interval", "0"]);
    Running::start(cgroup, hog).end().killed().pid
}

/// The records of victims in that cgroup, once there are so many.
fn kills_in(daemon: &Daemon, cgroup: &Cgroup, count: usize) -> Vec<Record> {
    let name = cgroup.directory().file_name().unwrap().to_str().unwrap();
    let in_it = |record: &Record| {
        let path = record.kill.cgroup.as_ref().and_then(|at| at.path.as_ref());
        path.is_some_and(|path| path.to_string().ends_with(name))
    };
    let look = || -> Vec<Record> { daemon.kills(None).into_iter().filter(in_it).collect() };
    let kills = wait::until("the kills", look, |kills| kills.len() >= count);
    assert_eq!(kills.len(), count, "{}", shown(&kills));
    kills
}

fn total(daemon: &Daemon) -> u64 {
    daemon.metrics().sum("oom_probe_kills_total", &[])
}

fn recovered(daemon: &Daemon) -> u64 {
    let label = [r#"result="recovered""#.to_owned()];
    let metrics = daemon.metrics();
    metrics.sum("oom_probe_attributions_total", &label)
}

/// By SIGKILL and by SIGTERM: counters go on, and so does the history.
pub(crate) fn goes_on(world: &World) -> String {
    let home = Home::new();
    let cgroup = world.limited("goes-on", LIMIT);
    let daemon = home.start(world);
    let first = dies(world, &cgroup);
    kills_in(&daemon, &cgroup, 1);
    let (before, records) = (total(&daemon), daemon.kills(None));
    let all_logged = || home.all_logged();
    wait::until_so("the line is known to be written", all_logged, || {
        daemon.log()
    });
    // SIGKILL.
    drop(daemon);
    let daemon = home.start(world);
    assert_eq!(total(&daemon), before);
    assert_eq!(daemon.kills(None), records);
    assert!(
        daemon.written().is_empty(),
        "what was told is not told again"
    );
    let second = dies(world, &cgroup);
    kills_in(&daemon, &cgroup, 2);
    let before = total(&daemon);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    let daemon = home.start(world);
    assert_eq!(total(&daemon), before);
    let pids = kills_in(&daemon, &cgroup, 2).into_iter();
    let pids: Vec<_> = pids.map(|record| record.kill.victim.pid).collect();
    assert_eq!(pids, [first, second]);
    "counters and history over SIGKILL and SIGTERM".to_owned()
}

/// A line that nobody took before SIGKILL is written by the next daemon, with the same id; counters
/// and history have its kill once.
pub(crate) fn logged_again(world: &World) -> String {
    const KILLS: usize = 8;
    let home = Home::new();
    let cgroup = world.limited("logged", LIMIT);
    let (reader, writer) = io::pipe().unwrap();
    // Room for two lines or three.
    // SAFETY: fcntl(2) with this command takes a number alone.
    let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert!(set > 0, "{}", io::Error::last_os_error());
    let mut command = Command::new(&world.programs().oom_probe);
    command.args(["run", "--kubernetes", "off", "--state-dir"]);
    command.arg(home.state());
    let daemon = Daemon::start_to(command, home.scratch.path(), writer.into()).unwrap();
    for _ in 0..KILLS {
        dies(world, &cgroup);
    }
    kills_in(&daemon, &cgroup, KILLS);
    let (before, records) = (total(&daemon), daemon.kills(None));
    // SIGKILL.
    drop(daemon);
    let lines = BufReader::new(reader).lines().map_while(Result::ok);
    let mut ids: Vec<String> = lines.filter_map(|line| id(&line)).collect();
    let first = ids.len();
    assert!(first < records.len(), "the reader had stopped");

    let daemon = home.start(world);
    let told: HashSet<&str> = records.iter().map(|record| &*record.kill.id).collect();
    let later = wait::until(
        "every line",
        || daemon.written(),
        |later| {
            let ids = ids.iter().map(String::as_str);
            let later = later.iter().map(|record| &*record.kill.id);
            told == ids.chain(later).collect()
        },
    );
    ids.extend(later.iter().map(|record| record.kill.id.clone()));
    assert_eq!(total(&daemon), before);
    assert_eq!(daemon.kills(None), records);
    let all_logged = || home.all_logged();
    wait::until_so("every line is known to be written", all_logged, || {
        daemon.log()
    });
    drop(daemon);
    let daemon = home.start(world);
    assert!(daemon.written().is_empty());
    assert_eq!(total(&daemon), before);
    format!(
        "{first} of {} lines, then the rest, {} twice",
        told.len(),
        ids.len() - told.len()
    )
}

/// The id of a whole line; the last may be cut short.
fn id(line: &str) -> Option<String> {
    let record: Record = serde_json::from_str(line).ok()?;
    Some(record.kill.id)
}

/// Without anything that captures meanwhile, the cgroup's own counters tell.
pub(crate) fn counters_tell(world: &World) -> String {
    let home = Home::new();
    let cgroup = world.limited(&format!("{POD}/{CONTAINER}"), LIMIT);
    let daemon = home.start(world);
    dies(world, &cgroup);
    kills_in(&daemon, &cgroup, 1);
    let before = total(&daemon);
    drop(daemon);
    for _ in 0..2 {
        dies(world, &cgroup);
    }
    let daemon = home.start(world);
    let kills = kills_in(&daemon, &cgroup, 3);
    for kill in &kills[1..] {
        assert_eq!(kill.attribution, Attribution::Recovered, "{kill:?}");
        assert!(kill.kill.victim.is_unknown());
    }
    assert_eq!((recovered(&daemon), total(&daemon)), (2, before + 2));
    let unaccounted = daemon.metrics().value("oom_probe_unaccounted_kills");
    assert_eq!(unaccounted, 0, "they are not this daemon's to account for");
    // Not again, however it ends.
    drop(daemon);
    let daemon = home.start(world);
    assert_eq!((recovered(&daemon), total(&daemon)), (2, before + 2));
    dies(world, &cgroup);
    let kills = kills_in(&daemon, &cgroup, 4);
    assert_eq!(kills[3].attribution, Attribution::Unresolved);
    daemon.stop();
    let daemon = home.start(world);
    assert_eq!((recovered(&daemon), total(&daemon)), (2, before + 3));
    "2 of 2 while nothing was hooked, each once".to_owned()
}

/// The same outside containers: kills of a unit, of another that began meanwhile, and those of a
/// unit that were seen and are not to be told again.
pub(crate) fn counters_tell_of_units(world: &World) -> String {
    let home = Home::new();
    let big = world.limited("system.slice/big.service", LIMIT);
    let quiet = world.limited("system.slice/quiet.service", LIMIT);
    let daemon = home.start(world);
    dies(world, &big);
    kills_in(&daemon, &big, 1);
    dies(world, &quiet);
    kills_in(&daemon, &quiet, 1);
    let before = total(&daemon);
    drop(daemon);
    for _ in 0..2 {
        dies(world, &big);
    }
    let late = world.limited("system.slice/late.service", LIMIT);
    dies(world, &late);
    let daemon = home.start(world);
    let mut kills = kills_in(&daemon, &big, 3).split_off(1);
    kills.extend(kills_in(&daemon, &late, 1));
    for kill in &kills {
        assert_eq!(kill.attribution, Attribution::Recovered, "{kill:?}");
        assert_eq!(kill.scope, Scope::Host, "{kill:?}");
        let unit = kill.host.as_ref().and_then(|host| host.unit.as_deref());
        assert!(
            matches!(unit, Some("big.service" | "late.service")),
            "{kill:?}"
        );
    }
    kills_in(&daemon, &quiet, 1);
    assert_eq!((recovered(&daemon), total(&daemon)), (3, before + 3));
    let log = daemon.log();
    assert!(
        log.contains("3 kills happened while nothing was hooked"),
        "{log}"
    );
    // Not again, neither those nor what is seen from now on, however it ends.
    dies(world, &big);
    kills_in(&daemon, &big, 4);
    drop(daemon);
    let daemon = home.start(world);
    assert_eq!((recovered(&daemon), total(&daemon)), (3, before + 4));
    daemon.stop();
    let daemon = home.start(world);
    assert_eq!((recovered(&daemon), total(&daemon)), (3, before + 4));
    "3 of 3 in two units while nothing was hooked, each once".to_owned()
}

/// A state of another boot: its counters and its kills are kept, whoever had not been seen to end
/// has ended.
pub(crate) fn another_boot(world: &World) -> String {
    let home = Home::new();
    let cgroup = world.limited(&format!("{POD}/{CONTAINER}"), LIMIT);
    let daemon = home.start(world);
    dies(world, &cgroup);
    kills_in(&daemon, &cgroup, 1);
    let (before, records) = (total(&daemon), daemon.kills(None));
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    for entry in fs::read_dir(home.state()).unwrap() {
        rewrite(&entry.unwrap().path(), |header| {
            let boot = header.split(r#""boot":""#).nth(1).unwrap();
            let boot = &boot[..36];
            header.replace(boot, "00000000-0000-4000-8000-000000000000")
        });
    }
    // The kernel counts on from 0 at boot; here from where it was.
    dies(world, &cgroup);
    let daemon = home.start(world);
    assert!(
        daemon.log().contains("of an earlier boot"),
        "{}",
        daemon.log()
    );
    assert_eq!(total(&daemon), before);
    assert_eq!(daemon.kills(None), records);
    assert_eq!(recovered(&daemon), 0);
    "counters and history, no cgroups".to_owned()
}

/// Changes the first frame of a file.
fn rewrite(path: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let mut bytes = Vec::new();
    oom_probe::journal::frame::push(&mut bytes, change(&header[18..]).as_bytes());
    bytes.extend_from_slice(rest.as_bytes());
    fs::write(path, bytes).unwrap();
}

/// What cannot be read, or not be written, is told once, and kills are captured all the same.
pub(crate) fn unusable(world: &World) -> String {
    let cgroup = world.limited("unusable", LIMIT);
    let mut killed = 0;
    let mut captures = |home: &Home, state: &Path, says: &str| {
        let daemon = home.start_with(world, state);
        let before = total(&daemon);
        dies(world, &cgroup);
        dies(world, &cgroup);
        wait::until("the kills", || total(&daemon), |now| *now == before + 2);
        killed += 2;
        let (status, log) = daemon.stop();
        assert!(status.success(), "{log}");
        let told: Vec<_> = log.lines().filter(|line| line.contains(says)).collect();
        assert_eq!(told.len(), 1, "{says}: {log}");
    };
    let home = Home::new();
    drop(home.start(world));
    let snapshot = home.state().join("snapshot");
    let whole = fs::read(&snapshot).unwrap();
    fs::write(&snapshot, &whole[..whole.len() / 2]).unwrap();
    captures(&home, &home.state(), "snapshot: its end is missing");
    let mut changed = fs::read(&snapshot).unwrap();
    changed[40] ^= 1;
    fs::write(&snapshot, changed).unwrap();
    captures(&home, &home.state(), "snapshot: it is damaged");
    rewrite(&snapshot, |header| {
        header.replace(r#""version":2"#, r#""version":3"#)
    });
    captures(&home, &home.state(), "it is of version 3");
    assert!(home.state().join("snapshot.unusable").exists());

    let full = tmpfs(&home.scratch.path().join("full"), c"size=4096");
    captures(&home, full.path(), "No space left on device");
    let readable = tmpfs(&home.scratch.path().join("readable"), c"size=1048576");
    drop(home.start_with(world, readable.path()));
    readable.make_read_only();
    captures(&home, readable.path(), "Read-only file system");
    let file = home.scratch.path().join("file");
    fs::write(&file, "").unwrap();
    captures(&home, &file, "nothing is kept over a restart");
    format!("{killed} kills beside seven states of no use")
}

/// Space comes back: so does the state, with everything that was counted meanwhile.
pub(crate) fn full_for_a_while(world: &World) -> String {
    let home = Home::new();
    let cgroup = world.limited("full", LIMIT);
    let disk = tmpfs(&home.scratch.path().join("disk"), c"size=65536");
    let daemon = home.start_with(world, disk.path());
    let stuffing = disk.path().join("stuffing");
    // More than there is: what fits is written.
    let _full = fs::write(&stuffing, vec![0; 1 << 20]).unwrap_err();
    // The journal's own page takes the first ones.
    let mut killed = 0;
    let one_more = || {
        dies(world, &cgroup);
        killed += 1;
        kills_in(&daemon, &cgroup, killed);
        daemon.log().contains("No space left on device")
    };
    wait::until_so("the trouble is told", one_more, || daemon.log());
    fs::remove_file(stuffing).unwrap();
    let before = total(&daemon);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("the state is written again"), "{log}");
    let daemon = home.start_with(world, disk.path());
    assert_eq!(total(&daemon), before);
    kills_in(&daemon, &cgroup, killed);
    format!("{killed} kills, of which the journal had room for a few")
}

/// A small file system on a new directory.
fn tmpfs(directory: &Path, size: &CStr) -> Mount {
    fs::create_dir(directory).unwrap();
    Mount::new(c"tmpfs", directory, Some(size))
}
