//! One container, gone on drop.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::engine::{Engine, PATIENCE, SNAPSHOTTER};

const PAUSE: Duration = Duration::from_millis(50);

/// A container that runs or ran.
pub(super) struct Container<'a> {
    engine: &'a Engine,
    id: String,
    /// How often something was run in it: each needs a name.
    runs: u32,
    log: PathBuf,
}

impl<'a> Container<'a> {
    /// Runs an image detached. `options` are those of `ctr run`; without `arguments` the image's
    /// own entry point runs.
    ///
    /// # Errors
    /// containerd cannot run it.
    pub(super) fn run(
        engine: &'a Engine,
        id: &str,
        image: &str,
        options: &[String],
        arguments: &[&str],
    ) -> Result<Self> {
        let container = Self {
            engine,
            id: id.to_owned(),
            runs: 0,
            log: engine.path().join(format!("{id}.log")),
        };
        let log = format!("file://{}", container.log.display());
        let options = [
            &["--detach".to_owned(), "--log-uri".to_owned(), log],
            options,
        ]
        .concat();
        run(engine, id, image, &options, arguments)?;
        Ok(container)
    }

    /// Ends it by a signal and waits until it is gone.
    ///
    /// # Errors
    /// It does not end.
    pub(super) fn kill(&self, signal: &str) -> Result<()> {
        self.engine
            .ctr(&["tasks", "kill", "--signal", signal, &self.id])?;
        self.wait()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.task()?.is_some_and(|(_, state)| state != "STOPPED") {
            if Instant::now() > deadline {
                bail!("{} does not end: {}", self.id, self.said());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until it has said that; fails at once if it ends instead.
    ///
    /// # Errors
    /// What it said, if it was something else.
    pub(super) fn says(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            let ended = self.task()?.is_none_or(|(_, state)| state == "STOPPED");
            // What it said last may come in after its end.
            if (ended && !self.said().contains(text)) || Instant::now() > deadline {
                bail!("{} never said {text:?} but: {}", self.id, self.said());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// All that it has said.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a program in it and gives its output, as `kubectl exec` does.
    ///
    /// # Errors
    /// It cannot be run, or fails.
    pub(super) fn exec(&mut self, arguments: &[&str]) -> Result<String> {
        self.runs += 1;
        let name = format!("run{}", self.runs);
        let fifos = self.engine.path().join("fifo").display().to_string();
        let mut command = vec!["tasks", "exec", "--fifo-dir", &fifos, "--exec-id", &name];
        command.push(&self.id);
        command.extend(arguments);
        self.engine.ctr(&command)
    }

    /// A file of its first process in the node's procfs.
    ///
    /// # Errors
    /// It does not run, or there is no such file.
    pub(super) fn proc(&self, file: &str) -> Result<String> {
        let pid = self.pid()?;
        fs::read_to_string(format!("/proc/{pid}/{file}")).context("read its procfs")
    }

    /// The id of its first process on the node.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn pid(&self) -> Result<String> {
        let (pid, _) = self.task()?.context("it does not run")?;
        Ok(pid)
    }

    /// Process id and state of what runs in it.
    fn task(&self) -> Result<Option<(String, String)>> {
        let list = self.engine.ctr(&["tasks", "list"])?;
        Ok(task(&list, &self.id))
    }
}

/// Runs an image to its end, and gives what it said.
///
/// # Errors
/// containerd cannot run it, or it fails: the error says how.
pub(super) fn run_to_end(
    engine: &Engine,
    id: &str,
    image: &str,
    options: &[String],
    arguments: &[&str],
) -> Result<String> {
    let options = [&["--rm".to_owned()], options].concat();
    run(engine, id, image, &options, arguments)
}

fn run(
    engine: &Engine,
    id: &str,
    image: &str,
    options: &[String],
    arguments: &[&str],
) -> Result<String> {
    let runc = engine.runc().display().to_string();
    let runc_root = engine.path().join("runc").display().to_string();
    let fifos = engine.path().join("fifo").display().to_string();
    let mut command = vec!["run", "--snapshotter", SNAPSHOTTER, "--fifo-dir", &fifos];
    command.extend(["--runc-binary", &runc, "--runc-root", &runc_root]);
    command.extend(options.iter().map(String::as_str));
    command.extend([image, id]);
    command.extend(arguments);
    engine.ctr(&command)
}

/// A line of `ctr tasks list`.
fn task(list: &str, id: &str) -> Option<(String, String)> {
    list.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next()? == id;
        let task = (words.next()?.to_owned(), words.next()?.to_owned());
        is_it.then_some(task)
    })
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Each fails where there is nothing left to do.
        let _ = self
            .engine
            .ctr(&["tasks", "kill", "--signal", "SIGKILL", &self.id]);
        let _ = self.wait();
        let _ = self.engine.ctr(&["tasks", "delete", &self.id]);
        let _ = self.engine.ctr(&["containers", "delete", &self.id]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_by_its_whole_name() {
        let list = "TASK     PID      STATUS    \n\
                    probe2   7        STOPPED\n\
                    probe    10162    RUNNING\n";
        let found = task(list, "probe");
        assert_eq!(found, Some(("10162".to_owned(), "RUNNING".to_owned())));
        assert_eq!(task(list, "hog"), None);
    }
}
