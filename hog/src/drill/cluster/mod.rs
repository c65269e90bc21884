//! The drill against a Deployment, through the user's own kubeconfig.

mod adjust;
mod confirm;
mod forward;
mod grow;
mod observe;
mod safety;
mod target;
mod watchers;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use hog::units::format_size;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::evidence::{Evidence, Expected, Plan, Target, What};
use super::expect::expect;
use super::probe::{Door, Watch};
use super::recorder::Recorder;
use super::{Options as DrillOptions, Probe};
use crate::failure::Usage;
pub(super) use forward::Forward;
use grow::Victim;
use target::Cluster;

const LOOK: Duration = Duration::from_millis(250);
/// Beyond the time that allocation and recovery may take.
const SLACK: Duration = Duration::from_secs(10);
/// How long the client goes on once all is well again.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// What is to be drilled in a cluster.
#[derive(Args, Debug)]
#[command(next_help_heading = "In a cluster")]
pub(crate) struct ClusterOptions {
    /// Deployment to drill; without it the drill is local
    #[arg(long, value_name = "NAME")]
    pub(super) deployment: Option<String>,

    /// Its namespace [default: that of the kubeconfig's context]
    #[arg(short, long, value_name = "NAME", requires = "deployment")]
    namespace: Option<String>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME", requires = "deployment")]
    context: Option<String>,

    /// Container that is to grow [default: the first]
    #[arg(long, value_name = "NAME", requires = "deployment")]
    container: Option<String>,

    /// Service that the client asks, as NAME or NAME:PORT [default: the Deployment's name]
    #[arg(long, value_name = "SERVICE", requires = "deployment")]
    service: Option<String>,

    /// Path that the client asks for [default: that of the container's readiness probe]
    #[arg(long, value_name = "PATH", requires = "deployment")]
    path: Option<String>,

    /// Grow in a process beside the service, by exec of sh and awk, instead of asking it to grow:
    /// for services other than hog's own
    #[arg(long, requires = "deployment")]
    exec: bool,

    /// Pods among which oom-probe is found
    #[arg(
        long,
        value_name = "SELECTOR",
        requires = "deployment",
        default_value = "app.kubernetes.io/name=oom-probe"
    )]
    probe_selector: String,

    /// Go on without asking
    #[arg(short, long, requires = "deployment")]
    yes: bool,

    /// Go on in a namespace that is marked against it, and with a Deployment that a GitOps
    /// controller manages
    #[arg(long, requires = "deployment")]
    force: bool,
}

/// All options of a drill in a cluster.
pub(super) struct Options<'a> {
    pub(super) drill: &'a DrillOptions,
    pub(super) cluster: &'a ClusterOptions,
    pub(super) deployment: &'a str,
}

/// Runs it; `stopped` ends it before its time, with a reason. What it changed is put back in any
/// case.
pub(super) async fn run(
    options: &Options<'_>,
    stopped: impl Future<Output = String>,
) -> Result<Evidence> {
    let mut stopped = Box::pin(stopped);
    let mut cluster = Cluster::connect(options).await?;
    let changes = cluster.changes(options)?;
    if !options.cluster.force {
        cluster.refuse(!changes.is_empty()).await?;
    }
    let limit = options.drill.limit.or(cluster.limit()?);
    if let Some(limit) = limit.filter(|&limit| limit >= options.drill.allocate) {
        return Err(Usage(format!(
            "{} would fit under the limit of {}: give a lower --limit or more to --allocate",
            format_size(options.drill.allocate),
            format_size(limit)
        ))
        .into());
    }
    if limit.is_none() {
        return Err(Usage(format!(
            "container {} has no memory limit, so the node would run out instead: give --limit",
            cluster.container
        ))
        .into());
    }
    let pods = cluster.ready_pods().await?;
    let victim = cluster.victim(&pods, options)?;
    let status = victim.status().await;
    let status = status.context("cannot look into the container")?;
    let (expected, because) = expect(status.oom_group, victim.grower);
    let question = confirm::Question {
        target: &cluster.name(),
        container: &cluster.container,
        limit: limit.unwrap_or(0),
        changes: &changes,
        because: &because,
    };
    if !options.cluster.yes {
        tokio::select! {
            answer = confirm::ask(&question) => answer?,
            why = &mut stopped => bail!("stopped by {why}; nothing was done"),
        }
    }

    let plan = Plan {
        allocate_bytes: options.drill.allocate,
        step_bytes: 1 << 20,
        interval_ms: options.drill.interval_ms(),
        recover_within_ms: options.drill.recover_within_ms(),
        silence_allowed_ms: options.drill.silence_ms(),
        probe: options.drill.probe != Some(Probe::None),
        expected,
        because,
    };
    let prepared = tokio::select! {
        prepared = cluster.apply(changes) => prepared,
        why = &mut stopped => Err(anyhow::anyhow!("stopped by {why} before anything grew")),
    };
    let drilled = match prepared {
        Ok(()) => drill(&cluster, options, plan, limit, &status, stopped).await,
        Err(error) => Err(error),
    };
    let restored = cluster.restore().await;
    let mut evidence = drilled?;
    evidence.changes = restored?;
    Ok(evidence)
}

