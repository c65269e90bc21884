//! A containerd of the test's own: its directories, socket and name space are nobody else's, and
//! gone with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::programs::Programs;

/// How long anything here may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Where containerd's shims have their sockets, whatever the configuration says.
const SHIM_SOCKETS: [&str; 2] = ["/run/containerd/s", "/run/containerd"];
/// Copies instead of overlays: a file system on every machine can do that.
pub(super) const SNAPSHOTTER: &str = "native";

/// A running containerd, ended on drop.
pub(super) struct Engine {
    directory: TempDir,
    programs: Programs,
    namespace: String,
    child: Child,
}

impl Engine {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// What it said, if it does not.
    pub(super) fn start(programs: Programs) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("oom-probe-").tempdir()?;
        let path = directory.path();
        fs::write(path.join("config.toml"), configuration(path))?;
        let log = File::create(path.join("containerd.log"))?;
        let child = programs
            .command("containerd")
            .arg("--config")
            .arg(path.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run containerd")?;
        let mut engine = Self {
            namespace: format!("oom-probe-test-{}", std::process::id()),
            directory,
            programs,
            child,
        };
        let deadline = Instant::now() + PATIENCE;
        while engine.ctr(&["version"]).is_err() {
            let ended = engine.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(engine.path().join("containerd.log"))?;
                bail!("containerd does not run here ({ended:?}): {}", log.trim());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(engine)
    }

    /// A directory for what belongs to this run.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The name that the cgroups of all containers here lie below.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn runc(&self) -> &Path {
        &self.programs.runc
    }

    /// What `ctr` answers.
    ///
    /// # Errors
    /// It says no; the error tells why.
    pub(super) fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .programs
            .command("ctr")
            .arg("--address")
            .arg(self.path().join("containerd.sock"))
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot run ctr")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("ctr {} failed: {}", arguments.join(" "), why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Loads the image in an archive.
    ///
    /// # Errors
    /// containerd does not take it.
    pub(super) fn import(&self, archive: &Path) -> Result<()> {
        let archive = archive.display().to_string();
        self.ctr(&["images", "import", "--snapshotter", SNAPSHOTTER, &archive])?;
        Ok(())
    }

    /// The cgroups of this name space, in every hierarchy.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        hierarchies
            .map(|entry| entry.path())
            .chain([root.to_owned()])
            .map(|hierarchy| hierarchy.join(&self.namespace))
            .filter(|cgroup| cgroup.is_dir())
            .collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SIGTERM, so that it closes its database.
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            thread::sleep(Duration::from_millis(20));
        }
        for cgroup in self.cgroups() {
            if let Err(error) = fs::remove_dir(&cgroup) {
                eprintln!("left behind: {}: {error}", cgroup.display());
            }
        }
        // Only if nobody else uses them.
        for directory in SHIM_SOCKETS {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "version = 2\n\
         root = \"{directory}/root\"\n\
         state = \"{directory}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\n\
         address = \"{directory}/containerd.sock\"\n"
    )
}
