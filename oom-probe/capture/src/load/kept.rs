//! What of the programs outlives whoever attached them, on kernels that have no links for some.

use super::attach::names_of_mark;
use crate::plan::Mark;

/// What goes on when the daemon is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it.
    All,
    /// The hooks on marks and signals, but not those at begin and end of an OOM event.
    WithoutContext,
    /// Nothing that would tell of kills. Marks alone do not: the hook on signals tells a kill from the
    /// mark of a process that was dying anyway.
    Nothing,
}

impl Kept {
    /// Of that rung's programs and those that give it context, where `lost` have no link.
    pub(super) fn of<'a>(rung: Mark, lost: impl IntoIterator<Item = &'a str>) -> Self {
        let (signal, mark) = names_of_mark(rung);
        let mut kept = Self::All;
        for program in lost {
            if program == mark || Some(program) == signal {
                return Self::Nothing;
            }
            kept = Self::WithoutContext;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{MarkHook, SignalHook};

    #[test]
    fn a_rung_is_kept_only_whole() {
        let raw_tp = Mark {
            hook: MarkHook::RawTp,
            signal: Some(SignalHook::RawTp),
        };
        let alone = Mark {
            signal: None,
            ..raw_tp
        };
        for (rung, lost, expected) in [
            (raw_tp, &[][..], Kept::All),
            // Kprobes are perf events, and those have links since 5.15 only.
            (
                raw_tp,
                &["end_kretprobe", "begin_kprobe"],
                Kept::WithoutContext,
            ),
            // So are the plain tracepoints, both of them: the one on signals is attached first.
            (raw_tp, &["signal_raw_tp", "mark_raw_tp"], Kept::Nothing),
            (raw_tp, &["signal_raw_tp"], Kept::Nothing),
            (raw_tp, &["begin_kprobe", "mark_raw_tp"], Kept::Nothing),
            (alone, &["mark_raw_tp"], Kept::Nothing),
            (alone, &["end_kretprobe"], Kept::WithoutContext),
        ] {
            let kept = Kept::of(rung, lost.iter().copied());
            assert_eq!(kept, expected, "{rung:?} without {lost:?}");
        }
    }
}
