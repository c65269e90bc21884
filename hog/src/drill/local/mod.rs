//! The drill without a cluster: two replicas of the service scenario, each in a cgroup with a limit,
//! under a supervisor that starts them again, and a client that keeps asking both.

mod client;
mod replica;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hog::cgroup::{Hierarchy, Version};
use hog::scenario::{self, Stage};
use hyper::Method;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::evidence::{Evidence, Plan, Target, What};
use super::expect::{Grower, expect};
use super::probe::{Door, Watch};
use super::recorder::Recorder;
use super::{Options, Probe, web};
use replica::Replica;

/// Without --limit and --probe.
const LIMIT: u64 = 128 << 20;
const PROBE: &str = "http://127.0.0.1:9550";
/// For both replicas to serve for the first time.
const START: Duration = Duration::from_secs(30);
const SAMPLE: Duration = Duration::from_millis(50);
/// Beyond the time that allocation and recovery may take.
const SLACK: Duration = Duration::from_secs(5);
/// How long the client goes on once all is well again.
const AFTERWARDS: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(1);

/// Runs it; `stopped` ends it before its time, with a reason. Nothing is left of it afterwards.
pub(super) async fn run(
    options: &Options,
    stopped: impl Future<Output = String>,
) -> Result<Evidence> {
    let hierarchy = Hierarchy::detect()?;
    let probe = match &options.probe {
        Some(Probe::None) => None,
        Some(Probe::Url(url)) => Some(open(url).await?),
        None => Some(open(PROBE).await?),
    };
    let service = scenario::find("service").context("there is no scenario `service`")?;
    let name = options.cgroup.clone();
    let name = name.unwrap_or_else(|| format!("oom-probe-drill-{}", std::process::id()).into());
    if hierarchy.root.join(&name).exists() {
        let name = name.display();
        bail!("the cgroup {name} exists; give another --cgroup, which is made and removed");
    }
    let stage = Stage::set(
        &hierarchy,
        &name,
        service,
        Some(options.limit.unwrap_or(LIMIT)),
    )?;
    let hog = env::current_exe().context("cannot find hog's own program")?;
    let stage = Arc::new(stage);
    let replicas: Vec<_> = (0..service.containers.len())
        .map(|index| Arc::new(Replica::new(stage.clone(), index, hog.clone(), options)))
        .collect();
    // Gone with the last replica.
    drop(stage);
    let victim = Arc::clone(replicas.first().context("the scenario has no containers")?);

    let oom_group = victim.cgroup().oom_group()?;
    let (expected, because) = expect(oom_group, Grower::Service);
    eprintln!("hog: {because}");
    let target = Target {
        name: "two local replicas of `hog serve`".to_owned(),
        victim: victim.name().to_owned(),
        node: node_name(),
        replicas: replicas.len(),
        limit_bytes: victim.cgroup().limit()?,
        cgroup_version: Some(match hierarchy.version {
            Version::V1 => 1,
            Version::V2 => 2,
        }),
        oom_group,
    };
    let plan = Plan {
        allocate_bytes: options.allocate,
        step_bytes: options.step,
        interval_ms: options.interval_ms(),
        recover_within_ms: options.recover_within_ms(),
        silence_allowed_ms: options.silence_ms(),
        probe: probe.is_some(),
        expected,
        because,
    };
    let drill = Drill {
        recorder: Recorder::begin(target, plan),
        replicas,
        victim,
    };
    drill.run(options, probe, stopped).await
}

async fn open(url: &str) -> Result<Watch> {
    let series = |series: &str| {
        series.starts_with("oom_probe_kills_total{") && series.contains("scope=\"host\"")
    };
    let watch = Watch::begin(Door::at(url)?, series).await;
    watch.with_context(|| {
        format!(
            "no probe at {url}; start `oom-probe run` there, name another by --probe, or go \
             without its record by --probe none"
        )
    })
}

