use super::*;

/// A hybrid node's hierarchies as a pod sees them: its own, and the node's at /host/cgroup.
const POD: &str = "\
900 880 0:32 /kubepods/pod1/c /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
901 880 0:36 /kubepods/pod1/c /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
910 880 0:28 / /host/cgroup rw - tmpfs tmpfs rw,mode=755
911 910 0:32 / /host/cgroup/memory rw - cgroup cgroup rw,memory
912 910 0:36 / /host/cgroup/pids rw - cgroup cgroup rw,pids
913 910 0:38 / /host/cgroup/unified rw - cgroup2 cgroup2 rw
";

/// Directories with the files of cgroups, a root for each hierarchy.
struct Node(tempfile::TempDir);

/// A container's cgroup, and one that it made itself.
const CONTAINER: &str = "kubepods/burstable/pod1/c";
const INNER: &str = "kubepods/burstable/pod1/c/inner";

impl Node {
    /// With these files: hierarchy, cgroup, file, content.
    fn new(files: &[[&str; 4]]) -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for [hierarchy, cgroup, file, content] in files {
            let directory = node.0.path().join(hierarchy).join(cgroup);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), content).unwrap();
        }
        node
    }

    fn populations(&self, hierarchy: Hierarchy, sees_every_process: bool) -> Populations {
        let root = |name| self.0.path().join(name);
        let on_v1 = hierarchy != Hierarchy::V2;
        Populations {
            memory: MemoryRoot {
                hierarchy,
                path: root("memory"),
            },
            pids: on_v1.then(|| root("pids")),
            unified: on_v1.then(|| root("unified")),
            sees_every_process,
        }
    }

    /// Of [`CONTAINER`].
    fn population(&self, hierarchy: Hierarchy, sees_every_process: bool) -> Option<Population> {
        let names = CONTAINER.rsplit('/').map(str::as_bytes);
        self.populations(hierarchy, sees_every_process).of(names)
    }
}

const NOBODY_SEEN: [&str; 4] = ["memory", CONTAINER, "cgroup.procs", ""];
const SEEN: [&str; 4] = ["memory", INNER, "cgroup.procs", "17\n"];

fn pids(current: &'static str) -> [&'static str; 4] {
    ["pids", CONTAINER, "pids.current", current]
}

fn unified(events: &'static str) -> [&'static str; 4] {
    ["unified", CONTAINER, "cgroup.events", events]
}

#[test]
fn a_v2_cgroup_says_itself_whether_it_is_populated() {
    for (content, expected) in [
        ("populated 1\nfrozen 0\n", Some(Population::Populated)),
        ("populated 0\nfrozen 0\n", Some(Population::Empty)),
        ("frozen 0\n", None),
    ] {
        let node = Node::new(&[["memory", CONTAINER, "cgroup.events", content]]);
        for sees_every_process in [true, false] {
            assert_eq!(node.population(Hierarchy::V2, sees_every_process), expected);
        }
    }
}

#[test]
fn on_v1_a_process_is_there_where_all_are_seen_and_one_is_listed() {
    let empty = ["memory", INNER, "cgroup.procs", ""];
    for (files, expected) in [
        (
            &[["memory", CONTAINER, "cgroup.procs", "17\n"]][..],
            Population::Populated,
        ),
        (&[NOBODY_SEEN], Population::Empty),
        (&[NOBODY_SEEN, empty], Population::Empty),
        (&[NOBODY_SEEN, SEEN], Population::Populated),
        // Not yet reaped, which takes no part any more.
        (&[NOBODY_SEEN, pids("1\n")], Population::Empty),
    ] {
        let node = Node::new(files);
        for hierarchy in [Hierarchy::V1, Hierarchy::Hybrid] {
            let found = node.population(hierarchy, true);
            assert_eq!(found, Some(expected), "{files:?}");
        }
    }
}

