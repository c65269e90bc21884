//! Real OOM kills, and what the daemon makes of them.
//!
//! The same scenarios run on this machine (`cargo xtask test`) and as a child of PID 1 in emulated
//! machines (`cargo xtask vm-test`). One daemon serves all of them: each scenario looks at what came
//! in since it began, and the books have to balance over the whole run.
//!
//! Programs come from `OOM_PROBE_BIN` and `HOG_BIN`, else from the directory above this test's own;
//! `OOM_PROBE_VM` names the emulated machine. Arguments are parts of the names of scenarios to run.

mod books;
mod case;
mod daemon;
mod expect;
mod harness;
mod http;
mod kernel_log;
mod metrics;
mod scenarios;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    harness::run(&filters)
}
