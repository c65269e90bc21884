//! Kills as rows of a table that may grow for ever.

use comfy_table::{ColumnConstraint, Table, Width, presets};
use jiff::tz::TimeZone;

use crate::sinks::log::{escaped, is_in_container, limit_bytes, named, short, size};
use capture::{
    model::{
        kill::{Kill, Record},
        labels::{Limit, Role, Scope, VictimKind},
    },
    sys::escape::escape_again,
};

const HEADER: [&str; 7] = [
    "TIME",
    "POD OR UNIT",
    "CONTAINER",
    "PROCESS",
    "KIND",
    "ANON",
    "LIMIT",
];
/// What stands for what is not known.
const ABSENT: &str = "-";
/// Between two columns.
const GAP: u16 = 2;

/// Formats kills batch by batch: the header comes with the first, and a column that has once been
/// wide stays so.
#[derive(Debug)]
pub(super) struct Rows {
    zone: TimeZone,
    widths: Option<Vec<u16>>,
}

impl Rows {
    pub(super) const fn new(zone: TimeZone) -> Self {
        Self { zone, widths: None }
    }

    /// The rows of a batch, each with its end of line.
    pub(super) fn format<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_rows(records.map(|record| row(record, &self.zone)));
        match &self.widths {
            None => {
                table.set_header(HEADER);
            }
            Some(widths) => {
                let lower = |width: &u16| ColumnConstraint::LowerBoundary(Width::Fixed(*width));
                table.set_constraints(widths.iter().map(lower));
            }
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        let wanted = table.column_max_content_widths().into_iter();
        let mut before = self.widths.take().unwrap_or_default().into_iter();
        let widest = wanted.map(|width| (width + GAP).max(before.next().unwrap_or_default()));
        self.widths = Some(widest.collect());
        table
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }
}

fn row(record: &Record, zone: &TimeZone) -> [String; 7] {
    let kill = &record.kill;
    let (owner, container) = owner(record);
    let time = kill.time.to_zoned(zone.clone());
    [
        time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        owner,
        container,
        named(kill.victim.comm.as_deref(), kill.victim.pid),
        kind(kill),
        kill.victim.anon_rss_bytes.map_or(ABSENT.into(), size),
        limit(record),
    ]
    // Whatever answers at the URL may send any text for what a daemon would have escaped.
    .map(|cell| escape_again(&cell))
}

/// What the kernel chose and the container that it ran in, by the best names there are.
fn owner(record: &Record) -> (String, String) {
    let absent = || ABSENT.to_owned();
    let short = |id: &String| short(id).to_owned();
    if let Some(pod) = &record.pod {
        let id = pod.container_id.as_ref().map(short);
        let name = match [&pod.namespace, &pod.name].map(escaped) {
            [Some(namespace), Some(name)] => Some(format!("{namespace}/{name}")),
            [None, name] => name,
            [_, None] => None,
        };
        let name = name.or_else(|| pod.uid.clone());
        return (
            name.unwrap_or_else(absent),
            escaped(&pod.container).or(id).unwrap_or_else(absent),
        );
    }
    let host = record.host.as_ref();
    let unit = host.and_then(|host| host.unit.clone());
    let path = || Some(record.kill.cgroup.as_ref()?.path.as_ref()?.to_string());
    let name = unit.or_else(path).unwrap_or_else(absent);
    let id = host.and_then(|host| host.container_id.as_ref()).map(short);
    let name = match record.scope {
        Scope::OtherNode => format!("another node's {name}"),
        Scope::Pod | Scope::Host | Scope::Unknown => name,
    };
    (name, id.unwrap_or_else(absent))
}

fn kind(kill: &Kill) -> String {
    let kind = match kill.victim.kind {
        VictimKind::Init => "init",
        VictimKind::Child => "child",
        VictimKind::Unknown => ABSENT,
    };
    match kill.role {
        Role::Primary => kind.into(),
        Role::Group => format!("{kind} (group)"),
        Role::SharedMm => format!("{kind} (shared mm)"),
    }
}

