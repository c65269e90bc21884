//! Lines on stdout: each written whole and at once, since the next step may be the last.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use hog::units::format_size;

use crate::process::patiently;

/// Writes one line in one write(2); a reader that has gone ends the process in good order.
pub(crate) fn line(line: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let text = format!("{line}\n");
    let written = patiently(|| {
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
    });
    if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

macro_rules! say {
    ($($argument:tt)*) => { $crate::say::line(format_args!($($argument)*)) };
}
pub(crate) use say;

/// Who speaks: `hog`, or one of its children.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    Hog,
    Child(i32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hog => f.write_str("hog"),
            Self::Child(pid) => write!(f, "hog[{pid}]"),
        }
    }
}

/// Steps smaller than this are told together, unless they are slow.
const WORTH_A_LINE: u64 = 1 << 20;
const SLOW: Duration = Duration::from_millis(100);

/// The lines of a growing process.
pub(crate) struct Progress {
    who: Who,
    /// ` of 64 MiB anon`, the same in every line.
    of: String,
    told: Option<(u64, Instant)>,
}

impl Progress {
    pub(crate) fn new(who: Who, max: Option<u64>, kind: &str) -> Self {
        let of = max.map_or_else(String::new, |max| format!(" of {}", format_size(max)));
        Self {
            who,
            of: format!("{of} {kind}"),
            told: None,
        }
    }

    pub(crate) fn report(&mut self, held: u64, now: Instant) {
        if self.is_due(held, now) {
            say!("{}: {}{}", self.who, format_size(held), self.of);
            self.told = Some((held, now));
        }
    }

    fn is_due(&self, held: u64, now: Instant) -> bool {
        self.told.is_none_or(|(told, at)| {
            held >= told + WORTH_A_LINE || (held > told && now.duration_since(at) >= SLOW)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_for_a_mebibyte_or_a_slow_step() {
        let start = Instant::now();
        let mut progress = Progress::new(Who::Hog, Some(64 << 20), "anon");
        assert_eq!(progress.of, " of 64 MiB anon");
        assert!(progress.is_due(4096, start));
        progress.told = Some((4096, start));
        assert!(!progress.is_due(8192, start));
        assert!(progress.is_due(8192, start + SLOW));
        assert!(!progress.is_due(4096, start + SLOW));
        assert!(progress.is_due(4096 + WORTH_A_LINE, start));
    }
}
