//! From the bytes of a ring item to a record, with every length checked.
//!
//! The ring may be written by programs of another build (pinned ones outlive their daemon), so
//! nothing is taken on trust: what does not fit is an error, and the caller counts it and goes on.

pub mod encode;

use bytemuck::{AnyBitPattern, pod_read_unaligned};
use oom_probe_common::{
    ABI_VERSION,
    record::{Body, Domain, Header, Level, MAX_LEVELS, NAME_MAX, Target, kind},
};

/// A record of the ring.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What every record has.
    pub header: Header,
    /// What its kind tells.
    pub payload: Payload<'a>,
}

/// What a record of each kind tells.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// The kernel marked a victim.
    Mark(Task<'a>),
    /// The kernel marked a victim, and only its thread id is known.
    MarkTid(Target),
    /// The kernel sends SIGKILL.
    Signal(Target),
    /// The kernel sends SIGKILL, and no mark will tell more of the task.
    SignalWhole(Task<'a>),
    /// `oom_kill_process` is entered.
    Begin(Domain),
    /// `oom_kill_process` returns.
    End,
}

/// A task with the cgroup paths of itself and of its trigger.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The fixed part.
    pub body: Body,
    /// The path of the victim's cgroup.
    pub path: Levels<'a>,
    /// The path of the trigger's memory cgroup, empty when it is the victim's.
    pub trigger_path: Levels<'a>,
    /// The path of the cgroup of the victim's unit, where the memory controller has none for it.
    pub unit_path: Levels<'a>,
}

/// The levels of a cgroup path, leaf first. Checked when made, so that iterating cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Levels<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// One level of a cgroup path.
#[derive(Clone, Copy, Debug)]
pub struct PathLevel<'a> {
    /// Id and memory.
    pub level: Level,
    /// Name of the directory; empty for the root.
    pub name: &'a [u8],
}

/// Why a ring item is no record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Reject {
    /// It ends before its parts do.
    #[error("{got} bytes where at least {need} were expected")]
    Short {
        /// Bytes that the parts need.
        need: usize,
        /// Bytes that are there.
        got: usize,
    },
    /// Its header gives another length.
    #[error("a record of {header} bytes in an item of {item}")]
    Length {
        /// What the header says.
        header: u32,
        /// What the ring says.
        item: usize,
    },
    /// Written by programs of another release.
    #[error("version {0}, this build reads {ABI_VERSION}")]
    Version(u16),
    /// A kind that this version does not have.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// More levels or a longer name than the kernel side ever writes.
    #[error("a cgroup path out of bounds")]
    Path,
}

/// When the kernel marked a victim by an item that programs of any release wrote, `CLOCK_BOOTTIME`
/// in ns; `None` where it is not about a mark. So much is the same in every version.
#[must_use]
pub fn mark_of_any_version(item: &[u8]) -> Option<u64> {
    let (header, _) = split::<Header>(item).ok()?;
    matches!(header.kind, kind::MARK | kind::MARK_TID).then_some(header.time_ns)
}

/// Reads one item of the ring.
///
/// # Errors
/// When the item is not a record that this build writes.
pub fn decode(item: &[u8]) -> Result<Record<'_>, Reject> {
    let (header, rest) = split::<Header>(item)?;
    if header.version != ABI_VERSION {
        return Err(Reject::Version(header.version));
    }
    if header.len as usize != item.len() {
        return Err(Reject::Length {
            header: header.len,
            item: item.len(),
        });
    }
    let payload = match header.kind {
        kind::MARK => Payload::Mark(task(rest)?),
        kind::MARK_TID => Payload::MarkTid(split::<Target>(rest)?.0),
        kind::SIGNAL => Payload::Signal(split::<Target>(rest)?.0),
        kind::SIGNAL_WHOLE => Payload::SignalWhole(task(rest)?),
        kind::BEGIN => Payload::Begin(split::<Domain>(rest)?.0),
        kind::END => Payload::End,
        other => return Err(Reject::Kind(other)),
    };
    Ok(Record { header, payload })
}

