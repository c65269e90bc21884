//! What bpftrace can do, in a mount namespace of its own where tracefs is to be found.

use std::process::Command;

use anyhow::Result;

use super::{Line, Rival};

/// The tracepoint, and the cgroup looked up in /proc.
pub(super) const MARK_VICTIM: Rival = Rival {
    name: "bpftrace, `mark_victim` and `/proc`",
    command: || {
        bpftrace(
            "bpftrace -B none -e 'tracepoint:oom:mark_victim \
             { printf(\"kill %d\\n\", args->pid); cat(\"/proc/%d/cgroup\", args->pid); }'",
        )
    },
    ready: "Attaching",
    parse: one_liner,
};

/// The tool that comes with it.
pub(super) const OOMKILL: Rival = Rival {
    name: "bpftrace's `oomkill.bt`",
    command: || bpftrace("bpftrace -B none \"$(command -v oomkill.bt)\""),
    ready: "Tracing oom_kill_process()",
    parse: oomkill,
};

fn bpftrace(script: &str) -> Result<Command> {
    let mounted = "mount -t tracefs tracefs /sys/kernel/tracing 2>&-; \
                   mount -t debugfs debugfs /sys/kernel/debug 2>&-;";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{mounted} exec {script}")]);
    Ok(command)
}

/// `kill PID`, then what /proc/PID/cgroup says, if it can be read.
fn one_liner(line: &str) -> Option<Line> {
    if let Some(pid) = line.strip_prefix("kill ") {
        return Some(Line::Kill {
            pid: Some(pid.trim().parse().ok()?),
            cgroup: None,
        });
    }
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_memory = controllers.split(',').any(|name| name == "memory");
    (is_memory || (id, controllers) == ("0", "") && path != "/")
        .then(|| Line::Cgroup(path.to_owned()))
}

/// `21:03:39 Triggered by PID 3297 ("ntpd"), OOM kill of PID 22516 ("perl"), 3850642 pages, …`
fn oomkill(line: &str) -> Option<Line> {
    let (_, rest) = line.split_once("OOM kill of PID ")?;
    Some(Line::Kill {
        pid: Some(rest.split(' ').next()?.parse().ok()?),
        cgroup: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_of_a_kill_and_then_of_its_cgroup() {
        let kill = |pid| Line::Kill {
            pid: Some(pid),
            cgroup: None,
        };
        for (line, expected) in [
            ("kill 4711", Some(kill(4711))),
            ("5:memory:/a/b", Some(Line::Cgroup("/a/b".into()))),
            ("5:memory:/", Some(Line::Cgroup("/".into()))),
            ("0::/a", Some(Line::Cgroup("/a".into()))),
            ("0::/", None),
            ("4:cpu,cpuacct:/a", None),
            ("ERROR: failed to open file '/proc/1/cgroup'", None),
        ] {
            assert_eq!(one_liner(line), expected, "{line}");
        }
        let line =
            r#"21:03:39 Triggered by PID 3297 ("ntpd"), OOM kill of PID 22516 ("perl"), 1 pages"#;
        assert_eq!(oomkill(line), Some(kill(22516)));
    }
}