struct Drill {
    recorder: Recorder,
    replicas: Vec<Arc<Replica>>,
    victim: Arc<Replica>,
}

impl Drill {
    async fn run(
        self,
        options: &Options,
        probe: Option<Watch>,
        stopped: impl Future<Output = String>,
    ) -> Result<Evidence> {
        let recorder = self.recorder.clone();
        let mut tasks = JoinSet::new();
        for replica in &self.replicas {
            tasks.spawn(Arc::clone(replica).supervise(recorder.clone()));
        }
        let done = tokio::select! {
            done = self.phases(options, &mut tasks) => done,
            why = stopped => {
                recorder.note(None, What::Stopped { why });
                Ok(())
            }
        };
        // Before the replicas end: their end is no part of the drill.
        tasks.shutdown().await;
        let kernel_kills = self.victim.cgroup().oom_kill_count().ok();
        for replica in &self.replicas {
            replica.stop().await;
        }
        if let Some(probe) = &probe {
            let pids = self.victim.pids();
            probe.collect(&recorder, |kill| is_of(kill, &pids)).await;
        }
        recorder.evidence().kernel_kills = kernel_kills;
        done?;
        Ok(recorder.end())
    }

    async fn phases(&self, options: &Options, tasks: &mut JoinSet<()>) -> Result<()> {
        let recorder = &self.recorder;
        let all_ready = async {
            while !self.replicas.iter().all(|replica| replica.is_ready()) {
                sleep(SAMPLE).await;
            }
        };
        timeout(START, all_ready)
            .await
            .context("the replicas do not serve")?;
        recorder.note(None, What::Began);
        tasks.spawn(client::keep_asking(self.replicas.clone(), recorder.clone()));
        tasks.spawn(sample(self.replicas.clone(), recorder.clone()));
        tasks.spawn(progress(Arc::clone(&self.victim), recorder.clone()));
        sleep(options.baseline).await;

        let bytes = options.allocate;
        let address = self.victim.address().context("the victim does not serve")?;
        let path = format!("/allocate?mb={}", bytes >> 20);
        recorder.note(Some(self.victim.name()), What::Asked { bytes });
        web::ask(&address, Method::POST, &path, REQUEST)
            .await
            .context("the victim does not take the request")?;
        let deadline = Instant::now() + options.allocation_time() + options.recover_within + SLACK;
        while !self.is_back() && Instant::now() < deadline {
            sleep(SAMPLE).await;
        }
        sleep(AFTERWARDS).await;
        Ok(())
    }

    fn is_back(&self) -> bool {
        let evidence = self.recorder.evidence();
        evidence.death().is_some() && evidence.when(|what| *what == What::ServesAgain).is_some()
    }
}

/// Memory of every replica, by its cgroup.
async fn sample(replicas: Vec<Arc<Replica>>, recorder: Recorder) {
    loop {
        for replica in &replicas {
            match replica.cgroup().usage() {
                Ok(bytes) => recorder.uses(replica.name(), bytes),
                Err(error) => recorder.gap(format!("usage of {}: {error}", replica.name())),
            }
        }
        sleep(SAMPLE).await;
    }
}

/// What the victim holds, by its own word.
async fn progress(victim: Arc<Replica>, recorder: Recorder) {
    loop {
        if let Some(address) = victim.address()
            && let Ok(body) = web::ask(&address, Method::GET, "/status", REQUEST).await
            && let Ok(status) = serde_json::from_slice::<crate::serve::Status>(&body)
        {
            recorder.holds(status.held_bytes);
        }
        sleep(SAMPLE).await;
    }
}

fn is_of(kill: &Value, pids: &[u32]) -> bool {
    let pid = kill["victim"]["pid"].as_u64();
    pid.is_some_and(|pid| pids.iter().any(|&ours| u64::from(ours) == pid))
}

fn node_name() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let name = read("/proc/sys/kernel/hostname");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, Linux {}", name.trim(), kernel.trim())
}
