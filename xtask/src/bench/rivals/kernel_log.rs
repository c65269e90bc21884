//! A follower of the kernel's log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use anyhow::{Context as _, Result};

use super::{Line, Rival, own};

pub(super) const FOLLOWER: Rival = Rival {
    name: "a follower of `/dev/kmsg`",
    command: || own("kernel-log"),
    ready: "following",
    parse: |line| {
        let (pid, cgroup) = line.split_once('\t')?;
        Some(Line::Kill {
            pid: pid.parse().ok(),
            cgroup: (!cgroup.is_empty()).then(|| cgroup.to_owned()),
        })
    },
};

/// The longest record of the log (include/linux/printk.h `CONSOLE_EXT_LOG_MAX`).
const RECORD: usize = 8192;

/// Prints pid and cgroup of each kill that the log tells of.
pub(super) fn follow() -> Result<()> {
    let mut log = File::open("/dev/kmsg").context("cannot open /dev/kmsg")?;
    log.seek(SeekFrom::End(0))?;
    let mut out = std::io::stdout();
    writeln!(out, "following")?;
    let mut buffer = vec![0; RECORD];
    let mut told: Option<(u32, String)> = None;
    loop {
        let len = match log.read(&mut buffer) {
            Ok(len) => len,
            // Overwritten before it was read (Documentation/ABI/testing/dev-kmsg).
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
            Err(error) => return Err(error).context("cannot read /dev/kmsg"),
        };
        let text = String::from_utf8_lossy(&buffer[..len]);
        let text = text.split_once(';').map_or("", |(_, text)| text);
        if let Some(victim) = described(text) {
            told = Some(victim);
        } else if let Some(pid) = killed(text) {
            let path = told.take_if(|(of, _)| *of == pid).map(|(_, path)| path);
            writeln!(out, "{pid}\t{}", path.unwrap_or_default())?;
        }
    }
}

/// `oom-kill:constraint=…,task_memcg=/a/b,task=c,pid=1,uid=0`: not printed more than ten times in
/// five seconds (mm/oom_kill.c `oom_kill_process`).
fn described(text: &str) -> Option<(u32, String)> {
    let text = text.strip_prefix("oom-kill:")?;
    let (_, rest) = text.split_once(",task_memcg=")?;
    let (path, rest) = rest.split_once(",task=")?;
    let pid = rest.rsplit_once(",pid=")?.1.split(',').next()?;
    Some((pid.parse().ok()?, path.to_owned()))
}

/// `Memory cgroup out of memory: Killed process 1 (c) total-vm:…`
fn killed(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Killed process ")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_6_18_kernel_tell_of_the_victim() {
        let line = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0,\
                    oom_memcg=/a,task_memcg=/a/b,task=hog,pid=16129,uid=65532\n";
        assert_eq!(described(line), Some((16129, "/a/b".into())));
        let line = "Memory cgroup out of memory: Killed process 16129 (hog) total-vm:39440kB, …\n";
        assert_eq!(killed(line), Some(16129));
        assert_eq!((described("x"), killed("x")), (None, None));
    }
}