fn limit(record: &Record) -> String {
    let kill = &record.kill;
    let whose = match kill.limit {
        Limit::Unknown => return ABSENT.into(),
        // Of a service, say.
        Limit::Container if !is_in_container(record) => "own".into(),
        limit => limit.to_string(),
    };
    match limit_bytes(kill) {
        Some(bytes) => format!("{whose} {}", size(bytes)),
        None => whose,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::fixture;
    use capture::sys::escape::escape;

    #[test]
    fn rows_line_up_under_their_header() {
        let records = [
            fixture::pod_child(),
            fixture::host_unit(),
            fixture::from(
                &json!({"pod": null, "host": {}, "scope": "host", "limit": "node",
                "role": "group", "victim": {"kind": "init", "anon_rss_bytes": null},
                "cgroup": {"path": "/oom-probe-hog-7"}}),
            ),
        ];
        let table = Rows::new(TimeZone::UTC).format(records.iter());
        let expected = "\
TIME                 POD OR UNIT                 CONTAINER  PROCESS        KIND          ANON       LIMIT
2025-11-20 12:03:44  shop/cart-7d9f8b6c5d-x2x9z  app        python3[4711]  child         231.4 MiB  container 256 MiB
2025-11-20 12:03:44  nginx.service               -          nginx[4711]    -             231.4 MiB  own 256 MiB
2025-11-20 12:03:44  /oom-probe-hog-7            -          python3[4711]  init (group)  -          node
";
        assert_eq!(table, expected);
    }

    #[test]
    fn later_rows_line_up_with_earlier_ones() {
        let mut rows = Rows::new(TimeZone::UTC);
        let long = fixture::pod_child();
        let first = rows.format([&long].into_iter());
        let second = rows.format([&fixture::host_unit()].into_iter());
        let third = rows.format([&long].into_iter());
        let column = |line: &str, part: &str| line.find(part).unwrap();
        let first = first.lines().nth(1).unwrap();
        assert_eq!(second.lines().count(), 1, "the header comes once");
        assert_eq!(column(&second, "own 256"), column(first, "container 256"));
        assert_eq!(
            column(&second, "nginx[4711]"),
            column(first, "python3[4711]")
        );
        assert_eq!(third.trim_end(), first);
    }

    #[test]
    fn names_made_to_deceive_stay_in_their_row() {
        let hostile = "x\n\u{1b}[2J\u{9b}\u{202e}\\n";
        let path = format!("/{}", escape(hostile.as_bytes()));
        for changes in [
            json!({"pod": {"namespace": hostile, "name": hostile, "container": hostile}}),
            json!({"pod": {"namespace": null, "name": hostile, "container": null,
                "container_id": hostile}}),
            json!({"pod": {"namespace": null, "name": null, "uid": hostile}}),
            json!({"pod": null, "host": {"unit": hostile}}),
            json!({"pod": null, "cgroup": {"path": path}, "victim": {"comm": hostile}}),
        ] {
            let record = fixture::from(&changes);
            let rows = Rows::new(TimeZone::UTC).format([&record].into_iter());
            let row = rows.lines().nth(1).unwrap();
            assert_eq!(rows.lines().count(), 2, "{rows}");
            assert!(row.contains("x\\n\\x1b[2J\\u{9b}\\u{202e}\\"), "{row}");
        }
    }

    #[test]
    fn the_best_names_there_are() {
        let id = "c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00beef";
        for (changes, expected) in [
            (json!({}), ("shop/cart-7d9f8b6c5d-x2x9z", "app")),
            (
                json!({"pod": {"namespace": null, "name": null, "container": null}}),
                ("3b8a1c9e-5d2f-4c55-9d0a-0f4f4b2e8a11", "5f00c0ffee5f"),
            ),
            (
                json!({"pod": null, "host": {"unit": "docker.service", "container_id": id}}),
                ("docker.service", "c0ffee5f00c0"),
            ),
            (
                json!({"pod": null, "scope": "other_node", "cgroup": {"path": "/kubelet/x"}}),
                ("another node's /kubelet/x", "-"),
            ),
            (
                json!({"pod": null, "scope": "unknown", "cgroup": null}),
                ("-", "-"),
            ),
        ] {
            let (name, container) = owner(&fixture::from(&changes));
            assert_eq!((&*name, &*container), expected);
        }
    }
}
