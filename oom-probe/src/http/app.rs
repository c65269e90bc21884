//! What the server serves, and the daemon as it sees it.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use prometheus_client::registry::Registry;

use crate::sinks::history::History;

/// What the server serves.
pub struct App {
    /// What `/metrics` shows; other collectors may have been registered in it.
    pub registry: Registry,
    /// What is below `/api/v1/`.
    pub api: Api,
    /// Who may read `/api/`.
    pub api_access: ApiAccess,
    /// The daemon behind it.
    pub probe: Box<dyn Probe>,
}

/// What a daemon shows below `/api/v1/`.
pub enum Api {
    /// `/api/v1/kills`: the last kills.
    Kills(Arc<History>),
    /// `/api/v1/oom-group`: one JSON object, made for each request.
    OomGroup(Box<dyn Fn() -> String + Send + Sync>),
}

/// The daemon, as far as the server needs it.
pub trait Probe: Send + Sync {
    /// Brings history and metrics up to date: drains the ring, reads what the kernel counts. Called
    /// before each scrape and each read of the API, on the runtime's thread.
    fn refresh(&self);

    /// Waits until a restart would not undo what [`Self::refresh`] brought; never for long.
    fn written(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(ready(()))
    }

    /// The metrics have been scraped.
    fn scraped(&self) {}

    /// How it is; must be cheap and must not depend on what [`Self::refresh`] does.
    fn status(&self) -> Status;
}

/// What `/healthz` and `/readyz` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why the reader of the ring counts as stuck.
    pub stuck: Option<String>,
    /// More lines for the body of `/readyz`: `("kubernetes", "synced, 31 pods")`.
    pub details: Vec<(&'static str, String)>,
}

/// Who may read `/api/`: other tenants' names are not for every pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiAccess {
    /// Peers on this host, `kubectl exec` and `kubectl port-forward` among them.
    Loopback,
    /// Everybody who reaches the port (`--api-remote`).
    Everyone,
}
