//! Turns capture on: takes over the programs that an earlier daemon has pinned, or loads and
//! attaches what the [plan](super::plan) proposes, rung by rung.
//!
//! Programs record only while the ledger has their generation. So new ones are attached and pinned
//! first, in silence, and one store then makes them record and those before them cease: nothing
//! falls between the two, whenever this process dies. What both have seen, since the store came
//! between two programs on the same hook, has one kill id and is told once. The older ones come
//! first there (kernel/tracepoint.c `func_add`), so that none can miss what the other leaves.

mod attach;
mod error;
mod identity;

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::{Ebpf, EbpfLoader, maps::Map, programs::links::FdLink};
use bytemuck::bytes_of;
use oom_probe_common::{
    ABI_VERSION, LEDGER_MAP, OFFSETS_GLOBAL, RING_MAP, SETTINGS_GLOBAL,
    offsets::{Offsets, Settings},
};

use super::{
    checkpoint::Checkpoint,
    facts::Facts,
    ledger::Ledger,
    pin::{self, Build, Generation, PinDir, Pins, Recording, Silent},
    plan::{Candidate, ContextHook, Mark, Plan},
    referee::{Baseline, read_together},
    ring::{Records, Ring, RingSize},
    takeover::{Capture, Takeover, boottime_ns},
};
use crate::memory;
use attach::{Attached, KernelBtf};
use error::RungError;
use identity::Identity;

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
        btf: KernelBtf::default(),
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
                 since that happened are not known",
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
        records: Records::new(rings, ring),
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

/// What is the same for every rung.
struct Arming<'a> {
    plan: &'a Plan,
    offsets: Offsets,
    options: Options,
    identity: Identity,
    btf: KernelBtf,
    vmstat: &'a dyn Fn() -> io::Result<u64>,
}

/// Programs that are attached and do not record yet.
struct Ready {
    mark: Candidate<Mark>,
    context: Option<ContextHook>,
    programs: Ebpf,
    attached: Vec<Attached>,
    ring: Ring,
    ledger: Ledger,
    signal: Option<OwnedFd>,
    /// What was pinned, or why nothing can be.
    pinned: Result<Option<Build>, String>,
}

