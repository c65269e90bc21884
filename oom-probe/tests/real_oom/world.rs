//! Where the scenarios run: this machine, its cgroups, the hog, the daemon.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use hog::cgroup::{Cgroup, Hierarchy, Version, remove_tree};
use hog::guard;
use hog::resident::Resident;

use crate::daemon::Daemon;
use capture::model::kill::{Kill, Record};

/// Everything that a scenario works with.
pub(crate) struct World {
    pub(crate) hierarchy: Hierarchy,
    /// The emulated machine's name; absent on a machine that is not ours to exhaust.
    pub(crate) vm: Option<String>,
    pub(crate) daemon: Daemon,
    /// How the daemon is hooked: the labels of `oom_probe_hook_info`.
    pub(crate) hook: String,
    pub(crate) context: String,
    programs: Programs,
    /// The one cgroup that all others are below.
    top: String,
    /// For what the daemon writes.
    _scratch: tempfile::TempDir,
    _hog: Resident,
    cgroups: AtomicU32,
}

/// The programs under test.
#[derive(Clone)]
pub(crate) struct Programs {
    pub(crate) oom_probe: PathBuf,
    pub(crate) hog: PathBuf,
}

impl Programs {
    /// As the environment says, else from the directory above this test's own.
    ///
    /// # Errors
    /// There is no such file.
    pub(crate) fn find() -> Result<Self, String> {
        Ok(Self {
            oom_probe: program("OOM_PROBE_BIN", "oom-probe")?,
            hog: program("HOG_BIN", "hog")?,
        })
    }
}

fn program(variable: &str, name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os(variable).map_or_else(|| beside_this_test(name), PathBuf::from);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "{} is no program: build it, or say where it is by {variable}",
            path.display()
        ))
    }
}

/// This test is in `target/debug/deps`.
fn beside_this_test(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let above = test.ancestors().nth(2).unwrap_or(Path::new("."));
    above.join(name)
}

impl World {
    /// Finds the cgroups and starts the daemon.
    ///
    /// # Errors
    /// What is missing here.
    pub(crate) fn new(programs: Programs) -> Result<Self, String> {
        let hierarchy = Hierarchy::detect().map_err(|error| error.to_string())?;
        let vm = vm();
        if vm.is_some() {
            // The machine runs out of memory on purpose: neither this nor the daemon shall die.
            fs::write("/proc/self/oom_score_adj", "-1000").map_err(|error| error.to_string())?;
            // Each kill's line would be written out over an emulated serial port, byte by byte.
            fs::write("/proc/sys/kernel/printk", "1").map_err(|error| error.to_string())?;
        }
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let hog = Resident::hold(&programs.hog);
        let hog = hog.map_err(|error| format!("{}: {error}", programs.hog.display()))?;
        let top = own_name();
        // Every daemon that is started from here on looks for pods below a cgroup of these tests.
        // SAFETY: no scenario runs yet, and nobody has made a thread.
        unsafe { std::env::set_var("OOM_PROBE_KUBEPODS_ROOT", format!("/{top}")) };
        let daemon = Daemon::start(&programs.oom_probe, scratch.path(), &[])?;
        let metrics = daemon.metrics();
        let label = |name| metrics.label("oom_probe_hook_info", name);
        Ok(Self {
            hierarchy,
            vm,
            hook: label("hook"),
            context: label("context"),
            daemon,
            programs,
            top,
            _scratch: scratch,
            _hog: hog,
            cgroups: AtomicU32::new(0),
        })
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.hierarchy.version == Version::V2
    }

    /// A new cgroup, below one of its own.
    pub(crate) fn cgroup(&self, below: &str) -> Cgroup {
        let number = self.cgroups.fetch_add(1, Ordering::Relaxed);
        let path = format!("{}/{number}/{below}", self.top);
        Cgroup::create(&self.hierarchy, path).unwrap()
    }

    /// A new cgroup below an existing one.
    pub(crate) fn cgroup_in(&self, parent: &Cgroup, below: &str) -> Cgroup {
        let parent = parent.directory().strip_prefix(&self.hierarchy.root);
        let path = parent.expect("it is in this hierarchy").join(below);
        Cgroup::create(&self.hierarchy, path).unwrap()
    }

    /// A new cgroup with a limit.
    pub(crate) fn limited(&self, below: &str, limit: u64) -> Cgroup {
        let cgroup = self.cgroup(below);
        cgroup.set_limit(limit).unwrap();
        cgroup
    }

    /// Whether a path of a kill record is one of ours.
    pub(crate) fn owns(&self, path: &str) -> bool {
        path.contains(&self.top)
    }

    /// On a machine of its own every kill is ours; else others may be at work.
    pub(crate) fn is_ours(&self, record: &Record) -> bool {
        let cgroup = record.kill.cgroup.as_ref();
        let path = cgroup.and_then(|cgroup| cgroup.path.as_ref());
        self.vm.is_some() || path.is_none_or(|path| self.owns(&path.to_string()))
    }

