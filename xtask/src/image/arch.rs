//! The architectures that images are made for, by everybody's name for them.

use std::env::consts;

use clap::ValueEnum;
use object::elf::{EM_AARCH64, EM_X86_64};

/// What an image's programs run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    /// That of this machine, where images are made for it.
    pub(crate) fn of_this_machine() -> Option<Self> {
        [Self::Amd64, Self::Arm64]
            .into_iter()
            .find(|arch| arch.triple().starts_with(consts::ARCH))
    }

    /// The compiler's name.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// `e_machine` of its programs.
    pub(super) fn machine(self) -> u16 {
        match self {
            Self::Amd64 => EM_X86_64,
            Self::Arm64 => EM_AARCH64,
        }
    }

    /// The image specification's name.
    pub(super) fn oci(self) -> oci_spec::image::Arch {
        match self {
            Self::Amd64 => oci_spec::image::Arch::Amd64,
            Self::Arm64 => oci_spec::image::Arch::ARM64,
        }
    }
}
