//! A node without a kernel: what the daemon's loop does with pods and kills.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use oom_probe::{
    attribution::{
        attributor::{Attributor, Config, Decision},
        outcome::{ContainerAt, LOOKS, Outcomes, Settled, Signs},
    },
    cgroup::{kubepods::Kubepods, node::NodeCgroups, path, population::Population},
    kube::{
        Link, PodEvent,
        client::Source,
        index::{Found, Index},
        watch::{Patience, Watch},
    },
    model::kill::{Kill, Record},
    sinks::{
        kube_events::{Events, Mode},
        metrics::containers::{Containers, MAX_CONTAINERS, SERIES_TTL},
    },
    sys::clock::Now,
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::time::timeout;

use crate::apiserver::{
    Answer, ApiServer, Call,
    pods::{container_id, container_path, pod, uid},
};

pub(crate) const NODE: &str = "node-1";
/// Times that a busy machine keeps; only what a test waits for is short.
pub(crate) const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(600),
    list: Duration::from_secs(600),
    silence: Duration::from_secs(600),
    backoff: Duration::from_millis(10),
    max_backoff: Duration::from_millis(80),
    shortest_watch: Duration::from_millis(50),
    own_start: Duration::from_secs(3600),
};
/// Nothing in these tests takes as long.
pub(crate) const AT_MOST: Duration = Duration::from_secs(60);
/// For the Events that wait to be posted.
const FINISH: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    pub(crate) watch: Watch,
    pub(crate) attributor: Attributor,
    pub(crate) containers: Containers,
    pub(crate) outcomes: Outcomes,
    events: Events,
    /// Records of parked kills.
    pub(crate) records: Vec<Record>,
}

impl Node {
    /// Watches the pods that `server` has for this node.
    pub(crate) async fn start(server: &ApiServer) -> Self {
        Self::with_patience(server, PATIENCE).await
    }

    pub(crate) async fn with_patience(server: &ApiServer, patience: Patience) -> Self {
        let client = client(server).await;
        let config = Config {
            kubernetes: true,
            // Of several nodes, each with its own place for pods.
            node: NodeCgroups {
                root: None,
                kubepods: Kubepods::anywhere(),
            },
        };
        Self {
            watch: Watch::start(client.clone(), NODE, patience),
            attributor: Attributor::new(config),
            containers: Containers::new(SERIES_TTL, MAX_CONTAINERS, Counter::default()),
            outcomes: Outcomes::default(),
            events: Events::start(client, NODE, Mode::All, Counter::default()),
            records: Vec::new(),
        }
    }