#[test]
fn on_v1_a_process_that_is_not_seen_is_told_by_other_hierarchies() {
    use Population::{Empty, Populated};
    let (alive, dead) = (unified("populated 1\n"), unified("populated 0\n"));
    for (files, expected) in [
        (&[NOBODY_SEEN][..], None),
        (&[NOBODY_SEEN, pids("1\n")], Some(Populated)),
        (&[NOBODY_SEEN, pids("0\n")], Some(Empty)),
        (&[NOBODY_SEEN, alive], Some(Populated)),
        (&[NOBODY_SEEN, dead], Some(Empty)),
        (&[NOBODY_SEEN, pids("0\n"), alive], Some(Populated)),
        (&[NOBODY_SEEN, pids("2\n"), dead], Some(Populated)),
        (&[NOBODY_SEEN, pids("0\n"), dead], Some(Empty)),
        // What is seen is there, whatever the others say.
        (&[NOBODY_SEEN, SEEN], Some(Populated)),
        (&[NOBODY_SEEN, SEEN, pids("0\n")], Some(Populated)),
        // Of that hierarchy the container is no part, or not of a controller.
        (
            &[NOBODY_SEEN, ["pids", "kubepods", "pids.current", "9\n"]],
            None,
        ),
        (
            &[NOBODY_SEEN, ["pids", CONTAINER, "cgroup.procs", ""]],
            None,
        ),
        (&[NOBODY_SEEN, pids("many\n")], None),
    ] {
        let node = Node::new(files);
        for hierarchy in [Hierarchy::V1, Hierarchy::Hybrid] {
            assert_eq!(node.population(hierarchy, false), expected, "{files:?}");
        }
    }
}

#[test]
fn a_cgroup_is_gone_only_where_the_nodes_cgroups_are_to_be_seen() {
    for hierarchy in Hierarchy::ALL.iter().copied() {
        for sees_every_process in [true, false] {
            // The pod is gone, kubepods stays.
            let node = Node::new(&[["memory", "kubepods/burstable", "cgroup.procs", ""]]);
            assert_eq!(
                node.population(hierarchy, sees_every_process),
                Some(Population::Gone)
            );
            // A daemon that is shown its own cgroup in place of the node's.
            let node = Node::new(&[["memory", "", "cgroup.procs", ""]]);
            assert_eq!(node.population(hierarchy, sees_every_process), None);
        }
    }
}

#[test]
fn the_same_cgroup_is_found_in_the_other_hierarchies() {
    let found = |mountinfo: &str, hierarchy, path: &str| {
        let memory = MemoryRoot {
            hierarchy,
            path: path.into(),
        };
        let found = Populations::new(memory, mountinfo.as_bytes(), false);
        (found.pids, found.unified)
    };
    let some = |path: &str| Some(PathBuf::from(path));
    assert_eq!(
        found(POD, Hierarchy::Hybrid, "/host/cgroup/memory"),
        (some("/host/cgroup/pids"), some("/host/cgroup/unified"))
    );
    assert_eq!(
        found(POD, Hierarchy::Hybrid, "/host/cgroup/memory/docker/node1"),
        (
            some("/host/cgroup/pids/docker/node1"),
            some("/host/cgroup/unified/docker/node1")
        ),
        "a node that is a container"
    );
    assert_eq!(
        found(POD, Hierarchy::Hybrid, "/sys/fs/cgroup/memory"),
        (some("/sys/fs/cgroup/pids"), None),
        "v2's root is not this cgroup"
    );
    let together = "35 31 0:32 / /sys/fs/cgroup/all rw - cgroup cgroup rw,pids,memory\n";
    assert_eq!(
        found(together, Hierarchy::V1, "/sys/fs/cgroup/all"),
        (some("/sys/fs/cgroup/all"), None)
    );
    let v2 = "28 22 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    assert_eq!(found(v2, Hierarchy::V2, "/sys/fs/cgroup"), (None, None));
    assert_eq!(found("", Hierarchy::V1, "/sys/fs/cgroup"), (None, None));
}

#[test]
fn a_daemon_knows_whether_anything_tells_what_runs() {
    let memory_only = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let v2 = "28 22 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    for (mountinfo, hierarchy, sees_every_process, blind) in [
        (memory_only, Hierarchy::V1, false, true),
        (memory_only, Hierarchy::V1, true, false),
        (POD, Hierarchy::Hybrid, false, false),
        (v2, Hierarchy::V2, false, false),
    ] {
        let path = match hierarchy {
            Hierarchy::V1 => "/sys/fs/cgroup/memory",
            Hierarchy::Hybrid => "/host/cgroup/memory",
            Hierarchy::V2 => "/sys/fs/cgroup",
        };
        let memory = MemoryRoot {
            hierarchy,
            path: path.into(),
        };
        let found = Populations::new(memory, mountinfo.as_bytes(), sees_every_process);
        assert_eq!(found.is_blind(), blind, "{hierarchy} {sees_every_process}");
    }
}
