//! The daemon of `oom-probe run`: wires the pipeline to the runtime, the server and the signals.

pub mod config;
mod liveness;
mod start;

use std::future::pending;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until, timeout};

use crate::{
    http::{self, Api, App, Status},
    kube::{Link, watch::Watch},
    pipeline::{Drained, Pipeline, STEP},
    service::{FLUSH, Stop},
    sinks::log::output::Output,
};
use capture::{
    pin::{Gone, Pins},
    ring::Readable,
    sys::clock::Now,
};
use config::Config;
use liveness::Liveness;
use start::Started;

/// Steps that the reader takes at a time: some milliseconds of work.
const BATCH: usize = 256 / STEP;
/// Steps that whoever wants to see everything takes at most: more kills than a ring of the default
/// size holds.
const RINGFUL: usize = 8192 / STEP;
/// How long a kill may wait for the record that says what became of it.
const HOLD: Duration = Duration::from_millis(20);
/// How often is looked whether the pins are still there, at least and at most: kills are not lost
/// until this process ends. In between, a request of whoever scrapes it makes it look.
const PINS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(1)];
/// How long an answer waits for the journal: a thousand times longer than a sound disk takes.
const WRITTEN_WITHIN: Duration = Duration::from_millis(50);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// One line that names the cause and the remedy.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    // Before anything is hooked: a taken port leaves nothing half started.
    let listener = http::bind(config.listen).await?;
    let began = Instant::now();
    let Started {
        pipeline,
        registry,
        log,
        _hooks,
        pins,
        readable,
        mut watch,
    } = tokio::select! {
        started = start::start(&config) => started?,
        // It may be waiting for another daemon.
        _ = stop.wait() => return Ok(ExitCode::SUCCESS),
    };
    let shared = Arc::new(Shared::new(pipeline));
    let app = Arc::new(App {
        registry,
        api: Api::Kills(Arc::clone(&shared.lock().sinks().history)),
        api_access: config.api_access,
        probe: Box::new(SharedProbe {
            shared: Arc::clone(&shared),
            link: watch.as_ref().map(|watch| watch.link.clone()),
        }),
    });
    tracing::info!(
        "capturing OOM kills, http://{}/metrics, armed in {} ms",
        listener.local_addr().unwrap_or(config.listen),
        began.elapsed().as_millis()
    );
    let end = tokio::select! {
        never = http::serve(listener, app) => match never {},
        error = read(&shared, &readable, watch.as_mut()) => Err(error),
        gone = look_after(pins, &shared) => Err(gone.into()),
        signal = stop.wait() => Ok(signal),
    };
    // However it ends: what is known by now is told and kept.
    finish(&shared, &log).await;
    let reason = end?;
    let kills = shared.lock().kills();
    let ran = SignedDuration::from_secs(began.elapsed().as_secs().cast_signed());
    tracing::info!("stopped by {reason} after {ran:#}: {kills} OOM kills captured");
    Ok(ExitCode::SUCCESS)
}

/// Takes what is in the ring, keeps it, and has it told to all that wait for it, each for a bounded
/// time. Connections may still be open: nobody is answered any more.
async fn finish(shared: &Shared, log: &Output) {
    shared.drain(RINGFUL);
    // What is written by now need not be written by the next daemon.
    log.flush(FLUSH).await;
    shared.drain(RINGFUL);
    let events = shared.lock().conclude(&Now::read());
    log.flush(FLUSH).await;
    if let Some(events) = events {
        events.finish(FLUSH).await;
    }
}

