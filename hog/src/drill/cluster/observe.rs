//! What one look at the pods tells after another. Pure: statuses in, moments out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

/// What happened to a container between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Ended {
        pod: String,
        exit_code: i32,
        reason: Option<String>,
    },
    NotReady {
        pod: String,
    },
    Started {
        pod: String,
        restarts: u64,
    },
    Ready {
        pod: String,
    },
    /// A pod is gone that was there: somebody deleted it, or it was evicted.
    Gone {
        pod: String,
    },
}

/// What was known at the last look, by pod.
#[derive(Debug)]
pub(super) struct Observer {
    container: String,
    known: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    restarts: i32,
    ready: bool,
    /// The last end of the container that was told.
    ended: Option<End>,
}

/// Which end: container id, else the time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    id: Option<String>,
    at: Option<String>,
}

impl Observer {
    /// Takes the pods as they are now as nothing new.
    pub(super) fn begin(container: &str, pods: &[Pod]) -> Self {
        let mut observer = Self {
            container: container.to_owned(),
            known: BTreeMap::new(),
        };
        observer.look(pods);
        observer
    }

    /// What is new.
    pub(super) fn look(&mut self, pods: &[Pod]) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut now = BTreeMap::new();
        for pod in pods {
            let (Some(name), Some(status)) = (&pod.metadata.name, status(pod, &self.container))
            else {
                continue;
            };
            let current = known(status);
            if let Some(before) = self.known.get(name) {
                seen.extend(between(name, before, &current, terminated(status)));
            }
            now.insert(name.clone(), current);
        }
        let gone = self.known.keys().filter(|name| !now.contains_key(*name));
        seen.extend(gone.map(|name| Seen::Gone { pod: name.clone() }));
        self.known = now;
        seen
    }
}

fn between(
    pod: &str,
    before: &Known,
    now: &Known,
    end: Option<&ContainerStateTerminated>,
) -> Vec<Seen> {
    let pod = pod.to_owned();
    let mut seen = Vec::new();
    let mut ready = before.ready;
    if let Some(end) = end.filter(|_| now.ended != before.ended) {
        seen.push(Seen::Ended {
            pod: pod.clone(),
            exit_code: end.exit_code,
            reason: end.reason.clone(),
        });
        if ready {
            seen.push(Seen::NotReady { pod: pod.clone() });
            ready = false;
        }
    }
    if now.restarts > before.restarts {
        seen.push(Seen::Started {
            pod: pod.clone(),
            restarts: u64::try_from(now.restarts).unwrap_or(0),
        });
    }
    match (ready, now.ready) {
        (true, false) => seen.push(Seen::NotReady { pod }),
        (false, true) => seen.push(Seen::Ready { pod }),
        _ => {}
    }
    seen
}

fn known(status: &ContainerStatus) -> Known {
    Known {
        restarts: status.restart_count,
        ready: status.ready,
        ended: terminated(status).map(|end| End {
            id: end.container_id.clone(),
            at: end.finished_at.as_ref().map(|time| time.0.to_string()),
        }),
    }
}

/// The newest end: of this run, else of the one before.
fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let of = |state: &'_ Option<k8s_openapi::api::core::v1::ContainerState>| {
        state
            .as_ref()
            .is_some_and(|state| state.terminated.is_some())
    };
    let state = if of(&status.state) {
        &status.state
    } else {
        &status.last_state
    };
    state.as_ref()?.terminated.as_ref()
}

fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == container)
}

/// Whether the pod's container runs and is ready.
pub(super) fn is_ready(pod: &Pod, container: &str) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && status(pod, container).is_some_and(|status| status.ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(ready: bool, restarts: i32, state: &Value, last_state: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "cart-1"},
            "status": {"containerStatuses": [
                {"name": "proxy", "ready": true, "restartCount": 9, "image": "", "imageID": ""},
                {"name": "app", "ready": ready, "restartCount": restarts, "image": "", "imageID": "",
                 "state": state, "lastState": last_state},
            ]},
        }))
        .unwrap()
    }

    fn ended(code: i32, id: &str) -> Value {
        json!({"terminated": {"exitCode": code, "reason": "OOMKilled", "containerID": id}})
    }

    fn name() -> String {
        "cart-1".to_owned()
    }

    fn oom_killed() -> Seen {
        Seen::Ended {
            pod: name(),
            exit_code: 137,
            reason: Some("OOMKilled".to_owned()),
        }
    }

    #[test]
    fn an_end_and_a_restart_are_told_step_by_step() {
        let running = json!({"running": {}});
        let none = json!({});
        let mut observer = Observer::begin("app", &[pod(true, 0, &running, &none)]);
        assert_eq!(observer.look(&[pod(true, 0, &running, &none)]), []);
        let end = ended(137, "c1");
        let not_ready = Seen::NotReady { pod: name() };
        assert_eq!(
            observer.look(&[pod(false, 0, &end, &none)]),
            [oom_killed(), not_ready]
        );
        assert_eq!(observer.look(&[pod(false, 0, &end, &none)]), []);
        let started = Seen::Started {
            pod: name(),
            restarts: 1,
        };
        assert_eq!(observer.look(&[pod(false, 1, &running, &end)]), [started]);
        let ready = Seen::Ready { pod: name() };
        assert_eq!(observer.look(&[pod(true, 1, &running, &end)]), [ready]);
    }

    #[test]
    fn a_restart_between_two_looks_is_told_whole() {
        let running = json!({"running": {}});
        let old = ended(1, "c0");
        let mut observer = Observer::begin("app", &[pod(true, 3, &running, &old)]);
        let seen = observer.look(&[pod(true, 4, &running, &ended(137, "c1"))]);
        let started = Seen::Started {
            pod: name(),
            restarts: 4,
        };
        let expected = [
            oom_killed(),
            Seen::NotReady { pod: name() },
            started,
            Seen::Ready { pod: name() },
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_pod_that_is_gone_is_told_once() {
        let mut observer = Observer::begin("app", &[pod(true, 0, &json!({}), &json!({}))]);
        assert_eq!(observer.look(&[]), [Seen::Gone { pod: name() }]);
        assert_eq!(observer.look(&[]), []);
    }
}
