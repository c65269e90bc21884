//! No cgroup's limit: the machine's memory, or that of the nodes a cpuset allows.

use std::fs;
use std::path::{Path, PathBuf};

use hog::cgroup::Cgroup;
use oom_probe::model::labels::Limit;

use crate::case::Case;
use crate::expect::{CgroupBefore, Expected, Trigger};
use crate::world::{Running, World};

/// First to be chosen, whatever else runs.
const GROW: [&str; 9] = [
    "--oom-score-adj",
    "1000",
    "grow",
    "--max",
    "forever",
    "--step",
    "4M",
    "--interval",
    "0",
];

fn expected(limit: Limit, pid: u32, cgroup: &Cgroup) -> Expected {
    Expected {
        limit,
        limited: None,
        domain: None,
        // Whoever needs a page next, a kernel thread even.
        trigger: Trigger::Any,
        ..Expected::own_limit(pid, &CgroupBefore::of(cgroup))
    }
}

pub(crate) fn machine_wide(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.cgroup("unlimited");
    let ended = Running::start(&cgroup, world.hog(&GROW)).end().killed();
    let kills = case.kills(1);
    expected(Limit::Node, ended.pid, &cgroup).check(&mut case, &kills[0]);
    "limit: node".to_owned()
}

/// The machine has memory left, but not on the node that the cpuset allows.
pub(crate) fn cpuset_bound(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.cgroup("bound");
    let cpuset = Cpuset::on_node_1(world, &cgroup);
    let procs = cpuset.directory.join("cgroup.procs").display().to_string();
    let hog = world.hog(&[&["--cgroup-procs", &procs], &GROW[..]].concat());
    let ended = Running::start(&cgroup, hog).end().killed();
    let kills = case.kills(1);
    let limit = if world.has_context() {
        Limit::Cpuset
    } else {
        Limit::Node
    };
    expected(limit, ended.pid, &cgroup).check(&mut case, &kills[0]);
    format!("limit: {limit}")
}

/// A cpuset that allows the second memory node: the cgroup itself on v2, else one of its own.
struct Cpuset {
    directory: PathBuf,
    own: bool,
}

impl Cpuset {
    fn on_node_1(world: &World, cgroup: &Cgroup) -> Self {
        let directory = cgroup.directory();
        if world.is_v2() {
            let root = &world.hierarchy.root;
            let mut above: Vec<&Path> = directory.ancestors().skip(1).collect();
            above.retain(|ancestor| ancestor.starts_with(root));
            for ancestor in above.iter().rev() {
                write(&ancestor.join("cgroup.subtree_control"), "+cpuset");
            }
            write(&directory.join("cpuset.mems"), "1");
            return Self {
                directory: directory.to_owned(),
                own: false,
            };
        }
        let directory = Path::new("/sys/fs/cgroup/cpuset/oom-probe-test").to_owned();
        fs::create_dir(&directory).unwrap();
        let made = Self {
            directory,
            own: true,
        };
        write(&made.directory.join("cpuset.cpus"), "0-1");
        write(&made.directory.join("cpuset.mems"), "1");
        made
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        if self.own {
            // The machine is gone in a moment, and this with it.
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{text} to {}: {error}", path.display()));
}
