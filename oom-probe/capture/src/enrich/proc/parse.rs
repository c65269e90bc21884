//! The texts of `/proc/<pid>` (fs/proc/array.c, fs/proc/task_mmu.c, kernel/cgroup/cgroup.c).

/// What the kernel puts behind the path of a removed cgroup; a name may end so, too
/// (kernel/cgroup/cgroup.c `proc_cgroup_show`).
pub(super) const REMOVED: &[u8] = b" (deleted)";

/// What a task shows for its ids that has given them back (kernel/pid.c `__task_pid_nr_ns`).
const RELEASED: u32 = 0;

/// What `status` says. Each is absent where its line is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) name: Option<Vec<u8>>,
    pub(super) tgid: Option<u32>,
    /// Real user id.
    pub(super) uid: Option<u32>,
    /// Depth of the process's own PID namespace below that of `/proc`, and its id there.
    pub(super) ns_pid: Option<(u32, u32)>,
    /// Absent once the process has given up its mm.
    pub(super) sizes: Option<Sizes>,
}

/// Sizes in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) total: u64,
    pub(super) anon: u64,
    pub(super) file: u64,
    pub(super) shmem: u64,
    pub(super) swap: u64,
    pub(super) pgtables: u64,
}

/// Version of the hierarchy that has the memory controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    V1,
    V2,
}

impl Status {
    pub(super) fn parse(text: &[u8]) -> Self {
        let ids = field(text, b"NStgid:").map(<[u8]>::trim_ascii);
        let ns_pid = ids.and_then(|ids| {
            let mut ids = ids.split(u8::is_ascii_whitespace);
            let first = ids.next()?;
            let depth = ids.clone().count();
            let own = number(ids.next_back().unwrap_or(first)).filter(|id| *id != RELEASED)?;
            Some((depth as u32, own))
        });
        Self {
            name: field(text, b"Name:\t").map(unescape),
            tgid: field(text, b"Tgid:")
                .and_then(number)
                .filter(|tgid| *tgid != RELEASED),
            uid: field(text, b"Uid:").and_then(first_number),
            ns_pid,
            sizes: Sizes::parse(text),
        }
    }
}

impl Sizes {
    fn parse(text: &[u8]) -> Option<Self> {
        let kib = |key: &[u8]| field(text, key).and_then(first_number);
        Some(Self {
            total: kib(b"VmSize:")?,
            anon: kib(b"RssAnon:")?,
            file: kib(b"RssFile:")?,
            shmem: kib(b"RssShmem:")?,
            swap: kib(b"VmSwap:")?,
            pgtables: kib(b"VmPTE:")?,
        })
    }
}

/// Path of the memory cgroup from a `cgroup` file. Absent where it is not to be seen: outside of
/// this process's cgroup namespace, or on v1 the `/` that an exiting task shows for every
/// hierarchy. With the [`REMOVED`] of a cgroup that is gone.
pub(super) fn memory_cgroup(text: &[u8]) -> Option<(Hierarchy, &[u8])> {
    let lines = || text.split(|&byte| byte == b'\n');
    let v1 = lines().find_map(|line| {
        let mut parts = line.splitn(3, |&byte| byte == b':');
        let controllers = parts.nth(1)?;
        let mut controllers = controllers.split(|&byte| byte == b',');
        controllers.any(|name| name == b"memory").then_some(())?;
        parts.next()
    });
    let (hierarchy, path) = match v1 {
        Some(path) => (Hierarchy::V1, path),
        None => (
            Hierarchy::V2,
            lines().find_map(|line| line.strip_prefix(b"0::"))?,
        ),
    };
    let exited = hierarchy == Hierarchy::V1 && path == b"/";
    let outside = path.split(|&byte| byte == b'/').any(|name| name == b"..");
    (path.starts_with(b"/") && !exited && !outside).then_some((hierarchy, path))
}

/// Path of its cgroup in systemd's own hierarchy from a `cgroup` file.
pub(super) fn unit_cgroup(text: &[u8]) -> Option<&[u8]> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let path = lines.find_map(|line| {
        let mut parts = line.splitn(3, |&byte| byte == b':').skip(1);
        (parts.next()? == b"name=systemd").then(|| parts.next())?
    })?;
    let path = path.strip_suffix(REMOVED).unwrap_or(path);
    (path.len() > 1 && path.starts_with(b"/")).then_some(path)
}

/// Start of a process in clock ticks since boot: field 22 of `stat`. The name before it may hold
/// spaces and parentheses.
pub(super) fn start_ticks(stat: &[u8]) -> Option<u64> {
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    let after_name = stat[name_ends + 1..].trim_ascii_start();
    number(after_name.split(|&byte| byte == b' ').nth(19)?)
}

/// Inode number of a namespace from its link: `pid:[4026531836]`.
pub(super) fn namespace(link: &str) -> Option<u32> {
    link.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

pub(super) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn first_number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let text = text.trim_ascii_start();
    number(text.split(u8::is_ascii_whitespace).next()?)
}

fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(key))
}

/// Undoes what fs/proc/array.c `proc_task_name` does to newlines and backslashes.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        let (byte, after) = match rest {
            [b'\\', b'n', after @ ..] => (b'\n', after),
            [b'\\', b'\\', after @ ..] => (b'\\', after),
            _ => (*first, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}
