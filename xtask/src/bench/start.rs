//! From nothing to armed, and what the programs weigh.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::daemon::{Daemon, Start};
use super::section::{Budget, Section};
use super::spread::{Spread, median, mib, ms};

/// The lines by which the daemon tells of its start, and what each concludes.
const STEPS: [(&str, &str); 7] = [
    ("start: flags read", "the process: loading, flags, port"),
    (
        "start: node looked at",
        "looking at the node: offsets out of its BTF, capabilities, cgroups",
    ),
    (
        "start: maps made",
        "the loader: object, what the kernel can do, maps",
    ),
    (
        "start: programs verified",
        "the verifier, both programs side by side",
    ),
    ("start: context tried", "attaching, and the hook on context"),
    ("hooks: ", "baseline, privileges"),
    ("capturing OOM kills", "pipeline, metrics, server"),
];

pub(super) fn measure(oom_probe: &Path, starts: u32) -> Result<Section> {
    let mut section = Section::figures(
        "Start and size",
        "From the start of the process to the line that says that kills are captured, without \
         pins, so that all is loaded anew. The steps are medians, told apart by the daemon's own \
         log at level debug.",
    );
    let starts = (0..starts)
        .map(|_| {
            // To enter a cgroup takes 10 ms by itself.
            let daemon = Daemon::start_in(None, oom_probe, &["--log-level", "debug"])?;
            Ok((daemon.process().memory()?, split(&daemon.start)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let all = starts.iter().map(|(_, steps)| steps.iter().sum()).collect();
    let all = Spread::of(all).context("no starts were asked for")?;
    let budget = Budget {
        most: 35.0,
        text: "35 ms",
    };
    section.judged(
        "process start to armed",
        all.to_string(),
        all.p50.as_secs_f64() * 1e3,
        budget,
    );
    for (at, (_, what)) in STEPS.iter().enumerate() {
        let seconds = starts.iter().map(|(_, steps)| steps[at].as_secs_f64());
        let middle = median(seconds.collect()).unwrap_or_default();
        let shown = ms(Duration::from_secs_f64(middle));
        section.figure(&format!("… {what}"), shown);
    }
    let peaks = starts.iter().map(|(memory, _)| memory.peak as f64);
    let peak = median(peaks.collect()).unwrap_or_default() as u64;
    section.judged(
        "peak resident memory",
        mib(peak),
        peak as f64 / f64::from(1 << 20),
        Budget {
            most: 24.0,
            text: "24 MiB",
        },
    );
    sizes(oom_probe, &mut section)?;
    Ok(section)
}

/// The program of an image is all that is in the image.
fn sizes(oom_probe: &Path, section: &mut Section) -> Result<()> {
    let program = fs::read(oom_probe).context("cannot read the binary")?;
    let bytes = program.len() as u64;
    section.judged(
        "static binary, which is the image but for its metadata",
        format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20)),
        bytes as f64 / f64::from(1 << 20),
        Budget {
            most: 8.0,
            text: "8 MiB",
        },
    );
    section.figure(
        "the same by gzip, as a registry keeps it",
        mib(gzipped(&program)?),
    );
    Ok(())
}

fn gzipped(bytes: &[u8]) -> Result<u64> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes)?;
    Ok(encoder.finish()?.len() as u64)
}

/// How long each step took.
fn split(start: &Start) -> Result<[Duration; STEPS.len()]> {
    let mut steps = [Duration::ZERO; STEPS.len()];
    let mut before = start.began;
    for ((mark, what), step) in STEPS.iter().zip(&mut steps) {
        let line = start.said.lines().find(|line| line.contains(mark));
        let Some(line) = line else {
            bail!("the daemon does not say when this is over: {what}");
        };
        let time = line.split_whitespace().next().unwrap_or_default();
        let time: Timestamp = time.parse().with_context(|| format!("no time: {line}"))?;
        let time = SystemTime::from(time);
        // A clock that is set back in between shows as nothing.
        *step = time.duration_since(before).unwrap_or_default();
        before = time;
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(said: &str) -> Start {
        Start {
            began: SystemTime::UNIX_EPOCH,
            said: said.to_owned(),
        }
    }

    #[test]
    fn a_start_is_split_by_the_times_of_its_lines() {
        let said: String = STEPS
            .iter()
            .zip(1..)
            .map(|((mark, _), n)| format!("1970-01-01T00:00:00.00{n}Z DEBUG {mark}\n"))
            .collect();
        assert_eq!(
            split(&start(&said)).unwrap(),
            [Duration::from_millis(1); STEPS.len()]
        );
        let error = split(&start("1970-01-01T00:00:00Z DEBUG start: flags read")).unwrap_err();
        assert!(error.to_string().contains("looking at the node"), "{error}");
    }
}
