//! What can be wrong, with a rung and with all of them, in one line.

use aya::{maps::MapError, programs::ProgramError};

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

/// Why one rung was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum RungError {
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
    #[error("cannot set the limit on open files back: {0}")]
    OpenFiles(#[source] std::io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    #[error("BTF: {0}")]
    Btf(#[from] aya::BtfError),
    #[error("cannot pin: {0}")]
    Pin(#[source] std::io::Error),
    #[error("cannot pin {program}: {source}")]
    PinProgram {
        program: &'static str,
        source: aya::pin::PinError,
    },
}

impl RungError {
    /// Whether the programs are fine and only cannot be pinned.
    pub(super) fn is_of_pinning(&self) -> bool {
        matches!(
            self,
            Self::Pin(_)
                | Self::PinProgram { .. }
                | Self::Load(aya::EbpfError::MapError(MapError::PinError { .. }))
        )
    }

    /// One line. The verifier's log is long; its last line says what was wrong.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Program {
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
            Self::Program { program, source } => format!("{program}: {}", chain(source)),
            other => chain(other),
        }
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
