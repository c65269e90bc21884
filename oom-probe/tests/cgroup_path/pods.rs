//! Paths below a pod's cgroup.

use oom_probe::{
    cgroup::path,
    model::{container::Runtime, pod::Qos},
};

use super::{APP, HASH, INNER, NODE, OTHER_UID, UID, fill, id};

/// What a path of a pod says: container, UID, runtime, QoS class, levels of container and pod.
type PodCase = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<Runtime>,
    Option<Qos>,
    Option<usize>,
    Option<usize>,
);

fn assert_pods(cases: &[PodCase]) {
    for &(name, path, container, uid, runtime, qos, container_level, pod_level) in cases {
        let identity = path::from_path(fill(path).as_bytes());
        assert_eq!(identity.container, container.map(id), "{name}: container");
        assert_eq!(identity.pod, Some(uid.parse().unwrap()), "{name}: pod");
        assert_eq!(identity.runtime, runtime, "{name}: runtime");
        assert_eq!(identity.qos, qos, "{name}: qos");
        assert_eq!(
            identity.container_level, container_level,
            "{name}: container level"
        );
        assert_eq!(identity.pod_level, pod_level, "{name}: pod level");
    }
}

const CONTAINERD: Option<Runtime> = Some(Runtime::Containerd);
const CRIO: Option<Runtime> = Some(Runtime::CriO);
const DOCKER: Option<Runtime> = Some(Runtime::Docker);
const GUARANTEED: Option<Qos> = Some(Qos::Guaranteed);
const BURSTABLE: Option<Qos> = Some(Qos::Burstable);
const BEST_EFFORT: Option<Qos> = Some(Qos::BestEffort);

