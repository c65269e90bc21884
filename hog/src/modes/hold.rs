//! `hog hold`: takes memory at once and stays.

use anyhow::Result;
use clap::Args;
use hog::units::{format_size, parse_nonzero_size};

use crate::growth::{Hold as Stay, parse_hold};
use crate::say::say;
use crate::signals::Signals;
use crate::source::Source;

#[derive(Args, Debug)]
pub(crate) struct Hold {
    /// How much to take at once; the larger it is, the longer its end takes
    #[arg(value_parser = parse_nonzero_size)]
    size: u64,

    /// How long to hold it
    #[arg(
        long = "for", value_name = "DURATION|forever", default_value = "forever",
        value_parser = parse_hold
    )]
    stay: Stay,

    #[command(flatten)]
    source: Source,
}

impl Hold {
    pub(crate) fn run(&self, signals: &Signals) -> Result<u8> {
        let mut hoard = self.source.open()?;
        hoard.fill(self.size)?;
        say!(
            "hog: holding {} {}",
            format_size(hoard.held()),
            self.source.kind.name()
        );
        let why = if self.stay.stay(signals) {
            "told to stop"
        } else {
            "done"
        };
        say!("hog: {why} at {}", format_size(hoard.held()));
        Ok(0)
    }
}
