//! What comes from outside, as arbitrary bytes: the entry points of the fuzz targets (`fuzz/`), and
//! their corpora as ordinary tests.
//!
//! Each takes any bytes and returns; it panics where something that holds for all input does not
//! hold.

mod cgroup_path;
mod http_request;
mod pods;
mod ring;
mod state;
mod types;

/// A way in.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, that of its program and that of its corpus.
    pub name: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
}

/// Every way in.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "ring",
        run: ring::run,
    },
    Target {
        name: "cgroup_path",
        run: cgroup_path::run,
    },
    Target {
        name: "btf",
        run: types::btf,
    },
    Target {
        name: "format",
        run: types::format,
    },
    Target {
        name: "pods",
        run: pods::run,
    },
    Target {
        name: "http",
        run: http_request::run,
    },
    Target {
        name: "state",
        run: state::run,
    },
];

/// Runs the target of that name.
///
/// # Panics
/// When there is none, or it finds something.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of that name").run)(input);
}

/// One line, fit for a terminal and a log.
fn assert_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn fuzz() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
    }

    fn names(directory: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    fn replay(name: &str) {
        let mut inputs = 0;
        for entry in fs::read_dir(fuzz().join("corpus").join(name)).unwrap() {
            run(name, &fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 5, "the corpus of {name} has {inputs} inputs");
    }

    #[test]
    fn every_target_has_a_program_and_a_corpus() {
        let targets = TARGETS.map(|target| target.name.to_owned());
        let targets = BTreeSet::from(targets);
        assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
        assert_eq!(names(&fuzz().join("corpus")), targets);
    }

    macro_rules! corpora {
        ($($name:ident),*) => {
            $(#[test]
            fn $name() {
                replay(stringify!($name));
            })*
        };
    }
    corpora!(ring, cgroup_path, btf, format, pods, http, state);
}