/// Feeds the pipeline: records of the ring, pods, time.
async fn read(
    shared: &Shared,
    readable: &Readable,
    mut watch: Option<&mut Watch>,
) -> anyhow::Error {
    let (mut written, mut logged) = {
        let pipeline = shared.lock();
        let journal = pipeline.journal();
        (journal.written(), journal.logged())
    };
    // What came before the ring was watched.
    let mut more = shared.read();
    let mut held_until = None;
    loop {
        let (holding, due) = {
            let pipeline = shared.lock();
            (pipeline.is_holding(), pipeline.next_tick(&Now::read()))
        };
        // From when it began: pods that change all the time must not put it off.
        held_until = holding.then(|| held_until.unwrap_or_else(|| Instant::now() + HOLD));
        let held = wait_until(held_until);
        let pods = async {
            match &mut watch {
                Some(watch) => watch.events.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            result = readable.next(|| more = shared.read()) => {
                if let Err(error) = result {
                    return anyhow::Error::new(error).context("the ring cannot be read any more");
                }
            }
            // Whoever else has something to do comes first.
            () = tokio::task::yield_now(), if more => more = shared.read(),
            () = held => {
                held_until = None;
                more = shared.read();
            }
            () = changed(&mut written) => shared.lock().on_written(&Now::read()),
            () = changed(&mut logged) => shared.lock().on_written(&Now::read()),
            () = wait_until(due) => shared.lock().tick(&Now::read()),
            event = pods => match event {
                Some(event) => shared.lock().on_pods(event, &Now::read()),
                None => return anyhow::anyhow!("the watch of pods has ended"),
            },
        }
    }
}

/// Looks after what is pinned, until somebody has removed it.
async fn look_after(pins: Option<Pins>, shared: &Shared) -> Gone {
    let Some(mut pins) = pins else {
        return pending().await;
    };
    let [rarely, often] = PINS;
    loop {
        // What waited is read soon after the start.
        sleep(often).await;
        if !shared.lock().reader().has_left() {
            pins.forget_left();
        }
        if let Err(gone) = pins.check() {
            return gone;
        }
        // Each timer wakes an idle daemon.
        let _ = timeout(rarely, shared.requested.notified()).await;
    }
}

/// A thread that writes has ended something. It lives as long as the pipeline.
async fn changed(ended: &mut Option<watch::Receiver<u64>>) {
    let ended = match ended {
        Some(ended) => ended.changed().await.is_err(),
        None => true,
    };
    if ended {
        pending::<()>().await;
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// The pipeline, which the reader and the server share. All run on one thread: nobody ever waits
/// for a lock.
struct Shared {
    pipeline: Mutex<Pipeline>,
    liveness: Mutex<Liveness>,
    requested: Notify,
}

impl Shared {
    fn new(pipeline: Pipeline) -> Self {
        Self {
            pipeline: Mutex::new(pipeline),
            liveness: Mutex::default(),
            requested: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pipeline> {
        lock(&self.pipeline)
    }

    /// Takes what waits in the rings, in so many steps at most.
    fn drain(&self, steps: usize) -> Drained {
        let mut drained = Drained::default();
        for _ in 0..steps {
            drained = drained.then(self.lock().drain(&Now::read()));
            if drained.ended {
                break;
            }
        }
        drained
    }

    /// The reader was woken; true if it has to come again for the rest.
    fn read(&self) -> bool {
        // Counted first: a mark that comes meanwhile wakes the reader again.
        let marks = self.lock().reader().marks_submitted();
        let drained = self.drain(BATCH);
        lock(&self.liveness).read(marks);
        !drained.ended
    }

    /// A request wants to see everything up to now.
    fn refresh(&self) {
        let marks = self.lock().reader().marks_submitted();
        let waited_since = Now::read();
        let drained = self.drain(RINGFUL);
        self.lock().reconcile(drained.all, &Now::read());
        lock(&self.liveness).requested(marks, drained.waited(&waited_since));
        self.requested.notify_one();
    }

    fn stuck(&self) -> Option<String> {
        let marks = self.lock().reader().marks_submitted();
        lock(&self.liveness).judge(marks, Instant::now())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The daemon as the server sees it.
struct SharedProbe {
    shared: Arc<Shared>,
    link: Option<watch::Receiver<Link>>,
}

impl SharedProbe {
    fn link(&self) -> Link {
        self.link
            .as_ref()
            .map_or(Link::Off, |link| link.borrow().clone())
    }
}

impl http::Probe for SharedProbe {
    fn refresh(&self) {
        self.shared.refresh();
        let synced = self.link().is_synced();
        let pipeline = self.shared.lock();
        pipeline.sinks().metrics.set_kubernetes_synced(synced);
    }

    fn written(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let unwritten = self.shared.lock().journal().unwritten(&Now::read());
        Box::pin(async move {
            if let Some((mut written, number)) = unwritten {
                let written = written.wait_for(|written| *written >= number);
                // Where it takes longer the rings keep it for the next daemon.
                let _ = timeout(WRITTEN_WITHIN, written).await;
            }
        })
    }

    fn scraped(&self) {
        self.shared.lock().scraped(&Now::read());
    }

    fn status(&self) -> Status {
        Status {
            stuck: self.shared.stuck(),
            details: vec![("kubernetes", self.link().to_string())],
        }
    }
}
