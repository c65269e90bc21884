//! Turns capture on: takes over the programs that an earlier daemon has pinned, or loads and
//! attaches what the [plan](super::plan) proposes, rung by rung.
//!
//! Programs record only while the ledger has their generation. So new ones are attached and pinned
//! first, in silence, and one store then makes them record and those before them cease: nothing
//! falls between the two, whenever this process dies. What both have seen, since the store came
//! between two programs on the same hook, has one kill id and is told once. The older ones come
//! first there (kernel/tracepoint.c `func_add`), so that none can miss what the other leaves.

mod arming;
mod attach;
mod error;
mod identity;
mod kept;
mod kernel_btf;
mod loader;
#[cfg(feature = "ebpf-log")]
mod messages;
mod tracepoint;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use aya::{Ebpf, programs::links::FdLink};
use oom_probe_common::{ABI_VERSION, offsets::Offsets};

use super::{
    pin::{self, Generation, PinDir, Pins, Recording, Silent},
    plan::{Candidate, ContextHook, Mark, Plan},
    ring::{Records, Ring, RingSize},
};
use crate::capture::{
    accounting::{checkpoint::Checkpoint, counters::Ledger, reconciler::Baseline},
    environment::Facts,
    handover::{Capture, Takeover},
};
use crate::sys::clock::boottime_ns;
use arming::Arming;
use identity::Identity;
use kernel_btf::KernelBtf;

/// The kernel programs; empty where they were not built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oom-probe.o"));

/// Capture is on until this is dropped, and longer where it is pinned.
pub struct Armed {
    /// The rung that victims come from.
    pub mark: Candidate<Mark>,
    /// What tells begin and end of an OOM event, if anything does.
    pub context: Option<ContextHook>,
    /// Rungs that looked possible but were refused, and why: one line each.
    pub refused: Vec<String>,
    /// The records: what waited of an earlier daemon's first.
    pub records: Records,
    /// The counts.
    pub ledger: Ledger,
    /// What earlier daemons have made of the records before those.
    pub checkpoint: Checkpoint,
    /// What vmstat said when the counts began; absent where it could not be read.
    pub baseline: Option<Baseline>,
    /// The program of the hook on signals, if that is attached.
    pub signal: Option<OwnedFd>,
    /// Since when kills are captured.
    pub takeover: Takeover,
    /// What goes on without this daemon; none where nothing does.
    pub pins: Option<Pins>,
    /// The programs and their links.
    pub hooks: Hooks,
}

/// Keeps the hooks attached; those that are not pinned go when it is dropped.
pub struct Hooks {
    _links: Vec<OwnedFd>,
    _own: Vec<FdLink>,
    /// Kept where the kernel has no links for some of the programs.
    _programs: Option<Ebpf>,
}

/// How to capture.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Room for records.
    pub ring: RingSize,
    /// The version that the programs write into each record. Another than this build's own is for
    /// playing another release.
    pub record_version: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring: RingSize::default(),
            record_version: ABI_VERSION,
        }
    }
}

/// Why capture could not be turned on. Each is one line with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// The binary was built without the eBPF toolchain.
    #[error(
        "this oom-probe was built without its kernel programs: build it with `cargo xtask build`"
    )]
    Stub,
    /// No rung of the ladder can work here.
    #[error("OOM kills cannot be captured here: {reason}{}", remedy.as_ref().map_or_else(String::new, |r| format!("; {r}")))]
    NoHook {
        /// Why.
        reason: String,
        /// What to do about it.
        remedy: Option<String>,
    },
    /// Every rung that looked possible was refused by the kernel.
    #[error("the kernel refuses every hook: {0}; `oom-probe doctor` tells more")]
    Refused(String),
}

