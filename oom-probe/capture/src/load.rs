//! Turns capture on: takes over the programs that an earlier daemon has pinned, or loads and
//! attaches what the [plan](super::plan) proposes, rung by rung.
//!
//! Programs record only while the ledger has their generation. So new ones are attached and pinned
//! first, in silence, and one store then makes them record and those before them cease: nothing
//! falls between the two, whenever this process dies. What both have seen, since the store came
//! between two programs on the same hook, has one kill id and is told once. The older ones come
//! first there (kernel/tracepoint.c `func_add`), so that none can miss what the other leaves.

mod armed;
mod arming;
mod attach;
mod error;
mod identity;
mod kept;
mod kernel_btf;
mod loader;
#[cfg(feature = "ebpf-log")]
mod messages;
mod options;
mod program;
mod tracepoint;

use std::io;
use std::time::Instant;

use oom_probe_common::offsets::Offsets;

use super::{
    environment::Facts,
    handover::{Capture, Takeover},
    pin::{Generation, PinDir, Pins, Recording, Silent},
    plan::{Candidate, ContextHook, Mark, Plan},
    ring::Records,
};
use crate::sys::clock::boottime_ns;
pub use armed::{Armed, Hooks, Recorded};
use armed::{checkpoint, silence};
use arming::Arming;
pub use error::ArmError;
use identity::Identity;
use kernel_btf::KernelBtf;
pub use options::Options;

/// The kernel programs; empty where they were not built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oom-probe.o"));

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
        object: OBJECT,
        plan,
        offsets,
        options,
        identity,
        btf: KernelBtf::new(facts),
        vmstat,
    };
    arming.arm(found, left, pins)
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
        recorded: Recorded {
            rings: Records::new(rings, ring, Instant::now()),
            checkpoint,
            baseline: ledger.baseline(),
            counters: ledger,
            signal,
            handover: Takeover {
                at_ns: boottime_ns(),
                capture: Capture::Continued,
            },
        },
        pins: Some(Pins::new(dir, &generation, &build, left)),
        hooks: Hooks {
            _links: links,
            _own: Vec::new(),
            _programs: None,
        },
    }
}