impl Arming<'_> {
    fn arm(
        &self,
        found: Option<Recording>,
        mut left: Vec<Generation>,
        dir: Option<PinDir>,
    ) -> Result<Armed, ArmError> {
        // Whatever was pinned before has a smaller number.
        let number = boottime_ns();
        let generation = dir.as_ref().map(|dir| Generation::new(dir.path(), number));
        if let (Some(dir), None) = (&dir, &found) {
            forget_ledger(dir);
        }
        let mut refused = Vec::new();
        let mut ready = None;
        for candidate in self.plan.usable_marks() {
            let place = dir.as_ref().zip(generation.as_ref());
            match self.attach_all(candidate, number, place, &mut refused) {
                Ok(attached) => {
                    ready = Some(attached);
                    break;
                }
                Err(error) => {
                    if let Some(generation) = &generation {
                        pin::remove(std::slice::from_ref(generation));
                    }
                    if error.is_of_pinning() {
                        tracing::warn!("kills while no daemon runs are lost: {}", error.brief());
                        return self.arm(None, Vec::new(), None);
                    }
                    refused.push(format!("{}: {}", candidate.hook.describe(), error.brief()));
                }
            }
        }
        let Some(ready) = ready else {
            return Err(ArmError::Refused(refused.join("; ")));
        };
        let Ready {
            mark,
            context,
            programs,
            attached,
            ring,
            ledger,
            signal,
            pinned,
        } = ready;
        let capture = match &found {
            Some(_) => Capture::Continued,
            None => Capture::Began,
        };
        let before = (self.vmstat)().ok();
        if capture == Capture::Began {
            ledger.set_up();
            ledger.set_baseline(before.map(|kills| Baseline::between(kills, kills)).as_ref());
        }
        let at_ns = boottime_ns();
        ledger.set_generation(number);
        if let Some(recording) = found {
            tracing::info!("the programs of another build were replaced, without a gap");
            left.push(recording.generation);
            left.sort_by_key(|generation| generation.number);
        }
        let rings = silence(&left);
        let checkpoint = match capture {
            Capture::Continued => checkpoint(&ledger, rings.first().unwrap_or(&ring)),
            Capture::Began => {
                let (reading, after) = read_together(&ledger, self.vmstat);
                let baseline = before.zip(after);
                let baseline = baseline.map(|(from, to)| Baseline::new(from, to, &reading));
                ledger.set_baseline(baseline.as_ref());
                Checkpoint::default()
            }
        };
        let all_links = attached.iter().all(|program| program.link.is_some());
        let pins = match (pinned, dir, generation) {
            (Ok(Some(build)), Some(dir), Some(generation)) => {
                Some(Pins::new(dir, &generation, &build, left))
            }
            (Err(why), Some(dir), _) => {
                tracing::warn!("kills while no daemon runs are lost: {why}");
                if let Err(error) = dir.remove() {
                    tracing::warn!("cannot remove pins that are of no use: {error}");
                }
                None
            }
            _ => None,
        };
        Ok(Armed {
            mark,
            context,
            refused,
            records: Records::new(rings, ring),
            checkpoint,
            baseline: ledger.baseline(),
            ledger,
            signal,
            takeover: Takeover { at_ns, capture },
            pins,
            hooks: Hooks {
                _links: Vec::new(),
                _own: attached.into_iter().filter_map(|p| p.link).collect(),
                _programs: (!all_links).then_some(programs),
            },
        })
    }

    fn attach_all(
        &self,
        candidate: &Candidate<Mark>,
        number: u64,
        place: Option<(&PinDir, &Generation)>,
        refused: &mut Vec<String>,
    ) -> Result<Ready, RungError> {
        if let Some((_, generation)) = place {
            generation.create().map_err(RungError::Pin)?;
        }
        let settings = Settings {
            version: self.options.record_version.into(),
            generation: number,
            ..candidate.hook.settings()
        };
        let mut programs = self.load(&settings, place)?;
        let mut attached = attach::mark(&mut programs, &self.btf, candidate.hook)?;
        let (signal, mark) = attach::names_of_mark(candidate.hook);
        let signal_program = signal.map(|name| program_fd(&programs, name)).transpose()?;
        // While the programs' maps are still theirs: loading one more refers to them.
        let context = self.context(&mut programs, &mut attached, refused);
        let Some(Map::RingBuf(ring)) = programs.take_map(RING_MAP) else {
            return Err(RungError::NoMap(RING_MAP));
        };
        let Some(Map::Array(ledger)) = programs.take_map(LEDGER_MAP) else {
            return Err(RungError::NoMap(LEDGER_MAP));
        };
        let lost = attached.iter().find(|program| program.link.is_none());
        let pinned = match (place, lost.map(|program| program.program)) {
            (None, _) => Ok(None),
            (Some(_), Some(program)) if program == mark => Err(format!(
                "this kernel keeps {} no longer than whoever attached it",
                candidate.hook.describe()
            )),
            (Some((_, generation)), lost) => {
                if lost.is_some() {
                    tracing::warn!(
                        "kills while no daemon runs come without {}: this kernel keeps that no \
                         longer than whoever attached it",
                        context.map_or("context", ContextHook::describe)
                    );
                }
                let build = Build {
                    identity: match lost {
                        None => self.identity.of(candidate.hook, context),
                        Some(_) => identity::INCOMPLETE.to_owned(),
                    },
                    programs: pin_links(&mut attached, generation)?,
                };
                if let Some(name) = signal {
                    pin_program(&mut programs, name, generation)?;
                }
                generation.complete(&build).map_err(RungError::Pin)?;
                Ok(Some(build))
            }
        };
        Ok(Ready {
            mark: candidate.clone(),
            context,
            programs,
            attached,
            ring: Ring::map(&ring).map_err(RungError::Ring)?,
            ledger: Ledger::map(&ledger).map_err(RungError::Ledger)?,
            signal: signal_program,
            pinned,
        })
    }

    fn load(
        &self,
        settings: &Settings,
        place: Option<(&PinDir, &Generation)>,
    ) -> Result<Ebpf, RungError> {
        let mut loader = EbpfLoader::new();
        // It has read the kernel's BTF, 20 MB in parsed form. The object has no relocations.
        loader.btf(None);
        memory::give_back();
        loader
            .override_global(OFFSETS_GLOBAL, bytes_of(&self.offsets), true)
            .override_global(SETTINGS_GLOBAL, bytes_of(settings), true)
            .map_max_entries(RING_MAP, self.options.ring.bytes());
        if let Some((dir, generation)) = place {
            // A ledger that is there was looked at: it is one.
            loader
                .map_pin_path(LEDGER_MAP, pin::ledger_path(dir))
                .map_pin_path(RING_MAP, generation.ring());
        }
        Ok(loader.load(OBJECT)?)
    }

    /// Adds begin and end of OOM events where the kernel takes one of the hooks for it.
    fn context(
        &self,
        programs: &mut Ebpf,
        attached: &mut Vec<Attached>,
        refused: &mut Vec<String>,
    ) -> Option<ContextHook> {
        for candidate in self.plan.usable_contexts() {
            match attach::context(programs, &self.btf, candidate.hook) {
                Ok(both) => {
                    attached.extend(both);
                    return Some(candidate.hook);
                }
                Err(error) => {
                    refused.push(format!("{}: {}", candidate.hook.describe(), error.brief()));
                }
            }
        }
        None
    }
}

/// Pins the links that can be; returns whose they are.
fn pin_links(attached: &mut [Attached], generation: &Generation) -> Result<Vec<String>, RungError> {
    let mut pinned = Vec::new();
    for Attached { program, link } in attached {
        if let Some(unpinned) = link.take() {
            let done = unpinned.pin(generation.link(program));
            let source = |source| RungError::PinProgram { program, source };
            *link = Some(done.map_err(source)?.into());
            pinned.push((*program).to_owned());
        }
    }
    Ok(pinned)
}

fn pin_program(
    programs: &mut Ebpf,
    name: &'static str,
    generation: &Generation,
) -> Result<(), RungError> {
    let program = programs.program_mut(name).ok_or(RungError::Missing(name))?;
    program
        .pin(generation.signal_program())
        .map_err(|source| RungError::PinProgram {
            program: name,
            source,
        })
}

fn program_fd(programs: &Ebpf, name: &'static str) -> Result<OwnedFd, RungError> {
    let program = programs.program(name).ok_or(RungError::Missing(name))?;
    let fd = program.fd().map_err(|source| RungError::Program {
        program: name,
        source,
    })?;
    fd.as_fd()
        .try_clone_to_owned()
        .map_err(RungError::Descriptor)
}
