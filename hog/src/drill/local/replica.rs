//! One replica: started in its cgroup, started again when it ends, ready when it says so.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hog::cgroup::Cgroup;
use hog::scenario::Stage;
use hyper::Method;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{REQUEST, web};
use crate::drill::Options;
use crate::drill::evidence::What;
use crate::drill::recorder::Recorder;

const READINESS: Duration = Duration::from_millis(50);

pub(super) struct Replica {
    stage: Arc<Stage>,
    /// Which container of the stage.
    index: usize,
    hog: PathBuf,
    step: u64,
    interval: Duration,
    restart_after: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    address: Option<String>,
    ready: bool,
    /// Of every process that it has been.
    pids: Vec<u32>,
}

impl Replica {
    pub(super) fn new(stage: Arc<Stage>, index: usize, hog: PathBuf, options: &Options) -> Self {
        Self {
            stage,
            index,
            hog,
            step: options.step,
            interval: options.interval,
            restart_after: options.restart_after,
            state: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.stage.container(self.index).0.name
    }

    pub(super) fn cgroup(&self) -> &Cgroup {
        self.stage.container(self.index).1
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state().ready
    }

    pub(super) fn address(&self) -> Option<String> {
        self.state().address.clone()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.state().pids.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, and again whenever it has ended, for as long as the task is polled.
    pub(super) async fn supervise(self: Arc<Self>, recorder: Recorder) {
        let mut restarts = 0;
        loop {
            let before = self.cgroup().oom_kill_count();
            let status = match self.live(restarts, &recorder).await {
                Ok(status) => status,
                Err(error) => {
                    recorder.gap(format!("{} cannot be started: {error:#}", self.name()));
                    return;
                }
            };
            // As containerd tells OOMKilled: by the cgroup's own count.
            let counted = self.cgroup().oom_kill_count();
            let killed = matches!((before, counted), (Ok(before), Ok(after)) if after > before);
            let code = status
                .code()
                .or_else(|| Some(128 + status.signal()?))
                .unwrap_or(-1);
            let reason = if killed { "OOMKilled" } else { "Error" };
            recorder.death(self.name(), code, Some(reason.to_owned()));
            recorder.note(Some(self.name()), What::NotReady);
            sleep(self.restart_after).await;
            restarts += 1;
        }
    }

    /// One life, from its start to its end.
    async fn live(&self, restarts: u64, recorder: &Recorder) -> Result<ExitStatus> {
        let (mut child, stdout) = self.start()?;
        let pid = child.id();
        self.state().pids.push(pid);
        if restarts > 0 {
            recorder.note(Some(self.name()), What::Started { restarts });
        }
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || follow(stdout, tell));
        let becomes_ready = async {
            let address = told.await.context("it never said where it listens")?;
            while web::ask(&address, Method::GET, "/readyz", REQUEST)
                .await
                .is_err()
            {
                sleep(READINESS).await;
            }
            self.is_ready_at(address);
            if restarts > 0 {
                recorder.note(Some(self.name()), What::Ready);
            }
            std::future::pending::<Result<()>>().await
        };
        let status = tokio::select! {
            status = ended => status.context("the wait for it failed")?.context("cannot wait")?,
            // It closed its output, so it is about to end.
            Err(error) = becomes_ready => return Err(error),
        };
        self.is_gone();
        Ok(status)
    }

    fn is_ready_at(&self, address: String) {
        let mut state = self.state();
        state.address = Some(address);
        state.ready = true;
    }

    fn is_gone(&self) {
        let mut state = self.state();
        state.ready = false;
        state.address = None;
    }

    fn start(&self) -> Result<(Child, ChildStdout)> {
        let mut command = self.stage.container(self.index).0.command(&self.hog);
        command
            .env("HOG_LISTEN", "127.0.0.1:0")
            .env("HOG_STEP", self.step.to_string())
            .env("HOG_INTERVAL", format!("{}ms", self.interval.as_millis()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = self.cgroup().spawn(command)?;
        let stdout = child.stdout.take().context("it has no output")?;
        Ok((child, stdout))
    }

    /// Ends whatever is in the cgroup.
    pub(super) async fn stop(&self) {
        for pid in self.cgroup().processes().unwrap_or_default() {
            // SAFETY: kill(2) takes no pointer; whatever is in a cgroup of the drill's own is its
            // own, and is reaped only after it was seen there.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        while self.cgroup().processes().is_ok_and(|pids| !pids.is_empty()) {
            sleep(READINESS).await;
        }
    }
}

/// Tells where it listens, and reads on, so that it never waits for a reader.
fn follow(stdout: ChildStdout, tell: oneshot::Sender<String>) {
    let mut tell = Some(tell);
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(address) = line.strip_prefix("hog: serving on http://")
            && let Some(tell) = tell.take()
        {
            // Nobody listens any more where the drill was stopped.
            let _ = tell.send(address.to_owned());
        }
    }
}
