//! The scenarios, in the order in which they run.

mod dashboard;
mod down;
mod drill;
mod group;
mod lowest;
mod machine;
mod messages;
mod oom_group;
mod overload;
mod pins;
mod places;
mod pods;
mod privileges;
mod rung;
mod sample;
mod scraped;
mod shared;
mod single;
mod start;
mod state;
mod storm;
mod stuck;
mod trigger;

use crate::harness::Need::{NativeOnly, OneMachine, OwnMachine, Patience, TwoNodes, V2};
use crate::harness::{Need, Run, Scenario};

/// Small enough to be full at once, large enough for a hog.
const LIMIT: u64 = 8 << 20;

/// A pod's and a container's cgroup as the kubelet's cgroupfs driver makes them.
const POD: &str = "kubepods/burstable/pod6a1c1f1e-0f9a-4d7a-9a50-3a6c8f8b1c2d";
const POD_UID: &str = "6a1c1f1e-0f9a-4d7a-9a50-3a6c8f8b1c2d";
const CONTAINER: &str = "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26";

const fn any(name: &'static str, run: Run) -> Scenario {
    with(name, &[], run)
}

const fn once(name: &'static str, run: Run) -> Scenario {
    with(name, &[OneMachine("6.1")], run)
}

/// Where the state is kept and lost: all on one machine would make that the last to end by far.
const STATE: &[Need] = &[OneMachine("7.2")];

const fn with(name: &'static str, needs: &'static [Need], run: Run) -> Scenario {
    Scenario { name, needs, run }
}

/// Real kills of every shape, on every kernel: what `cargo xtask vm-test` runs unless it is asked for
/// more.
pub(crate) const KILLS: &[Scenario] = &[
    any("rung", rung::rung),
    any("doctor promises what there is", rung::doctor),
    any("single", single::single),
    any("child of a surviving parent", single::child),
    any("leader exited", single::leader_exited),
    any("hostile name", single::hostile_name),
    any("limit on the parent", places::parent_limit),
    any("limit on the pod", places::pod_limit),
    any("nested in a container", places::nested),
    any("nested with its own limit", places::nested_with_limit),
    any("deep in a container", places::deep),
    any("named like a pod", places::named_like_a_pod),
    any("unit without a memory cgroup", places::unit_without_memory),
    with(
        "leaf without controller",
        &[V2],
        places::leaf_without_controller,
    ),
    any("shared mm", shared::shared_mm),
    with("shared mm in a group", &[V2], shared::shared_mm_in_group),
    any("init of a PID namespace", shared::pidns_init),
    any("init of a container", shared::container_init),
    with("group of 3", &[V2], group::of_three),
    with("group of 50, one spared", &[V2], group::of_fifty),
    any("idle victim, small trigger", trigger::idle_victim),
    with("limit lowered", &[V2], trigger::limit_lowered),
    any("victim already exiting", trigger::exiting),
    // Its parent may not be killed, which takes CAP_SYS_RESOURCE to ask for.
    with("storm of 300", &[OwnMachine], storm::storm),
    any("vanishing cgroups", storm::vanishing_cgroups),
    with("machine-wide", &[OwnMachine], machine::machine_wide),
    with(
        "cpuset-bound",
        &[OwnMachine, TwoNodes],
        machine::cpuset_bound,
    ),
    any("hidden kill", rung::hidden_kill),
    any("plain tracepoint", lowest::plain_tracepoint),
    any("log and API agree", rung::log_and_api_agree),
];

/// The daemon and the node around it: pods, restarts, rights, outages.
pub(crate) const DAEMON: &[Scenario] = &[
    once("pods of every kind", pods::kinds),
    any("pods seen without hostPID", pods::namespace),
    once("pods that change", pods::changes),
    once("pods without API server", pods::away),
    once("pods of a hostile API server", pods::hostile),
    with("pods with hostile names", &[NativeOnly], pods::names::names),
    with("pod killed whole", &[V2], pods::group),
    once("two nodes", pods::nodes),
    once("watched by hand", pods::ways),
    once("drill", drill::drill),
    once("scraped by Prometheus", scraped::scraped),
    with("herder", &[V2, OneMachine("6.12")], oom_group::herder),
    any("memory.oom.group by annotation", oom_group::annotation),
    with("memory.oom.group put back", &[V2], oom_group::taken_away),
    once("dashboard and alerts", dashboard::dashboard),
    once("picture of the dashboard", dashboard::picture),
    once("sample of the README", sample::sample),
    any("exposition", rung::exposition),
    with("kernel messages", &[NativeOnly], messages::messages),
    any("pins: killed for ten kills", pins::outage::killed),
    any("pins: stopped for ten kills", pins::outage::stopped),
    any("pins: ten restarts in a storm", pins::outage::ten_restarts),
    once(
        "pins: killed while draining",
        pins::draining::killed_while_draining,
    ),
    once("pins: another build", pins::upgrade::another_build),
    once(
        "pins: another record version",
        pins::upgrade::another_version,
    ),
    any("pins: plain tracepoint", pins::lowest::plain_tracepoint),
    any("pins: a hook is gone", pins::broken::hook_gone),
    once("pins: foreign maps", pins::broken::foreign_maps),
    once("pins: wiped", pins::broken::wiped),
    once("pins: no bpffs", pins::broken::no_bpffs),
    once("pins: the holder ends", pins::held::holder_ends),
    with(
        "pins: the holder stays",
        &[NativeOnly, Patience],
        pins::held::holder_stays,
    ),
    once("pins: unpin", pins::held::unpin),
    once("down: killed and deleted", down::tombstone),
    once("down: what waits", down::waiting),
    once("down: increase", down::increase),
    once("down: state lost", down::state_lost),
    once("down: the container lives on", down::again::lives_on),
    once("down: one Event", down::again::one_event),
    once("down: series refused", down::again::refused),
    once("down: stopped while connected", down::stopping::connected),
    once("down: stopped while held up", down::stopping::held_up),
    with(
        "state over a reboot",
        &[OwnMachine, OneMachine("6.1")],
        down::reboot::reboot,
    ),
    with("state goes on", STATE, state::goes_on),
    with("state and log", STATE, state::logged_again),
    with("state of another boot", STATE, state::another_boot),
    with("state of no use", STATE, state::unusable),
    with("state on a full disk", STATE, state::full_for_a_while),
    any("counters tell what no hook saw", state::counters_tell),
    any("counters tell of units", state::counters_tell_of_units),
    any("stop", start::stop),
    any("no privileges", start::no_privileges),
    any("least privilege", privileges::least_privilege),
    any("missing rights", privileges::missing_rights),
    once("oom_score_adj", privileges::oom_score_adj),
    any("full ring", overload::full_ring),
    once("blocked output", overload::blocked_output),
    once("hostile peers", overload::hostile_peers),
    once("stuck reader", stuck::stuck_reader),
    any("taken port", start::taken_port),
    any("bad flag", start::bad_flag),
    any("empty BTF", start::empty_btf),
    any("wrong cgroup root", start::wrong_cgroup_root),
    any("no cgroups", start::no_cgroups),
    any("in a pod of its own", start::own_pod),
];
