use super::*;

/// A 6.18 kernel with every controller on v1 and cgroup2 beside them.
const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
/// The same without the line of cgroup2, and two controllers on one mount.
const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/cpu,memory rw,relatime shared:15 master:2 - cgroup cgroup rw,cpu,memory
";
/// Debian 12 with systemd.
const V2: &str = "\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 22 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
/// A pod with the node's cgroups at /host/cgroup, whose own are at the usual place.
const POD: &str = "\
900 880 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
910 880 0:25 /../../.. /host/cgroup ro,relatime master:9 - cgroup2 cgroup2 rw,nsdelegate
";
/// A v1 node's cgroups in a pod, mounted recursively at a path with a space.
const V1_POD: &str = "\
910 880 0:28 / /host\\040node/cgroup ro,relatime - tmpfs tmpfs rw,mode=755
911 910 0:32 / /host\\040node/cgroup/memory ro,relatime - cgroup cgroup rw,memory
";

#[test]
fn the_memory_controller_is_found_wherever_it_is_mounted() {
    use Hierarchy::{Hybrid, V1 as OnV1, V2 as OnV2};
    for (name, mountinfo, asked, hierarchy, path) in [
        (
            "hybrid",
            HYBRID,
            "/sys/fs/cgroup",
            Hybrid,
            "/sys/fs/cgroup/memory",
        ),
        (
            "v1",
            V1,
            "/sys/fs/cgroup",
            OnV1,
            "/sys/fs/cgroup/cpu,memory",
        ),
        ("v2", V2, "/sys/fs/cgroup", OnV2, "/sys/fs/cgroup"),
        ("the whole machine", V2, "/", OnV2, "/sys/fs/cgroup"),
        (
            "a node on v2",
            V2,
            "/sys/fs/cgroup/docker/node1",
            OnV2,
            "/sys/fs/cgroup/docker/node1",
        ),
        (
            "a node on v1",
            HYBRID,
            "/sys/fs/cgroup/memory/n",
            Hybrid,
            "/sys/fs/cgroup/memory/n",
        ),
        ("in a pod", POD, "/host/cgroup", OnV2, "/host/cgroup"),
        (
            "in a pod on v1",
            V1_POD,
            "/host node/cgroup",
            OnV1,
            "/host node/cgroup/memory",
        ),
    ] {
        let found = MemoryRoot::from_mountinfo(mountinfo.as_bytes(), Path::new(asked));
        assert_eq!(
            found.unwrap(),
            MemoryRoot {
                hierarchy,
                path: path.into()
            },
            "{name}"
        );
    }
}

#[test]
fn where_it_is_not_the_error_names_where_it_is() {
    let error = |mountinfo: &str, asked| {
        MemoryRoot::from_mountinfo(mountinfo.as_bytes(), Path::new(asked))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(HYBRID, "/sys/fs/cgroup/unified"),
        "/sys/fs/cgroup/unified is not in the hierarchy of the memory controller; \
         pass --cgroup-root=/sys/fs/cgroup/memory"
    );
    for mountinfo in [
        "",
        "\n - \n",
        "1 2 3\n",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs x rw\n",
    ] {
        assert!(error(mountinfo, "/sys/fs/cgroup").starts_with("no cgroup file system"));
    }
    let cpu = "35 31 0:32 / /c rw,memory - cgroup cgroup rw,name=memory2\n";
    assert!(error(cpu, "/c").starts_with("no cgroup hierarchy"));
}

#[test]
fn a_root_is_wrong_where_another_may_be_right() {
    let v1_without_memory = "35 31 0:32 / /c rw - cgroup cgroup rw,cpu\n";
    for (mountinfo, asked, is_wrong) in [
        (HYBRID, "/etc", true),
        (HYBRID, "/sys/fs/cgroup/unified", true),
        (V2, "/nonexistent", true),
        ("", "/sys/fs/cgroup", true),
        (v1_without_memory, "/etc", true),
        // The node has no memory cgroups, wherever one looks.
        (v1_without_memory, "/c", false),
    ] {
        let found = MemoryRoot::from_mountinfo(mountinfo.as_bytes(), Path::new(asked));
        assert_eq!(found.unwrap_err().is_wrong_root(), is_wrong, "{asked}");
    }
}

#[test]
fn the_mounts_of_this_machine_can_be_read() {
    let mountinfo = std::fs::read("/proc/self/mountinfo").unwrap();
    match MemoryRoot::from_mountinfo(&mountinfo, Path::new("/")) {
        Ok(root) => assert!(root.path.is_dir()),
        Err(error) => assert!(
            matches!(
                error,
                HierarchyError::NotMounted | HierarchyError::NoCgroups(_)
            ),
            "{error}"
        ),
    }
}

#[test]
fn names_lead_to_a_directory_below_the_root_and_nowhere_else() {
    let root = MemoryRoot {
        hierarchy: Hierarchy::V2,
        path: "/sys/fs/cgroup".into(),
    };
    let directory = |names: &[&[u8]]| root.directory(names.iter().copied());
    assert_eq!(directory(&[]), Some("/sys/fs/cgroup".into()));
    assert_eq!(
        directory(&[b"b", b"a.slice"]),
        Some("/sys/fs/cgroup/a.slice/b".into())
    );
    for name in [&b""[..], b".", b"..", b"/", b"../etc", b"a\0"] {
        assert_eq!(directory(&[b"b", name]), None);
    }
}