#[test]
#[rustfmt::skip]
fn every_driver_and_runtime_of_a_node_gives_container_and_pod() {
    assert_pods(&[
        ("containerd, systemd driver, burstable",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{app}.scope",
         Some(APP), UID, CONTAINERD, BURSTABLE, Some(0), Some(1)),
        ("containerd, systemd driver, best effort",
         "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/cri-containerd-{app}.scope",
         Some(APP), UID, CONTAINERD, BEST_EFFORT, Some(0), Some(1)),
        ("containerd, systemd driver, guaranteed",
         "/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{app}.scope",
         Some(APP), UID, CONTAINERD, GUARANTEED, Some(0), Some(1)),
        ("CRI-O, systemd driver, guaranteed",
         "/kubepods.slice/kubepods-pod{uid_}.slice/crio-{app}.scope",
         Some(APP), UID, CRIO, GUARANTEED, Some(0), Some(1)),
        ("CRI-O with crun, which makes a cgroup below the scope",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/crio-{app}.scope/container",
         Some(APP), UID, CRIO, BURSTABLE, Some(1), Some(2)),
        ("CRI-O, cgroupfs driver",
         "/kubepods/burstable/pod{uid}/crio-{app}",
         Some(APP), UID, CRIO, BURSTABLE, Some(0), Some(1)),
        ("cri-dockerd, systemd driver",
         "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/docker-{app}.scope",
         Some(APP), UID, DOCKER, BEST_EFFORT, Some(0), Some(1)),
        ("Podman as a kubelet's runtime would name it",
         "/kubepods.slice/kubepods-pod{uid_}.slice/libpod-{app}.scope",
         Some(APP), UID, Some(Runtime::Podman), GUARANTEED, Some(0), Some(1)),
        ("containerd or dockershim, cgroupfs driver, burstable",
         "/kubepods/burstable/pod{uid}/{app}",
         Some(APP), UID, None, BURSTABLE, Some(0), Some(1)),
        ("containerd or dockershim, cgroupfs driver, best effort",
         "/kubepods/besteffort/pod{uid}/{app}",
         Some(APP), UID, None, BEST_EFFORT, Some(0), Some(1)),
        ("containerd or dockershim, cgroupfs driver, guaranteed",
         "/kubepods/pod{uid}/{app}",
         Some(APP), UID, None, GUARANTEED, Some(0), Some(1)),
        ("Kata sandbox, cgroupfs driver",
         "/kubepods/burstable/pod{uid}/kata_{app}",
         Some(APP), UID, Some(Runtime::Kata), BURSTABLE, Some(0), Some(1)),
        ("static pod of kubeadm, systemd driver",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{app}.scope",
         Some(APP), HASH, CONTAINERD, BURSTABLE, Some(0), Some(1)),
        ("static pod, cgroupfs driver",
         "/kubepods/burstable/pod{hash}/{app}",
         Some(APP), HASH, None, BURSTABLE, Some(0), Some(1)),
        ("kubelet with --cgroup-root=/mycompany, cgroupfs driver",
         "/mycompany/kubepods/besteffort/pod{uid}/{app}",
         Some(APP), UID, None, BEST_EFFORT, Some(0), Some(1)),
        ("kubelet with --cgroup-root=/mycompany, systemd driver",
         "/mycompany.slice/mycompany-kubepods.slice/mycompany-kubepods-pod{uid_}.slice/crio-{app}.scope",
         Some(APP), UID, CRIO, GUARANTEED, Some(0), Some(1)),
        ("rootless k3s",
         "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/burstable/pod{uid}/{app}",
         Some(APP), UID, None, BURSTABLE, Some(0), Some(1)),
        ("systemd driver in the kubelet, cgroupfs in containerd, containerd in its unit",
         "/system.slice/containerd.service/kubepods-burstable-pod{uid_}.slice:cri-containerd:{app}",
         Some(APP), UID, CONTAINERD, BURSTABLE, Some(0), None),
        ("systemd driver in the kubelet, cgroupfs in containerd, at the root",
         "/kubepods-pod{uid_}.slice:cri-containerd:{app}",
         Some(APP), UID, CONTAINERD, GUARANTEED, Some(0), None),
        ("systemd driver in the kubelet, cgroupfs in CRI-O, nested",
         "/kubepods-besteffort-pod{uid_}.slice:crio:{app}/init.scope",
         Some(APP), UID, CRIO, BEST_EFFORT, Some(1), None),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_node_in_a_container_has_its_own_pods() {
    assert_pods(&[
        ("kind, cgroup v2, systemd driver",
         "/system.slice/docker-{node}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{uid_}.slice/cri-containerd-{app}.scope",
         Some(APP), UID, CONTAINERD, BURSTABLE, Some(0), Some(1)),
        ("kind, seen from the node",
         "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{uid_}.slice/cri-containerd-{app}.scope",
         Some(APP), UID, CONTAINERD, GUARANTEED, Some(0), Some(1)),
        ("kind, cgroup v1, cgroupfs driver, systemd in the container",
         "/docker/{node}/kubelet/kubepods/burstable/pod{uid}/{app}/init.scope",
         Some(APP), UID, None, BURSTABLE, Some(1), Some(2)),
        ("k3d",
         "/docker/{node}/kubepods/besteffort/pod{uid}/{app}",
         Some(APP), UID, None, BEST_EFFORT, Some(0), Some(1)),
        ("minikube, docker driver",
         "/system.slice/docker-{node}.scope/kubepods.slice/kubepods-pod{uid_}.slice/docker-{app}.scope",
         Some(APP), UID, DOCKER, GUARANTEED, Some(0), Some(1)),
        ("minikube, podman driver",
         "/machine.slice/libpod-{node}.scope/container/kubepods.slice/kubepods-pod{uid_}.slice/crio-{app}.scope",
         Some(APP), UID, CRIO, GUARANTEED, Some(0), Some(1)),
        ("a node in LXC",
         "/lxc.payload.node1/kubepods/burstable/pod{uid}/{app}",
         Some(APP), UID, None, BURSTABLE, Some(0), Some(1)),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_runs_inside_a_container_belongs_to_the_container() {
    assert_pods(&[
        ("systemd in a container",
         "/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{app}.scope/system.slice/nginx.service",
         Some(APP), UID, CONTAINERD, GUARANTEED, Some(2), Some(3)),
        ("Docker in a container, cgroupfs driver",
         "/kubepods/burstable/pod{uid}/{app}/docker/{inner}",
         Some(APP), UID, None, BURSTABLE, Some(2), Some(3)),
        ("Docker in a container, systemd driver",
         "/kubepods.slice/kubepods-pod{uid_}.slice/crio-{app}.scope/system.slice/docker-{inner}.scope/init",
         Some(APP), UID, CRIO, GUARANTEED, Some(3), Some(4)),
        ("Sysbox",
         "/kubepods.slice/kubepods-pod{uid_}.slice/crio-{app}.scope/syscont-cgroup-root/system.slice/docker-{inner}.scope",
         Some(APP), UID, CRIO, GUARANTEED, Some(3), Some(4)),
        ("kind in a CI job's pod: the job's kubelet knows the outer pod only",
         "/kubepods/burstable/pod{uid}/{app}/docker/{node}/kubelet/kubepods/besteffort/pod{other_uid}/{inner}",
         Some(APP), UID, None, BURSTABLE, Some(7), Some(8)),
    ]);
}

#[test]
fn a_node_in_a_pod_sees_its_own_pods_below_its_own_root() {
    let path = fill(
        "/kubepods/burstable/pod{uid}/{app}/docker/{node}/kubelet/kubepods/besteffort/pod{other_uid}/{inner}",
    );
    let own = path
        .rsplit('/')
        .take_while(|&name| name != NODE)
        .map(str::as_bytes);
    let identity = path::parse(own);
    assert_eq!(identity.container, Some(id(INNER)));
    assert_eq!(identity.pod, Some(OTHER_UID.parse().unwrap()));
    assert_eq!(identity.qos, Some(Qos::BestEffort));
    assert_eq!(
        (identity.container_level, identity.pod_level),
        (Some(0), Some(1))
    );
}

#[test]
#[rustfmt::skip]
fn a_pod_without_a_container_is_the_pod() {
    assert_pods(&[
        ("a process in the pod's cgroup, systemd driver",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice",
         None, UID, None, BURSTABLE, None, Some(0)),
        ("a process in the pod's cgroup, cgroupfs driver",
         "/kubepods/pod{uid}",
         None, UID, None, GUARANTEED, None, Some(0)),
        ("CRI-O's monitor in the pod's slice",
         "/kubepods.slice/kubepods-pod{uid_}.slice/crio-conmon-{app}.scope",
         None, UID, None, GUARANTEED, None, Some(1)),
        ("CRI-O's monitor, cgroupfs driver",
         "/kubepods/besteffort/pod{uid}/crio-conmon-{app}",
         None, UID, None, BEST_EFFORT, None, Some(1)),
        ("something else below the pod",
         "/kubepods/besteffort/pod{uid}/extra",
         None, UID, None, BEST_EFFORT, None, Some(1)),
    ]);
}
