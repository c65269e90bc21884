//! Time as a test lets it pass, while the network goes on.

use std::{
    fmt::Debug,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    apiserver::{ApiServer, Call},
    node::{AT_MOST, client},
};

const PAUSE: Duration = Duration::from_millis(1);
/// The least that tokio's timers tell apart.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The runtime's clock, which stands still.
pub(crate) struct Clock {
    _hold: mpsc::Sender<()>,
}

impl Clock {
    /// Stops it.
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        // A paused clock goes on by itself when every task waits, be it for the network; but not
        // while a blocking task runs.
        let (hold, held) = mpsc::channel();
        tokio::task::spawn_blocking(move || held.recv());
        Self { _hold: hold }
    }

    /// Lets that much time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }

    /// Lets time pass as ever.
    pub(crate) fn go_on(self) {
        tokio::time::resume();
    }

    /// Waits until the server was asked so many times, as it is without any time passing.
    pub(crate) async fn until_requests(&self, server: &ApiServer, call: Call, count: usize) {
        let asked = || server.requests(call).len();
        let seen = self.until("requests", asked, |seen| *seen >= count).await;
        assert_eq!(seen, count, "{call:?}");
    }

    /// Waits for a state that comes without any time passing.
    pub(crate) async fn until<T: Debug>(
        &self,
        what: &str,
        look: impl Fn() -> T,
        done: impl Fn(&T) -> bool,
    ) -> T {
        let deadline = Instant::now() + AT_MOST;
        loop {
            let seen = look();
            if done(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "no {what}: {seen:?}");
            let pause = tokio::task::spawn_blocking(|| std::thread::sleep(PAUSE));
            pause.await.unwrap();
        }
    }
}

/// Has the server answer a request that is none of the daemon's: what was sent before is there.
pub(crate) async fn round_trip(server: &ApiServer) {
    let request = hyper::Request::get("/version").body(kube::client::Body::empty());
    let client = client(server).await;
    client.send(request.unwrap()).await.unwrap();
}
