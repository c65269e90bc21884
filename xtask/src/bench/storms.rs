//! Whether every kill is told, once and in the right place, however many come at once, and what
//! that costs.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::daemon::Daemon;
use super::poll;
use super::section::{Budget, Section};
use super::spread::ms;
use super::storm::{Account, Storm};
use super::sysctl::Sysctl;

/// Room for some 120 records of this bench's kills.
pub(super) const SMALL_RING: &str = "64K";
/// What follows a storm: the last lines of the log.
const REST: Duration = Duration::from_millis(500);

const EXACT: Budget = Budget {
    most: 0.0,
    text: "all, once",
};

pub(super) fn measure(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Section> {
    let mut section = Section::figures(
        "Storms",
        "Each process is killed in a cgroup of its own, which is removed the moment it is dead; \
         the log is held against the pids and cgroups that were made. The kernel writes nothing on \
         its console meanwhile: what a serial one holds up would count as CPU of whoever runs.",
    );
    let _quiet = Sysctl::quiet_console()?;
    let daemon = Daemon::start(oom_probe, &[])?;
    for parallel in [1, 8, 32] {
        eprintln!("bench: {kills} kills, {parallel} at a time");
        let before = daemon.process().cpu()?;
        let raged = Storm::alone(kills, parallel).rage(hog)?;
        let told = daemon.log.take_after(REST);
        let account = Account::of(&raged.made, &told);
        let rate = f64::from(kills) / raged.took.as_secs_f64();
        section.judged(
            &format!("told and attributed, {parallel} at a time ({rate:.0} kills/s)"),
            account.text(),
            account.wrong() as f64,
            EXACT,
        );
        let cpu = daemon.process().cpu()?.since(before);
        let [user, all] = [cpu.user, cpu.all].map(|time| time / kills);
        section.judged(
            &format!("user CPU per kill, {parallel} at a time"),
            format!("{} (with the kernel's part {})", ms(user), ms(all)),
            user.as_secs_f64() * 1e3,
            Budget {
                most: 0.3,
                text: "0.3 ms",
            },
        );
    }
    let unaccounted = poll::metric(daemon.address, "oom_probe_unaccounted_kills")?;
    section.judged(
        "`oom_probe_unaccounted_kills` after that",
        unaccounted.to_string(),
        unaccounted,
        Budget {
            most: 0.0,
            text: "0",
        },
    );
    full_ring(oom_probe, hog, &mut section)?;
    Ok(section)
}

/// Nobody reads while more kills come than the ring holds.
fn full_ring(oom_probe: &Path, hog: &Path, section: &mut Section) -> Result<()> {
    let kills = 300;
    eprintln!("bench: {kills} kills into a ring of {SMALL_RING} that nobody reads");
    let daemon = Daemon::start(oom_probe, &["--ring-size", SMALL_RING])?;
    daemon.signal(libc::SIGSTOP);
    let raged = Storm::alone(kills, 8).rage(hog);
    daemon.signal(libc::SIGCONT);
    let raged = raged?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let counted = loop {
        let counted = poll::metric(daemon.address, "oom_probe_kills_total")?;
        if counted >= f64::from(kills) || Instant::now() > deadline {
            break counted;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let named = Account::of(&raged.made, &daemon.log.take_after(REST));
    let dropped = poll::metric(daemon.address, "oom_probe_records_dropped_total")?;
    section.judged(
        &format!("a ring of {SMALL_RING} that nobody reads during {kills} kills"),
        format!(
            "{counted} counted; {} named; {dropped} records dropped",
            named.right
        ),
        (counted - f64::from(kills)).abs(),
        Budget {
            most: 0.0,
            text: "all counted",
        },
    );
    Ok(())
}
