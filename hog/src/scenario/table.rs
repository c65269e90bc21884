//! The table of scenarios.

use super::{Container, Scenario};

const MIB: u64 = 1 << 20;

/// Grows into its limit by one step after another.
const GROWER: Container = Container {
    name: "hog",
    limit: Some(50 * MIB),
    arguments: &["grow"],
    environment: &[("HOG_STEP", "5M"), ("HOG_INTERVAL", "200ms")],
    starts: 1,
};

const REPLICA: Container = Container {
    name: "hog",
    limit: Some(128 * MIB),
    arguments: &["serve"],
    environment: &[],
    starts: 1,
};

/// A pod of its own cgroup without a limit, which needs nothing.
const POD: Scenario = Scenario {
    name: "",
    happens: "",
    shows: "",
    needs: "",
    pod_limit: None,
    containers: &[],
};

/// Every scenario, simplest first.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "single",
        happens: "One process grows past a limit of 50Mi, again after each restart.",
        shows: "Exit code 137, OOMKilled, CrashLoopBackOff. One record and one count per death.",
        containers: &[Container {
            starts: 3,
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "increment",
        happens: "A Deployment of one replica grows by MEMORY_INCREMENT_MB per step; change that or the limit.",
        shows: "As single. The steps in its log are the size that you chose.",
        containers: &[Container {
            limit: Some(128 * MIB),
            environment: &[("MEMORY_INCREMENT_MB", "10"), ("HOG_INTERVAL", "200ms")],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "invisible",
        happens: "Children grow and are killed while PID 1 lives on.",
        shows: "Nothing in kubectl: Running, 0 restarts. oom-probe counts each child, outcome survived.",
        needs: "cgroup v1, or singleProcessOOMKill in the kubelet (1.32), or oom-probe's oom-group overlay for the annotation.",
        containers: &[Container {
            limit: Some(64 * MIB),
            arguments: &["herd", "--rounds", "forever", "--pause", "5s"],
            environment: &[("HOG_STEP", "4M"), ("HOG_INTERVAL", "100ms")],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "herder",
        happens: "Two hungry children at any time, under 250m CPU and 256Mi, spread one per node.",
        shows: "The parent lives for as long as you let it while children die, dozens a minute.",
        needs: "As invisible.",
        containers: &[Container {
            limit: Some(256 * MIB),
            arguments: &[
                "herd",
                "--rounds",
                "forever",
                "--children",
                "2",
                "--parallel",
                "2",
            ],
            environment: &[("HOG_STEP", "8M"), ("HOG_INTERVAL", "20ms")],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "sidecar",
        happens: "A small container grows under a limit that belongs to the pod; its large idle neighbour pays.",
        shows: "Victim and trigger in different containers: the record names both.",
        needs: "Limits for whole pods: Kubernetes 1.34, or PodLevelResources in 1.32 and 1.33.",
        pod_limit: Some(96 * MIB),
        containers: &[
            Container {
                name: "idle",
                limit: None,
                arguments: &["hold", "64M"],
                environment: &[],
                starts: 1,
            },
            Container {
                name: "trigger",
                limit: None,
                arguments: &["grow", "--max", "40M", "--hold", "5s"],
                environment: &[("HOG_STEP", "1M"), ("HOG_INTERVAL", "100ms")],
                starts: 1,
            },
        ],
    },
    Scenario {
        name: "leak",
        happens: "Steady growth: 1 MiB a second until the limit of 64Mi.",
        shows: "A straight line in the usage graph before each kill.",
        containers: &[Container {
            limit: Some(64 * MIB),
            environment: &[("HOG_STEP", "1M"), ("HOG_INTERVAL", "1s")],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "spike",
        happens: "Twenty quiet seconds at 20 MiB, then everything at once.",
        shows: "The last scrape shows 20 MiB of 64: only the record knows the size at the kill.",
        containers: &[Container {
            limit: Some(64 * MIB),
            arguments: &["grow", "--base", "20M"],
            environment: &[
                ("HOG_AFTER", "20s"),
                ("HOG_STEP", "16M"),
                ("HOG_INTERVAL", "0"),
            ],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "tmpfs",
        happens: "Writes a file on tmpfs, which counts as memory and is in no process' RSS.",
        shows: "A victim of a few hundred KiB. In a pod the file survives the restart, so that it dies at once the next time.",
        containers: &[Container {
            limit: Some(64 * MIB),
            arguments: &["grow", "--kind", "tmpfs"],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "pagecache",
        happens: "Writes a file of 256 MiB on disk under a limit of 64Mi: usage is at the limit all the time.",
        shows: "No kill: page cache is given back. Usage near the limit alone is no reason to worry.",
        containers: &[Container {
            limit: Some(64 * MIB),
            arguments: &["grow", "--kind", "file", "--max", "256M"],
            environment: &[("HOG_STEP", "8M"), ("HOG_INTERVAL", "50ms")],
            ..GROWER
        }],
        ..POD
    },
    Scenario {
        name: "init",
        happens: "An init container outgrows its limit, so that the app never starts.",
        shows: "Init:OOMKilled; the record names the init container.",
        containers: &[
            Container {
                name: "migrate",
                ..GROWER
            },
            Container {
                name: "app",
                arguments: &["hold", "8M"],
                environment: &[],
                starts: 0,
                ..GROWER
            },
        ],
        ..POD
    },
    Scenario {
        name: "job",
        happens: "A Job whose only try is killed, and whose next is another pod.",
        shows: "The pod is Failed and may be gone by the time anybody looks; record and workload counter stay.",
        containers: &[GROWER],
        ..POD
    },
    Scenario {
        name: "service",
        happens: "Two replicas behind a Service; POST /allocate?mb=200 makes one of them grow past 128Mi.",
        shows: "What `hog drill` runs against: one replica dies and comes back, the other one serves.",
        containers: &[
            Container {
                name: "replica-0",
                ..REPLICA
            },
            Container {
                name: "replica-1",
                ..REPLICA
            },
        ],
        ..POD
    },
];
