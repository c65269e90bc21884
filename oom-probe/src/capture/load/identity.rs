//! Which programs do the same, so that one daemon may go on with another's.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytemuck::bytes_of;
use oom_probe_common::{ledger::LAYOUT, offsets::Offsets};

use super::{
    attach::{names_of_context, names_of_mark},
    options::Options,
};
use crate::capture::plan::{Candidate, ContextHook, Mark, Plan};

/// The identity of programs some of which the kernel keeps no longer than whoever attached them:
/// the next daemon has to attach all anew.
pub(super) const INCOMPLETE: &str = "incomplete";

/// What all rungs of a build have in common on a node: the object, where the kernel's structures
/// have their members, and how the maps are laid out.
///
/// A hash that changes with the standard library makes two builds differ that do the same: then
/// programs are replaced that need not be, without a gap.
pub(super) struct Identity(DefaultHasher);

impl Identity {
    pub(super) fn new(object: &[u8], offsets: &Offsets, options: Options) -> Self {
        let Options {
            ring,
            record_version,
            open_nothing: _,
        } = options;
        let mut hasher = DefaultHasher::new();
        hasher.write(object);
        hasher.write(bytes_of(offsets));
        (LAYOUT, ring.bytes(), record_version).hash(&mut hasher);
        Self(hasher)
    }

    /// The identity of the programs of a rung.
    pub(super) fn of(&self, mark: Mark, context: Option<ContextHook>) -> String {
        let mut hasher = self.0.clone();
        hasher.write(bytes_of(&mark.settings()));
        names_of_mark(mark).hash(&mut hasher);
        context.map(names_of_context).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// The rung whose programs have that identity. Without a context the kernel has refused them
    /// all, as it would again.
    pub(super) fn in_plan(
        &self,
        plan: &Plan,
        identity: &str,
    ) -> Option<(Candidate<Mark>, Option<ContextHook>)> {
        let contexts = plan.usable_contexts().map(|candidate| Some(candidate.hook));
        let contexts: Vec<_> = contexts.chain([None]).collect();
        plan.usable_marks().find_map(|mark| {
            let context = contexts
                .iter()
                .find(|context| self.of(mark.hook, **context) == identity)?;
            Some((mark.clone(), *context))
        })
    }
}

#[cfg(test)]
mod tests {
    use oom_probe_common::offsets::ABSENT;

    use super::*;
    use crate::capture::plan::{DomainSource, MarkHook, Names, SignalHook};

    fn identity(object: &[u8]) -> Identity {
        Identity::new(object, &Offsets::ABSENT, Options::default())
    }

    fn candidate<H>(hook: H) -> Candidate<H> {
        Candidate {
            hook,
            obstacle: None,
            losses: Vec::new(),
        }
    }

    const RAW_TP: Mark = Mark {
        hook: MarkHook::RawTp,
        signal: Some(SignalHook::RawTp),
    };

    #[test]
    fn whatever_makes_programs_do_something_else_makes_another_identity() {
        let context = Some(ContextHook::Fentry);
        let one = identity(b"object").of(RAW_TP, context);
        assert_eq!(one, identity(b"object").of(RAW_TP, context));
        let mut offsets = Offsets::ABSENT;
        offsets.task_pid = ABSENT - 1;
        let options = Options::default();
        let other_version = Options {
            record_version: options.record_version + 1,
            ..options
        };
        let other_ring = Options {
            ring: "64K".parse().unwrap(),
            ..options
        };
        let nameless = Mark {
            hook: MarkHook::TpBtf(Names::Skipped),
            signal: Some(SignalHook::TpBtf),
        };
        let named = Mark {
            hook: MarkHook::TpBtf(Names::Read),
            ..nameless
        };
        let with = |offsets, options| Identity::new(b"object", offsets, options);
        let all = [
            one,
            identity(b"another").of(RAW_TP, context),
            identity(b"object").of(RAW_TP, None),
            identity(b"object").of(RAW_TP, Some(ContextHook::Kprobe)),
            identity(b"object").of(nameless, context),
            identity(b"object").of(named, context),
            with(&offsets, options).of(RAW_TP, context),
            with(&Offsets::ABSENT, other_version).of(RAW_TP, context),
            with(&Offsets::ABSENT, other_ring).of(RAW_TP, context),
        ];
        for (n, this) in all.iter().enumerate() {
            assert!(!all[..n].contains(this), "number {n}");
        }
    }

    #[test]
    fn a_rung_is_found_again_if_the_plan_still_has_it() {
        let plan = |contexts: Vec<ContextHook>| Plan {
            marks: vec![candidate(RAW_TP)],
            contexts: contexts.into_iter().map(candidate).collect(),
            without_context: DomainSource::Inferred,
        };
        let identity = identity(b"object");
        let (fentry, kprobe) = (ContextHook::Fentry, ContextHook::Kprobe);
        for (contexts, pinned, found) in [
            (vec![fentry, kprobe], Some(fentry), Some(Some(fentry))),
            (vec![fentry, kprobe], Some(kprobe), Some(Some(kprobe))),
            (vec![kprobe], None, Some(None)),
            (vec![], None, Some(None)),
            (vec![], Some(kprobe), None),
        ] {
            let in_plan = identity.in_plan(&plan(contexts), &identity.of(RAW_TP, pinned));
            assert_eq!(in_plan.map(|(_, context)| context), found, "{pinned:?}");
        }
        assert_eq!(identity.in_plan(&plan(vec![kprobe]), INCOMPLETE), None);
    }
}
