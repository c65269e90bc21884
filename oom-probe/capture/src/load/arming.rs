//! Loads, attaches and pins new programs, and lets them record.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use aya::{Ebpf, maps::Map};
use bytemuck::bytes_of;
use oom_probe_common::{
    LEDGER_MAP, OFFSETS_GLOBAL, RING_MAP, SETTINGS_GLOBAL,
    offsets::{Offsets, Settings},
};

use super::{
    armed::{Armed, Hooks, Recorded, checkpoint, silence},
    attach,
    error::{ArmError, RungError},
    identity::{self, Identity},
    kept::Kept,
    kernel_btf::KernelBtf,
    loader,
    options::Options,
    program::Attached,
};
use crate::{
    accounting::{
        checkpoint::Checkpoint,
        counters::{Baseline, Ledger},
        reconciler::read_together,
    },
    handover::{Capture, Takeover},
    pin::{self, Build, Generation, PinDir, Pins, Recording},
    plan::{Candidate, ContextHook, Mark, Plan},
    ring::{Records, Ring},
    sys::clock::boottime_ns,
};

/// What is the same for every rung.
pub(super) struct Arming<'a> {
    pub(super) object: &'static [u8],
    pub(super) plan: &'a Plan,
    pub(super) offsets: Offsets,
    pub(super) options: Options,
    pub(super) identity: Identity,
    pub(super) btf: KernelBtf,
    pub(super) vmstat: &'a dyn Fn() -> io::Result<u64>,
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
    /// Arms by the best rung that the kernel takes. `found` are programs that record until then,
    /// `left` generations that record no more, `dir` is where to pin.
    pub(super) fn arm(
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
            recorded: Recorded {
                rings: Records::new(rings, ring, Instant::now()),
                checkpoint,
                baseline: ledger.baseline(),
                counters: ledger,
                signal,
                handover: Takeover { at_ns, capture },
            },
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
        tracing::debug!("start: maps made");
        #[cfg(feature = "ebpf-log")]
        super::messages::listen(&mut programs);
        let mut attached = attach::mark(&mut programs, &self.btf, candidate.hook)?;
        let (signal, _) = attach::names_of_mark(candidate.hook);
        let signal_program = signal.map(|name| program_fd(&programs, name)).transpose()?;
        // While the programs' maps are still theirs: loading one more refers to them.
        let context = self.context(&mut programs, &mut attached, refused);
        tracing::debug!("start: context tried");
        let Some(Map::RingBuf(ring)) = programs.take_map(RING_MAP) else {
            return Err(RungError::NoMap(RING_MAP));
        };
        let Some(Map::Array(ledger)) = programs.take_map(LEDGER_MAP) else {
            return Err(RungError::NoMap(LEDGER_MAP));
        };
        let lost = attached.iter().filter(|program| program.link.is_none());
        let kept = Kept::of(candidate.hook, lost.map(|program| program.program));
        let pinned = match (place, kept) {
            (None, _) => Ok(None),
            (Some(_), Kept::Nothing) => Err(format!(
                "this kernel keeps {} no longer than whoever attached it",
                candidate.hook.describe()
            )),
            (Some((_, generation)), Kept::All | Kept::WithoutContext) => {
                let identity = if kept == Kept::All {
                    self.identity.of(candidate.hook, context)
                } else {
                    tracing::warn!(
                        "kills while no daemon runs come without {}: this kernel keeps that no \
                         longer than whoever attached it",
                        context.map_or("context", ContextHook::describe)
                    );
                    identity::INCOMPLETE.to_owned()
                };
                let build = Build {
                    identity,
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
        let mut loader =
            loader::without_kernel_btf(self.options.open_nothing).map_err(RungError::OpenFiles)?;
        // Not before: there may be no thread then that is yet to take its name.
        self.btf.begin();
        loader
            .override_global(OFFSETS_GLOBAL, bytes_of(&self.offsets), true)
            .override_global(SETTINGS_GLOBAL, bytes_of(settings), true)
            .map_max_entries(RING_MAP, self.options.ring.bytes());
        if let Some((dir, generation)) = place {
            // A ledger that is there was looked at: it is one.
            loader
                .map_pin_path(LEDGER_MAP, dir.ledger())
                .map_pin_path(RING_MAP, generation.ring());
        }
        #[cfg(feature = "ebpf-log")]
        super::messages::prepare(&mut loader);
        Ok(loader.load(self.object)?)
    }

    /// Adds begin and end of OOM events where the kernel takes one of the hooks for it.
    fn context(
        &self,
        programs: &mut Ebpf,
        attached: &mut Vec<Attached>,
        refused: &mut Vec<String>,
    ) -> Option<ContextHook> {
        let mut told = Vec::new();
        for candidate in self.plan.usable_contexts() {
            match attach::context(programs, &self.btf, candidate.hook) {
                Ok(both) => {
                    attached.extend(both);
                    return Some(candidate.hook);
                }
                Err(error) => {
                    // Two that begin alike fail alike.
                    let why = error.brief();
                    if !told.contains(&why) {
                        refused.push(format!("{}: {why}", candidate.hook.describe()));
                        told.push(why);
                    }
                }
            }
        }
        None
    }
}

/// A ledger that is not to be gone on with.
fn forget_ledger(dir: &PinDir) {
    match fs::remove_file(dir.ledger()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove an old ledger: {error}");
        }
        _ => {}
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
