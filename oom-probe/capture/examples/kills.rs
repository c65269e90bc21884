//! Prints every OOM kill of this machine until it is stopped. As root.

use std::{error::Error, fs, path::Path, thread, time::Duration};

use oom_probe_capture::{
    accounting::reconciler::vmstat_oom_kills,
    assemble::Machine,
    cgroup::node::NodeCgroups,
    enrich::Complete,
    environment::{Facts, Sources},
    load::{self, Options},
    plan::plan,
    reader::Reader,
    sys::clock::Now,
};

fn main() -> Result<(), Box<dyn Error>> {
    let proc_root = Path::new("/proc");
    let facts = Facts::gather(&Sources::default());
    let vmstat = || vmstat_oom_kills(proc_root);
    // Without pins: nothing goes on once this process ends.
    let armed = load::arm(&facts, &plan(&facts), Options::default(), None, &vmstat)?;
    let enrich = Complete::new(armed.mark.hook, facts.cgroup.ok(), proc_root);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let machine = Machine::new(String::new(), &boot, NodeCgroups::default());
    let mut reader = Reader::new(armed.recorded, enrich, machine, proc_root);
    loop {
        for captured in reader.read(256, &Now::read()).kills {
            let kill = captured.killed.kill;
            let cgroup = kill.cgroup.and_then(|cgroup| cgroup.path);
            let cgroup = cgroup.map_or_else(String::new, |path| path.to_string());
            println!("{} pid {} in {cgroup}", kill.time, kill.victim.pid);
        }
        reader.begin_release();
        reader.release();
        thread::sleep(Duration::from_millis(100));
    }
}