    /// Takes what the watch tells until `done`; panics if that does not come.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + AT_MOST;
        while !done(self) {
            let event = tokio::time::timeout_at(deadline, self.watch.events.recv()).await;
            let event = event
                .unwrap_or_else(|_| panic!("no {what}: {}, pods {:?}", self.link(), self.pods()));
            self.take(event.expect("the watch runs"));
        }
    }

    pub(crate) async fn until_synced(&mut self) {
        self.until("sync", |node| node.link().is_synced()).await;
        // The state is told before the event that goes with it.
        while let Ok(event) = self.watch.events.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: PodEvent) {
        let now = Instant::now();
        let change = self.attributor.on_pods(event, now);
        if let Some(pod) = &change.applied {
            self.containers.apply(pod, now);
            let index = self.attributor.index();
            let uid = pod.uid.to_string();
            let settled = self
                .outcomes
                .on_status(&uid, now, |place| signs(index, place, None));
            for settled in settled {
                self.settled(&settled);
            }
        }
        for pod in &change.gone {
            self.containers.remove(pod, now);
        }
        for record in change.records {
            self.count(&record);
            self.records.push(record);
        }
    }

    /// What the daemon does with each record.
    fn count(&mut self, record: &Record) {
        let now = Instant::now();
        self.containers.on_kill(record, now);
        self.events.on_kill(record);
        let settled = self.outcomes.on_kill(record, now, jiff::Timestamp::now());
        if let Some(settled) = settled {
            self.settled(&settled);
        }
    }

    fn settled(&mut self, settled: &Settled) {
        self.containers.on_settled(settled, Instant::now());
        let pod = match self.attributor.index().lookup(&settled.kill.kill.identity) {
            Found::Container(pod, _) | Found::Sandbox(pod) | Found::Unlisted(pod) => Some(pod.pod),
            Found::Nothing => None,
        };
        self.events
            .on_settled(settled, pod.as_deref(), &Now::read());
    }

    /// Posts Events of all OOM events that are settled, since each is over.
    pub(crate) async fn finish_events(mut self) {
        self.events.report(None, &Now::read());
        self.events.finish(FINISH).await;
    }

    /// Looks at all containers as if the time had come; `populated` says what is in a cgroup.
    pub(crate) fn look(&mut self, populated: impl Fn(&str) -> bool) {
        let index = self.attributor.index();
        let settled = self
            .outcomes
            .tick(Instant::now() + LOOKS[LOOKS.len() - 1], |place| {
                let population = place.cgroup.map(|cgroup| {
                    if populated(str::from_utf8(cgroup).expect("the tests' paths are text")) {
                        Population::Populated
                    } else {
                        Population::Empty
                    }
                });
                signs(index, place, population)
            });
        for settled in settled {
            self.settled(&settled);
        }
    }

    /// All series of containers and workloads that are not 0, without their prefix.
    pub(crate) fn counted(&self) -> Vec<String> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.containers.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let counters = text.lines().filter_map(|line| {
            let line = line.strip_prefix("oom_probe_")?;
            (line.contains("_total{") && !line.ends_with(" 0")).then(|| line.to_owned())
        });
        counters.collect()
    }

    /// Waits until pods of these names, in order, are all that is known.
    pub(crate) async fn until_pods(&mut self, names: &[&str]) {
        self.until(&format!("pods {names:?}"), |node| node.pods() == names)
            .await;
    }

    /// Waits until a status has named that run of a container.
    pub(crate) async fn until_run(&mut self, run: u32) {
        let id = container_id(run).parse().unwrap();
        let known = |node: &Self| node.attributor.index().container_of_run(&id).is_some();
        self.until(&format!("run {run}"), known).await;
    }

    /// Waits until a status has told of the end of that run of a container.
    pub(crate) async fn until_ended(&mut self, run: u32) {
        let id = container_id(run).parse().unwrap();
        let ended = |node: &Self| node.attributor.index().exit_code(&id).is_some();
        self.until(&format!("end of run {run}"), ended).await;
    }

    /// Takes what the watch tells for a while.
    pub(crate) async fn during(&mut self, time: Duration) {
        let deadline = tokio::time::Instant::now() + time;
        while let Ok(event) = tokio::time::timeout_at(deadline, self.watch.events.recv()).await {
            self.take(event.expect("the watch runs"));
        }
    }

    /// Waits until the server was asked so many times.
    pub(crate) async fn until_requests(&mut self, server: &ApiServer, call: Call, count: usize) {
        let deadline = Instant::now() + AT_MOST;
        while server.requests(call).len() < count {
            assert!(
                Instant::now() < deadline,
                "no {count} calls of {call:?} but {}: {}",
                server.requests(call).len(),
                self.link()
            );
            self.during(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a state of the link.
    pub(crate) async fn until_link(&mut self, what: &str, done: impl FnMut(&Link) -> bool) -> Link {
        let mut link = self.watch.link.clone();
        let found = tokio::select! {
            found = timeout(AT_MOST, link.wait_for(done)) => {
                let found = found.unwrap_or_else(|_| panic!("no {what}: {}", self.link()));
                found.expect("the watch runs").clone()
            }
            () = async { loop { self.during(AT_MOST).await } } => unreachable!(),
        };
        found
    }

    /// Notes each state of the link from now on.
    pub(crate) fn links(&self) -> Links {
        let mut link = self.watch.link.clone();
        link.mark_unchanged();
        let links = Links::default();
        let seen = links.0.clone();
        tokio::spawn(async move {
            while link.changed().await.is_ok() {
                let state = link.borrow_and_update().to_string();
                seen.lock().unwrap().push(state);
            }
        });
        links
    }

    pub(crate) fn link(&self) -> Link {
        self.watch.link.borrow().clone()
    }

    pub(crate) fn pods(&self) -> Vec<String> {
        let pods = self.attributor.index().pods();
        let mut names: Vec<_> = pods.map(|pod| pod.name.to_string()).collect();
        names.sort();
        names
    }

    /// `attribution pod/container`, or `parked`.
    pub(crate) fn kill(&mut self, path: &str) -> String {
        self.on_kill(kill_in(path))
    }

    pub(crate) fn on_kill(&mut self, kill: Kill) -> String {
        match self.attributor.on_kill(kill, Instant::now()) {
            Decision::Record(record) => {
                self.count(&record);
                shown(&record)
            }
            Decision::Parked { .. } => "parked".to_owned(),
            Decision::OtherNode(_) => "another node's".to_owned(),
        }
    }

    /// The parked kills that were attributed since the last time.
    pub(crate) fn late(&mut self) -> Vec<String> {
        std::mem::take(&mut self.records)
            .iter()
            .map(shown)
            .collect()
    }
}

/// What is seen of a container, by its cgroup and by its pod's status.
fn signs(index: &Index, place: ContainerAt<'_>, population: Option<Population>) -> Signs {
    Signs {
        population,
        finished_at: place.id.and_then(|id| index.finished_at(&id)),
        exit_code: place.id.and_then(|id| index.exit_code(&id)),
    }
}

/// The states that a link had, in order. Those that follow one another without a pause are one.
#[derive(Default)]
pub(crate) struct Links(Arc<Mutex<Vec<String>>>);

impl Links {
    pub(crate) fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) async fn client(server: &ApiServer) -> kube::Client {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = Source::Kubeconfig(server.kubeconfig(directory.path()));
    kubeconfig.client(NODE).await.unwrap().unwrap()
}

fn shown(record: &Record) -> String {
    let pod = record.pod.as_ref();
    let name = pod.and_then(|pod| pod.name.as_deref()).unwrap_or("?");
    let container = pod.and_then(|pod| pod.container.as_deref()).unwrap_or("?");
    format!("{} {name}/{container}", record.attribution)
}

/// A kill in the cgroup of that path.
pub(crate) fn kill_in(path: &str) -> Kill {
    let mut kill: Kill = serde_json::from_value(serde_json::json!({
        "id": "3b8a1c9e-184467440737-4711-184460000000", "time": jiff::Timestamp::now(),
        "event": "3b8a1c9e-184467440737-4711", "role": "primary", "limit": "container",
        "victim": {"pid": 4711, "tid": 4711, "kind": "unknown", "comm": "python3"},
        "cgroup": {"id": 4321, "path": path}, "truncated": false,
    }))
    .unwrap();
    kill.identity = path::from_path(path.as_bytes());
    kill
}

/// Starts a node at a server that answers the first call of that kind so, and waits until all is
/// well. Returns what the trouble was said to be.
pub(crate) async fn recovers_from(call: Call, answer: Answer) -> String {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1).running("app", 1));
    server.script(call, [answer.clone()]);
    let list = match answer {
        // It is left when that is over.
        Answer::Endless(..) => Duration::from_secs(2),
        _ => PATIENCE.list,
    };
    let patience = Patience { list, ..PATIENCE };
    let mut node = Node::with_patience(&server, patience).await;
    let away = node
        .until_link("trouble", |link| matches!(link, Link::Away(_)))
        .await;
    node.until_link("sync", Link::is_synced).await;
    node.until_pods(&["cart"]).await;
    let is_endless = matches!(answer, Answer::Endless(..));
    assert_eq!(server.sent_without_end() > 0, is_endless);
    let kill = node.kill(&container_path(&uid(1), 1));
    assert_eq!(kill, "live cart/app");
    away.to_string()
}
