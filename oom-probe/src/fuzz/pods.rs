//! Answers of an API server: a list or a watch in pieces, and the pods in it.

use std::time::Instant;

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::{
    http::exposition::{self, Encoding, Format},
    kube::{
        index::Index,
        object,
        watch::split::{LineSplitter, ListSplitter},
    },
    sinks::metrics::containers::{Containers, MAX_CONTAINERS, SERIES_TTL},
};

/// Input: the size of the pieces and whether it is a list, in a byte, and the body.
pub(super) fn run(input: &[u8]) {
    let Some((how, body)) = input.split_first() else {
        return;
    };
    let size = usize::from(how & 0x7f) + 1;
    let objects = if how & 0x80 == 0 {
        list(body, size)
    } else {
        watch(body, size)
    };
    let mut index = Index::default();
    let containers = Containers::new(SERIES_TTL, MAX_CONTAINERS, Counter::default());
    let now = Instant::now();
    index.begin_list();
    for object in &objects {
        match index.apply(object, now) {
            Ok(pod) => containers.apply(&pod, now),
            Err(refused) => super::assert_one_line(&refused.to_string()),
        }
    }
    assert_exposed(&containers);
    for object in objects.iter().step_by(2) {
        if let Some(pod) = index.delete(object, now) {
            containers.remove(&pod, now);
        }
    }
    index.finish_list(now);
    assert_exposed(&containers);
}

fn list(body: &[u8], size: usize) -> Vec<object::Pod> {
    let (mut splitter, mut objects) = (ListSplitter::default(), Vec::new());
    for piece in body.chunks(size) {
        let fed = splitter.feed(piece, |item| {
            assert!(item.first() == Some(&b'{') && item.len() <= body.len());
            objects.extend(serde_json::from_slice(item).ok());
        });
        if fed.is_err() {
            return objects;
        }
    }
    let _ = splitter.finish();
    objects
}

fn watch(body: &[u8], size: usize) -> Vec<object::Pod> {
    #[derive(serde::Deserialize)]
    struct Line {
        object: object::Pod,
    }
    let (mut splitter, mut objects) = (LineSplitter::default(), Vec::new());
    for piece in body.chunks(size) {
        let fed = splitter.feed(piece, |line| {
            assert!(!line.contains(&b'\n'));
            let parsed = serde_json::from_slice::<Line>(line);
            objects.extend(parsed.map(|line| line.object).ok());
        });
        assert!(fed.is_ok(), "a line no longer than the input");
    }
    objects
}

/// Whatever the names, the exposition has one sample or comment per line, and nothing else.
pub(super) fn assert_exposed(containers: &Containers) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(containers.clone()));
    for format in [Format::Text, Format::OpenMetrics] {
        let body = exposition::encode(&registry, format, Encoding::Identity);
        let body = body.expect("it can be written");
        let text = std::str::from_utf8(&body).expect("UTF-8");
        for line in text.split_terminator('\n') {
            assert!(is_sound(line), "{line:?}");
        }
    }
}

fn is_sound(line: &str) -> bool {
    if let Some(comment) = line.strip_prefix("# ") {
        return [
            "HELP oom_probe_",
            "TYPE oom_probe_",
            "UNIT oom_probe_",
            "EOF",
        ]
        .iter()
        .any(|start| comment.starts_with(start));
    }
    let Some((series, value)) = line.rsplit_once(' ') else {
        return false;
    };
    let labels = series.split_once('{').map(|(_, labels)| labels);
    line.starts_with("oom_probe_")
        && value.parse::<f64>().is_ok()
        && labels.is_some_and(labels_end_at_the_end)
}

/// Label values are quoted, with `\`, `"` and line feeds escaped: the first quote that is not
/// escaped ends each.
fn labels_end_at_the_end(labels: &str) -> bool {
    let mut rest = labels;
    loop {
        let Some((name, value)) = rest.split_once("=\"") else {
            return false;
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return false;
        }
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { return false };
        match value[end + 1..].strip_prefix(',') {
            Some(next) => rest = next,
            None => return &value[end + 1..] == "}",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_sound;

    #[test]
    fn an_injected_line_is_noticed() {
        for (line, sound) in [
            (r#"oom_probe_x_total{pod="a"} 1"#, true),
            (r#"oom_probe_x_total{pod="a\"b\\",container="c"} 1.5"#, true),
            ("# TYPE oom_probe_x counter", true),
            ("# EOF", true),
            (r#"oom_probe_x_total{pod="a"b"} 1"#, false),
            (r#"oom_probe_x_total{pod="a\"} 1"#, false),
            (r#"oom_probe_x_total{pod="a"} one"#, false),
            (r#"other{pod="a"} 1"#, false),
            ("", false),
            ("# anything", false),
        ] {
            assert_eq!(is_sound(line), sound, "{line}");
        }
    }
}
