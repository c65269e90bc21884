//! The daemon under test.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use crate::{
    http,
    metrics::Metrics,
    wait::{self, PATIENCE, PAUSE},
};
use capture::model::kill::Record;

const ANY_PORT: &str = "127.0.0.1:0";

/// Where its kills go.
const OUTPUT: &str = "kills.json";
/// Where it says what it does.
pub(crate) const LOG: &str = "daemon.log";

/// A running `oom-probe run`, killed on drop.
pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
    output: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts it on a free port of the loopback interface and waits until it captures. What it says
    /// goes to files in `directory`.
    ///
    /// # Errors
    /// What it said, if it ended instead.
    pub(crate) fn start(program: &Path, directory: &Path, flags: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("run").args(flags);
        Self::start_as(command, directory)
    }

    /// As [`Self::start`], with what captures pinned there.
    pub(crate) fn start_pinned(
        program: &Path,
        directory: &Path,
        pin_dir: &Path,
        flags: &[&str],
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(["run", "--pin-dir"]).arg(pin_dir).args(flags);
        Self::start_pinned_as(command, directory)
    }

    /// As [`Self::start_pinned`], with a command prepared by the caller.
    pub(crate) fn start_pinned_as(command: Command, directory: &Path) -> Result<Self, String> {
        let output = create(&directory.join(OUTPUT))?;
        Self::launch(command, directory, output.into(), ANY_PORT)
    }

    /// As [`Self::start`], with everything but the address prepared by the caller.
    pub(crate) fn start_at(
        command: Command,
        directory: &Path,
        address: SocketAddr,
    ) -> Result<Self, String> {
        let output = create(&directory.join(OUTPUT))?;
        Self::launch(command, directory, output.into(), &address.to_string())
    }

    /// As [`Self::start`], with a command prepared by the caller.
    pub(crate) fn start_as(command: Command, directory: &Path) -> Result<Self, String> {
        let output = create(&directory.join(OUTPUT))?;
        Self::start_to(command, directory, output.into())
    }

    /// As [`Self::start_as`], with another standard output than a file.
    pub(crate) fn start_to(
        mut command: Command,
        directory: &Path,
        stdout: Stdio,
    ) -> Result<Self, String> {
        command.arg("--no-pin");
        Self::launch(command, directory, stdout, ANY_PORT)
    }

    fn launch(
        mut command: Command,
        directory: &Path,
        stdout: Stdio,
        address: &str,
    ) -> Result<Self, String> {
        let log = directory.join(LOG);
        if !command.get_args().any(|argument| argument == "--output") {
            command.args(["--output", "json"]);
        }
        let mut child = command
            .args(["--listen", address])
            .args(["--history", "6000"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(create(&log)?)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if let Some(address) = listening(&said) {
                return Ok(Self {
                    child,
                    address,
                    output: directory.join(OUTPUT),
                    log,
                });
            }
            let ended = child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                // It may have gone already; it is ours and not yet reaped.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the daemon does not capture ({ended:?}): {said}"));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Every kill after that one, or all it remembers.
    pub(crate) fn kills(&self, after: Option<&str>) -> Vec<Record> {
        let query = after.map_or_else(String::new, |id| format!("?after={id}"));
        let body = self.get(&format!("/api/v1/kills{query}"));
        let kills = parse_kills(&body);
        kills.unwrap_or_else(|error| panic!("/api/v1/kills: {error}: {body}"))
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics"))
    }

    pub(crate) fn get(&self, path: &str) -> String {
        http::get(self.address, path).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, KiB.
    pub(crate) fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.split_whitespace().next());
        kb.and_then(|kb| kb.parse().ok()).expect("VmRSS")
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same for `oom-probe kills`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it where it is, as if it had no time, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { libc::SIGSTOP } else { libc::SIGCONT };
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        let sent = unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        assert_eq!(sent, 0);
    }

    /// What it said on standard error so far: a thread of its own writes it, so that only lines
    /// before the one that [`Self::start`] waits for are sure to be there.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said that.
    pub(crate) fn wait_for_log(&self, part: &str) {
        wait::until_so(part, || self.log().contains(part), || self.log());
    }

    /// The kills that it wrote on standard output; none where that went elsewhere. The end of a file
    /// moves page by page, also within one write(2) (mm/filemap.c `generic_perform_write`): a line
    /// without its end is one that is being written.
    pub(crate) fn written(&self) -> Vec<Record> {
        let written = match fs::read_to_string(&self.output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            written => written.expect("read what the daemon wrote"),
        };
        let whole = written.rfind('\n').map_or("", |end| &written[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// How much it wrote on standard output so far.
    pub(crate) fn written_bytes(&self) -> u64 {
        fs::metadata(&self.output).map_or(0, |written| written.len())
    }

    /// Kills it as nobody can prepare for; what it has written is left.
    pub(crate) fn kill(mut self) -> Vec<Record> {
        self.child.kill().expect("kill the daemon");
        self.child.wait().expect("wait for the daemon");
        self.written()
    }

    /// Waits until it ends by itself; returns how and what it said.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the daemon") {
                return (status, self.log());
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            thread::sleep(PAUSE);
        }
    }

    /// Stops it in good order; returns how it ended and what it said.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        let (status, log, _) = self.stop_and_read();
        (status, log)
    }

    /// As [`Self::stop`], and what it wrote.
    pub(crate) fn stop_and_read(mut self) -> (ExitStatus, String, Vec<Record>) {
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the daemon") {
                return (status, self.log(), self.written());
            }
            assert!(
                Instant::now() < deadline,
                "SIGTERM did not end the daemon: {}",
                self.log()
            );
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only where it has ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Where it says that it listens, once it captures.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("http://")?;
    rest.split_once("/metrics")?.0.parse().ok()
}

/// A JSON array, or one object per line.
fn parse_kills(body: &str) -> serde_json::Result<Vec<Record>> {
    if body.trim_start().starts_with('[') {
        return serde_json::from_str(body);
    }
    serde_json::Deserializer::from_str(body)
        .into_iter()
        .collect()
}
