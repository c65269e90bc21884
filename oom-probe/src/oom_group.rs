//! `oom-probe oom-group`: lets a workload survive an OOM kill, where its pod asks for that.
//!
//! Since Kubernetes 1.28 the kubelet sets `memory.oom.group` on cgroup v2, so that an OOM kill ends
//! the whole container. The annotation `oom-probe.io/memory.oom.group: "0"` undoes that for one
//! workload, `"1"` asks for it where the kubelet does not. This daemon is apart from the probe: it
//! needs cgroups that can be written to, and neither capabilities nor BPF.
//!
//! What a pod asks for (`annotation`) and what happens to cgroups (`notify`, `cgroup_kind`) meet in
//! the `keeper`, which does what `step` decides to the `file`.

pub mod annotation;
mod file;
pub mod keeper;
pub mod metrics;
pub mod notice;
pub mod notify;
mod cgroup_kind;
mod put_back;
mod state;
mod step;

use std::{
    future::pending,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::fs::{Access, access};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use crate::{
    cgroup::{hierarchy::MemoryRoot, kubepods::Kubepods},
    http::{self, Api, ApiAccess, App, Status},
    kube::{
        Link, PodEvent,
        client::{ConnectError, Mode, Source},
        watch::{Patience, Watch},
    },
    service::Stop,
    sinks::kube_events::post::Poster,
    sys::allocator,
};
use keeper::Keeper;
use metrics::Metrics;

/// How long Events that wait may take when the daemon ends.
const FLUSH: Duration = Duration::from_secs(1);

/// What `oom-probe oom-group` is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Who is served /api/.
    pub api_access: ApiAccess,
    /// Name of this node.
    pub node: String,
    /// Whether pods are told by Kubernetes Events.
    pub events: Tell,
    /// The root of this node's cgroup hierarchies, where they can be written to.
    pub cgroup_root: PathBuf,
    /// The cgroups below which the kubelet makes those of pods; where none is named they are
    /// looked for.
    pub kubepods_root: Vec<PathBuf>,
}

/// `--events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tell {
    /// Each container that is set or put back, each annotation that is not followed
    #[default]
    All,
    /// None
    None,
}

/// Puts back every value that was written on this node.
///
/// # Errors
/// One line that names the cause and the remedy.
pub fn put_back(cgroup_root: &Path) -> anyhow::Result<ExitCode> {
    writable(cgroup_root).and_then(|root| put_back::run(&root))
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// One line that names the cause and the remedy.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let listener = http::bind(config.listen).await?;
    let source = Source::from_environment(Mode::On).map_err(no_cluster)?;
    allocator::keep_large_allocations_apart();
    let root = writable(&config.cgroup_root)?;
    let (metrics, registry) = Metrics::new();
    let kubepods = Kubepods::of_node(&config.kubepods_root, &root);
    let keeper = Keeper::new(&root, kubepods, metrics.clone()).context(
        "cannot watch cgroups: fs.inotify.max_user_instances may be too low for this user",
    )?;
    let node = config.node.clone();
    let client = source.client(&node).await?;
    let client = client.context("there is no cluster to take pods from")?;
    let mut watch = Watch::start(client.clone(), &node, Patience::default());
    let mut teller = Teller {
        node: node.clone(),
        poster: (config.events == Tell::All)
            .then(|| Poster::start(client, metrics.events_dropped.clone())),
    };
    let shared = Arc::new(Shared(Mutex::new(keeper)));
    let app = app(
        &shared,
        registry,
        metrics,
        watch.link.clone(),
        &node,
        &config,
    );
    let hierarchy = root.hierarchy;
    tracing::info!(
        "keeping memory.oom.group as annotated, cgroup {hierarchy}{}, http://{}/metrics",
        if hierarchy.memory_version() == 2 {
            ""
        } else {
            ": there is nothing to set on this node, every OOM kill takes one process"
        },
        listener.local_addr().unwrap_or(config.listen),
    );
    let end = tokio::select! {
        never = http::serve(listener, Arc::new(app)) => match never {},
        error = keep(&shared, &mut watch, &mut teller) => Err(error),
        signal = stop.wait() => Ok(signal),
    };
    // However it ends: what is known by now is told.
    teller.finish().await;
    let reason = end?;
    let held = shared.lock().held();
    tracing::info!("stopped by {reason}: {held} containers stay as they were set");
    Ok(ExitCode::SUCCESS)
}

