//! From the flags to a pipeline that captures.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prometheus_client::registry::Registry;

use super::config::Config;
use crate::{
    attribution::{
        attributor::{self, Attributor},
        recovered::Recovered,
        tracker::Tracker,
    },
    journal::store::Store,
    kube::{
        client,
        watch::{Patience, Watch},
    },
    pipeline::Pipeline,
    sinks::{
        Sinks,
        history::History,
        kube_events::Events,
        log::{
            Log,
            output::{self, Output},
        },
        metrics::{HookInfo, Metrics, containers::Containers},
    },
};
use capture::{
    accounting::reconciler,
    assemble::Machine,
    btf::KERNEL_BTF,
    cgroup::{
        hierarchy::{CGROUP_ROOT, MemoryRoot},
        ids,
        kubepods::Kubepods,
        node::NodeCgroups,
        population::Populations,
    },
    enrich::Complete,
    environment::Facts,
    load::{self, Armed, Hooks},
    pin::{OpenError, PinDir, Pins},
    plan::{Plan, plan},
    reader::Reader,
    ring::Readable,
    sys::{allocator, clock::Now, oom_score_adj, privileges},
};

/// How long to wait for another daemon to let go of the pins.
const HELD_PATIENCE: Duration = Duration::from_secs(30);
const HELD_PAUSE: Duration = Duration::from_millis(20);

/// A daemon that captures.
pub(super) struct Started {
    pub(super) pipeline: Pipeline,
    pub(super) registry: Registry,
    pub(super) log: Output,
    /// The hooks stay attached as long as this is kept.
    pub(super) _hooks: Hooks,
    /// What stays when it is not.
    pub(super) pins: Option<Pins>,
    pub(super) readable: Readable,
    /// The pods of this node; none without a cluster.
    pub(super) watch: Option<Watch>,
}

/// Looks at the node, arms the best hooks and puts the pipeline together.
pub(super) async fn start(config: &Config) -> anyhow::Result<Started> {
    // These lines and their times are what `cargo xtask bench` splits the start by.
    tracing::debug!("start: flags read");
    let cluster_source = client::Source::from_environment(config.kubernetes)?;
    allocator::keep_large_allocations_apart();
    match oom_score_adj::lower() {
        Ok(value) => tracing::debug!("oom_score_adj: {value}"),
        Err(error) => tracing::warn!("the OOM killer may take this daemon early: {error}"),
    }
    let facts = Facts::gather(&config.sources);
    tracing::debug!("start: node looked at");
    if let Err(error) = &facts.cgroup {
        tracing::warn!("whether a container lives on is told by its pod's status alone: {error}");
    }
    if let Err(error) = &facts.btf
        && config.sources.btf != Path::new(KERNEL_BTF)
    {
        // The kernel's own may be broken, and there is a rung for that; a file that was named is
        // meant.
        anyhow::bail!("--btf: {error}; name the running kernel's BTF, or leave the flag out");
    }
    let plan = plan(&facts);
    let boot = boot_id(config)?;
    let cgroups = node_cgroups(config, facts.cgroup.as_ref().ok());
    let machine = Machine::new(config.node.clone(), &boot, cgroups.clone());
    let vmstat = || reconciler::vmstat_oom_kills(&config.sources.proc_root);
    // What cannot capture has nothing to pin: arming says why.
    let pins = match plan.refusal() {
        None => pins(config).await?,
        Some(_) => None,
    };
    let options = load::Options {
        ring: config.ring_size,
        open_nothing: &[output::THREAD],
        ..load::Options::default()
    };
    let Armed {
        mark,
        context,
        refused,
        recorded,
        pins,
        hooks,
    } = load::arm(&facts, &plan, options, pins, &vmstat)?;
    let node = machine.node.clone();
    // A kubeconfig may belong to somebody else.
    let client = cluster_source.client(&node).await?;
    // Everything below works without, and so does whatever it starts.
    privileges::keep_only(mark.hook.hook.needed_capabilities())?;
    for line in &refused {
        tracing::warn!("not usable here: {line}");
    }
    for loss in &mark.losses {
        tracing::warn!("{}: {}", loss.what, loss.why);
    }
    let context = context.map_or("none", |context| context.as_str());
    tracing::info!(
        "hooks: {}, context: {}",
        mark.hook.describe(),
        without_context(context, &plan)
    );
    if facts.cgroup.is_ok() {
        tracing::info!("pods are below {}", cgroups.kubepods);
    }

    let (metrics, mut registry) = Metrics::new();
    let containers = Containers::new(
        config.series_ttl,
        config.max_containers,
        metrics.series_refused.clone(),
    );
    registry.register_collector(Box::new(containers.clone()));
    let attributor = Attributor::new(attributor::Config {
        kubernetes: client.is_some(),
        node: cgroups,
    });
    let watch = client
        .clone()
        .map(|client| Watch::start(client, &node, Patience::default()));
    let dropped = metrics.events_dropped.clone();
    let events = client.map(|client| Events::start(client, &node, config.events, dropped));
    let memory = facts.cgroup.as_ref().ok().cloned();
    let counters = memory
        .clone()
        .filter(|_| pins.is_none() && config.state_dir.as_deref().is_some());
    metrics.set_hook(&HookInfo {
        hook: mark.hook.as_str().into(),
        context: context.into(),
        btf: if facts.btf.is_ok() { "yes" } else { "no" }.into(),
        cgroup_version: facts
            .cgroup
            .as_ref()
            .map_or("none", |root| root.hierarchy.as_str())
            .into(),
    });
    metrics.set_armed(true);
    metrics.set_pinned(pins.is_some());
    let log = Output::stdout(metrics.log_lines_dropped.clone())
        .context("cannot write to standard output")?;
    let sinks = Sinks {
        metrics,
        containers,
        history: History::new(config.history).into(),
        log: Log::new(config.output, log.clone()),
        events,
        expired: Instant::now(),
    };
    let recovered = Recovered::new(counters, machine.node.clone(), machine.boot.clone());
    let proc_root = &config.sources.proc_root;
    let enrich = Complete::new(mark.hook, facts.cgroup.ok(), proc_root);
    let reader = Reader::new(recorded, enrich, machine, proc_root);
    let readable = reader.readable().context("cannot watch the ring")?;
    let tracker = Tracker::new(attributor, memory.map(Populations::detect));
    let mut pipeline = Pipeline::new(reader, tracker, sinks, recovered);
    restore(&mut pipeline, config.state_dir.as_deref(), &boot).await;
    allocator::give_back();
    Ok(Started {
        pipeline,
        registry,
        log,
        _hooks: hooks,
        pins,
        readable,
        watch,
    })
}

