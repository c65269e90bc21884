//! The record of a kill, by what the index of pods says of its cgroup.

use super::victim;
use crate::{
    kube::index::{Found, InPod, Index},
    model::{
        kill::{HostRef, Kill, PodRef, Record, RecordType, SANDBOX, SCHEMA},
        labels::{Attribution, Scope},
    },
};

/// The record, or the kill again if a status is still to come. `found` is the attribution by a pod
/// that is there.
pub(crate) fn answer(
    index: &Index,
    kubernetes: bool,
    kill: Box<Kill>,
    found: Attribution,
) -> Result<Record, Box<Kill>> {
    // Ids can be copied: only where the kubelet makes cgroups do they name a pod's container.
    if kill.identity.pod.is_none() && !kill.identity.in_pods {
        return Ok(host(*kill));
    }
    match index.lookup(&kill.identity) {
        Found::Container(pod, at) => Ok(in_pod(*kill, &pod, Some(at), found)),
        Found::Sandbox(pod) => Ok(in_pod(*kill, &pod, None, found)),
        Found::Unlisted(pod) if !pod.past => Err(kill),
        Found::Nothing if kill.identity.pod.is_none() => Ok(host(*kill)),
        Found::Nothing if kubernetes => Err(kill),
        // No status will come any more, or ever.
        Found::Unlisted(_) | Found::Nothing => Ok(conclude(index, *kill, found)),
    }
}

/// What can be said of a kill for which no more will be known.
///
/// An id that no status names is that of the pod's sandbox, or of a run that came and went between
/// two statuses. In the sandbox runs `pause` and nothing else; in a pod of one container a run that
/// is not the sandbox's is that container's. In any other case saying nothing is better than being
/// wrong.
pub(crate) fn conclude(index: &Index, kill: Kill, found: Attribution) -> Record {
    match index.lookup(&kill.identity) {
        Found::Container(pod, at) => in_pod(kill, &pod, Some(at), found),
        Found::Sandbox(pod) => in_pod(kill, &pod, None, found),
        Found::Unlisted(known) => {
            let is_pause = kill.victim.comm.as_deref() == Some("pause");
            match (is_pause, known.pod.containers.len()) {
                (true, _) => in_pod(kill, &known, None, found),
                (false, 1) => in_pod(kill, &known, Some(0), found),
                (false, _) => {
                    let pod = PodRef {
                        container_id: kill.identity.container.map(|id| id.to_string()),
                        ..known.pod.reference()
                    };
                    with_pod(kill, pod, Attribution::Unresolved)
                }
            }
        }
        Found::Nothing => {
            let pod = by_path(&kill);
            with_pod(kill, pod, Attribution::Unresolved)
        }
    }
}

fn in_pod(mut kill: Kill, pod: &InPod, at: Option<usize>, found: Attribution) -> Record {
    let attribution = match found {
        Attribution::Live if pod.past || pod.remembered => Attribution::Tombstone,
        found => found,
    };
    let container = at.and_then(|at| pod.container(at));
    let id = kill.identity.container;
    let known = victim::Container {
        pid_namespace: container.map(|_| pod.pod.pid_namespace),
        run: container.and_then(|container| container.run(id.as_ref()?)),
    };
    let name = container.map_or(SANDBOX, |container| &*container.name);
    let image = container.map(|container| container.image.to_string());
    let reference = PodRef {
        container: Some(name.to_owned()),
        container_id: id.map(|id| id.to_string()),
        image: image.filter(|image| !image.is_empty()),
        ..pod.pod.reference()
    };
    kill.victim.kind = victim::kind(&kill, known);
    Record {
        pod: Some(reference),
        ..record(kill, Scope::Pod, attribution)
    }
}

fn with_pod(mut kill: Kill, pod: PodRef, attribution: Attribution) -> Record {
    kill.victim.kind = victim::kind(&kill, victim::Container::default());
    Record {
        pod: Some(pod),
        ..record(kill, Scope::Pod, attribution)
    }
}

/// What the path says of the pod.
fn by_path(kill: &Kill) -> PodRef {
    let identity = &kill.identity;
    PodRef {
        namespace: None,
        name: None,
        uid: identity.pod.map(|uid| uid.to_string()),
        container: identity.container.is_none().then(|| SANDBOX.to_owned()),
        container_id: identity.container.map(|id| id.to_string()),
        image: None,
        qos: identity.qos.map(|qos| qos.as_str().to_owned()),
        workload: None,
    }
}

fn host(mut kill: Kill) -> Record {
    kill.victim.kind = victim::kind(&kill, victim::Container::default());
    let identity = &kill.identity;
    let host = HostRef {
        unit: identity.unit.as_ref().map(ToString::to_string),
        container_id: identity.container.map(|id| id.to_string()),
    };
    Record {
        host: Some(host),
        ..record(kill, Scope::Host, Attribution::Host)
    }
}

pub(crate) fn record(kill: Kill, scope: Scope, attribution: Attribution) -> Record {
    let attribution = if kill.victim.is_unknown() {
        Attribution::Recovered
    } else {
        attribution
    };
    Record {
        kind: RecordType::OomKill,
        schema: SCHEMA,
        kill,
        scope,
        pod: None,
        host: None,
        attribution,
    }
}
