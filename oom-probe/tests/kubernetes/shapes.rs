//! Pods as real API servers send them, and cgroups as the kubelets of those nodes name them.

use std::path::Path;

use super::{
    apiserver::{ApiServer, pods::PodJson},
    node::Node,
};

const FILES: [&str; 5] = [
    "bound-1.31.json",
    "cronjob-docker-1.30.json",
    "deployment-containerd-1.33.json",
    "ephemeral-crio-1.35.json",
    "static-containerd-1.28.json",
];

const CART: &str = "1c42ddc0-285b-4c25-a35b-e3bf345e6a04";
const BOUND: &str = "5e1cf428-78df-48fe-a7bf-a45b715b7832";
const APP_1: &str = "5eb7e725e6bac43f2a906437aa7be080081de786a7d12f7b9649be47b69d6ca0";
const APP_2: &str = "80d6ae0197c2a3be4ec46d171996105891dedf626ea3040f2dd2bf00e63c436e";
const MIGRATE: &str = "3bc801a33ea83df414e1aeb962a52412835be99db28668ec25de73fdd4733804";
const MESH: &str = "d30ca7a7a32bf5772dc5eb2a2e7bd35737eff795ad74f2479b359716b59abdfa";
const ETCD_HASH: &str = "ac2d4d8c8ad9648794e183d3f648c132";
const ETCD: &str = "c38cbd92fce41312f3fbdce60510013b7f0d4004a03b45c8e762f98f1ed4006c";
const DB: &str = "5d2e50e8-c9fc-40ad-aab4-bc23cce71bcf";
const POSTGRES: &str = "a942b37ccfaf5a813b1432caa209a43b9d144e47ad0de1549c289c253e556cd5";
const DEBUGGER: &str = "4c44d7c28ec0f6ca3e2624c6af1d3be324576d01ef6f6c2dc0af7e61664b8c2c";
const BACKUP: &str = "54d00d86-7758-4ef8-a6bc-4685f58e327b";
const BACKUP_RUN: &str = "54d00d867758cef816bc4685f58e327b949712b07ebd17c3485f3ffc9e9f5133";
const UPLOAD_RUN: &str = "ff4085ad157354dc8ea67a848e7c2270b4a19282713cf3a7ecf8e0ffbb159ed1";

fn fixture(name: &str) -> PodJson {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pods");
    let text = std::fs::read(path.join(name)).unwrap();
    PodJson(serde_json::from_slice(&text).unwrap())
}

/// As the systemd driver names it; `class` is empty for Guaranteed pods.
fn systemd(class: &str, uid: &str, scope: &str) -> String {
    let (slice, uid) = (format!("kubepods{class}"), uid.replace('-', "_"));
    let above = match class {
        "" => String::new(),
        _ => format!("/{slice}.slice"),
    };
    format!("/kubepods.slice{above}/{slice}-pod{uid}.slice/{scope}.scope")
}

#[tokio::test]
async fn each_shape_is_read_and_each_form_of_path_finds_its_container() {
    let server = ApiServer::start();
    for name in FILES {
        server.apply(&fixture(name));
    }
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    assert_eq!(node.attributor.index().len(), FILES.len());
    let burstable = "-burstable";
    let kind = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice";
    let cart = CART.replace('-', "_");
    for (path, expected) in [
        (
            systemd(burstable, CART, &format!("cri-containerd-{APP_2}")),
            "live cart-7d9f8b6c5d-x2x9z/app",
        ),
        (
            systemd(burstable, CART, &format!("cri-containerd-{APP_1}")),
            "tombstone cart-7d9f8b6c5d-x2x9z/app",
        ),
        (
            systemd(burstable, CART, &format!("cri-containerd-{MIGRATE}")),
            "live cart-7d9f8b6c5d-x2x9z/migrate",
        ),
        (
            systemd(burstable, CART, &format!("cri-containerd-{MESH}")),
            "live cart-7d9f8b6c5d-x2x9z/mesh",
        ),
        (
            format!("/kubepods/burstable/pod{CART}/{APP_2}"),
            "live cart-7d9f8b6c5d-x2x9z/app",
        ),
        (
            format!(
                "{kind}/kubelet-kubepods-burstable-pod{cart}.slice/cri-containerd-{APP_2}.scope"
            ),
            "live cart-7d9f8b6c5d-x2x9z/app",
        ),
        (
            format!("/docker/{MESH}/kubelet/kubepods/burstable/pod{CART}/{APP_2}/init.scope"),
            "live cart-7d9f8b6c5d-x2x9z/app",
        ),
        (
            systemd(burstable, BOUND, &format!("cri-containerd-{UPLOAD_RUN}x")),
            "live cart-7d9f8b6c5d-q8r4t/POD",
        ),
        (
            systemd(
                burstable,
                BOUND,
                &format!("cri-containerd-{}", "0".repeat(64)),
            ),
            "parked",
        ),
        (
            systemd(burstable, ETCD_HASH, &format!("cri-containerd-{ETCD}")),
            "live etcd-node-1/etcd",
        ),
        (
            format!("/kubepods/burstable/pod{ETCD_HASH}/{ETCD}"),
            "live etcd-node-1/etcd",
        ),
        (
            systemd("", DB, &format!("crio-{POSTGRES}")),
            "live db-0/postgres",
        ),
        (
            systemd("", DB, &format!("crio-{DEBUGGER}")),
            "live db-0/debugger-4hj7p",
        ),
        (
            systemd(burstable, BACKUP, &format!("docker-{BACKUP_RUN}")),
            "live backup-29394000-h7vxq/backup",
        ),
        (
            format!("/kubepods/burstable/pod{BACKUP}/{UPLOAD_RUN}"),
            "live backup-29394000-h7vxq/upload",
        ),
    ] {
        assert_eq!(node.kill(&path), expected, "{path}");
    }
}

#[tokio::test]
async fn workloads_come_from_what_the_objects_say_themselves() {
    let server = ApiServer::start();
    for name in FILES {
        server.apply(&fixture(name));
    }
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    let mut workloads: Vec<_> = node
        .attributor
        .index()
        .pods()
        .map(|pod| {
            let workload = pod.workload.as_ref().unwrap();
            format!("{} {} {}", pod.name, workload.kind, workload.name)
        })
        .collect();
    workloads.sort();
    assert_eq!(
        workloads,
        [
            "backup-29394000-h7vxq CronJob backup",
            "cart-7d9f8b6c5d-q8r4t Deployment cart",
            "cart-7d9f8b6c5d-x2x9z Deployment cart",
            "db-0 StatefulSet db",
            "etcd-node-1 Node node-1",
        ]
    );
}
