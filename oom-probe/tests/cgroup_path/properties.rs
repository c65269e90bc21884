//! What holds for every path.

use std::{fs, os::unix::ffi::OsStrExt};

use capture::{
    cgroup::{
        hierarchy::{Hierarchy, MemoryRoot},
        path,
    },
    model::{cgroup_path::CgroupPath, labels::Limit, pod::Qos},
};
use proptest::prelude::*;

use super::fill;

/// A pod's container on a made-up node, and the path that a kubelet would give it.
#[derive(Debug)]
struct Node {
    path: String,
    container: String,
    uid: String,
    qos: Qos,
    below: usize,
}

fn node() -> impl Strategy<Value = Node> {
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    (
        prop::collection::vec("[a-z]{1,8}(\\.slice|\\.service)?|docker|[0-9a-f]{64}", 0..4),
        prop::sample::select(Qos::ALL.to_vec()),
        prop_oneof![uuid, "[0-9a-f]{32}"],
        "[0-9a-f]{64}",
        prop::sample::select(vec!["cri-containerd-", "crio-", "docker-", ""]),
        any::<bool>(),
        prop::collection::vec(
            "[a-z]{1,8}(\\.slice|\\.service|\\.scope)?|docker|[0-9a-f]{64}",
            0..4,
        ),
    )
        .prop_map(|(above, qos, uid, container, prefix, systemd, below)| {
            let class = match qos {
                Qos::Guaranteed => None,
                Qos::Burstable => Some("burstable"),
                Qos::BestEffort => Some("besteffort"),
            };
            let mut names = above;
            if systemd {
                let mut slice = "kubepods".to_owned();
                names.push(format!("{slice}.slice"));
                if let Some(class) = class {
                    slice = format!("{slice}-{class}");
                    names.push(format!("{slice}.slice"));
                }
                names.push(format!("{slice}-pod{}.slice", uid.replace('-', "_")));
                names.push(format!("{prefix}{container}.scope"));
            } else {
                names.push("kubepods".to_owned());
                names.extend(class.map(str::to_owned));
                names.push(format!("pod{uid}"));
                names.push(container.clone());
            }
            let levels_below = below.len();
            names.extend(below);
            let path = format!("/{}", names.join("/"));
            Node {
                path,
                container,
                uid,
                qos,
                below: levels_below,
            }
        })
}

proptest! {
    #[test]
    fn a_pods_container_is_found_wherever_the_node_and_the_process_are(node in node()) {
        let identity = path::from_path(node.path.as_bytes());
        prop_assert_eq!(identity.container.map(|id| id.to_string()), Some(node.container));
        prop_assert_eq!(identity.pod.map(|uid| uid.to_string()), Some(node.uid));
        prop_assert_eq!(identity.qos, Some(node.qos));
        prop_assert_eq!(identity.container_level, Some(node.below));
        prop_assert_eq!(identity.pod_level, Some(node.below + 1));
        prop_assert_eq!(identity.place(node.below), Limit::Container);
        prop_assert_eq!(identity.place(node.below + 1), Limit::Pod);
        prop_assert_eq!(identity.place(node.below + 2), Limit::Ancestor);
    }

    #[test]
    fn names_and_their_path_say_the_same(node in node()) {
        let names: Vec<_> = node.path.rsplit('/').map(str::as_bytes).collect();
        let path = CgroupPath::from_levels(names.iter().copied());
        prop_assert_eq!(&path.to_string(), &node.path);
        prop_assert_eq!(
            path::parse(names.into_iter()),
            path::from_path(path.as_bytes())
        );
    }

    #[test]
    fn every_name_that_a_cgroup_may_have_is_looked_up_and_kept_as_it_is(
        names in prop::collection::vec(name(), 1..5),
    ) {
        let leaf_first = || names.iter().map(Vec::as_slice);
        let path = CgroupPath::from_levels(leaf_first());
        let kept: CgroupPath =
            serde_json::from_str(&serde_json::to_string(&path).unwrap()).unwrap();
        prop_assert_eq!(&kept, &path);
        let kept_names: Vec<_> = kept.names().collect();
        let wanted: Vec<_> = leaf_first().chain([&b""[..]]).collect();
        prop_assert_eq!(&kept_names, &wanted);
        prop_assert_eq!(path::parse(kept.names()), path::parse(wanted.into_iter()));

        let scratch = tempfile::tempdir().unwrap();
        let root = MemoryRoot {
            hierarchy: Hierarchy::V2,
            path: scratch.path().into(),
        };
        let directory = root.directory(kept_names.into_iter().take(names.len()));
        let directory = directory.expect("it is a name");
        fs::create_dir_all(directory).unwrap();
        let mut found = fs::read_dir(scratch.path()).unwrap();
        let top = found.next().unwrap().unwrap().file_name();
        prop_assert_eq!(top.as_bytes(), &**names.last().unwrap());
    }

    #[test]
    fn any_bytes_have_an_identity_whose_levels_are_in_the_path(
        path in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        assert_sound(&path);
    }

    #[test]
    fn pieces_of_real_paths_in_any_order_have_an_identity_whose_levels_are_in_the_path(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..30),
    ) {
        assert_sound(fill(&pieces.concat()).as_bytes());
    }

    #[test]
    fn hex_of_any_other_length_is_no_container(hex in "[0-9a-f]{1,63}|[0-9a-f]{65,80}") {
        for path in [format!("/docker/{hex}"), format!("/x.slice/crio-{hex}.scope")] {
            prop_assert_eq!(path::from_path(path.as_bytes()).container, None);
        }
    }
}

/// A name as `kernel/cgroup/cgroup.c` `cgroup_mkdir` takes it from anyone: no `/`, NUL or newline.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        prop::sample::select(PIECES).prop_map(|piece| fill(piece).into_bytes()),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        prop::sample::select(vec!["\\", "\\x2f", "\\u{41}", " (deleted)", "\u{301}"])
            .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    prop::collection::vec(part, 1..4)
        .prop_map(|parts| {
            let mut name = parts.concat();
            name.retain(|byte| !b"/\0\n".contains(byte));
            name.truncate(255);
            name
        })
        .prop_filter("no name", |name| !matches!(&**name, b"" | b"." | b".."))
}

const PIECES: &[&str] = &[
    "/",
    "-",
    ":",
    "_",
    ".scope",
    ".slice",
    ".service",
    "pod",
    "kubepods",
    "burstable",
    "docker",
    "crio",
    "conmon",
    "libpod_parent",
    "lxc",
    "lxc.payload.",
    "machine-",
    "payload",
    "{app}",
    "{uid}",
    "{uid_}",
    "{hash}",
    "/pod{uid}",
    "/docker/{node}",
    "/docker-{inner}.scope",
    "/libpod_parent/{node}",
    "systemd-nspawn@",
    "\u{202e}",
    "\\x2d",
];

fn assert_sound(path: &[u8]) {
    let identity = path::from_path(path);
    let levels = path
        .split(|&b| b == b'/')
        .filter(|name| !name.is_empty())
        .count();
    for level in [
        identity.container_level,
        identity.pod_level,
        identity.machine_level,
        identity.unit_level,
    ] {
        assert!(level.is_none_or(|level| level < levels), "{identity:?}");
    }
    assert_eq!(
        identity.container.is_some(),
        identity.container_level.is_some()
    );
    assert_eq!(identity.unit.is_some(), identity.unit_level.is_some());
    assert!(identity.pod_level.is_none() || identity.pod.is_some());
    if let (Some(container), Some(pod)) = (identity.container_level, identity.pod_level) {
        assert!(container < pod, "{identity:?}");
    }
}
