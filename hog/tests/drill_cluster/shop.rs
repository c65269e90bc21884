//! A Deployment of two replicas as a cluster shows it: patched, made to grow, OOM-killed, restarted.
//!
//! Nothing sleeps: what a replica is like follows from when it was made to grow, so that every look
//! at it is true. It is killed only after it was seen to have grown, however late the looks are.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::{Method, Response};
use serde_json::{Value, json};

use super::sockets;
use crate::apiserver::ApiServer;
use crate::apiserver::answer::{Pieces, respond};
use crate::apiserver::pods::PodJson;
use crate::apiserver::serve::Asked;

pub(crate) const MIB: u64 = 1 << 20;
/// The scenario's step, though quicker.
const STEP: Duration = Duration::from_millis(4);
/// What has to be seen of its growth.
const SEEN: u64 = 32;
/// From the kill until the container runs again, and until it is ready.
const RESTARTED: Duration = Duration::from_millis(600);
const READY: Duration = Duration::from_millis(1_000);

/// What is scripted about it.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) namespace_labels: Value,
    pub(crate) deployment_annotations: Value,
    pub(crate) limit: &'static str,
    pub(crate) oom_group: bool,
    /// Whether the killed container is started again.
    pub(crate) restarts: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            namespace_labels: json!({}),
            deployment_annotations: json!({}),
            limit: "128Mi",
            oom_group: true,
            restarts: true,
        }
    }
}

pub(crate) struct Shop {
    script: Script,
    state: Mutex<State>,
}

struct State {
    deployment: Value,
    /// Patches as they came.
    patches: Vec<Value>,
    /// When the first pod was asked to grow.
    asked: Option<Instant>,
    /// Somebody has seen it with [`SEEN`] MiB or more.
    seen: bool,
    /// When it was killed.
    killed: Option<Instant>,
    /// By a process beside the service.
    by_exec: bool,
    freed: bool,
}

/// The shop and its API server.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) shop: Arc<Shop>,
}

impl Cluster {
    pub(crate) fn start(script: Script) -> Self {
        let shop = Arc::new(Shop::new(script));
        let answering = Arc::clone(&shop);
        let server = ApiServer::start_with(Some(Arc::new(move |asked| {
            let shop = Arc::clone(&answering);
            Box::pin(async move { shop.answer(asked).await })
        })));
        server.apply(&PodJson(json!({
            "metadata": {"name": "oom-probe-x7", "namespace": "monitoring", "uid": "probe"},
            "spec": {"nodeName": "node-1", "containers": []},
        })));
        Self { server, shop }
    }
}

