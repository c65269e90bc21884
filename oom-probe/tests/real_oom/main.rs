//! Real OOM kills, and what the daemon makes of them.
//!
//! The same scenarios run on this machine (`cargo xtask test`) and as a child of PID 1 in emulated
//! machines (`cargo xtask vm-test`). One daemon serves all of them: each scenario looks at what came
//! in since it began, and the books have to balance over the whole run.
//!
//! Programs come from `OOM_PROBE_BIN` and `HOG_BIN`, else from the directory above this test's own;
//! `OOM_PROBE_VM` names the emulated machine. Arguments are parts of the names of scenarios to run;
//! `--repeat=N` runs each of them that many times, `--set=kills` and `--set=daemon` only that half,
//! `--set=gate` what the gate has time for; `--list` prints their names.

#[expect(
    dead_code,
    reason = "the scripted API server can do more than is needed here"
)]
#[path = "../apiserver/mod.rs"]
mod apiserver;
mod books;
mod case;
mod confined;
mod container;
mod daemon;
mod expect;
mod harness;
mod http;
mod hung;
mod kernel_log;
mod kubelet;
mod metrics;
mod mounts;
#[path = "../dashboard/panels.rs"]
mod panels;
#[expect(dead_code, reason = "other tests ask Prometheus for more")]
#[path = "../prometheus/mod.rs"]
mod prometheus;
mod scenarios;
mod wait;
mod world;

use std::process::ExitCode;

use harness::Set;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == container::AS_SHELL
    {
        return container::be_shell(rest);
    }
    let option = |name: &str| {
        let mut values = arguments.iter().filter_map(|word| word.strip_prefix(name));
        values.next()
    };
    let times = option("--repeat=").map_or(1, |times| times.parse().expect("--repeat=N"));
    let set = option("--set=").map_or(Set::All, |set| Set::named(set).expect("--set=kills"));
    if arguments.iter().any(|argument| argument == "--list") {
        harness::list(set);
        return ExitCode::SUCCESS;
    }
    let is_filter = |argument: &&String| !argument.starts_with('-');
    let filters: Vec<String> = arguments.iter().filter(is_filter).cloned().collect();
    harness::run(set, &filters, times)
}
