//! Programs that record though no daemon runs: what there is to take over.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use aya::maps::{MapData, MapType};
use oom_probe_common::ledger::ENTRIES;

use super::{
    dir::PinDir,
    generation::{Build, Generation},
    object::{self, Kind},
};
use crate::capture::{accounting::counters::Ledger, ring::Ring};

/// `BPF_F_MMAPABLE` of include/uapi/linux/bpf.h.
const MMAPABLE: u32 = 1 << 10;

/// Programs that record, complete with all that belongs to them.
pub(crate) struct Recording {
    pub(crate) generation: Generation,
    pub(crate) build: Build,
    pub(crate) ledger: Ledger,
    pub(crate) ring: Ring,
    pub(crate) links: Vec<OwnedFd>,
    /// The program of the hook on signals, where there is one.
    pub(crate) signal: Option<OwnedFd>,
}

/// Why nothing is to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silent {
    /// Nothing is pinned.
    Nothing,
    /// What is pinned does not record, or not so that this build could go on with it.
    Broken(String),
}

impl Recording {
    /// Looks for it among these generations.
    pub(crate) fn find(dir: &PinDir, generations: &[Generation]) -> Result<Self, Silent> {
        let broken = |what: &str, error: io::Error| Silent::Broken(format!("{what}: {error}"));
        let ledger = match ledger_of(&dir.ledger()) {
            Ok(ledger) => ledger,
            Err(error) if error.kind() == io::ErrorKind::NotFound && generations.is_empty() => {
                return Err(Silent::Nothing);
            }
            Err(error) => return Err(broken("the ledger", error)),
        };
        if !ledger.is_set_up() {
            return Err(Silent::Broken(
                "the ledger is that of another release".into(),
            ));
        }
        let number = ledger.generation();
        let generation = generations.iter().find(|other| other.number == number);
        let Some(generation) = generation.cloned() else {
            return Err(Silent::Broken("the programs that recorded are gone".into()));
        };
        let Some(build) = generation.build() else {
            return Err(Silent::Broken(
                "nobody has written down what is pinned".into(),
            ));
        };
        let mut links = Vec::new();
        let mut signal = None;
        for name in &build.programs {
            let what = format!("the hook {name}");
            let link = object::open(&generation.link(name), Kind::Link);
            links.push(link.map_err(|error| broken(&what, error))?);
            if name.starts_with("signal_") {
                let program = object::open(&generation.signal_program(), Kind::Program);
                signal = Some(program.map_err(|error| broken(&what, error))?);
            }
        }
        let ring = ring_of(&generation.ring()).map_err(|error| broken("the ring", error))?;
        Ok(Self {
            generation,
            build,
            ledger,
            ring,
            links,
            signal,
        })
    }
}

fn open_map(path: &Path) -> io::Result<MapData> {
    let fd = object::open(path, Kind::Map)?;
    MapData::from_fd(fd).map_err(io::Error::other)
}

/// The ledger that is pinned there.
fn ledger_of(path: &Path) -> io::Result<Ledger> {
    let map = open_map(path)?;
    let info = map.info().map_err(io::Error::other)?;
    let number = size_of::<u64>() as u32;
    let is_ledger = matches!(info.map_type(), Ok(MapType::Array))
        && info.value_size() == number
        && info.max_entries() == ENTRIES
        && info.map_flags() & MMAPABLE != 0;
    if !is_ledger {
        return Err(io::Error::other(format!(
            "it is no mmap-able array of {ENTRIES} numbers"
        )));
    }
    Ledger::map(&map)
}

/// The ring that is pinned there, of whatever size.
pub(crate) fn ring_of(path: &Path) -> io::Result<Ring> {
    let map = open_map(path)?;
    let info = map.info().map_err(io::Error::other)?;
    match info.map_type() {
        Ok(MapType::RingBuf) => Ring::map(&map),
        _ => Err(io::Error::other("it is no ring buffer")),
    }
}
