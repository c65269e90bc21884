//! What is a pod and what is only named like one.

use capture::{
    cgroup::kubepods::Kubepods,
    model::{cgroup_path::CgroupPath, unit::Unit},
};

use super::{APP, UID, fill, id};

const KIND: &str = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{uid_}.slice/cri-containerd-{app}.scope";
const NESTED: &str = "/docker/{node}/kubelet/kubepods/burstable/pod{uid}/{app}/init.scope";
const ROOTLESS: &str = "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/burstable/pod{uid}/{app}";
const OUTSIDE: &str =
    "/system.slice/containerd.service/kubepods-burstable-pod{uid_}.slice:cri-containerd:{app}";
const AT_ROOT: &str = "/kubepods-pod{uid_}.slice:cri-containerd:{app}";
const SYSTEMD: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{app}.scope";
const CGROUPFS: &str = "/kubepods/besteffort/pod{uid}/{app}";
const LXC: &str = "/lxc.payload.web/kubepods/burstable/pod{uid}/{app}";
const DOCKER: &str = "/docker/{node}/kubepods/burstable/pod{uid}/{app}";
const USER: &str = "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{app}.scope";

fn path(template: &str) -> CgroupPath {
    fill(template).parse().unwrap()
}

fn below(root: &str) -> Kubepods {
    Kubepods::below(vec![path(root)])
}

#[test]
fn a_pod_is_one_where_the_kubelet_makes_them_and_nowhere_else() {
    let usual = Kubepods::default;
    let rootless =
        || below("/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods");
    for (what, kubepods, template, is_pod) in [
        ("systemd driver", usual(), SYSTEMD, true),
        ("cgroupfs driver", usual(), CGROUPFS, true),
        (
            "a form of the systemd driver, at the root",
            usual(),
            AT_ROOT,
            true,
        ),
        ("kind, not said where", usual(), KIND, false),
        ("kind", Kubepods::of_own(&path(KIND)), KIND, true),
        (
            "a node in a container",
            Kubepods::of_own(&path(NESTED)),
            NESTED,
            true,
        ),
        (
            "another form of the systemd driver",
            Kubepods::of_own(&path(OUTSIDE)),
            OUTSIDE,
            true,
        ),
        ("the same, not said where", usual(), OUTSIDE, false),
        ("rootless, not said where", usual(), ROOTLESS, false),
        ("rootless", rootless(), ROOTLESS, true),
        (
            "rootless, beside another kubelet",
            rootless(),
            SYSTEMD,
            false,
        ),
        (
            "rootless, of its own pod",
            Kubepods::of_own(&path(ROOTLESS)),
            ROOTLESS,
            true,
        ),
        ("in an LXC guest", usual(), LXC, false),
        ("in a container of Docker", usual(), DOCKER, false),
        ("of a user", usual(), USER, false),
        (
            "of a user, on a node with pods",
            Kubepods::of_own(&path(SYSTEMD)),
            USER,
            false,
        ),
        (
            "a root of a similar name",
            below("/kubepods"),
            "/kubepods2/pod{uid}/{app}",
            false,
        ),
        (
            "not below its whole root",
            below("/a/kubepods"),
            "/b/kubepods/pod{uid}/{app}",
            false,
        ),
    ] {
        let path = path(template);
        let identity = kubepods.identify(path.names());
        let pod = is_pod.then(|| UID.parse().unwrap());
        assert_eq!(identity.pod, pod, "{what}");
        assert_eq!(identity.in_pods, is_pod, "{what}");
        assert!(!identity.undecided, "{what}");
    }
}

#[test]
fn what_is_only_named_like_a_pod_is_what_it_is() {
    let node = fill("{node}");
    for (template, container, unit) in [
        (USER, APP, Some("cri-containerd-{app}.scope")),
        (ROOTLESS, APP, Some("k3s-rootless.service")),
        (LXC, APP, None),
        (DOCKER, &node, None),
    ] {
        let path = path(template);
        let identity = Kubepods::default().identify(path.names());
        assert_eq!(identity.container, Some(id(container)), "{template}");
        let unit = unit.map(fill);
        assert_eq!(
            identity.unit.as_ref().map(Unit::as_str),
            unit.as_deref(),
            "{template}"
        );
        assert_eq!(identity.qos, None, "{template}");
    }
}

#[test]
fn the_own_pod_tells_where_pods_are() {
    for (own, places) in [
        (SYSTEMD, "/kubepods.slice"),
        (CGROUPFS, "/kubepods"),
        (KIND, "/kubelet.slice/kubelet-kubepods.slice"),
        (NESTED, "/docker/{node}/kubelet/kubepods"),
        (OUTSIDE, "/system.slice/containerd.service"),
        (AT_ROOT, "/kubepods*"),
        // The job's pod is further out than this one.
        (
            "/kubepods/burstable/pod{other_uid}/{inner}/docker/{node}/kubepods/pod{uid}/{app}",
            "/kubepods/burstable/pod{other_uid}/{inner}/docker/{node}/kubepods",
        ),
        ("/system.slice/oom-probe.service", "/kubepods*"),
        (
            "/system.slice/cri-containerd-{app}.scope",
            "/kubepods*, containers in /system.slice",
        ),
    ] {
        assert_eq!(
            Kubepods::of_own(&path(own)).to_string(),
            fill(places),
            "{own}"
        );
    }
}

/// A kubelet with `--cgroups-per-qos=false` makes no cgroups of pods.
#[test]
fn beside_the_own_container_ids_are_those_of_pods() {
    let kubepods = Kubepods::of_own(&path("/system.slice/cri-containerd-{inner}.scope"));
    for (template, in_pods) in [
        ("/system.slice/cri-containerd-{app}.scope", true),
        ("/system.slice/cri-containerd-{app}.scope/init", true),
        ("/system.slice/batch.service/{app}", false),
        ("/user.slice/{app}", false),
    ] {
        let path = path(template);
        assert_eq!(
            kubepods.identify(path.names()).in_pods,
            in_pods,
            "{template}"
        );
    }
}

#[test]
fn where_names_are_missing_only_what_is_sure_is_told() {
    let kubepods = || below("/kubelet.slice/kubelet-kubepods.slice");
    for (template, decided, is_pod) in [
        (
            "/kubelet.slice/kubelet-kubepods.slice/pod{uid}/{app}//job",
            true,
            true,
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/pod{uid}//job",
            false,
            true,
        ),
        ("/kubelet.slice/kubelet-kubepods.slice//{app}", false, false),
        ("/kubelet.slice//{app}", false, false),
        ("//pod{uid}/{app}", false, false),
        // Pods are elsewhere, whatever follows.
        ("/system.slice/batch.service//pod{uid}/{app}", true, false),
    ] {
        let path = path(template);
        let identity = kubepods().identify(path.names());
        assert_eq!(!identity.undecided, decided, "{template}");
        assert_eq!(identity.pod.is_some(), is_pod, "{template}");
    }
}
