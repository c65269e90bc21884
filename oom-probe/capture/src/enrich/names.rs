//! Names for records whose cgroup paths are ids only, as under lockdown=confidentiality.

use oom_probe_common::record::flag;

use crate::{
    cgroup::path,
    record::{
        Levels, Payload, Record,
        encode::{self, NamedLevel},
    },
};

/// Stands for a name that nobody saw before the cgroup was gone.
const UNKNOWN: &[u8] = b"?";

/// Names of the levels of a path below the node's root, leaf first, one for each; absent where the
/// path does not lead through that root.
pub type Names = Vec<Option<Vec<u8>>>;

/// The record with the names of its paths, given by `names_of` for ids, leaf first. `None` where it
/// has names already, or is of no task, or cannot be named without guessing whose it is: all from
/// the root to the container must be known.
pub fn named(
    record: &Record<'_>,
    mut names_of: impl FnMut(&[u64]) -> Option<Names>,
) -> Option<Vec<u8>> {
    let (Payload::Mark(task) | Payload::SignalWhole(task)) = record.payload else {
        return None;
    };
    if task.body.flags & flag::NAMELESS == 0 {
        return None;
    }
    let names = names_of(&ids(task.path))?;
    if !tells_whose(&names) {
        return None;
    }
    let path = with_names(task.path, &names);
    let trigger_names =
        names_of(&ids(task.trigger_path)).unwrap_or_else(|| vec![None; task.trigger_path.len()]);
    let trigger_path = with_names(task.trigger_path, &trigger_names);
    let mut body = task.body;
    body.flags &= !flag::NAMELESS;
    Some(encode::task(
        record.header,
        body,
        [&path, &trigger_path, &[]],
    ))
}

fn ids(path: Levels<'_>) -> Vec<u64> {
    path.iter().map(|at| at.level.id).collect()
}

/// Whether names are missing, if at all, only below the container.
fn tells_whose(names: &[Option<Vec<u8>>]) -> bool {
    let Some(missing) = names.iter().rposition(Option::is_none) else {
        return true;
    };
    let known = names.iter().map(|name| name.as_deref().unwrap_or(UNKNOWN));
    path::parse(known)
        .container_level
        .is_some_and(|container| container > missing)
}

/// The root, and what is above it on a node that is a container, have no names.
fn with_names(path: Levels<'_>, names: &[Option<Vec<u8>>]) -> Vec<NamedLevel> {
    path.iter()
        .enumerate()
        .map(|(n, at)| {
            let name = match names.get(n) {
                Some(Some(name)) => name,
                Some(None) if at.level.skipped == 0 => UNKNOWN,
                Some(None) | None => b"",
            };
            (at.level, name.to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture::RecordBuilder, model::cgroup_path::CgroupPath, record::decode};

    const CONTAINER: &str =
        "cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope";

    fn nameless(levels: usize) -> RecordBuilder {
        RecordBuilder::mark(100)
            .path(&vec![""; levels])
            .body(|body| body.flags |= flag::NAMELESS)
    }

    fn names(names: &[&str]) -> Names {
        let name = |name: &&str| (*name != "?").then(|| name.as_bytes().to_vec());
        names.iter().map(name).collect()
    }

    /// The victim's path and the trigger's.
    fn paths(
        record: RecordBuilder,
        of: impl FnMut(&[u64]) -> Option<Names>,
    ) -> Option<[String; 2]> {
        let bytes = record.build();
        let bytes = named(&decode(&bytes).unwrap(), of)?;
        let Payload::Mark(task) = decode(&bytes).unwrap().payload else {
            panic!("no mark any more");
        };
        assert_eq!(task.body.flags & flag::NAMELESS, 0);
        assert_eq!(task.body.victim.tgid, 100);
        let path =
            |path: Levels<'_>| CgroupPath::from_levels(path.iter().map(|at| at.name)).to_string();
        Some([path(task.path), path(task.trigger_path)])
    }

    #[test]
    fn a_path_of_ids_gets_its_names_if_they_tell_whose_it_is() {
        for (known, want) in [
            (&[CONTAINER, "kubepods.slice"][..], true),
            (&["job", CONTAINER, "kubepods.slice"], true),
            (&["?", CONTAINER, "kubepods.slice"], true),
            (&["?", "kubepods.slice"], false),
            (
                &["?", "pod8d4f1b0e-4f1a-4c7e-9a53-6f0c1d2e3b4a", "kubepods"],
                false,
            ),
            (&[CONTAINER, "?"], false),
            (&["?"], false),
            (&[], true),
        ] {
            let record = nameless(known.len() + 1);
            let got = paths(record, |ids| {
                assert!(ids.is_empty() || ids.len() == known.len() + 1);
                (!ids.is_empty()).then(|| names(known))
            });
            let path: String = known.iter().rev().map(|name| format!("/{name}")).collect();
            let path = if path.is_empty() { "/".into() } else { path };
            assert_eq!(got.map(|[path, _]| path), want.then_some(path), "{known:?}");
        }
    }

    #[test]
    fn a_path_that_does_not_lead_through_the_root_stays_as_it_is() {
        assert_eq!(paths(nameless(3), |_| None), None);
    }

    #[test]
    fn the_trigger_has_the_names_that_are_known() {
        let record = nameless(2).trigger_path(&["", "", ""], 5);
        let of = |ids: &[u64]| Some(names(if ids[0] == 5 { &["?", "a"] } else { &["b"] }));
        assert_eq!(paths(record.clone(), of).unwrap(), ["/b", "/a/?"]);
        let outside = |ids: &[u64]| (ids[0] != 5).then(|| names(&["b"]));
        assert_eq!(paths(record, outside).unwrap(), ["/b", "/?/?/?"]);
    }

    #[test]
    fn records_with_names_and_of_no_task_are_left_alone() {
        let mark = RecordBuilder::mark(100).path(&["a", ""]);
        for record in [mark, RecordBuilder::signal(100), RecordBuilder::end()] {
            let bytes = record.build();
            let record = decode(&bytes).unwrap();
            assert!(named(&record, |_| panic!("not to be asked")).is_none());
        }
    }
}
