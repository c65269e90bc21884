//! What a scraper can read, from its `Accept` and `Accept-Encoding` headers.

use super::exposition::{Encoding, Format};

/// The format for an `Accept` header: OpenMetrics where it is asked for by name and no less than
/// text is, else text. Nothing acceptable is text as well: Prometheus and curl both read it.
pub fn format(accept: Option<&str>) -> Format {
    let mut open_metrics = 0;
    // A range counts only if no more specific one speaks of text (RFC 9110, section 12.5.1).
    let mut text = [None; 3];
    for range in list(accept.unwrap_or_default()) {
        match range.name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text"
                if matches!(range.version, None | Some("1.0.0" | "0.0.1")) =>
            {
                open_metrics = open_metrics.max(range.quality);
            }
            "text/plain" if matches!(range.version, None | Some("0.0.4")) => {
                text[0] = text[0].max(Some(range.quality));
            }
            "text/*" => text[1] = Some(range.quality),
            "*/*" => text[2] = Some(range.quality),
            _ => {}
        }
    }
    let text = text.into_iter().flatten().next().unwrap_or(0);
    if open_metrics > 0 && open_metrics >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// The encoding for an `Accept-Encoding` header: gzip where it is named and not refused.
pub fn encoding(accept_encoding: Option<&str>) -> Encoding {
    let gzip = list(accept_encoding.unwrap_or_default())
        .any(|coding| coding.name.eq_ignore_ascii_case("gzip") && coding.quality > 0);
    if gzip {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// One member of an `Accept` or `Accept-Encoding` header.
struct Preference<'a> {
    name: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

fn list(header: &str) -> impl Iterator<Item = Preference<'_>> {
    header.split(',').map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let mut preference = Preference {
            name: parts.next().unwrap_or_default(),
            version: None,
            quality: 1000,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" | "Q" => preference.quality = quality(value.trim()),
                "version" => preference.version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        preference
    })
}

/// `qvalue` of RFC 9110, section 12.4.2; what is none refuses.
fn quality(value: &str) -> u16 {
    let quality = value.parse::<f64>().unwrap_or(0.0);
    (quality.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_only_for_those_who_ask_for_it() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        use Format::{OpenMetrics, Text};
        for (accept, expected) in [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/plain"), Text),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Text),
            (Some("application/json"), Text),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("Application/OpenMetrics-Text"), OpenMetrics),
            (
                Some("application/openmetrics-text; version=1.0.0; charset=utf-8"),
                OpenMetrics,
            ),
            (
                Some("application/openmetrics-text; version=\"1.0.0\""),
                OpenMetrics,
            ),
            (Some("application/openmetrics-text;version=2.0.0"), Text),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;q=zero"), Text),
            (
                Some("text/plain;q=0.5,application/openmetrics-text;q=0.4"),
                Text,
            ),
            (
                Some("*/*;q=0.1, application/openmetrics-text;q=0.4"),
                OpenMetrics,
            ),
            (
                Some("text/plain;q=0.2,*/*;q=0.9,application/openmetrics-text;q=0.4"),
                OpenMetrics,
            ),
            (Some("text/*, application/openmetrics-text"), OpenMetrics),
            (Some(prometheus_2), OpenMetrics),
            (Some(prometheus_3), OpenMetrics),
            (Some(";;,,=;q"), Text),
        ] {
            assert_eq!(format(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn gzip_only_where_it_is_named_and_not_refused() {
        use Encoding::{Gzip, Identity};
        for (accept, expected) in [
            (None, Identity),
            (Some(""), Identity),
            (Some("*"), Identity),
            (Some("br, deflate"), Identity),
            (Some("gzip;q=0"), Identity),
            (Some("gzip"), Gzip),
            (Some("deflate, GZIP;q=0.5"), Gzip),
        ] {
            assert_eq!(encoding(accept), expected, "{accept:?}");
        }
    }
}
