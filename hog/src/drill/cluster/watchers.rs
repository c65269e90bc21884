//! Those who look while the drill runs: the client, the observer of pods, the followers of memory.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::grow::{Victim, service_path};
use super::observe::{Observer, Seen};
use super::target::Cluster;
use super::{LOOK, Options};
use crate::drill::evidence::What;
use crate::drill::expect::Grower;
use crate::drill::recorder::Recorder;
use crate::serve::Status;

const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn start(
    cluster: &Cluster,
    options: &Options<'_>,
    pods: &[Pod],
    victim: &Victim,
    recorder: &Recorder,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let service = options.cluster.service.as_deref();
    let path = options.cluster.path.clone();
    let path = path
        .or_else(|| cluster.readiness_path())
        .unwrap_or_default();
    let uri = service_path(
        &cluster.namespace,
        service.unwrap_or(options.deployment),
        &path,
    )?;
    tasks.spawn(keep_asking(cluster.client.clone(), uri, recorder.clone()));

    let observer = Observer::begin(&cluster.container, pods);
    let selector = cluster.selector()?;
    let api = victim.pods.clone();
    tasks.spawn(keep_looking(api, selector, observer, recorder.clone()));

    match victim.grower {
        Grower::Service => {
            for pod in pods.iter().filter_map(|pod| pod.metadata.name.clone()) {
                tasks.spawn(keep_measuring(victim.clone(), pod, recorder.clone()));
            }
        }
        Grower::Exec => {
            let (victim, recorder) = (victim.clone(), recorder.clone());
            tasks.spawn(async move {
                if let Err(error) = victim.follow_usage(&recorder).await {
                    recorder.gap(format!("memory of {}: {error:#}", victim.pod));
                }
            });
        }
    }
    Ok(())
}

/// Through the Service, which chooses a ready replica; a failure stays one.
async fn keep_asking(client: Client, uri: String, recorder: Recorder) {
    let mut tick = interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let asked = async {
            let request = Request::get(&uri).body(Vec::new()).context("no URI")?;
            Ok::<_, anyhow::Error>(client.request_text(request).await?)
        };
        match timeout(ASK_WITHIN, asked).await {
            Ok(Ok(_)) => recorder.served(None),
            Ok(Err(error)) => recorder.failed(format!("{error:#}")),
            Err(_) => recorder.failed(format!("no answer within {} s", ASK_WITHIN.as_secs())),
        }
    }
}

async fn keep_looking(
    pods: Api<Pod>,
    selector: ListParams,
    mut observer: Observer,
    recorder: Recorder,
) {
    loop {
        match pods.list(&selector).await {
            Ok(list) => {
                for seen in observer.look(&list.items) {
                    tell(&recorder, seen);
                }
            }
            Err(error) => recorder.gap(format!("pods could not be listed: {error:#}")),
        }
        sleep(LOOK).await;
    }
}

fn tell(recorder: &Recorder, seen: Seen) {
    match seen {
        Seen::Ended {
            pod,
            exit_code,
            reason,
        } => recorder.death(&pod, exit_code, reason),
        Seen::NotReady { pod } => recorder.note(Some(&pod), What::NotReady),
        Seen::Started { pod, restarts } => recorder.note(Some(&pod), What::Started { restarts }),
        Seen::Ready { pod } => recorder.note(Some(&pod), What::Ready),
        Seen::Gone { pod } => {
            let hand = format!("pod {pod} was deleted while the drill ran");
            recorder.evidence().interventions.push(hand);
        }
    }
}

/// Memory of a pod of the scenario, by its own word; while it is down there is none.
async fn keep_measuring(victim: Victim, pod: String, recorder: Recorder) {
    loop {
        if let Ok(Ok(body)) = timeout(ASK_WITHIN, victim.ask(&pod, "GET", "status")).await
            && let Ok(status) = serde_json::from_str::<Status>(&body)
        {
            if let Some(bytes) = status.usage_bytes {
                recorder.uses(&pod, bytes);
            }
            if pod == victim.pod {
                recorder.holds(status.held_bytes);
            }
        }
        sleep(LOOK).await;
    }
}
