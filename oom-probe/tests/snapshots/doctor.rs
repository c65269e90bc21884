//! `oom-probe doctor` on nodes with recorded kernels.

use std::fmt::Write;

use crate::kernel::recorded;
use capture::{
    environment::{Capabilities, Capability, Facts, Lockdown},
    pin::PinDirState,
    plan::{Tried, plan},
};
use oom_probe::commands::doctor::{Containers, Diagnosis, diagnose, render};

use super::hold;

type Change = fn(&mut Facts);

fn diagnosis(
    kernel: &str,
    change: Change,
    tried: bool,
    pins: &PinDirState,
    group: usize,
) -> Diagnosis {
    let mut facts = recorded::facts(kernel);
    change(&mut facts);
    let tried = Tried {
        mark: tried,
        context: tried,
    };
    let containers = Containers {
        grouped: group,
        single: 3 - group,
    };
    diagnose(&facts, &plan(&facts), tried, pins, &containers)
}

#[test]
fn table_of_doctor() {
    let free = PinDirState::Free("/sys/fs/bpf/oom-probe".into());
    let left = PinDirState::Left("/sys/fs/bpf/oom-probe".into());
    let held = PinDirState::Held("/sys/fs/bpf/oom-probe".into(), "PID 7".into());
    let unusable = PinDirState::Unusable("no bpffs; mount one".into());
    let nodes: [(&str, &str, Change, &PinDirState, usize); 7] = [
        ("free", "6.12", |_| (), &free, 3),
        ("free", "5.10", |_| (), &left, 1),
        ("free", "7.2", |_| (), &held, 0),
        (
            "without BTF",
            "6.1-rt",
            |at| at.btf = Err("it is empty".into()),
            &free,
            3,
        ),
        (
            "locked down",
            "6.18",
            |at| at.lockdown = Lockdown::Confidentiality,
            &free,
            3,
        ),
        (
            "without rights",
            "6.1",
            |at| {
                at.capabilities = Capabilities::of(&[Capability::Bpf]);
                at.host_proc = Err("it is a container's".into());
            },
            &unusable,
            1,
        ),
        (
            "without tracefs",
            "5.10",
            |at| at.tracefs = Err("not mounted".into()),
            &free,
            3,
        ),
    ];
    let mut text = String::new();
    for (what, kernel, change, pins, group) in nodes {
        for tried in [true, false] {
            let diagnosis = diagnosis(kernel, change, tried, pins, group);
            let table = render(&diagnosis, 120).replace('\u{1b}', "\\e");
            writeln!(text, "{kernel}, {what}, tried: {tried}\n\n{table}\n").unwrap();
        }
    }
    hold("doctor.txt", &text);
}

#[test]
fn json_of_doctor() {
    let free = PinDirState::Free("/sys/fs/bpf/oom-probe".into());
    let diagnosis = diagnosis("5.10", |_| (), true, &free, 1);
    let json = serde_json::to_string_pretty(&diagnosis).unwrap();
    hold("doctor.json", &format!("{json}\n"));
}
