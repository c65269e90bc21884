//! The machine that is measured on, for whoever compares figures.

use std::fs;

use anyhow::Result;
use hog::cgroup::{Hierarchy, Version};

/// One paragraph: processors, memory, kernel, cgroups.
pub(super) fn describe() -> Result<String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cgroups = match Hierarchy::detect()?.version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    };
    Ok(format!(
        "{}, Linux {}, cgroup {cgroups}.",
        hardware(&read("/proc/cpuinfo"), &read("/proc/meminfo")),
        // Without what its builder put behind the version.
        read("/proc/sys/kernel/osrelease")
            .split('-')
            .next()
            .unwrap_or_default()
            .trim(),
    ))
}

/// How many processes wanted a CPU in the last minute, on average.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

fn hardware(cpuinfo: &str, meminfo: &str) -> String {
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpus = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = field(cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let flags = field(cpuinfo, "flags").unwrap_or_default();
    let place = if flags.split(' ').any(|flag| flag == "hypervisor") {
        "under a hypervisor, "
    } else {
        ""
    };
    let memory = field(meminfo, "MemTotal")
        .and_then(|total| total.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(String::new, |kib| {
            format!("{:.0} GiB of memory", kib / f64::from(1 << 20))
        });
    format!("{cpus} CPUs ({model}), {place}{memory}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_by_what_it_says_of_itself() {
        let cpu = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu hypervisor\n\
                   processor\t: 1\nmodel name\t: Xeon\nflags\t\t: fpu hypervisor\n";
        assert_eq!(
            hardware(cpu, "MemTotal:       25165824 kB\n"),
            "2 CPUs (Xeon), under a hypervisor, 24 GiB of memory"
        );
    }
}