/// Feeds the keeper: cgroups, pods, time.
async fn keep(shared: &Shared, watch: &mut Watch, teller: &mut Teller) -> anyhow::Error {
    let readable = match readable(&shared.lock()) {
        Ok(readable) => readable,
        Err(error) => return anyhow::Error::new(error).context("cannot watch cgroups"),
    };
    loop {
        let due = shared.lock().next_tick();
        let tick = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        // Whichever of those that have something to do: a flood of one must not hold up the others.
        tokio::select! {
            ready = readable.readable() => {
                let changed = ready.and_then(|mut ready| {
                    let more = shared.lock().on_changes(Instant::now())?;
                    if !more {
                        // What came after the last look makes it ready again.
                        ready.clear_ready();
                    }
                    Ok(())
                });
                if let Err(error) = changed {
                    return anyhow::Error::new(error).context("the watch on cgroups cannot be read");
                }
            }
            event = watch.events.recv() => match event {
                Some(event) => {
                    let listed = matches!(event, PodEvent::Synced { listed: true });
                    shared.lock().on_pods(event, Instant::now());
                    if listed {
                        allocator::give_back();
                    }
                }
                None => return anyhow::anyhow!("the watch of pods has ended"),
            },
            () = tick => shared.lock().tick(Instant::now()),
        }
        let notices = shared.lock().take_notices();
        teller.tell(&notices);
        // The server's turn.
        tokio::task::yield_now().await;
    }
}

fn readable(keeper: &Keeper) -> std::io::Result<AsyncFd<OwnedFd>> {
    let fd = keeper.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is owned by the AsyncFd and nobody else closes it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(std::io::Error::from)
}

/// The memory cgroups of the node, which must be writable where there is something to write.
fn writable(cgroup_root: &Path) -> anyhow::Result<MemoryRoot> {
    let root = MemoryRoot::detect(cgroup_root)?;
    if root.hierarchy.memory_version() == 2 {
        access(&root.path, Access::WRITE_OK).with_context(|| {
            format!(
                "cannot write to {}: mount the node's cgroups writable, name them by --cgroup-root, \
                 and run as root",
                root.path.display()
            )
        })?;
    }
    Ok(root)
}

fn no_cluster(error: ConnectError) -> anyhow::Error {
    match error {
        ConnectError::NoCluster => anyhow::anyhow!(
            "there is no cluster to take annotations from: run as a pod, or name a kubeconfig by \
             KUBECONFIG"
        ),
        other => other.into(),
    }
}

/// Tells pods and the log.
struct Teller {
    node: String,
    poster: Option<Poster>,
}

impl Teller {
    fn tell(&mut self, notices: &[notice::Notice]) {
        for notice in notices {
            let event = notice.event(&self.node, Timestamp::now());
            tracing::info!("{}: {}", notice.pod(), notice.note());
            if let Some(poster) = &mut self.poster {
                poster.post(event);
            }
        }
    }

    async fn finish(self) {
        if let Some(poster) = self.poster {
            poster.finish(FLUSH).await;
        }
    }
}

fn app(
    shared: &Arc<Shared>,
    registry: prometheus_client::registry::Registry,
    metrics: Metrics,
    link: watch::Receiver<Link>,
    node: &str,
    config: &Config,
) -> App {
    let (keeper, node) = (Arc::clone(shared), node.to_owned());
    App {
        registry,
        api: Api::OomGroup(Box::new(move || keeper.lock().to_json(&node))),
        api_access: config.api_access,
        probe: Box::new(Probe {
            shared: Arc::clone(shared),
            metrics,
            link,
        }),
    }
}

/// The keeper, which the loop and the server share. All run on one thread: nobody ever waits for the
/// lock.
struct Shared(Mutex<Keeper>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Keeper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The daemon as the server sees it.
struct Probe {
    shared: Arc<Shared>,
    metrics: Metrics,
    link: watch::Receiver<Link>,
}

impl http::Probe for Probe {
    fn refresh(&self) {
        self.metrics.set_synced(self.link.borrow().is_synced());
        self.shared.lock().refresh();
    }

    fn status(&self) -> Status {
        let keeper = self.shared.lock();
        let cgroups = if keeper.is_supported() {
            format!("{} containers kept as annotated", keeper.held())
        } else {
            "v1: there is nothing to set".to_owned()
        };
        Status {
            stuck: None,
            details: vec![
                ("kubernetes", self.link.borrow().to_string()),
                ("cgroups", cgroups),
            ],
        }
    }
}