fn task(bytes: &[u8]) -> Result<Task<'_>, Reject> {
    let (body, rest) = split::<Body>(bytes)?;
    let (path, rest) = Levels::split(rest, body.levels.into())?;
    let (trigger_path, rest) = Levels::split(rest, body.trigger_levels.into())?;
    let (unit_path, _) = Levels::split(rest, body.unit_levels.into())?;
    Ok(Task {
        body,
        path,
        trigger_path,
        unit_path,
    })
}

/// Takes a value off the front.
fn split<T: AnyBitPattern>(bytes: &[u8]) -> Result<(T, &[u8]), Reject> {
    let (value, rest) = bytes
        .split_at_checked(size_of::<T>())
        .ok_or(Reject::Short {
            need: size_of::<T>(),
            got: bytes.len(),
        })?;
    Ok((pod_read_unaligned(value), rest))
}

impl<'a> Levels<'a> {
    /// No level at all.
    pub const EMPTY: Self = Self {
        bytes: &[],
        count: 0,
    };

    /// Takes `count` levels off the front.
    fn split(bytes: &'a [u8], count: usize) -> Result<(Self, &'a [u8]), Reject> {
        if count > MAX_LEVELS {
            return Err(Reject::Path);
        }
        let mut rest = bytes;
        for _ in 0..count {
            (_, rest) = PathLevel::split(rest)?;
        }
        let bytes = &bytes[..bytes.len() - rest.len()];
        Ok((Self { bytes, count }, rest))
    }

    /// The levels, leaf first.
    pub fn iter(self) -> impl Iterator<Item = PathLevel<'a>> + Clone {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (level, after) = PathLevel::split(rest).ok()?;
            rest = after;
            Some(level)
        })
    }

    /// Which level stands for those that are left out.
    pub fn left_out(self) -> Option<usize> {
        self.iter().position(|at| at.level.skipped > 0)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }
}

impl<'a> PathLevel<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Reject> {
        let (level, rest) = split::<Level>(bytes)?;
        let len = usize::from(level.name_len);
        if len > NAME_MAX {
            return Err(Reject::Path);
        }
        let padded = len.next_multiple_of(8);
        let (name, rest) = rest.split_at_checked(padded).ok_or(Reject::Short {
            need: padded,
            got: rest.len(),
        })?;
        Ok((
            Self {
                level,
                name: &name[..len],
            },
            rest,
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::RecordBuilder;

    #[test]
    fn a_mark_comes_out_with_its_path_leaf_first() {
        let bytes = RecordBuilder::mark(100)
            .path(&["leaf", "parent", ""])
            .build();
        let record = decode(&bytes).unwrap();
        let Payload::Mark(task) = record.payload else {
            panic!("not a mark: {record:?}");
        };
        assert_eq!(task.body.victim.tgid, 100);
        let names: Vec<_> = task.path.iter().map(|level| level.name).collect();
        assert_eq!(names, [b"leaf".as_slice(), b"parent", b""]);
        assert!(task.trigger_path.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_rejected_with_the_reason() {
        let good = RecordBuilder::mark(100).path(&["leaf", ""]).build();
        let mut version = good.clone();
        version[0] = 99;
        let mut kind = good.clone();
        kind[2] = 77;
        let mut longer = good.clone();
        longer.push(0);
        for (bytes, want) in [
            (Vec::new(), Reject::Short { need: 24, got: 0 }),
            (version, Reject::Version(99)),
            (kind, Reject::Kind(77)),
            (
                longer,
                Reject::Length {
                    header: good.len() as u32,
                    item: good.len() + 1,
                },
            ),
        ] {
            assert_eq!(decode(&bytes).unwrap_err(), want);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0_usize..400, value: u8) {
            let mut bytes = RecordBuilder::mark(7).path(&["a", "b", "c", ""]).build();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(Record { payload: Payload::Mark(task), .. }) = decode(&bytes) {
                prop_assert_eq!(task.path.iter().count(), task.path.len());
            }
        }
    }
}