impl Shop {
    fn new(script: Script) -> Self {
        let resources = json!({"limits": {"memory": script.limit}, "requests": {"memory": "64Mi"}});
        let container = json!({
            "name": "app", "resources": resources,
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
        });
        let deployment = json!({
            "metadata": {"name": "cart", "namespace": "shop", "generation": 1,
                         "annotations": script.deployment_annotations},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "cart"}},
                     "template": {"metadata": {"labels": {"app": "cart"}},
                                  "spec": {"containers": [container]}}},
        });
        Self {
            script,
            state: Mutex::new(State {
                deployment,
                patches: Vec::new(),
                asked: None,
                seen: false,
                killed: None,
                by_exec: false,
                freed: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn patches(&self) -> Vec<Value> {
        self.state().patches.clone()
    }

    pub(crate) fn was_made_to_grow(&self) -> bool {
        self.state().asked.is_some()
    }

    pub(crate) fn was_freed(&self) -> bool {
        self.state().freed
    }

    pub(crate) fn limit(&self) -> u64 {
        let state = self.state();
        let limit = &state.deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
            ["memory"];
        let text = limit.as_str().unwrap();
        match text.strip_suffix("Mi") {
            Some(mebibytes) => mebibytes.parse::<u64>().unwrap() * MIB,
            None => text.parse().unwrap(),
        }
    }

    /// Starts the growth.
    pub(crate) fn grow(&self, by_exec: bool) {
        let mut state = self.state();
        state.asked = Some(Instant::now());
        state.by_exec = by_exec;
    }

    /// How many MiB have been taken by now, had nothing happened.
    pub(crate) fn taken(&self) -> u64 {
        let limit = self.limit() / MIB;
        let mut state = self.state();
        let since = state.asked.filter(|_| !state.freed).map(|at| at.elapsed());
        let taken = since.map_or(0, |since| {
            u64::try_from(since.as_millis() / STEP.as_millis()).unwrap()
        });
        state.seen |= taken >= SEEN;
        taken.min(limit - 1)
    }

    /// How long ago the kernel killed.
    pub(crate) fn killed(&self) -> Option<Duration> {
        let limit = u32::try_from(self.limit() / MIB).unwrap();
        let mut state = self.state();
        if state.killed.is_none() && state.seen && state.asked?.elapsed() >= STEP * limit {
            state.killed = Some(Instant::now());
        }
        state.killed.map(|at| at.elapsed())
    }

    /// Whether the kill took the container.
    fn container_died(&self) -> Option<Duration> {
        let alone = self.state().by_exec && !self.script.oom_group;
        self.killed().filter(|_| !alone)
    }

    pub(crate) fn oom_group(&self) -> bool {
        self.script.oom_group
    }

    async fn answer(self: &Arc<Self>, asked: Asked) -> Response<Pieces> {
        let method = asked.method().clone();
        let path = asked.uri().path().to_owned();
        let found = match (&method, path.strip_prefix("/api/v1/namespaces/")) {
            (&Method::GET, Some("shop")) => json!({
                "metadata": {"name": "shop", "labels": self.script.namespace_labels},
            }),
            (&Method::GET, Some("shop/pods")) => self.pods(),
            (&Method::GET, Some("shop/services/cart/proxy/readyz")) => json!("ready"),
            (_, Some(rest)) if rest.contains("/proxy/") => return self.replica(&method, rest),
            (&Method::GET, Some("shop/pods/cart-0/exec")) => {
                return sockets::exec(self, asked).await;
            }
            (&Method::GET, Some("monitoring/pods/oom-probe-x7/portforward")) => {
                return sockets::forward(self, asked).await;
            }
            _ if path == "/apis/apps/v1/namespaces/shop/deployments/cart" => {
                if method == Method::PATCH {
                    let body = asked.into_body().collect().await.unwrap().to_bytes();
                    self.patch(serde_json::from_slice(&body).unwrap());
                }
                self.deployment()
            }
            _ => {
                return respond(
                    404,
                    json!({"message": "no such thing", "code": 404}).to_string(),
                );
            }
        };
        respond(200, found.to_string())
    }

    /// `hog serve`, behind the API server's proxy.
    fn replica(&self, method: &Method, path: &str) -> Response<Pieces> {
        let died = self.container_died();
        let is_victim = path.starts_with("shop/pods/cart-0:8080/");
        if is_victim && died.is_some_and(|since| since < READY || !self.script.restarts) {
            return respond(
                503,
                json!({"message": "connection refused", "code": 503}).to_string(),
            );
        }
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            (&Method::POST, "allocate") if is_victim => self.grow(false),
            (&Method::POST, "free") if is_victim => self.state().freed = true,
            (&Method::GET, "status") => {
                let held = if is_victim && died.is_none() {
                    self.taken() * MIB
                } else {
                    0
                };
                let status = json!({
                    "held_bytes": held, "usage_bytes": held + 3 * MIB, "cgroup_version": 2,
                    "limit_bytes": self.limit(), "oom_group": self.script.oom_group,
                });
                return respond(200, status.to_string());
            }
            _ => {
                return respond(
                    404,
                    json!({"message": "no such thing", "code": 404}).to_string(),
                );
            }
        }
        respond(200, "\"done\"")
    }

    fn deployment(&self) -> Value {
        let mut deployment = self.state().deployment.clone();
        let replicas = deployment["spec"]["replicas"].clone();
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
        });
        deployment
    }

    /// Strategic as far as the drill goes: one container, whose resources are merged.
    fn patch(&self, patch: Value) {
        let mut state = self.state();
        if let Some(replicas) = patch["spec"].get("replicas") {
            state.deployment["spec"]["replicas"] = replicas.clone();
        }
        let at = "/spec/template/spec/containers/0/resources";
        if let Some(resources) = patch.pointer(at) {
            let own = state.deployment.pointer_mut(at).unwrap();
            for (kind, quantities) in resources.as_object().unwrap() {
                for (name, value) in quantities.as_object().unwrap() {
                    own[kind][name] = value.clone();
                }
            }
        }
        let generation = state.deployment["metadata"]["generation"].as_i64().unwrap();
        state.deployment["metadata"]["generation"] = json!(generation + 1);
        state.patches.push(patch);
    }

    fn pods(&self) -> Value {
        let died = self.container_died();
        let items: Vec<_> = ["cart-0", "cart-1"]
            .into_iter()
            .map(|name| {
                let died = died.filter(|_| name == "cart-0");
                json!({
                    "metadata": {"name": name, "namespace": "shop", "uid": name},
                    "spec": {"nodeName": "node-1", "containers": [{"name": "app"}]},
                    "status": {"containerStatuses": [self.container_status(died)]},
                })
            })
            .collect();
        json!({"metadata": {"resourceVersion": "1"}, "items": items})
    }

    fn container_status(&self, died: Option<Duration>) -> Value {
        let end = json!({"terminated": {
            "exitCode": 137, "reason": "OOMKilled", "containerID": "containerd://1",
        }});
        let running = json!({"running": {"startedAt": "2026-11-21T12:00:00Z"}});
        let (ready, restarts, state, last) = match died {
            None => (true, 0, running, json!({})),
            Some(since) if since < RESTARTED || !self.script.restarts => (false, 0, end, json!({})),
            Some(since) => (since >= READY, 1, running, end),
        };
        json!({"name": "app", "ready": ready, "restartCount": restarts, "image": "", "imageID": "",
               "state": state, "lastState": last})
    }

    /// oom-probe on the node.
    pub(crate) fn probe(&self, path: &str) -> String {
        let killed = self.killed();
        if path == "/metrics" {
            let count = i32::from(killed.is_some());
            return format!(
                "# TYPE oom_probe_container_oom_kills_total counter\n\
                 oom_probe_container_oom_kills_total{{namespace=\"shop\",pod=\"cart-0\",container=\"app\"}} {count}\n\
                 oom_probe_container_oom_kills_total{{namespace=\"shop\",pod=\"cart-1\",container=\"app\"}} 0\n"
            );
        }
        assert!(path.starts_with("/api/v1/kills?since="), "{path}");
        let Some(since) = killed else {
            return "[]".to_owned();
        };
        let time = jiff::Timestamp::now() - since;
        let kill = |pod: &str| {
            json!({"id": "a-1", "time": time.to_string(), "limit": "container",
                   "victim": {"pid": 4711, "comm": "hog", "anon_rss_bytes": 120 * MIB},
                   "pod": {"namespace": "shop", "name": pod, "container": "app"}})
        };
        // Someone else's, too.
        json!([kill("cart-0"), kill("other")]).to_string()
    }
}
