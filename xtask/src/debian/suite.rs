//! The suites of Debian's archive that something here comes from.

/// A distribution suite the packages come from, and which archive of the mirror holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Debian 11.
    Bullseye,
    /// Debian 12.
    Bookworm,
    /// Security updates of Debian 12, which carry a newer kernel line beside the release's own.
    BookwormSecurity,
    /// Debian 13.
    Trixie,
    /// Newest kernels, built for Debian 13.
    TrixieBackports,
}

impl Suite {
    /// The suite's name in a sources list.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::BookwormSecurity => "bookworm-security",
            Self::Trixie => "trixie",
            Self::TrixieBackports => "trixie-backports",
        }
    }
}
