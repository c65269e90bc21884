use serde_json::{Value, json};

use super::*;

const UID: &str = "3b8a1c9e-5d2f-4c55-9d0a-0f4f4b2e8a11";

fn pod(changes: &Value) -> object::Pod {
    let mut pod = json!({"metadata": {"name": "cart", "namespace": "shop", "uid": UID}});
    pod.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    serde_json::from_value(pod).unwrap()
}

fn id_of(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn uri(digit: char) -> String {
    format!("containerd://{}", id_of(digit))
}

fn read(object: &object::Pod, before: Option<&Pod>) -> Pod {
    Pod::new(object, before, &mut Names::default()).unwrap()
}

/// First digits of the ids of the only container's runs, newest first, `.` behind ended ones.
fn shown_runs(pod: &Pod) -> String {
    let container = &pod.containers[0];
    container
        .runs
        .iter()
        .map(|run| {
            let digit = &run.id.to_string()[..1];
            let end = if run.finished_at.is_some() { "." } else { "" };
            format!("{digit}{end}")
        })
        .collect()
}

fn with_status(mut status: Value) -> object::Pod {
    status["name"] = json!("app");
    pod(&json!({
        "spec": {"containers": [{"name": "app", "image": "i"}]},
        "status": {"containerStatuses": [status]},
    }))
}

fn terminated(digit: char) -> Value {
    json!({"terminated": {
        "containerID": uri(digit), "exitCode": 137,
        "startedAt": "2025-11-20T12:00:00Z", "finishedAt": "2025-11-20T12:00:09Z",
    }})
}

#[test]
fn runs_come_from_the_status_and_from_what_it_said_before() {
    let running = json!({"running": {"startedAt": "2025-11-20T12:00:10Z"}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let first = read(
        &with_status(json!({"containerID": uri('a'), "state": running})),
        None,
    );
    assert_eq!(shown_runs(&first), "a");
    assert!(first.containers[0].runs[0].started_at.is_some());

    let crashed = with_status(
        json!({"containerID": uri('a'), "state": waiting, "lastState": terminated('a')}),
    );
    let crashed = read(&crashed, Some(&first));
    assert_eq!(shown_runs(&crashed), "a.");

    let restarted = with_status(
        json!({"containerID": uri('b'), "state": running, "lastState": terminated('a')}),
    );
    assert_eq!(shown_runs(&read(&restarted, None)), "ba.");

    // The last state is overwritten by each restart.
    let again = with_status(
        json!({"containerID": uri('c'), "state": running, "lastState": terminated('b')}),
    );
    let again = read(&again, Some(&read(&restarted, Some(&crashed))));
    assert_eq!(shown_runs(&again), "cb.a.");

    let silent = read(&with_status(json!({})), Some(&again));
    assert_eq!(shown_runs(&silent), "cb.a.", "a status that lost its ids");
}

#[test]
fn a_container_remembers_a_bounded_number_of_runs() {
    let mut known = None;
    for digit in "0123456789abcdef".chars() {
        let object = with_status(json!({"containerID": uri(digit)}));
        known = Some(read(&object, known.as_ref()));
    }
    assert_eq!(shown_runs(&known.unwrap()), "fedc");
}

#[test]
fn ids_of_every_runtime_are_read_and_anything_else_is_none() {
    for (text, known) in [
        (uri('a'), true),
        (format!("cri-o://{}", id_of('a')), true),
        (format!("docker://{}", id_of('a')), true),
        (id_of('a'), false),
        ("containerd://".to_owned(), false),
        (format!("containerd://{}", "A".repeat(64)), false),
        (String::new(), false),
    ] {
        assert_eq!(id(&text).is_some(), known, "{text}");
    }
}

#[test]
fn containers_keep_their_kind_and_init_containers_say_when_they_are_done() {
    let exited = |code| json!({"terminated": {"exitCode": code}});
    let pod = read(
        &pod(&json!({
            "spec": {
                "initContainers": [
                    {"name": "migrate"}, {"name": "retry"}, {"name": "proxy", "restartPolicy": "Always"},
                    {"name": "waits"},
                ],
                "containers": [{"name": "app"}],
                "ephemeralContainers": [{"name": "debug", "targetContainerName": "app"}],
            },
            "status": {
                "initContainerStatuses": [
                    {"name": "migrate", "state": exited(0)}, {"name": "retry", "state": exited(1)},
                    {"name": "proxy", "state": exited(0)},
                ],
                "containerStatuses": [{"name": "app", "state": exited(0)}],
            },
        })),
        None,
    );
    let shown: Vec<_> = pod
        .containers
        .iter()
        .map(|container| (&*container.name, container.kind, container.done))
        .collect();
    assert_eq!(
        shown,
        [
            ("migrate", ContainerKind::Init, true),
            ("retry", ContainerKind::Init, false),
            ("proxy", ContainerKind::Sidecar, false),
            ("waits", ContainerKind::Init, false),
            ("app", ContainerKind::App, false),
            ("debug", ContainerKind::Ephemeral, false),
        ]
    );
}

#[test]
fn null_and_absent_are_the_same() {
    let bare = read(
        &pod(&json!({
            "spec": {"containers": [{"name": "app", "image": null}], "initContainers": null},
            "status": {"phase": null, "containerStatuses": [
                {"name": "app", "containerID": null, "state": null, "lastState": {"terminated": null}},
            ]},
        })),
        None,
    );
    assert_eq!(bare.containers.len(), 1);
    assert_eq!(&*bare.containers[0].image, "");
    assert!(!bare.finished);
}

#[test]
fn what_is_no_pod_is_rejected() {
    let with = |metadata: Value| -> object::Pod {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    };
    let long = "x".repeat(254);
    for (metadata, rejected) in [
        (json!({"name": "a", "namespace": "b"}), Rejected::Uid),
        (
            json!({"name": "a", "namespace": "b", "uid": "../../etc"}),
            Rejected::Uid,
        ),
        (json!({"namespace": "b", "uid": UID}), Rejected::Name),
        (json!({"name": "a", "uid": UID}), Rejected::Name),
        (
            json!({"name": long, "namespace": "b", "uid": UID}),
            Rejected::Name,
        ),
    ] {
        assert_eq!(
            Pod::new(&with(metadata), None, &mut Names::default()).unwrap_err(),
            rejected
        );
    }
}

#[test]
fn a_pod_of_absurd_size_is_cut() {
    let many: Vec<_> = (0..100_000)
        .map(|n| json!({"name": format!("c{n}"), "image": "i".repeat(1000)}))
        .collect();
    let pod = read(&pod(&json!({"spec": {"containers": many}})), None);
    assert_eq!(pod.containers.len(), MAX_CONTAINERS);
    assert_eq!(&*pod.containers[0].image, "");
}