fn without_context(context: &'static str, plan: &Plan) -> &'static str {
    use capture::plan::DomainSource;
    match (context, plan.without_context) {
        ("none", DomainSource::OomLock) => "none, the limit that was hit is told by oom_lock",
        ("none", DomainSource::Inferred) => "none, the limit that was hit is inferred",
        (context, _) => context,
    }
}

/// The directory of pins; none where nothing is to be pinned or can be. Waits a while where another
/// daemon has it: the one before this may be on its way out.
async fn pins(config: &Config) -> anyhow::Result<Option<PinDir>> {
    let Some(path) = &config.pin_dir else {
        return Ok(None);
    };
    let deadline = Instant::now() + HELD_PATIENCE;
    let mut told = false;
    loop {
        match PinDir::open(path) {
            Ok(dir) => return Ok(Some(dir)),
            Err(OpenError::Held(held)) if Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    let seconds = HELD_PATIENCE.as_secs();
                    tracing::warn!("waiting {seconds} s at most: {held}");
                }
                tokio::time::sleep(HELD_PAUSE).await;
            }
            Err(OpenError::Held(held)) => return Err(held.into()),
            Err(why) => {
                tracing::warn!("kills while no daemon runs are lost: {why}");
                return Ok(None);
            }
        }
    }
}

fn boot_id(config: &Config) -> anyhow::Result<String> {
    let boot = read(&config.sources.proc_root.join("sys/kernel/random/boot_id"))?;
    Ok(boot.trim().to_owned())
}

fn node_cgroups(config: &Config, root: Option<&MemoryRoot>) -> NodeCgroups {
    let Some(root) = root else {
        return NodeCgroups::default();
    };
    let kubepods = Kubepods::of_node(&config.kubepods_root, root);
    NodeCgroups {
        root: node_root(config, root),
        kubepods,
    }
}

/// Goes on with the state of earlier daemons, if it is to be had: nothing about it is a reason not
/// to capture.
async fn restore(pipeline: &mut Pipeline, directory: Option<&Path>, boot: &str) {
    let Some(directory) = directory else {
        return pipeline.begin_without_state(&Now::read());
    };
    match Store::open(directory, boot, Instant::now()).await {
        Ok((store, found)) => pipeline.restore(store, found, boot, &Now::read()),
        Err(error) => {
            tracing::warn!(
                "nothing is kept over a restart: {error}; name a directory by --state-dir"
            );
            pipeline.begin_without_state(&Now::read());
        }
    }
}

/// The inode number of the root of every cgroup hierarchy (fs/kernfs/mount.c).
const HIERARCHY_ROOT: u64 = 1;

/// The id of the node's own cgroup root, where the node is itself a container (kind, k3d).
fn node_root(config: &Config, root: &MemoryRoot) -> Option<u64> {
    let id = ids::id_of(&root.path).ok()?;
    if id == HIERARCHY_ROOT {
        return None;
    }
    // In a cgroup namespace of its own a container sees itself as the root: no node is that small.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_own = own.lines().any(|line| line.ends_with(":/"));
    if is_own && config.sources.cgroup_root == Path::new(CGROUP_ROOT) {
        tracing::warn!(
            "only this container's own cgroup is visible: mount the node's and name it by \
             --cgroup-root, to tell nodes on one kernel apart and containers that live on"
        );
        return None;
    }
    Some(id)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("cannot read {}: is --proc-root a procfs?", path.display()))
}
