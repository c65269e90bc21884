//! Loads and attaches what the [plan](super::plan) proposes, rung by rung.

use std::cell::OnceCell;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{
        BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint, TracePoint,
    },
};
use bytemuck::bytes_of;
use oom_probe_common::{
    LEDGER_MAP, OFFSETS_GLOBAL, RING_MAP, SETTINGS_GLOBAL,
    offsets::{Offsets, Settings},
};

use super::{
    facts::Facts,
    ledger::Ledger,
    plan::{Candidate, ContextHook, Mark, MarkHook, Plan, SignalHook},
    ring::{Records, Ring, RingSize},
    takeover::Takeover,
};
use crate::memory;

/// The kernel programs; empty where they were not built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oom-probe.o"));

const MARK_VICTIM: &str = "mark_victim";
const SIGNAL_GENERATE: &str = "signal_generate";
const OOM_KILL_PROCESS: &str = "oom_kill_process";

/// Capture is on until this is dropped.
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
    /// The program of the hook on signals, if that is attached.
    pub signal: Option<OwnedFd>,
    /// Since when kills are captured.
    pub takeover: Takeover,
    /// The programs and their links.
    pub hooks: Hooks,
}

/// Keeps the hooks attached; they go when it is dropped.
pub struct Hooks(#[expect(dead_code, reason = "owned for its drop")] Ebpf);

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

/// The kernel's BTF as aya wants it for hooks that are attached by type: 20 MB and some ms, spent
/// only where such a hook is tried, and once.
#[derive(Default)]
struct KernelBtf(OnceCell<Btf>);

impl KernelBtf {
    fn get(&self) -> Result<&Btf, RungError> {
        if let Some(btf) = self.0.get() {
            return Ok(btf);
        }
        let btf = Btf::from_sys_fs()?;
        Ok(self.0.get_or_init(|| btf))
    }
}

/// Why one rung was refused.
#[derive(Debug, thiserror::Error)]
enum RungError {
    #[error("{0}")]
    Load(#[from] aya::EbpfError),
    #[error("{program}: {source}")]
    Program {
        program: &'static str,
        source: ProgramError,
    },
    #[error("the object has no program {0}")]
    Missing(&'static str),
    #[error("the object has no map {0}")]
    NoMap(&'static str),
    #[error("cannot map the ledger: {0}")]
    Ledger(#[source] std::io::Error),
    #[error("cannot map the ring: {0}")]
    Ring(#[source] std::io::Error),
    #[error("cannot duplicate a descriptor: {0}")]
    Descriptor(#[source] std::io::Error),
    #[error("BTF: {0}")]
    Btf(#[from] aya::BtfError),
}

/// Turns capture on by the best rung that the kernel takes.
///
/// # Errors
/// When none is possible, or the kernel refuses all that are.
pub fn arm(facts: &Facts, plan: &Plan, ring: RingSize) -> Result<Armed, ArmError> {
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
    let mut refused = Vec::new();
    let btf = KernelBtf::default();
    for candidate in plan.usable_marks() {
        match attach_all(candidate, plan, offsets, ring, &btf, &mut refused) {
            Ok(armed) => return Ok(Armed { refused, ..armed }),
            Err(error) => refused.push(format!("{}: {}", candidate.hook.describe(), brief(&error))),
        }
    }
    Err(ArmError::Refused(refused.join("; ")))
}

/// The verifier's log is long; its last line says what was wrong.
fn brief(error: &RungError) -> String {
    match error {
        RungError::Program {
            program,
            source:
                ProgramError::LoadError {
                    io_error,
                    verifier_log,
                },
        } => {
            let log = verifier_log.to_string();

            let last = log
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty() && !line.starts_with("processed "));
            match last {
                Some(line) => format!("{program}: {io_error} ({})", line.trim()),
                None => format!("{program}: {io_error}"),
            }
        }
        RungError::Program { program, source } => format!("{program}: {}", chain(source)),
        other => chain(other),
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn attach_all(
    candidate: &Candidate<Mark>,
    plan: &Plan,
    offsets: Offsets,
    ring: RingSize,
    btf: &KernelBtf,
    refused: &mut Vec<String>,
) -> Result<Armed, RungError> {
    let settings = candidate.hook.settings();
    let mut programs = load(&offsets, &settings, ring)?;
    // The signal comes before its mark: attached first, it misses none.
    let signal = match candidate.hook.signal {
        Some(SignalHook::RawTp) => {
            raw_tp(&mut programs, "signal_raw_tp", SIGNAL_GENERATE)?;
            Some("signal_raw_tp")
        }
        Some(SignalHook::TpBtf) => {
            tp_btf(&mut programs, btf, "signal_tp_btf", SIGNAL_GENERATE)?;
            Some("signal_tp_btf")
        }
        None => None,
    };
    match candidate.hook.hook {
        MarkHook::RawTp => raw_tp(&mut programs, "mark_raw_tp", MARK_VICTIM)?,
        MarkHook::TpBtf(_) => tp_btf(&mut programs, btf, "mark_tp_btf", MARK_VICTIM)?,
        MarkHook::SignalRawTp | MarkHook::SignalTpBtf(_) => {
            raw_tp(&mut programs, "mark_raw_tp_pid", MARK_VICTIM)?;
        }
        MarkHook::Tracepoint { .. } => tracepoint(&mut programs, "mark_tracepoint", MARK_VICTIM)?,
    }
    let signal = signal.map(|name| program_fd(&programs, name)).transpose()?;
    // While the programs' maps are still theirs: loading one more refers to them.
    let context = attach_contexts(&mut programs, plan, btf, refused);
    let Some(Map::RingBuf(ring)) = programs.take_map(RING_MAP) else {
        return Err(RungError::NoMap(RING_MAP));
    };
    let ring = Ring::map(&ring).map_err(RungError::Ring)?;
    let Some(Map::Array(ledger)) = programs.take_map(LEDGER_MAP) else {
        return Err(RungError::NoMap(LEDGER_MAP));
    };
    Ok(Armed {
        mark: candidate.clone(),
        context,
        refused: Vec::new(),
        records: Records::new(Vec::new(), ring),
        ledger: Ledger::map(&ledger).map_err(RungError::Ledger)?,
        signal,
        takeover: Takeover::began_now(),
        hooks: Hooks(programs),
    })
}

fn load(offsets: &Offsets, settings: &Settings, ring: RingSize) -> Result<Ebpf, RungError> {
    let mut loader = EbpfLoader::new();
    // It has read the kernel's BTF, 20 MB in parsed form. The object has no relocations.
    loader.btf(None);
    memory::give_back();
    Ok(loader
        .override_global(OFFSETS_GLOBAL, bytes_of(offsets), true)
        .override_global(SETTINGS_GLOBAL, bytes_of(settings), true)
        .map_max_entries(RING_MAP, ring.bytes())
        .load(OBJECT)?)
}

/// Adds begin and end of OOM events where the kernel takes one of the hooks for it.
fn attach_contexts(
    programs: &mut Ebpf,
    plan: &Plan,
    btf: &KernelBtf,
    refused: &mut Vec<String>,
) -> Option<ContextHook> {
    plan.usable_contexts()
        .map(|candidate| candidate.hook)
        .find(|hook| {
            attach_context(programs, btf, *hook)
                .inspect_err(|error| {
                    refused.push(format!("{}: {}", hook.describe(), brief(error)));
                })
                .is_ok()
        })
}

fn attach_context(
    programs: &mut Ebpf,
    btf: &KernelBtf,
    hook: ContextHook,
) -> Result<(), RungError> {
    // The end comes first: an end without a begin is nothing, a begin without an end never closes.
    match hook {
        ContextHook::Fentry | ContextHook::FentryDirect => {
            let begin = match hook {
                ContextHook::FentryDirect => "begin_fentry_direct",
                _ => "begin_fentry",
            };
            let btf = btf.get()?;
            let end: &mut FExit = get(programs, "end_fexit")?;
            attach("end_fexit", || {
                end.load(OOM_KILL_PROCESS, btf)?;
                end.attach().map(drop)
            })?;
            let entry: &mut FEntry = get(programs, begin)?;
            attach(begin, || {
                entry.load(OOM_KILL_PROCESS, btf)?;
                entry.attach().map(drop)
            })
            .inspect_err(|_| detach::<FExit>(programs, "end_fexit"))
        }
        ContextHook::Kprobe => {
            kprobe(programs, "end_kretprobe")?;
            kprobe(programs, "begin_kprobe")
                .inspect_err(|_| detach::<KProbe>(programs, "end_kretprobe"))
        }
    }
}

/// Takes a program out of the kernel whose companion was refused.
fn detach<P: Unload>(programs: &mut Ebpf, name: &'static str)
where
    for<'a> &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    if let Ok(program) = get::<P>(programs, name)
        && let Err(error) = program.unload()
    {
        tracing::warn!("cannot unload {name}: {error}");
    }
}

/// A program that can be unloaded, and its links with it.
trait Unload {
    fn unload(&mut self) -> Result<(), ProgramError>;
}

impl Unload for FExit {
    fn unload(&mut self) -> Result<(), ProgramError> {
        Self::unload(self)
    }
}

impl Unload for KProbe {
    fn unload(&mut self) -> Result<(), ProgramError> {
        Self::unload(self)
    }
}

fn raw_tp(programs: &mut Ebpf, name: &'static str, tracepoint: &str) -> Result<(), RungError> {
    let program: &mut RawTracePoint = get(programs, name)?;
    attach(name, || {
        program.load()?;
        program.attach(tracepoint).map(drop)
    })
}

fn tp_btf(
    programs: &mut Ebpf,
    btf: &KernelBtf,
    name: &'static str,
    tracepoint: &str,
) -> Result<(), RungError> {
    let btf = btf.get()?;
    let program: &mut BtfTracePoint = get(programs, name)?;
    attach(name, || {
        program.load(tracepoint, btf)?;
        program.attach().map(drop)
    })
}

fn tracepoint(programs: &mut Ebpf, name: &'static str, tracepoint: &str) -> Result<(), RungError> {
    let program: &mut TracePoint = get(programs, name)?;
    attach(name, || {
        program.load()?;
        program.attach("oom", tracepoint).map(drop)
    })
}

fn kprobe(programs: &mut Ebpf, name: &'static str) -> Result<(), RungError> {
    let program: &mut KProbe = get(programs, name)?;
    attach(name, || {
        program.load()?;
        program.attach(OOM_KILL_PROCESS, 0).map(drop)
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

fn get<'a, P>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, RungError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = programs.program_mut(name).ok_or(RungError::Missing(name))?;
    program.try_into().map_err(|source| RungError::Program {
        program: name,
        source,
    })
}

fn attach(
    program: &'static str,
    attach: impl FnOnce() -> Result<(), ProgramError>,
) -> Result<(), RungError> {
    attach().map_err(|source| RungError::Program { program, source })
}
