//! Several nodes on one kernel, as kind and k3d make them: each daemon tells its own node's kills,
//! and counts the others' without a word.

use super::stage::{PodPlace, Stage};
use super::wanted::{DIED, SURVIVED};
use crate::apiserver::pods::{container_id, pod, uid};
use crate::kubelet::{Class, Driver, Runtime};
use crate::metrics::Metrics;
use crate::world::{Running, World};

pub(super) fn play(world: &World, driver: Driver) -> usize {
    let node = |name, n| Stage::on_own_root(world, driver, &[pod(name, n).running("app", n)]);
    let (mut one, mut other) = (node("cart", 1), node("db-0", 2));
    let app = container(&mut one, 1);
    one.child_dies(app);
    one.want("cart", "app", SURVIVED);
    let app = container(&mut other, 2);
    other.init_dies(app);
    other.want("db-0", "app", DIED);
    // On neither.
    let outside = world.limited("system.slice/docker.service", 16 << 20);
    let hog = world.hog(&super::stage::GROW);
    Running::start(&outside, hog).end().killed();

    for node in [&one, &other] {
        node.until("all kills are counted", || all(&node.daemon.metrics()) >= 3);
        let metrics = node.daemon.metrics();
        for (scope, kills) in [("pod", 1), ("host", 0), ("unknown", 0)] {
            assert_eq!(in_scope(&metrics, scope), kills, "{scope}");
        }
        let others = in_scope(&metrics, "other_node");
        // Whatever else is killed on this kernel is another node's, too.
        assert!(
            others == 2 || others > 2 && world.vm.is_none(),
            "{others} of other nodes"
        );
        assert_eq!(node.listed(&[]).len(), 1, "nothing is told of others");
        node.conclude();
    }
    3
}

fn container(stage: &mut Stage<'_>, n: u32) -> usize {
    let uid = uid(n);
    let place = PodPlace(Class::Burstable, &uid);
    stage.container(place, Runtime::Containerd, &container_id(n))
}

fn in_scope(metrics: &Metrics, scope: &str) -> u64 {
    metrics.sum("oom_probe_kills_total", &[format!("scope=\"{scope}\"")])
}

fn all(metrics: &Metrics) -> u64 {
    metrics.sum("oom_probe_kills_total", &[])
}
