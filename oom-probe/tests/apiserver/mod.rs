//! A scripted Kubernetes API server: the real protocol over real HTTP on loopback, and every way
//! in which a real one, or what stands between, can fail.
//!
//! It serves pods (list and watch with a field selector on `spec.nodeName`) and takes Events. What
//! it was asked is kept, so that a test can count requests. It runs on a thread of its own, so that
//! tests with and without a runtime can use it, and ends when it is dropped.

pub(crate) mod answer;
pub(crate) mod hostile;
pub(crate) mod serve;
mod state;

#[path = "../../src/kube/fixture.rs"]
pub(crate) mod pods;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
    thread::JoinHandle,
};

use serde_json::Value;
use tokio::sync::watch;

pub(crate) use answer::Answer;
use pods::PodJson;
use state::State;
pub(crate) use state::{Call, Request};

/// The server.
pub(crate) struct ApiServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    control: watch::Sender<Control>,
    thread: Option<JoinHandle<()>>,
}

/// What the server's thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Control {
    /// Counts changes of the pods, so that watches look.
    changes: u64,
    /// Whether connections are accepted.
    reachable: bool,
    /// Counts the times that all watches were told to end.
    closings: u64,
    /// Watches keep their connections but send nothing more.
    stalled: bool,
    stopped: bool,
}

impl ApiServer {
    /// A server without pods.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// A server without pods that passes on what a daemon with the least role would be refused.
    pub(crate) fn start_with(also: Option<serve::Also>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (control, receiver) = watch::channel(Control {
            changes: 0,
            reachable: true,
            closings: 0,
            stalled: false,
            stopped: false,
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(serve::serve(listener, shared, receiver, also));
        });
        Self {
            address,
            state,
            control,
            thread: Some(thread),
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a kubeconfig for it into `dir`, for `KUBECONFIG`.
    pub(crate) fn kubeconfig(&self, dir: &Path) -> PathBuf {
        let (path, ca) = (dir.join("kubeconfig"), dir.join("ca.pem"));
        // Nothing is encrypted here, but a client without a certificate looks for the system's, and
        // an emulated machine has none.
        std::fs::write(&ca, include_str!("ca.pem")).unwrap();
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url(), "certificate-authority": ca,
            }}],
            "users": [{"name": "test", "user": {"token": "secret"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// Adds a pod, or changes it, by its UID.
    pub(crate) fn apply(&self, pod: &PodJson) {
        self.state().apply(pod.0.clone());
        self.tell(|control| control.changes += 1);
    }

    /// Deletes a pod, whose last state this is.
    pub(crate) fn delete(&self, pod: &PodJson) {
        self.state().delete(pod.0.clone());
        self.tell(|control| control.changes += 1);
    }

    /// Sends a bookmark to every watch.
    pub(crate) fn bookmark(&self) {
        self.state().bookmark();
        self.tell(|control| control.changes += 1);
    }

    /// Forgets all changes up to now: a watch from before them is Gone.
    pub(crate) fn compact(&self) {
        self.state().compact();
    }

    /// Answers the next calls of that kind like this, one after another, before it is itself again.
    pub(crate) fn script(&self, call: Call, answers: impl IntoIterator<Item = Answer>) {
        self.state().script(call, answers);
    }

    /// Ends all watches, as an API server does after their time.
    pub(crate) fn close_watches(&self) {
        self.tell(|control| control.closings += 1);
    }

    /// Watches send nothing any more, or again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.tell(|control| control.stalled = stalled);
    }

    /// Refuses connections and breaks those that there are, or accepts them again.
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.tell(|control| control.reachable = reachable);
    }

    /// The Events it has taken.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.state().events.clone()
    }

    /// Bytes that it has sent of answers without end.
    pub(crate) fn sent_without_end(&self) -> usize {
        self.state().endless.load(Ordering::Relaxed)
    }

    /// What it was asked, in order.
    pub(crate) fn requests(&self, call: Call) -> Vec<Request> {
        let state = self.state();
        let requests = state.requests.iter();
        requests
            .filter(|request| request.call == call)
            .cloned()
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn tell(&self, change: impl FnOnce(&mut Control)) {
        self.control.send_modify(change);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.tell(|control| control.stopped = true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            // A second panic would hide the first.
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the API server panicked"
            );
        }
    }
}
