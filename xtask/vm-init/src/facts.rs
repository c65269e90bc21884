//! What this kernel is: a few short values for the table, and whole files to be recorded.

use std::fs;
use std::io::{self, Write};

use crate::{processors, send};

const MARK_VICTIM: &str = "/sys/kernel/tracing/events/oom/mark_victim/format";

/// Files that fixtures are made from, and that tell what the kernel offers.
const FILES: [&str; 11] = [
    "/sys/kernel/btf/vmlinux",
    MARK_VICTIM,
    "/sys/kernel/tracing/events/signal/signal_generate/format",
    "/sys/kernel/security/lockdown",
    "/sys/kernel/security/lsm",
    "/proc/sys/kernel/osrelease",
    "/proc/version",
    "/proc/cmdline",
    "/proc/cgroups",
    "/proc/filesystems",
    "/proc/self/mountinfo",
];

/// Short values, told in this order.
pub(crate) fn short(version: crate::Version) -> [(&'static str, String); 6] {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let cgroup = match version {
        crate::Version::V1 => "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        crate::Version::V2 => "/sys/fs/cgroup/cgroup.controllers",
    };
    let mounted = fs::exists(cgroup).unwrap_or(false);
    [
        ("release", release.trim().to_owned()),
        (
            "btf",
            fs::exists("/sys/kernel/btf/vmlinux")
                .unwrap_or(false)
                .to_string(),
        ),
        ("lockdown", chosen(&lockdown).unwrap_or("none").to_owned()),
        (
            "mark_victim",
            fs::read_to_string(MARK_VICTIM).map_or("hidden".to_owned(), |f| form(&f)),
        ),
        ("processors", processors::running().to_string()),
        (
            "cgroup",
            if mounted {
                format!("{version:?}").to_lowercase()
            } else {
                "none".to_owned()
            },
        ),
    ]
}

/// Sends every one of them that can be read.
pub(crate) fn send(out: &mut impl Write) -> io::Result<()> {
    for path in FILES {
        let Ok(data) = fs::read(path) else { continue };
        send::file(out, path, &data)?;
    }
    out.flush()
}

/// The word in brackets, as in `none [integrity] confidentiality`.
fn chosen(modes: &str) -> Option<&str> {
    Some(modes.split_once('[')?.1.split_once(']')?.0)
}

/// A tracepoint's own fields as `COUNT@OFFSET OF THE FIRST`, from its `format` file.
fn form(format: &str) -> String {
    let own: Vec<_> = format
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:"))
        .filter(|field| !field.contains(" common_"))
        .collect();
    let offset = own
        .first()
        .and_then(|field| field.split("offset:").nth(1)?.split(';').next());
    format!("{}@{}", own.len(), offset.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(chosen("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(
            chosen("none integrity [confidentiality]\n"),
            Some("confidentiality")
        );
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn a_tracepoints_form_is_its_own_fields_and_where_they_begin() {
        let format = "name: mark_victim\nID: 370\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\
            \tfield:unsigned char common_preempt_lazy_count;\toffset:8;\tsize:1;\tsigned:0;\n\n\
            \tfield:int pid;\toffset:12;\tsize:4;\tsigned:1;\n\
            \tfield:__data_loc char[] comm;\toffset:16;\tsize:4;\tsigned:0;\n\n\
            print fmt: \"pid=%d\", REC->pid\n";
        assert_eq!(form(format), "2@12");
        assert_eq!(form(""), "0@?");
    }
}
