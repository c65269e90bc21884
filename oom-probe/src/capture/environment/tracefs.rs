//! Where tracefs is, and what it says about `oom:mark_victim` and `signal:signal_generate`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::capture::layout::format::Format;

/// Where tracefs is mounted: since Linux 4.1, and before and for old tools.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Offsets in the record of the plain tracepoint `signal:signal_generate`, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalFields {
    /// Which signal.
    pub sig: u32,
    /// Who sends it: `SI_KERNEL` for the kernel itself.
    pub code: u32,
    /// The thread that it goes to.
    pub pid: u32,
}

/// The plain tracepoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracefs {
    /// Where tracefs is mounted.
    pub mount: PathBuf,
    /// The fields of `oom:mark_victim`.
    pub mark_victim: Format,
    /// Where `signal:signal_generate` has what is needed of it, or why it is of no use.
    pub signal_generate: Result<SignalFields, String>,
}

impl Tracefs {
    pub(super) fn gather() -> Result<Self, String> {
        Self::gather_from(MOUNTS.map(Path::new))
    }

    /// Looks at each mount point in turn; the error is the first one's.
    fn gather_from<const N: usize>(mounts: [&Path; N]) -> Result<Self, String> {
        let mut first = None;
        for mount in mounts {
            match Self::gather_one(mount) {
                Ok(tracefs) => return Ok(tracefs),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_default())
    }

    fn gather_one(mount: &Path) -> Result<Self, String> {
        let shown = mount.display();
        // Under lockdown=confidentiality it can be mounted and yet is empty.
        match fs::read_dir(mount).map(|mut entries| entries.next().is_none()) {
            Ok(true) => return Err(format!("tracefs is not mounted at {shown}, or locked down")),
            Ok(false) => {}
            Err(error) => return Err(format!("cannot read {shown}: {error}")),
        }
        let signals = read(&mount.join("events/signal/signal_generate/format"));
        Ok(Self {
            mount: mount.into(),
            mark_victim: read(&mount.join("events/oom/mark_victim/format"))?,
            signal_generate: signals.and_then(|format| signal_fields(&format)),
        })
    }

    /// Offset of the victim's pid in the tracepoint's record, bytes.
    #[must_use]
    pub fn pid_offset(&self) -> Option<u32> {
        self.mark_victim.offset("pid", 4)
    }
}

/// Where the tracepoint `signal:signal_generate` has what is needed of it.
///
/// # Errors
/// Which field it lacks.
pub fn signal_fields(format: &Format) -> Result<SignalFields, String> {
    let offset = |name| {
        let offset = format.offset(name, 4);
        offset.ok_or_else(|| format!("the tracepoint signal_generate has no field {name}"))
    };
    Ok(SignalFields {
        sig: offset("sig")?,
        code: offset("code")?,
        pid: offset("pid")?,
    })
}

fn read(path: &Path) -> Result<Format, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Format::parse(&text).map_err(|error| format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: mark_victim\nID: 506\nformat:\n\
                          \tfield:int pid;\toffset:12;\tsize:4;\tsigned:1;\n";

    fn tracefs_with(format: Option<&str>) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        if let Some(format) = format {
            let event = mount.path().join("events/oom/mark_victim");
            fs::create_dir_all(&event).unwrap();
            fs::write(event.join("format"), format).unwrap();
        }
        mount
    }

    #[test]
    fn the_first_mount_point_that_shows_the_tracepoint_is_used() {
        let (empty, full) = (tracefs_with(None), tracefs_with(Some(FORMAT)));
        let found = Tracefs::gather_from([empty.path(), full.path()]).unwrap();
        assert_eq!(found.mount, full.path());
        assert_eq!(found.pid_offset(), Some(12));
        // Without the other tracepoint there are kills all the same.
        assert!(
            found
                .signal_generate
                .unwrap_err()
                .contains("signal_generate")
        );
    }

    #[test]
    fn the_reason_names_the_file_and_the_cause() {
        let empty = tracefs_with(None);
        let broken = tracefs_with(Some("no format\n"));
        let error = |mount: &Path| Tracefs::gather_from([mount]).unwrap_err();
        assert!(error(empty.path()).contains("not mounted"));
        assert!(error(broken.path()).contains("format: it has no line `name:`"));
        assert!(error(Path::new("/nonexistent")).contains("/nonexistent"));
    }
}
