//! The series as a collector of `prometheus-client`. Names and labels are a contract.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    ContainerCounts, ContainerKey, Containers, EventCounts, LastKill, PerOutcome, Store,
    WorkloadKey, WorkloadName,
};
use capture::model::labels::Outcome;

impl Collector for Containers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let store = self.store();
        counters(
            &mut encoder,
            "oom_probe_container_oom_kills",
            "Processes of the container killed by the kernel's OOM killer",
            store.containers.iter().map(|(key, counts)| {
                let kills = counts.map_or(0, |counts| counts.kills);
                (key, kills)
            }),
        )?;
        counters(
            &mut encoder,
            "oom_probe_container_oom_events",
            "OOM events that took a process of the container, by what became of the container",
            store.containers.iter().flat_map(|(key, counts)| {
                let events = counts.map_or_else(EventCounts::default, |counts| counts.events);
                events.map(move |outcome, count| ((key, [outcome]), count))
            }),
        )?;
        counters(
            &mut encoder,
            "oom_probe_workload_oom_events",
            "OOM events that took a process of a container of the workload, on this node",
            store.workloads.iter().flat_map(|(key, counts)| {
                let events = counts.copied().unwrap_or_default();
                events.map(move |outcome, count| ((key, [outcome]), count))
            }),
        )?;
        last_events(&mut encoder, &store)?;
        last_kills(&mut encoder, &store)
    }
}

fn last_events(encoder: &mut DescriptorEncoder<'_>, store: &Store) -> fmt::Result {
    let seconds = counted(store).flat_map(|(key, counts)| {
        counts.last_event.map(move |outcome, time| {
            // f64 holds a time of this century to the microsecond.
            let seconds = time?.as_duration().as_secs_f64();
            Some(((key, [outcome]), seconds))
        })
    });
    gauges(
        encoder,
        "oom_probe_container_last_oom_event_timestamp_seconds",
        "When the last OOM event took a process of the container",
        seconds.flatten(),
    )
}

fn last_kills(encoder: &mut DescriptorEncoder<'_>, store: &Store) -> fmt::Result {
    let rss = counted(store).flat_map(|(key, counts)| {
        let LastKill {
            anon, file, shmem, ..
        } = counts.last_kill;
        [("anon", anon), ("file", file), ("shmem", shmem)]
            .into_iter()
            .filter_map(move |(kind, bytes)| Some(((key, [("type", kind)]), bytes?)))
    });
    gauges(
        encoder,
        "oom_probe_container_last_oom_kill_rss_bytes",
        "Resident memory of the process that was killed last",
        rss,
    )?;
    let bytes = |of: fn(&LastKill) -> Option<u64>| {
        counted(store).filter_map(move |(key, counts)| Some((key, of(&counts.last_kill)?)))
    };
    gauges(
        encoder,
        "oom_probe_container_last_oom_kill_usage_bytes",
        "Memory usage at the last kill, of the nearest cgroup that has a limit",
        bytes(|last| last.usage),
    )?;
    gauges(
        encoder,
        "oom_probe_container_last_oom_kill_limit_bytes",
        "Limit of that cgroup",
        bytes(|last| last.limit),
    )
}

fn counted(store: &Store) -> impl Iterator<Item = (&ContainerKey, &ContainerCounts)> {
    let all = store.containers.iter();
    all.filter_map(|(key, counts)| Some((key, counts?)))
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut series = series.peekable();
    // A family without series is left out, as those of the registry are.
    if series.peek().is_none() {
        return Ok(());
    }
    let help = format!("{help}.");
    let mut family = encoder.encode_descriptor(name, &help, None, MetricType::Counter)?;
    for (labels, value) in series {
        family
            .encode_family(&labels)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn gauges<L: EncodeLabelSet, N: prometheus_client::encoding::EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, N)>,
) -> fmt::Result {
    let mut series = series.peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let help = format!("{help}.");
    let mut family = encoder.encode_descriptor(name, &help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

impl EncodeLabelSet for &ContainerKey {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let ContainerKey {
            pod: (namespace, pod),
            container,
        } = self;
        [
            ("namespace", &**namespace),
            ("pod", pod),
            ("container", container),
        ]
        .encode(encoder)
    }
}

impl EncodeLabelSet for &WorkloadKey {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let WorkloadKey {
            workload:
                WorkloadName {
                    namespace,
                    kind,
                    name,
                },
            container,
        } = self;
        [
            ("namespace", &**namespace),
            ("workload_type", kind),
            ("workload", name),
            ("container", container),
        ]
        .encode(encoder)
    }
}

impl<T> PerOutcome<T> {
    fn map<R>(self, mut each: impl FnMut((&'static str, &'static str), T) -> R) -> [R; 2] {
        [
            (Outcome::Survived, self.survived),
            (Outcome::Died, self.died),
        ]
        .map(|(outcome, value)| each(("outcome", outcome.as_str()), value))
    }
}