async fn drill(
    cluster: &Cluster,
    options: &Options<'_>,
    plan: Plan,
    limit: Option<u64>,
    status: &crate::serve::Status,
    stopped: impl Future<Output = String>,
) -> Result<Evidence> {
    let pods = cluster.ready_pods().await?;
    let victim = cluster.victim(&pods, options)?;
    let probe = match &options.drill.probe {
        Some(Probe::None) => None,
        chosen => Some(open(cluster, options, &victim, &pods, chosen.as_ref()).await?),
    };
    let generation = cluster.generation().await?;
    let target = Target {
        name: cluster.name(),
        victim: victim.pod.clone(),
        node: node_of(&pods, &victim.pod).unwrap_or_default(),
        replicas: pods.len(),
        limit_bytes: limit,
        cgroup_version: status.cgroup_version,
        oom_group: status.oom_group,
    };
    let recorder = Recorder::begin(target, plan);
    let mut tasks = JoinSet::new();
    let done = tokio::select! {
        done = phases(cluster, options, &pods, &victim, &recorder, &mut tasks) => done,
        why = stopped => {
            recorder.note(None, What::Stopped { why });
            Ok(())
        }
    };
    tasks.shutdown().await;
    if holds_still(&recorder.evidence())
        && let Err(error) = victim.give_back().await
    {
        recorder.gap(format!(
            "{} may still hold what it took: {error:#}",
            victim.pod
        ));
    }
    if let Some(probe) = &probe {
        let ours = |kill: &Value| is_of(kill, &victim);
        probe.collect(&recorder, ours).await;
    }
    let after = cluster.generation().await;
    if let Ok(after) = after
        && after != generation
    {
        let changed = format!("{} was changed while the drill ran", cluster.name());
        recorder.evidence().interventions.push(changed);
    }
    done?;
    Ok(recorder.end())
}

async fn phases(
    cluster: &Cluster,
    options: &Options<'_>,
    pods: &[Pod],
    victim: &Victim,
    recorder: &Recorder,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    watchers::start(cluster, options, pods, victim, recorder, tasks)?;
    recorder.note(None, What::Began);
    sleep(options.drill.baseline).await;

    let bytes = options.drill.allocate;
    recorder.note(Some(&victim.pod), What::Asked { bytes });
    // Where that is a process, it goes on until this is dropped.
    let _growth = victim.grow(options.drill, recorder).await?;
    let deadline =
        Instant::now() + options.drill.allocation_time() + options.drill.recover_within + SLACK;
    while !is_over(&recorder.evidence()) && Instant::now() < deadline {
        sleep(LOOK).await;
    }
    sleep(AFTERWARDS).await;
    Ok(())
}

/// The victim was asked to grow and did not die of it.
fn holds_still(evidence: &Evidence) -> bool {
    let asked = evidence.when(|what| matches!(what, What::Asked { .. }));
    asked.is_some() && evidence.death().is_none()
}

/// The victim is ready again, or its container outlived what grew in it.
fn is_over(evidence: &Evidence) -> bool {
    let outlived = evidence.plan.expected == Expected::Survives
        && evidence.death().is_none()
        && evidence
            .when(|what| matches!(what, What::GrowerEnded { .. }))
            .is_some();
    outlived || evidence.downtime_ms().is_some()
}

async fn open(
    cluster: &Cluster,
    options: &Options<'_>,
    victim: &Victim,
    pods: &[Pod],
    chosen: Option<&Probe>,
) -> Result<Watch> {
    let door = match chosen {
        Some(Probe::Url(url)) => Door::at(url)?,
        _ => {
            let node = node_of(pods, &victim.pod).context("the victim is on no node")?;
            let selector = &options.cluster.probe_selector;
            Door::Pod(Box::new(cluster.probe_on(&node, selector).await?))
        }
    };
    let labels = [
        format!("namespace=\"{}\"", victim.namespace),
        format!("pod=\"{}\"", victim.pod),
        format!("container=\"{}\"", victim.container),
    ];
    let series = move |series: &str| {
        let name = series.split('{').next().unwrap_or_default();
        [
            "oom_probe_container_oom_kills_total",
            "oom_probe_container_oom_events_total",
        ]
        .contains(&name)
            && labels.iter().all(|label| series.contains(label))
    };
    let watch = Watch::begin(door, series).await;
    watch.context("oom-probe does not answer; go without its record by --probe none")
}

fn is_of(kill: &Value, victim: &Victim) -> bool {
    let pod = &kill["pod"];
    pod["namespace"] == victim.namespace.as_str()
        && pod["name"] == victim.pod.as_str()
        && pod["container"] == victim.container.as_str()
}

fn node_of(pods: &[Pod], name: &str) -> Option<String> {
    let pod = pods
        .iter()
        .find(|pod| pod.metadata.name.as_deref() == Some(name))?;
    pod.spec.as_ref()?.node_name.clone()
}
