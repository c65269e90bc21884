//! Cgroup paths of real nodes, and what they say.

mod host;
mod places;
mod pods;
mod properties;

use oom_probe::{
    cgroup::path,
    model::{cgroup_path::CgroupPath, container::ContainerId, labels::Limit, pod::PodUid},
};

const APP: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90112233445566778899aabbccddeeff00";
const NODE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const INNER: &str = "ffeeddccbbaa99887766554433221100fedcba9876543210fedcba9876543210";
const UID: &str = "8f2c1a34-5b6d-4e7f-8a9b-0c1d2e3f4a5b";
const OTHER_UID: &str = "11111111-2222-4333-8444-555555555555";
const HASH: &str = "3a4b5c6d7e8f90a1b2c3d4e5f6071829";

/// Puts the ids into a path: `{uid_}` is the UID as the systemd driver writes it.
fn fill(template: &str) -> String {
    template
        .replace("{app}", APP)
        .replace("{node}", NODE)
        .replace("{inner}", INNER)
        .replace("{uid}", UID)
        .replace("{uid_}", &UID.replace('-', "_"))
        .replace("{other_uid}", OTHER_UID)
        .replace("{hash}", HASH)
}

fn id(hex: &str) -> ContainerId {
    hex.parse().unwrap()
}

#[test]
fn lookalikes_are_neither_containers_nor_pods() {
    let uid_ = UID.replace('-', "_");
    for path in [
        format!("/docker/{}", &APP[1..]),
        format!("/docker/{APP}0"),
        format!("/docker/{}", APP.to_uppercase()),
        format!("/docker/{}", APP.replace('a', "g")),
        format!("/cache/blob-{APP}"),
        format!("/cache/{APP}.slice"),
        format!("/cri-containerd-{}.scope", &APP[1..]),
        format!("/cri-containerd-{}.scope", APP.to_uppercase()),
        format!("/kubepods/pod{}", UID.to_uppercase()),
        format!("/kubepods/pod{}", &UID[1..]),
        format!("/kubepods/pod{UID}0"),
        format!("/kubepods/pod{}", UID.replace('-', ".")),
        format!("/kubepods/pod{}", &HASH[1..]),
        format!("/kubepods/{UID}"),
        format!("/kubepods.slice/kubepods-{uid_}.slice"),
        format!("/kubepods.slice/kubepods-pod{uid_}.scope"),
        format!("/kubepods-pod{uid_}.slice:cri-containerd:{}", &APP[1..]),
        format!("/system.slice:docker:{}", &APP[1..]),
        format!("/system:docker:{APP}"),
        format!("/docker:{APP}"),
    ] {
        let identity = path::from_path(path.as_bytes());
        assert_eq!((identity.container, identity.pod), (None, None), "{path}");
    }
}

#[test]
fn a_limit_belongs_to_the_container_the_pod_or_what_is_above() {
    use Limit::{Ancestor, Container, Pod};
    for (name, path, places) in [
        (
            "in the container",
            "/kubepods/burstable/pod{uid}/{app}",
            &[Container, Pod, Ancestor, Ancestor, Ancestor][..],
        ),
        (
            "below the container",
            "/kubepods/pod{uid}/{app}/system.slice/nginx.service",
            &[Container, Container, Container, Pod, Ancestor, Ancestor],
        ),
        ("in the pod", "/kubepods/pod{uid}", &[Pod, Ancestor]),
        (
            "CRI-O's monitor",
            "/kubepods/pod{uid}/crio-conmon-{app}",
            &[Pod, Pod, Ancestor],
        ),
        (
            "a container outside of its pod's cgroup",
            "/system.slice/containerd.service/kubepods-pod{uid_}.slice:cri-containerd:{app}",
            &[Container, Ancestor, Ancestor],
        ),
    ] {
        let identity = path::from_path(fill(path).as_bytes());
        let placed: Vec<_> = (0..places.len())
            .map(|level| identity.place(level))
            .collect();
        assert_eq!(placed, places, "{name}");
    }
}

#[test]
fn levels_become_a_path_that_is_safe_to_print() {
    let path = |names: &[&[u8]]| CgroupPath::from_levels(names.iter().copied()).to_string();
    assert_eq!(path(&[]), "/");
    assert_eq!(path(&[b""]), "/");
    assert_eq!(path(&[b"b", b"a", b""]), "/a/b");
    assert_eq!(
        path(&[b"\x1b[2J\xff", br"a\x2db.slice"]),
        r"/a\\x2db.slice/\x1b[2J\xff"
    );
}

#[test]
fn ids_are_read_as_the_api_writes_them() {
    assert_eq!(id(APP).to_string(), APP);
    assert_eq!(UID.parse::<PodUid>().unwrap().to_string(), UID);
    assert_eq!(HASH.parse::<PodUid>().unwrap().to_string(), HASH);
    assert_ne!(
        UID.replace('-', "").parse::<PodUid>(),
        UID.parse::<PodUid>()
    );
    assert!(UID.replace('-', "_").parse::<PodUid>().is_err());
    assert!(
        format!("containerd://{APP}")
            .parse::<ContainerId>()
            .is_err()
    );
}
