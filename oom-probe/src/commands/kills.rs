//! `oom-probe kills`: the kills that a daemon has recorded, and those to come.

mod client;
mod filter;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::http::kills::{SINCE, parse_since};
use client::{ClientError, Daemon, Item};
use filter::Filter;
use table::Rows;

/// How long the daemon may hold back its answer until there is a kill.
const WAIT: Duration = Duration::from_secs(30);
/// First and longest pause before a daemon that went away is tried again.
const RETRY: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// The flags of `oom-probe kills`.
#[derive(Clone, Debug, clap::Args)]
pub struct KillsArgs {
    /// Print kills as they happen, until interrupted
    #[arg(short, long)]
    pub follow: bool,

    /// Only kills since then: how long ago (1h, 90m, 2d) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Timestamp>,

    /// Only the newest so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,

    /// What to show
    #[command(flatten)]
    pub filter: Filter,

    /// How to show it
    #[arg(
        short,
        long,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub output: OutputFormat,

    /// The daemon's address
    #[arg(
        long,
        env = "OOM_PROBE_URL",
        default_value = "http://127.0.0.1:9550",
        value_parser = Daemon::parse
    )]
    pub url: Daemon,
}

/// How `oom-probe kills` shows a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// A row in local time.
    Table,
    /// The record as the daemon keeps it, one JSON object per line.
    Json,
}

fn since(value: &str) -> Result<Timestamp, String> {
    parse_since(value, Timestamp::now()).ok_or_else(|| format!("it is not {SINCE}"))
}

/// Prints what is asked for to standard output; a closed pipe is the end.
///
/// # Errors
/// One line when the daemon cannot be reached or does not answer as it should.
pub async fn run(args: KillsArgs) -> Result<ExitCode> {
    match list(&args, &mut io::stdout()).await {
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Failure::Output(error)) => {
            return Err(anyhow::anyhow!("cannot write to standard output: {error}"));
        }
        Err(Failure::Daemon(error)) => return Err(error.into()),
        Ok(()) => {}
    }
    Ok(ExitCode::SUCCESS)
}

enum Failure {
    Output(io::Error),
    Daemon(ClientError),
}

async fn list(args: &KillsArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut printer = Printer {
        format: args.output,
        rows: Rows::new(TimeZone::system()),
    };
    let first = args.url.kills(&first_query(args), Duration::ZERO).await;
    let mut items = first.map_err(Failure::Daemon)?;
    let mut last = items.last().map(|item| item.record.kill.id.clone());
    items.retain(|item| args.filter.admits(&item.record));
    if let Some(limit) = args.limit {
        items.drain(..items.len().saturating_sub(limit));
    }
    if items.is_empty() && args.output == OutputFormat::Table {
        eprintln!("{}", printer.nothing(args.follow));
    }
    printer.print(&items, out).map_err(Failure::Output)?;
    if !args.follow {
        return Ok(());
    }

    let mut pause = RETRY[0];
    loop {
        let asked = Instant::now();
        match args
            .url
            .kills(&next_query(args, last.as_deref()), WAIT)
            .await
        {
            Ok(mut items) => {
                if let Some(item) = items.last() {
                    last = Some(item.record.kill.id.clone());
                } else if asked.elapsed() < WAIT / 2 {
                    // Something in between does not let it wait.
                    tokio::time::sleep(RETRY[1]).await;
                }
                items.retain(|item| args.filter.admits(&item.record));
                printer.print(&items, out).map_err(Failure::Output)?;
                pause = RETRY[0];
            }
            Err(error) if error.may_pass() => {
                if pause == RETRY[0] {
                    eprintln!("{error}; trying again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY[1]);
            }
            Err(error) => return Err(Failure::Daemon(error)),
        }
    }
}

/// The limit is not the daemon's to apply, which does not know the filter.
fn first_query(args: &KillsArgs) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(since) = args.since {
        query.append_pair("since", &since.to_string());
    }
    if let Some(limit) = args
        .limit
        .filter(|_| args.filter.is_empty() && !args.follow)
    {
        query.append_pair("limit", &limit.to_string());
    }
    query.finish()
}

fn next_query(args: &KillsArgs, last: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    match (last, args.since) {
        (Some(last), _) => {
            query.append_pair("after", last);
        }
        (None, Some(since)) => {
            query.append_pair("since", &since.to_string());
        }
        (None, None) => {}
    }
    query.append_pair("wait", &format!("{}s", WAIT.as_secs()));
    query.finish()
}

struct Printer {
    format: OutputFormat,
    rows: Rows,
}

impl Printer {
    fn print(&mut self, items: &[Item], out: &mut impl Write) -> io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        match self.format {
            OutputFormat::Table => {
                let records = items.iter().map(|item| &item.record);
                out.write_all(self.rows.format(records).as_bytes())?;
            }
            OutputFormat::Json => {
                for item in items {
                    writeln!(out, "{}", item.json)?;
                }
            }
        }
        out.flush()
    }

    fn nothing(&self, follow: bool) -> &'static str {
        if follow {
            "no OOM kill yet: waiting for one"
        } else {
            "no OOM kill was recorded"
        }
    }
}

#[cfg(test)]
mod tests;
