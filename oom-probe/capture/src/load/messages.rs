//! What the kernel programs say themselves, in the daemon's log: with the feature `ebpf-log` alone.

use std::io;

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
};
use tracing::level_filters::LevelFilter;

/// Lets programs that are yet to load say what the daemon's own level shows and no more, since each
/// message costs the kernel time.
pub(super) fn prepare(loader: &mut EbpfLoader<'_>) {
    // `aya_log_common::Level`, by the byte that the programs compare with; 0 lets nothing pass.
    let level: &'static u8 = match LevelFilter::current().into_level() {
        None => &0,
        Some(tracing::Level::ERROR) => &1,
        Some(tracing::Level::WARN) => &2,
        Some(tracing::Level::INFO) => &3,
        Some(tracing::Level::DEBUG) => &4,
        Some(tracing::Level::TRACE) => &5,
    };
    loader.override_global(aya_log::LEVEL, level, true);
}

/// Passes on what these programs say from now on, beside whatever else this runtime does; without
/// one nobody does. Those of an earlier daemon, taken over as they run, are not heard: their ring
/// went with it.
pub(super) fn listen(programs: &mut Ebpf) {
    if Handle::try_current().is_err() {
        return;
    }
    let readable = EbpfLogger::init_with_logger(programs, Diagnostics)
        .map_err(io::Error::other)
        .and_then(|logger| {
            // SAFETY: the descriptor is that of the ring, which the logger owns and never exchanges.
            unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
                .map_err(io::Error::from)
        });
    match readable {
        Ok(readable) => drop(tokio::spawn(pass_on(readable))),
        Err(error) => tracing::warn!("the kernel programs are not heard: {error}"),
    }
}

async fn pass_on(mut messages: AsyncFd<EbpfLogger<Diagnostics>>) {
    // An error means that the runtime ends.
    while let Ok(mut ready) = messages.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}

/// The daemon's diagnostics, as a logger of the crate that messages come through.
struct Diagnostics;

impl Log for Diagnostics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let said = record.args();
        match record.level() {
            Level::Error => tracing::error!("kernel programs: {said}"),
            Level::Warn => tracing::warn!("kernel programs: {said}"),
            Level::Info => tracing::info!("kernel programs: {said}"),
            Level::Debug => tracing::debug!("kernel programs: {said}"),
            Level::Trace => tracing::trace!("kernel programs: {said}"),
        }
    }

    fn flush(&self) {}
}
