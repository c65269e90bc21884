//! What to do with one cgroup: pure.

use super::annotation::{Asked, Setting};
use crate::{kube::pod::Pod, model::container::ContainerId};

/// What a container's cgroups are to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This value.
    Hold(Setting),
    /// What it would be without this daemon.
    Leave,
    /// To be known once the pod's status names the container.
    Unknown,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is as it should be.
    Nothing,
    /// Note what is there, then write this.
    Take(Setting),
    /// Write this; what was there before is noted already.
    Retake(Setting),
    /// Write what was there before, and drop the note.
    PutBack(Setting),
    /// Drop the note: somebody else wants that value too.
    Forget,
}

/// Who wrote the value that is read, as far as it can be known: a watch tells of writes, not of who
/// made them nor of what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// This daemon, or nobody since it looked.
    Own,
    /// Somebody else: a runtime that sets up or resizes the container, systemd, a person.
    Other,
}

/// What to do with a cgroup that has the value `now`, where `original` is noted as what it was
/// before this daemon wrote.
pub(super) fn step(
    wanted: Wanted,
    now: Setting,
    original: Option<Setting>,
    writer: Writer,
) -> Step {
    match (wanted, original) {
        (Wanted::Unknown, _) | (Wanted::Leave, None) => Step::Nothing,
        (Wanted::Leave, Some(original)) if now == original => Step::Forget,
        (Wanted::Leave, Some(original)) => Step::PutBack(original),
        (Wanted::Hold(value), None) if now == value => Step::Nothing,
        (Wanted::Hold(value), None) => Step::Take(value),
        // The annotation asks for the original now.
        (Wanted::Hold(value), Some(original)) if original == value && now == value => Step::Forget,
        (Wanted::Hold(value), Some(original)) if original == value => Step::PutBack(value),
        (Wanted::Hold(value), Some(_)) if now != value => Step::Retake(value),
        // A runtime may write the same value later than this daemon did, for a new container. The
        // kubelet has it write 1 or nothing. Where 0 is held, what looks like another's write of 0 is
        // this daemon's own, told after the other's write of 1 that it undid.
        (Wanted::Hold(Setting::Group), Some(_)) if writer == Writer::Other => Step::Forget,
        (Wanted::Hold(_), Some(_)) => Step::Nothing,
    }
}

/// What the container with that id is to have, and its name if the pod's status has it.
///
/// A container's cgroup is there seconds before the status names its id. Until then it may be any
/// container of the pod that could run, or its sandbox; where all ask for the same, that is done
/// at once.
pub(super) fn wanted<'a>(pod: &'a Pod, id: &ContainerId) -> (Option<&'a str>, Wanted) {
    let asked = Asked::by(pod);
    let of = |name: &str| asked.of(name).map_or(Wanted::Leave, Wanted::Hold);
    if let Some(container) = pod.container_of_run(id) {
        return (Some(&container.name), of(&container.name));
    }
    let mut candidates = pod
        .containers
        .iter()
        .filter(|container| !container.done)
        .map(|container| of(&container.name));
    let first = candidates.next().unwrap_or(Wanted::Leave);
    let same = candidates.all(|other| other == first);
    (None, if same { first } else { Wanted::Unknown })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube::{
        fixture::{PodJson, container_id, pod},
        names::Names,
    };
    use Setting::{Group, Process};

    #[test]
    fn a_value_is_taken_held_and_put_back() {
        use Step::{Forget, Nothing, PutBack, Retake, Take};
        let hold = Wanted::Hold;
        for (wanted, now, original, writer, expected) in [
            // Nobody asks for anything.
            (Wanted::Leave, Group, None, Writer::Own, Nothing),
            (Wanted::Leave, Process, None, Writer::Other, Nothing),
            // As it should be already.
            (hold(Process), Process, None, Writer::Own, Nothing),
            (hold(Process), Process, None, Writer::Other, Nothing),
            // The runtime has just set it up, or an in-place resize has set it again.
            (hold(Process), Group, None, Writer::Other, Take(Process)),
            (
                hold(Process),
                Group,
                Some(Group),
                Writer::Other,
                Retake(Process),
            ),
            (hold(Group), Process, None, Writer::Own, Take(Group)),
            // This daemon's own write, seen again.
            (hold(Process), Process, Some(Group), Writer::Own, Nothing),
            (hold(Process), Process, Some(Group), Writer::Other, Nothing),
            // The runtime writes what was written for it already: nothing is to be put back.
            (hold(Group), Group, Some(Process), Writer::Other, Forget),
            // The annotation goes.
            (
                Wanted::Leave,
                Process,
                Some(Group),
                Writer::Own,
                PutBack(Group),
            ),
            (Wanted::Leave, Group, Some(Group), Writer::Own, Forget),
            // It changes to what was there before.
            (
                hold(Group),
                Process,
                Some(Group),
                Writer::Own,
                PutBack(Group),
            ),
            (hold(Group), Group, Some(Group), Writer::Own, Forget),
            // Not known yet whose it is.
            (Wanted::Unknown, Group, None, Writer::Other, Nothing),
            (Wanted::Unknown, Process, Some(Group), Writer::Own, Nothing),
        ] {
            assert_eq!(
                step(wanted, now, original, writer),
                expected,
                "{wanted:?} {now} {original:?} {writer:?}"
            );
        }
    }

    /// A pod with these annotations.
    fn annotated(pod: PodJson, annotations: &serde_json::Value) -> Pod {
        let mut pod = pod.0;
        pod["metadata"]["annotations"] = annotations.clone();
        let object = serde_json::from_value(pod).unwrap();
        Pod::new(&object, None, &mut Names::default()).unwrap()
    }

    #[test]
    fn a_container_is_known_by_its_id_and_before_that_by_what_all_ask_for() {
        let both = || pod("cart", 1).container("proxy").running("proxy", 7);
        let single = || pod("cart", 1);
        let all = json!({"oom-probe.io/memory.oom.group": "0"});
        let app = json!({"oom-probe.io/memory.oom.group.app": "0"});
        let (named, new) = (
            container_id(7).parse().unwrap(),
            container_id(8).parse().unwrap(),
        );
        for (pod, annotations, id, expected) in [
            (both(), &all, &named, (Some("proxy"), Wanted::Hold(Process))),
            (both(), &all, &new, (None, Wanted::Hold(Process))),
            (both(), &app, &named, (Some("proxy"), Wanted::Leave)),
            (both(), &app, &new, (None, Wanted::Unknown)),
            (single(), &app, &new, (None, Wanted::Hold(Process))),
            (single(), &json!({}), &new, (None, Wanted::Leave)),
            // An init container that is done cannot be the new one.
            (
                single()
                    .init("migrate")
                    .terminated("migrate", 3, 0, "12:00:05"),
                &app,
                &new,
                (None, Wanted::Hold(Process)),
            ),
            (
                single().init("migrate"),
                &app,
                &new,
                (None, Wanted::Unknown),
            ),
        ] {
            let pod = annotated(pod, annotations);
            assert_eq!(wanted(&pod, id), expected, "{annotations}");
        }
    }
}