    /// `oom_score_adj` of a process that is to live on beside its dying neighbours. A victim whose
    /// memory is not yet back may be passed over already, and then whoever is left is chosen
    /// (mm/oom_kill.c `oom_evaluate_task`): this is as low as root may go here.
    pub(crate) fn spared(&self) -> &'static str {
        if self.vm.is_some() { "-1000" } else { "0" }
    }

    /// A hog that the OOM killer may take, whoever starts it.
    pub(crate) fn hog(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.hog);
        if !arguments.contains(&"--oom-score-adj") {
            command.args(["--oom-score-adj", "0"]);
        }
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped());
        command
    }

    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }
}

/// The name of the one cgroup that all others are below, and of whatever else is this test's own.
fn own_name() -> String {
    format!("oom-probe-test-{}", std::process::id())
}

/// Has what this test makes cleared up at its end, however that comes. An emulated machine ends with it.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn leave_nothing_behind() -> Result<(), String> {
    if vm().is_some() {
        return Ok(());
    }
    let name = own_name();
    let hierarchy = Hierarchy::detect().map_err(|error| error.to_string())?;
    let others = other_hierarchies(&hierarchy);
    let sweep = || {
        for Hierarchy { version, root, .. } in [&hierarchy].into_iter().chain(&others) {
            if let Err(error) = remove_tree(*version, &root.join(&name)) {
                guard::tell(&error.to_string());
            }
        }
    };
    // SAFETY: no scenario runs yet, and this test's main makes no thread.
    unsafe { guard::stand(&name, sweep) }.map_err(|error| format!("no guard: {error}"))
}

/// Hierarchies beside that of a v1 memory controller which a container is in as well: that of the
/// pids controller, and v2's.
pub(crate) fn other_hierarchies(memory: &Hierarchy) -> Vec<Hierarchy> {
    let pids = memory.root.with_file_name("pids");
    let pids = (memory.version == Version::V1 && pids.is_dir()).then_some(pids);
    let other = |root| Hierarchy {
        // No controller has to be enabled for what is asked of them.
        version: Version::V1,
        root,
        mounted: "/".into(),
        unified: None,
    };
    let roots = pids.into_iter().chain(memory.unified.clone());
    roots.map(other).collect()
}

fn vm() -> Option<String> {
    std::env::var("OOM_PROBE_VM").ok()
}

/// A hog in a cgroup, killed on drop.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn start(cgroup: &Cgroup, command: Command) -> Self {
        Self {
            child: cgroup.spawn(command).unwrap(),
        }
    }

    /// A process that has been started.
    pub(crate) fn of(child: Child) -> Self {
        Self { child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said a line that contains this; returns the line.
    pub(crate) fn line(&mut self, part: &str) -> String {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut said = String::new();
        loop {
            // Byte by byte, so that nothing of what follows is lost.
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') {
                let mut byte = [0];
                let length = stdout.read(&mut byte).unwrap();
                assert!(length > 0, "the hog never said {part:?} but {said:?}");
                line.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&line);
            if line.contains(part) {
                return line.trim_end().to_owned();
            }
            said.push_str(&line);
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Waits for its end by SIGKILL, whoever else keeps its output open.
    pub(crate) fn wait_killed(&mut self) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    }

    /// Waits for its end; returns all else that it said, and how it ended.
    pub(crate) fn end(mut self) -> Ended {
        let mut said = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        Ended {
            pid: self.child.id(),
            status,
            said,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hog that has ended.
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) status: std::process::ExitStatus,
    pub(crate) said: String,
}

impl Ended {
    /// It was killed.
    pub(crate) fn killed(self) -> Self {
        let Self { status, said, .. } = &self;
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}: {said}");
        self
    }

    /// The numbers that stand between these words in the lines that have both.
    pub(crate) fn numbers(&self, before: &str, after: &str) -> Vec<u32> {
        numbers(&self.said, before, after)
    }
}

/// See [`Ended::numbers`].
pub(crate) fn numbers(said: &str, before: &str, after: &str) -> Vec<u32> {
    said.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(before)?;
            rest.split_once(after)?.0.parse().ok()
        })
        .collect()
}

impl World {
    /// Whether usage and limits of cgroups can be read in the kernel: not by direct loads.
    pub(crate) fn reads_usage(&self) -> bool {
        !self.hook.ends_with("tp_btf")
    }

    /// Whether a record has to name its cgroups: it has only ids where the kernel refuses names and
    /// nobody found them by the ids.
    pub(crate) fn is_named(&self, kill: &Kill) -> bool {
        let path = kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_ref());
        path.is_some() || !self.daemon.log().contains("no names")
    }

    /// Whether the kernel says itself which cgroup ran out.
    pub(crate) fn has_context(&self) -> bool {
        self.context != "none"
    }

    /// Whether `mem_cgroup.oom_lock` says it instead: v1 is compiled in.
    pub(crate) fn has_oom_lock(&self) -> bool {
        self.daemon.log().contains("oom_lock")
    }
}
