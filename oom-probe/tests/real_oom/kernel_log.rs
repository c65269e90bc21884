//! What the kernel's own log says about each kill.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// One line "Killed process" of mm/oom_kill.c, `__oom_kill_process`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) anon: u64,
    pub(crate) file: u64,
    pub(crate) shmem: u64,
    pub(crate) uid: Option<u32>,
}

/// The log from a moment on.
pub(crate) struct KernelLog {
    file: File,
    /// By thread id.
    killed: HashMap<u32, Killed>,
}

impl KernelLog {
    /// From here on.
    pub(crate) fn from_now() -> Self {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .expect("open /dev/kmsg");
        file.seek(SeekFrom::End(0)).expect("go to its end");
        Self {
            file,
            killed: HashMap::new(),
        }
    }

    /// Takes what has been said meanwhile.
    pub(crate) fn read(&mut self) {
        // One read(2) gives one record of at most this size (kernel/printk/printk.c).
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => self.take(&String::from_utf8_lossy(&record[..length])),
                // Records were overwritten before they were read: go on with the oldest one.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("read /dev/kmsg: {error}"),
            }
        }
    }

    /// What it says of a thread.
    pub(crate) fn killed(&mut self, tid: u32) -> Option<Killed> {
        self.read();
        self.killed.get(&tid).cloned()
    }

    /// Those of the threads that it says it killed.
    pub(crate) fn killed_of(&mut self, tids: &BTreeSet<u32>) -> BTreeSet<u32> {
        self.read();
        let killed = tids.iter().filter(|tid| self.killed.contains_key(tid));
        killed.copied().collect()
    }

    fn take(&mut self, record: &str) {
        self.killed.extend(parse(record));
    }
}

/// `…Killed process TID (COMM) total-vm:8kB, anon-rss:4kB, … UID:0 pgtables:…`. The name may hold
/// anything, so the numbers are looked for from the end.
fn parse(record: &str) -> Option<(u32, Killed)> {
    let (_, rest) = record.split_once("Killed process ")?;
    let (tid, rest) = rest.split_once(" (")?;
    let numbers = &rest[rest.rfind(") total-vm:")?..];
    let bytes = |name: &str| Some(number(numbers, name)? << 10);
    let killed = Killed {
        anon: bytes("anon-rss:")?,
        file: bytes("file-rss:")?,
        shmem: bytes("shmem-rss:")?,
        uid: number(numbers, "UID:").and_then(|uid| u32::try_from(uid).ok()),
    };
    Some((tid.parse().ok()?, killed))
}

fn number(text: &str, name: &str) -> Option<u64> {
    let digits = text.split_once(name)?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}
