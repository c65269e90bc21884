//! The registry as a response body, in two formats and two encodings.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

/// A content encoding of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
}

impl Format {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything in the registry as a body.
///
/// # Errors
/// When a collector fails.
pub fn encode(registry: &Registry, format: Format, encoding: Encoding) -> io::Result<Bytes> {
    let body = match encoding {
        Encoding::Identity => write(registry, format, Vec::new()),
        Encoding::Gzip => write(
            registry,
            format,
            GzEncoder::new(Vec::new(), Compression::fast()),
        )
        .and_then(GzEncoder::finish),
    };
    body.map(Bytes::from)
}

fn write<W: Write>(registry: &Registry, format: Format, out: W) -> io::Result<W> {
    let mut lines = Lines {
        format,
        line: String::new(),
        help: String::new(),
        out,
    };
    text::encode(&mut lines, registry).map_err(io::Error::other)?;
    Ok(lines.out)
}

/// Takes OpenMetrics text piece by piece and passes it on line by line, so that neither a second
/// copy for the conversion nor an uncompressed one for gzip is ever held.
struct Lines<W> {
    format: Format,
    line: String,
    /// In text format: the HELP line, until the TYPE line after it tells the metric's name.
    help: String,
    out: W,
}

impl<W: Write> std::fmt::Write for Lines<W> {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        for part in piece.split_inclusive('\n') {
            self.line.push_str(part);
            if part.ends_with('\n') {
                match self.format {
                    Format::OpenMetrics => self.out.write_all(self.line.as_bytes()),
                    Format::Text => text_line(&self.line, &mut self.help, &mut self.out),
                }
                .map_err(|_| std::fmt::Error)?;
                self.line.clear();
            }
        }
        Ok(())
    }
}

/// One line of OpenMetrics 1.0.0 as Prometheus text 0.0.4, where a family has the name of its
/// samples (`_total`, `_info`), and neither units nor an end mark exist.
fn text_line<W: Write>(line: &str, help: &mut String, out: &mut W) -> io::Result<()> {
    let Some(comment) = line.strip_prefix("# ") else {
        return out.write_all(line.as_bytes());
    };
    if let Some(description) = comment.strip_prefix("HELP ") {
        help.clear();
        help.push_str(description);
        return Ok(());
    }
    let Some((name, kind)) = comment
        .strip_prefix("TYPE ")
        .and_then(|declaration| declaration.trim_end().split_once(' '))
    else {
        return Ok(());
    };
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    };
    if let Some((_, description)) = help.split_once(' ') {
        write!(out, "# HELP {name}{suffix} {description}")?;
    }
    help.clear();
    writeln!(out, "# TYPE {name}{suffix} {kind}")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use flate2::read::GzDecoder;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;
    use crate::sinks::metrics::{HookInfo, Metrics};

    #[test]
    fn text_names_families_after_their_samples() {
        let mut registry = Registry::default();
        let kills = Family::<[(&str, &str); 1], Counter>::default();
        kills
            .get_or_create_owned(&[("pod", "a\"b\\c\nd")])
            .inc_by(2);
        registry.register("kills", "Kills", kills);
        registry.register_with_unit("cpu", "Time", Unit::Seconds, <Counter>::default());
        registry.register("build", "Build", Info::new([("version", "1")]));
        let text = encode(&registry, Format::Text, Encoding::Identity).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&text),
            "# HELP kills_total Kills.\n\
             # TYPE kills_total counter\n\
             kills_total{pod=\"a\\\"b\\\\c\\nd\"} 2\n\
             # HELP cpu_seconds_total Time.\n\
             # TYPE cpu_seconds_total counter\n\
             cpu_seconds_total 0\n\
             # HELP build_info Build.\n\
             # TYPE build_info gauge\n\
             build_info{version=\"1\"} 1\n"
        );
    }

    #[test]
    fn open_metrics_is_passed_on_unchanged() {
        let mut expected = String::new();
        let (_, registry) = Metrics::new();
        text::encode(&mut expected, &registry).unwrap();
        let body = encode(&registry, Format::OpenMetrics, Encoding::Identity).unwrap();
        let without_process = |text: &str| -> Vec<String> {
            let kept = text.lines().filter(|line| !line.contains("process_"));
            kept.map(str::to_owned).collect()
        };
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(without_process(&body), without_process(&expected));
        assert!(body.ends_with("# EOF\n"));
    }

    #[test]
    fn gzip_holds_the_same_text() {
        let mut registry = Registry::default();
        registry.register("kills", "Kills", <Counter>::default());
        let plain = encode(&registry, Format::Text, Encoding::Identity).unwrap();
        let packed = encode(&registry, Format::Text, Encoding::Gzip).unwrap();
        let mut unpacked = Vec::new();
        GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }

    #[test]
    fn promtool_accepts_every_metric() {
        let (metrics, registry) = Metrics::new();
        metrics.set_hook(&HookInfo {
            hook: "raw_tp/mark_victim".into(),
            context: "a \"hostile\" \\ name\n".into(),
            btf: "kernel".into(),
            cgroup_version: "2".into(),
        });
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut promtool = match promtool {
            Ok(promtool) => promtool,
            Err(error) => return println!("skipped: promtool cannot be run: {error}"),
        };
        let text = encode(&registry, Format::Text, Encoding::Identity).unwrap();
        promtool.stdin.take().unwrap().write_all(&text).unwrap();
        let output = promtool.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