/// Turns capture on by the best rung that the kernel takes, with pins where there is a directory
/// for them. `vmstat` reads the kernel's own count of kills.
///
/// # Errors
/// When none is possible, or the kernel refuses all that are.
pub fn arm(
    facts: &Facts,
    plan: &Plan,
    options: Options,
    pins: Option<PinDir>,
    vmstat: &dyn Fn() -> io::Result<u64>,
) -> Result<Armed, ArmError> {
    if OBJECT.is_empty() {
        return Err(ArmError::Stub);
    }
    if let Some(obstacle) = plan.refusal() {
        return Err(ArmError::NoHook {
            reason: obstacle.to_string(),
            remedy: obstacle.remedy(),
        });
    }
    let offsets = facts
        .btf
        .as_ref()
        .map_or(Offsets::ABSENT, |layout| layout.offsets);
    let identity = Identity::new(OBJECT, &offsets, options);
    let (mut found, mut left) = (None, Vec::new());
    let mut pins = pins;
    if let Some(dir) = pins.take() {
        (found, left) = look(&dir);
        let same = found
            .as_ref()
            .and_then(|recording| identity.in_plan(plan, &recording.build.identity));
        if let Some((mark, context)) = same
            && let Some(recording) = found.take()
        {
            return Ok(take_over(recording, mark, context, dir, left));
        }
        pins = Some(dir);
    }
    let arming = Arming {
        plan,
        offsets,
        options,
        identity,
        btf: KernelBtf::new(facts),
        vmstat,
    };
    arming.arm(found, left, pins)
}

/// A ledger that is not to be gone on with.
fn forget_ledger(dir: &PinDir) {
    match fs::remove_file(pin::ledger_path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove an old ledger: {error}");
        }
        _ => {}
    }
}

/// What is pinned: programs that record, and generations that do not. Says what is wrong with it.
fn look(dir: &PinDir) -> (Option<Recording>, Vec<Generation>) {
    let generations = Generation::all(dir.path()).unwrap_or_else(|error| {
        tracing::warn!("cannot look into {}: {error}", dir.path().display());
        Vec::new()
    });
    match Recording::find(dir, &generations) {
        Ok(recording) => {
            let mut left = generations;
            left.retain(|other| *other != recording.generation);
            (Some(recording), left)
        }
        Err(Silent::Nothing) => (None, Vec::new()),
        Err(Silent::Broken(why)) => {
            tracing::warn!(
                "what is pinned in {} does not record any more: {why}; arming anew, and kills \
                 since that happened may be missing",
                dir.path().display()
            );
            (None, generations)
        }
    }
}

/// Goes on with programs that are this build's own: nothing has to be loaded.
fn take_over(
    recording: Recording,
    mark: Candidate<Mark>,
    context: Option<ContextHook>,
    dir: PinDir,
    left: Vec<Generation>,
) -> Armed {
    let Recording {
        generation,
        build,
        ledger,
        ring,
        links,
        signal,
    } = recording;
    tracing::info!(
        "taking over what an earlier daemon pinned in {}",
        dir.path().display()
    );
    let rings = silence(&left);
    let checkpoint = checkpoint(&ledger, rings.first().unwrap_or(&ring));
    Armed {
        mark,
        context,
        refused: Vec::new(),
        records: Records::new(rings, ring, Instant::now()),
        checkpoint,
        baseline: ledger.baseline(),
        ledger,
        signal,
        takeover: Takeover {
            at_ns: boottime_ns(),
            capture: Capture::Continued,
        },
        pins: Some(Pins::new(dir, &generation, &build, left)),
        hooks: Hooks {
            _links: links,
            _own: Vec::new(),
            _programs: None,
        },
    }
}

fn checkpoint(ledger: &Ledger, first: &Ring) -> Checkpoint {
    ledger
        .checkpoint(first.released() as u64)
        .unwrap_or_default()
}

/// Takes programs that record no more out of the kernel; returns their rings.
fn silence(left: &[Generation]) -> Vec<Ring> {
    let rings = left.iter().filter_map(|generation| {
        if let Err(error) = generation.detach() {
            tracing::warn!("cannot detach replaced programs: {error}");
        }
        match pin::ring_of(&generation.ring()) {
            Ok(ring) => Some(ring),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("the ring of replaced programs is lost: {error}");
                None
            }
        }
    });
    rings.collect()
}
