//! The ring buffer, read so that a record leaves it only once it has been dealt with.
//!
//! What is read stays in the ring until [`Ring::release`]: a daemon that dies in between leaves it
//! to the next one.

mod buffer;
mod memory;
mod records;
mod size;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

pub use buffer::{Item, Ring, RingState};
pub use records::Records;
pub use size::RingSize;

/// Tells when the ring has something to read.
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Watches that ring.
    ///
    /// # Errors
    /// When its descriptor cannot be duplicated or watched.
    pub fn new(ring: &impl AsFd) -> io::Result<Self> {
        let fd = ring.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is owned by the AsyncFd and nobody else closes it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(io::Error::from)?;
        Ok(Self(fd))
    }

    /// Waits until a record arrives, then reads everything with `drain`. Readiness is cleared only
    /// after that: the kernel signals it by edges.
    ///
    /// # Errors
    /// When the descriptor can no longer be watched.
    pub async fn next(&self, drain: impl FnOnce()) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        ready.clear_ready();
        drain();
        Ok(())
    }
}
