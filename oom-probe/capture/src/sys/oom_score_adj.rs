//! Keeps the OOM killer off the daemon, as far as the daemon may.

use std::fs;
use std::io;
use std::path::Path;

/// What the node's own daemons run at (kubelet, container runtimes). Not -1000: a process that can
/// never be killed turns its own leak into the death of everything else, or of the machine.
const LOWEST: i16 = -999;

/// This process's value.
const OWN: &str = "/proc/self/oom_score_adj";

/// Lowers `oom_score_adj` of this process as far as it may; returns what holds then. It is never
/// raised.
///
/// # Errors
/// When the value can't be read or written.
pub fn lower() -> io::Result<i16> {
    lower_at(Path::new(OWN))
}

fn lower_at(path: &Path) -> io::Result<i16> {
    let text = fs::read_to_string(path)?;
    let now = text
        .trim()
        .parse()
        .map_err(|_| io::Error::other(format!("{}: not a number: {text:?}", path.display())))?;
    lowest_allowed(now, |value| {
        // The kernel refuses what lies below the lowest value that a privileged process has set
        // (fs/proc/base.c `__set_oom_adj`), and shows that value nowhere.
        match fs::write(path, value.to_string()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(error),
        }
    })
}

/// The lowest value from [`LOWEST`] to `now` that `set` takes, which holds when this returns.
fn lowest_allowed(now: i16, mut set: impl FnMut(i16) -> io::Result<bool>) -> io::Result<i16> {
    if now <= LOWEST || set(LOWEST)? {
        return Ok(now.min(LOWEST));
    }
    let (mut refused, mut holds) = (LOWEST, now);
    while holds - refused > 1 {
        let between = refused + (holds - refused) / 2;
        if set(between)? {
            holds = between;
        } else {
            refused = between;
        }
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_as_low_as_the_kernel_lets_it() {
        for (now, allowed_from, holds) in [
            (0, -1000, -999),
            (0, -999, -999),
            (1000, -998, -998),
            (1000, 1000, 1000),
            (1000, 3, 3),
            (7, 6, 6),
            (0, 0, 0),
            // Whoever started it at -1000 meant it.
            (-1000, -1000, -1000),
            (-999, -999, -999),
            (-998, -998, -998),
        ] {
            let mut value = now;
            let mut asked = 0;
            let set = |wanted: i16| {
                asked += 1;
                let allowed = wanted >= allowed_from;
                if allowed {
                    value = wanted;
                }
                Ok(allowed)
            };
            assert_eq!(lowest_allowed(now, set).unwrap(), holds, "{now}");
            assert_eq!(value, holds, "{now}: it was told and it holds");
            assert!(asked <= 12, "{now}: {asked} attempts");
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "low\n").unwrap();
        let error = lower_at(file.path()).unwrap_err().to_string();
        assert!(error.contains("not a number"), "{error}");
        assert!(lower_at(Path::new("/nonexistent")).is_err());
    }
}
