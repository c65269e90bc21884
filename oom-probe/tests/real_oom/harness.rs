//! Runs scenarios one after another, each within a time of its own, and tells how they came out.

use std::fs::File;
use std::iter;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::hung;
use crate::mounts;
use crate::scenarios;
use crate::world::{Programs, World, leave_nothing_behind};

/// What a scenario found, in a few words. It panics where something is not as it should be.
pub(crate) type Run = fn(&World) -> String;

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: Run,
}

impl Scenario {
    /// Whether the gate has time for one that is about the daemon.
    fn in_gate(&self) -> bool {
        let needs = |need: fn(&Need) -> bool| self.needs.iter().any(need);
        if std::env::var_os("OOM_PROBE_VM").is_some() {
            needs(|need| *need == Need::V2)
        } else {
            !needs(|need| *need == Need::Patience)
        }
    }
}

/// What a scenario cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The memory controller's second version.
    V2,
    /// A machine that may run out of memory as a whole.
    OwnMachine,
    /// Two memory nodes.
    TwoNodes,
    /// A machine that is not emulated: for what takes long, or a pace that emulation does not keep.
    NativeOnly,
    /// Half a minute or more of waiting, for which the gate has no time.
    Patience,
    /// What no kernel does differently: natively, and on this emulated machine.
    OneMachine(&'static str),
}

impl Need {
    /// Why the scenario cannot run here.
    fn missing(self, world: &World) -> Option<String> {
        let (there, reason) = match self {
            Self::V2 => (world.is_v2(), "the memory controller is cgroup v1's"),
            Self::OwnMachine => (world.vm.is_some(), "only in an emulated machine"),
            Self::OneMachine(machine) => {
                let here = world.vm.as_deref().is_none_or(|name| name == machine);
                let reason = format!("no matter of the kernel: natively and on {machine}");
                return (!here).then_some(reason);
            }
            Self::NativeOnly => (world.vm.is_none(), "left to machines that are not emulated"),
            Self::Patience => (true, ""),
            Self::TwoNodes => (
                std::path::Path::new("/sys/devices/system/node/node1").exists(),
                "one memory node",
            ),
        };
        (!there).then(|| reason.to_owned())
    }
}

/// How a scenario came out.
enum Verdict {
    Passed(String),
    Skipped(String),
    Failed(String),
}

/// Longer than any scenario takes on an emulated machine, beside other work too.
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// Which scenarios are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Kills,
    Daemon,
    All,
    /// What the gate has time for: all on this machine, and in an emulated one the kills and what
    /// this machine cannot run.
    Gate,
}

impl Set {
    /// The set of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "kills" => Some(Self::Kills),
            "daemon" => Some(Self::Daemon),
            "all" => Some(Self::All),
            "gate" => Some(Self::Gate),
            _ => None,
        }
    }

    fn scenarios(self) -> impl Iterator<Item = &'static Scenario> {
        let (kills, daemon): (&[Scenario], &[Scenario]) = match self {
            Self::Kills => (scenarios::KILLS, &[]),
            Self::Daemon => (&[], scenarios::DAEMON),
            Self::All | Self::Gate => (scenarios::KILLS, scenarios::DAEMON),
        };
        let kills = kills.iter();
        kills.chain(
            daemon
                .iter()
                .filter(move |daemon| self != Self::Gate || daemon.in_gate()),
        )
    }
}

/// Prints the names of the set's scenarios, as libtest does.
pub(crate) fn list(set: Set) {
    for scenario in set.scenarios() {
        println!("{}: test", scenario.name);
    }
}

/// Runs the scenarios of the set whose name contains one of the filters, each so many times; without
/// filters the whole set.
pub(crate) fn run(set: Set, filters: &[String], times: usize) -> ExitCode {
    let chosen: Vec<&Scenario> = set
        .scenarios()
        .filter(|scenario| {
            filters.is_empty()
                || filters
                    .iter()
                    .any(|part| scenario.name.contains(part.as_str()))
        })
        .flat_map(|scenario| iter::repeat_n(scenario, times))
        .collect();
    let began = Instant::now();
    let mut tally = Tally::default();
    println!("running {} scenarios", chosen.len());
    if let Err(reason) = root() {
        for scenario in &chosen {
            tally.tell(scenario.name, &Verdict::Skipped(reason.clone()), None);
        }
    } else {
        // The guard stands outside of the namespace: the mounts in there do not hinder it.
        let alone = alone_with_kills();
        match alone
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|_| leave_nothing_behind())
            .and_then(|()| namespace())
            .and_then(|()| Programs::find())
            .and_then(World::new)
        {
            Ok(world) => run_in(&Arc::new(world), &chosen, &mut tally),
            Err(error) => tally.tell("start", &Verdict::Failed(error), None),
        }
    }
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; \
         {} filtered out; finished in {:.2}s",
        Set::All.scenarios().count() - chosen.len() / times.max(1),
        began.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(failed > 0))
}

