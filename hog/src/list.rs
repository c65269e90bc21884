//! `hog --list`: each mode and each scenario in a table.

use comfy_table::{ContentArrangement, Table, presets};

/// Mode, what happens, who is killed, what to try.
const MODES: &[[&str; 4]] = &[
    [
        "grow",
        "One process takes memory step by step: anon, shmem, tmpfs or page cache.",
        "That process. With --oom-score-adj -999 it is only the trigger, and a larger neighbour dies.",
        "hog grow --step 4M --interval 100ms",
    ],
    [
        "herd",
        "PID 1 lives on while its children grow.",
        "Each child, one by one. The container survives: the kills that nothing else shows.",
        "hog herd --children 5 --parallel 2 --rounds forever",
    ],
    [
        "leader-exit",
        "The main thread ends, another thread of the same process grows.",
        "The process; the kernel marks a thread whose tid is not the tgid.",
        "hog leader-exit",
    ],
    [
        "shared-mm",
        "Several processes share one address space; hog grows.",
        "All of them, though the kernel marks, counts and logs only one.",
        "hog shared-mm --processes 3",
    ],
    [
        "group",
        "hog and its children in one cgroup; one of them grows.",
        "The one that grows; with memory.oom.group set all but the spared.",
        "hog group --processes 5 --spare 1",
    ],
    [
        "pidns",
        "A new PID namespace whose PID 1 has children; PID 1 or a child grows.",
        "PID 1, and the kernel ends its children, which are no OOM kills; or one child.",
        "hog pidns --victim init --children 3",
    ],
    [
        "exiting",
        "A large child stands still in its exit; hog grows until the limit finds it.",
        "Nobody: the kernel marks the child, which dies anyway, and takes its memory back.",
        "hog exiting 20M --max 16M",
    ],
    [
        "hold",
        "Takes memory at once and stays.",
        "It, when a small neighbour under the same limit asks for more.",
        "hog hold 64M --for 1m",
    ],
    #[cfg(feature = "drill")]
    [
        "serve",
        "An HTTP service that takes memory when it is asked to.",
        "It, once what it was asked for is more than its limit.",
        "curl -X POST localhost:8080/allocate?mb=200",
    ],
    #[cfg(feature = "drill")]
    [
        "drill",
        "A chaos drill: one of two replicas of a service grows, a client keeps asking both.",
        "That replica. The report has timeline, memory curve, evidence and verdict.",
        "hog drill",
    ],
];

pub(crate) fn modes() -> Table {
    let mut table = table(["MODE", "WHAT HAPPENS", "WHO IS KILLED", "TRY"]);
    table.add_rows(MODES);
    table
}

pub(crate) fn scenarios() -> Table {
    let mut table = table(["SCENARIO", "WHAT HAPPENS", "WHAT SHOWS", "NEEDS"]);
    for scenario in hog::scenario::ALL {
        let needs = if scenario.needs.is_empty() {
            "nothing"
        } else {
            scenario.needs
        };
        table.add_row([scenario.name, scenario.happens, scenario.shows, needs]);
    }
    table
}

fn table(header: [&str; 4]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(110)
        .set_header(header);
    table
}
