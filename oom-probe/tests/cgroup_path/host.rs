//! Paths outside Kubernetes.

use oom_probe::{
    cgroup::path,
    model::{container::Runtime, labels::Limit, unit::Unit},
};

use super::{APP, fill, id};

const CONTAINERD: Option<Runtime> = Some(Runtime::Containerd);
const DOCKER: Option<Runtime> = Some(Runtime::Docker);

/// What a path outside Kubernetes says: container, runtime, unit, level of what the process is in.
type HostCase = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<Runtime>,
    Option<&'static str>,
    usize,
);

#[test]
#[rustfmt::skip]
fn outside_kubernetes_there_are_containers_machines_and_units() {
    let podman = Some(Runtime::Podman);
    let cases: &[HostCase] = &[
        ("Docker, systemd driver", "/system.slice/docker-{app}.scope",
         Some(APP), DOCKER, Some("docker-{app}.scope"), 0),
        ("Docker, cgroupfs driver", "/docker/{app}",
         Some(APP), DOCKER, None, 0),
        ("Docker with --cgroup-parent", "/actions_job/{app}",
         Some(APP), None, None, 0),
        ("Docker, systemd inside", "/docker/{app}/system.slice/nginx.service",
         Some(APP), DOCKER, None, 2),
        ("Docker in Docker: the outer one", "/docker/{app}/docker/{inner}",
         Some(APP), DOCKER, None, 2),
        ("Docker, systemd's form taken as a directory", "/system.slice:docker:{app}",
         Some(APP), DOCKER, None, 0),
        ("nerdctl, systemd's form taken as a directory", "/system.slice:nerdctl:{app}/init",
         Some(APP), CONTAINERD, None, 1),
        ("Podman, systemd's form taken as a directory", "/machine.slice:libpod:{app}",
         Some(APP), Some(Runtime::Podman), None, 0),
        ("the same of a runtime that is not known", "/system.slice:balena:{app}",
         Some(APP), None, None, 0),
        ("ECS", "/ecs/prod/0f9e8d7c6b5a/{app}",
         Some(APP), None, None, 0),
        ("nerdctl", "/system.slice/nerdctl-{app}.scope",
         Some(APP), CONTAINERD, Some("nerdctl-{app}.scope"), 0),
        ("a kubelet without --cgroups-per-qos", "/system.slice/cri-containerd-{app}.scope",
         Some(APP), CONTAINERD, Some("cri-containerd-{app}.scope"), 0),
        ("an unknown runtime's scope", "/system.slice/balena-{app}.scope",
         Some(APP), None, Some("balena-{app}.scope"), 0),
        ("Podman", "/machine.slice/libpod-{app}.scope",
         Some(APP), podman, Some("libpod-{app}.scope"), 0),
        ("Podman with crun", "/machine.slice/libpod-{app}.scope/container",
         Some(APP), podman, Some("libpod-{app}.scope"), 1),
        ("Podman pod", "/machine.slice/machine-libpod_pod_{inner}.slice/libpod-{app}.scope/container",
         Some(APP), podman, Some("libpod-{app}.scope"), 1),
        ("rootless Podman", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{app}.scope",
         Some(APP), podman, Some("libpod-{app}.scope"), 0),
        ("rootless Podman pod", "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_{inner}.slice/libpod-{app}.scope",
         Some(APP), podman, Some("libpod-{app}.scope"), 0),
        ("Podman, cgroupfs driver", "/libpod_parent/libpod-{app}",
         Some(APP), podman, None, 0),
        ("Podman pod, cgroupfs driver", "/libpod_parent/{inner}/libpod-{app}",
         Some(APP), podman, None, 0),
        ("Quadlet", "/system.slice/web.service/libpod-payload-{app}",
         Some(APP), podman, Some("web.service"), 0),
        ("Podman's monitor", "/machine.slice/libpod-conmon-{app}.scope",
         None, None, Some("libpod-conmon-{app}.scope"), 0),
        ("CRI-O's monitor in system.slice", "/system.slice/crio-conmon-{app}.scope",
         None, None, Some("crio-conmon-{app}.scope"), 0),
        ("Podman's health check", "/system.slice/{app}.service",
         None, None, Some("{app}.service"), 0),
        ("LXC 4", "/lxc.payload.web/system.slice/nginx.service",
         None, Some(Runtime::Lxc), None, 2),
        ("LXC 3", "/lxc.payload/web/init.scope",
         None, Some(Runtime::Lxc), None, 1),
        ("Proxmox", "/lxc/101/ns/system.slice/postfix.service",
         None, Some(Runtime::Lxc), None, 3),
        ("Docker in LXC", "/lxc.payload.web/docker/{app}",
         Some(APP), DOCKER, None, 0),
        ("systemd-nspawn", "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
         None, Some(Runtime::Nspawn), Some("systemd-nspawn@web.service"), 3),
        ("systemd-nspawn from a shell", "/machine.slice/machine-web.scope/payload/init.scope",
         None, Some(Runtime::Nspawn), Some("machine-web.scope"), 2),
        ("a virtual machine of libvirt", r"/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator",
         None, None, Some(r"machine-qemu\x2d1\x2dweb.scope"), 2),
        ("service", "/system.slice/nginx.service",
         None, None, Some("nginx.service"), 0),
        ("service in a nested slice", "/system.slice/system-getty.slice/getty@tty1.service",
         None, None, Some("getty@tty1.service"), 0),
        ("service with delegated cgroups", "/system.slice/slurmd.service/job_1/step_0",
         None, None, Some("slurmd.service"), 2),
        ("login session", "/user.slice/user-1000.slice/session-3.scope",
         None, None, Some("session-3.scope"), 0),
        ("user manager", "/user.slice/user-1000.slice/user@1000.service",
         None, None, Some("user@1000.service"), 0),
        ("application of a desktop", "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-2301.scope",
         None, None, Some("app-firefox-2301.scope"), 0),
        ("unit whose name looks like a controller's file", "/system.slice/_memory.service",
         None, None, Some("memory.service"), 0),
        ("kubelet", "/system.slice/kubelet.service",
         None, None, Some("kubelet.service"), 0),
        ("systemd itself", "/init.scope",
         None, None, Some("init.scope"), 0),
        ("a name that looks like the kernel's word for a removed cgroup", "/system.slice/nginx.service (deleted)",
         None, None, None, 0),
        ("only a slice", "/user.slice", None, None, None, 0),
        ("a cgroup made by hand", "/batch/job7", None, None, None, 0),
        ("the root", "/", None, None, None, 0),
        ("nothing", "", None, None, None, 0),
    ];
    for &(name, path, container, runtime, unit, own_level) in cases {
        let identity = path::from_path(fill(path).as_bytes());
        assert_eq!(identity.pod, None, "{name}: pod");
        assert_eq!(identity.qos, None, "{name}: qos");
        assert_eq!(identity.container, container.map(id), "{name}: container");
        assert_eq!(identity.runtime, runtime, "{name}: runtime");
        let unit = unit.map(fill);
        assert_eq!(identity.unit.as_ref().map(Unit::as_str), unit.as_deref(), "{name}: unit");
        assert_eq!(identity.place(own_level), Limit::Container, "{name}: own cgroup");
        assert_eq!(identity.place(own_level + 1), Limit::Ancestor, "{name}: above it");
    }
}

#[test]
fn names_that_systemd_cannot_have_given_are_no_units() {
    let longest = format!("{}.service", "a".repeat(247));
    for (name, unit) in [
        (longest.as_str(), Some(longest.as_str())),
        (&format!("a{longest}"), None),
        (".service", None),
        ("nginx", None),
        ("nginx.service.d", None),
        ("ng inx.service", None),
        ("nginx\u{1b}[2J.service", None),
        ("ngin\u{445}.service", None),
        ("system.slice", None),
        ("multi-user.target", None),
    ] {
        let found = Unit::from_cgroup_name(name.as_bytes());
        assert_eq!(found.as_ref().map(Unit::as_str), unit, "{name:?}");
    }
}
