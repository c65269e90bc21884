//! A snapshot: what it is made from, and how it is written.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    cgroup::oom_counters::Readings,
    journal::{entry::Entry, frame},
    kube::pod::Pod,
};

/// Everything up to a moment.
pub struct Snapshot {
    /// Frames that are made already.
    pub frames: Vec<u8>,
    /// Pods that are there.
    pub pods: Vec<Arc<Pod>>,
    /// Pods that are gone, and for how many seconds.
    pub gone: Vec<(Arc<Pod>, u64)>,
    /// Kill records as JSON, the oldest first.
    pub history: Vec<Bytes>,
    /// Reads what the cgroups' own counters say.
    pub readings: Option<Box<dyn FnOnce() -> Readings + Send>>,
    /// Whether it has to be on the disk and not just in the page cache.
    pub sync: bool,
}

impl Snapshot {
    /// Writes it to a file of its own, behind `head`; returns the file's length in bytes.
    pub(crate) fn write(&mut self, path: &Path, head: &[u8]) -> io::Result<u64> {
        let mut out = BufWriter::new(create(path)?);
        out.write_all(head)?;
        out.write_all(&self.frames)?;
        let mut frame = Vec::new();
        let mut push = |entries: &[Entry<'_>]| {
            frame.clear();
            frame::push(&mut frame, &serde_json::to_vec(entries)?);
            out.write_all(&frame)
        };
        for pod in &self.pods {
            push(&[Entry::Pod(Arc::clone(pod))])?;
        }
        for (pod, seconds) in &self.gone {
            push(&[Entry::Pod(Arc::clone(pod)), Entry::Gone(pod.uid, *seconds)])?;
        }
        for json in &self.history {
            push(&[Entry::History(serde_json::from_slice(json)?)])?;
        }
        if let Some(read) = self.readings.take() {
            push(&[Entry::Readings(read())])?;
        }
        push(&[Entry::End])?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if self.sync {
            file.sync_data()?;
        }
        Ok(file.metadata()?.len())
    }
}

/// A file that is written anew.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}