fn root() -> Result<(), String> {
    // SAFETY: geteuid(2) takes no argument.
    match unsafe { libc::geteuid() } {
        0 => Ok(()),
        _ => Err("not root: loading kernel programs and making cgroups take root".to_owned()),
    }
}

/// Until it is dropped, no other run of these tests makes kills on this kernel: some scenarios look at
/// what the whole machine counts. The lock is on a directory that every clone and chroot shares.
fn alone_with_kills() -> Result<File, String> {
    const SHARED: &str = "/sys/fs/cgroup";
    let directory = File::open(SHARED).map_err(|error| format!("{SHARED}: {error}"))?;
    if directory.try_lock().is_err() {
        println!("waiting for another run of these tests to end");
        let locked = directory.lock();
        locked.map_err(|error| format!("lock {SHARED}: {error}"))?;
    }
    Ok(directory)
}

fn namespace() -> Result<(), String> {
    mounts::own_namespace().map_err(|error| format!("no mounts of its own: {error}"))
}

fn run_in(world: &Arc<World>, chosen: &[&Scenario], tally: &mut Tally) {
    let panicked = remember_panics();
    let mut hung = None;
    for scenario in chosen {
        let began = Instant::now();
        let missing = scenario.needs.iter().find_map(|need| need.missing(world));
        let verdict = match (hung, missing) {
            (Some(name), _) => Verdict::Failed(format!("not run: {name} did not end")),
            (None, Some(reason)) => Verdict::Skipped(reason),
            (None, None) => within(LIMIT, world, scenario.run, &panicked).unwrap_or_else(|| {
                hung = Some(scenario.name);
                println!("--- {} did not end ---\n{}", scenario.name, hung::threads());
                Verdict::Failed(format!("did not end within {} s", LIMIT.as_secs()))
            }),
        };
        tally.tell(scenario.name, &verdict, Some(began.elapsed()));
    }
    if tally.failed > 0 {
        println!("--- daemon ---\n{}", world.daemon.log());
    }
}

/// Runs it on a thread of its own; `None` if it does not end in time. It then goes on, and nothing
/// else should run beside it.
fn within(limit: Duration, world: &Arc<World>, run: Run, panicked: &Panicked) -> Option<Verdict> {
    let (tell, told) = mpsc::channel();
    let world = Arc::clone(world);
    let panicked = Arc::clone(panicked);
    thread::spawn(move || {
        let verdict = match panic::catch_unwind(AssertUnwindSafe(|| run(&world))) {
            Ok(found) => match found.strip_prefix(SKIP) {
                Some(reason) => Verdict::Skipped(reason.to_owned()),
                None => Verdict::Passed(found),
            },
            Err(_) => Verdict::Failed(std::mem::take(
                &mut *panicked.lock().unwrap_or_else(PoisonError::into_inner),
            )),
        };
        // The receiver is gone where it took too long.
        let _ = tell.send(verdict);
    });
    told.recv_timeout(limit).ok()
}

const SKIP: &str = "skipped: ";

/// For a scenario that finds out on the way that this kernel cannot do it.
pub(crate) fn skipped(reason: &str) -> String {
    format!("{SKIP}{reason}")
}

type Panicked = Arc<Mutex<String>>;

/// Keeps the text of a panic for the verdict.
fn remember_panics() -> Panicked {
    let panicked = Panicked::default();
    let remembered = Arc::clone(&panicked);
    panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map_or_else(String::new, ToString::to_string);
        let payload = info.payload();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        let text = format!("{place}: {}", text.unwrap_or_default());
        *remembered.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }));
    panicked
}

impl Tally {
    /// One line for a person, one for `cargo xtask vm-test`.
    fn tell(&mut self, name: &str, verdict: &Verdict, took: Option<Duration>) {
        let seconds = took.map(|took| (took.as_secs_f64() * 100.0).round() / 100.0);
        let (word, detail, json) = match verdict {
            Verdict::Passed(detail) => {
                self.passed += 1;
                ("ok", detail, json!({"ok": true, "detail": detail}))
            }
            Verdict::Skipped(reason) => {
                self.skipped += 1;
                ("skipped", reason, json!({"skipped": reason}))
            }
            Verdict::Failed(why) => {
                self.failed += 1;
                ("FAILED", why, json!({"ok": false, "detail": why}))
            }
        };
        if std::env::var_os("OOM_PROBE_VM").is_some() {
            let mut line = json;
            line["scenario"] = name.into();
            line["seconds"] = seconds.into();
            println!("@@ {line}");
        } else {
            let seconds = seconds.unwrap_or_default();
            println!("scenario {name} ... {word} ({detail}) {seconds:.2}s");
        }
    }
}
