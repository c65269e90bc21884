//! What users see, word for word: metrics, records, Events, log lines, answers, help, tables.
//!
//! Other tests say what these texts have to be like. These say that a change of the code has left
//! them alone. The texts are in `expected/`; docs/development.md says how they are written anew.
//!
//! What `deploy/` is rendered to is checked in there and held by `tests/deploy/copies.rs` and
//! `tests/deploy/render.rs`: it is not kept here a second time.

mod captured;
mod doctor;
mod events;
mod help;
mod keeper;
mod kills;
mod labels;
mod metrics;
mod pages;
mod records;
mod table;

use std::{env, fmt::Write, fs, path::Path};

/// Set, the texts are written anew instead of compared.
const UPDATE: &str = "OOM_PROBE_UPDATE_SNAPSHOTS";
/// Lines of each side that a failure shows.
const SHOWN: usize = 8;

/// Holds `text` against the file of that name.
#[track_caller]
fn hold(name: &str, text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/expected");
    let path = Path::new(path).join(name);
    if env::var_os(UPDATE).is_some() {
        return fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| format!("({error})"));
    if let Some(difference) = difference(&expected, text) {
        let path = path.display();
        panic!("{path} differs (if that is meant: {UPDATE}=1)\n{difference}");
    }
}

/// The first lines that differ; absent where all are the same.
fn difference(expected: &str, text: &str) -> Option<String> {
    if expected == text {
        return None;
    }
    // With their ends: only those may differ.
    let [before, after] = [expected, text].map(|text| text.split_inclusive('\n'));
    let same = before.clone().zip(after.clone());
    let same = same.take_while(|(before, after)| before == after).count();
    let mut shown = format!("from line {}:\n", same + 1);
    for (mark, lines) in [('-', before), ('+', after)] {
        for line in lines.skip(same).take(SHOWN) {
            let _ = writeln!(shown, "{mark}{line:?}");
        }
    }
    Some(shown)
}

#[test]
fn the_first_differing_lines_are_shown() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    for (expected, text, shown) in [
        ("a\nb\n", "a\nc\n", "from line 2:\n-\"b\\n\"\n+\"c\\n\"\n"),
        ("a\n", "a\nb\n", "from line 2:\n+\"b\\n\"\n"),
        ("a\n", "a", "from line 1:\n-\"a\\n\"\n+\"a\"\n"),
    ] {
        assert_eq!(difference(expected, text).as_deref(), Some(shown));
    }
}
