use bytes::Bytes;

use super::*;
use crate::journal::store;

const BOOT: &str = "3b8a1c9e-0000-4000-8000-000000000001";

fn snapshot(entry: &Entry<'_>) -> Snapshot {
    let mut frames = Vec::new();
    store::push(&mut frames, std::slice::from_ref(entry));
    Snapshot {
        frames,
        pods: Vec::new(),
        gone: Vec::new(),
        history: vec![Bytes::from_static(br#"{"id":"k1"}"#)],
        readings: None,
        sync: false,
    }
}

fn dropped(kills: u64) -> Vec<u8> {
    let mut frames = Vec::new();
    store::push(&mut frames, &[Entry::Dropped(kills)]);
    frames
}

/// The numbers of all `dropped` entries, in order.
fn told(found: &Found) -> Vec<u64> {
    let mut told = Vec::new();
    for file in &found.files {
        let mut frames = file.frames().unwrap();
        while let Some(frame) = frames.next().unwrap() {
            let entries = entry::entries(frame).unwrap().into_iter();
            told.extend(entries.filter_map(|entry| match entry {
                Entry::Dropped(kills) => Some(kills),
                _ => None,
            }));
        }
    }
    told
}

/// A directory with a snapshot that says 1 and a journal that says 2 and 3.
fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Files::open(directory.path(), BOOT).unwrap();
    assert!(matches!(files.read().trouble, Some(Trouble::Nothing)));
    files.snapshot(&mut snapshot(&Entry::Dropped(1))).unwrap();
    files.append(&dropped(2)).unwrap();
    files.append(&dropped(3)).unwrap();
    directory
}

fn read(directory: &tempfile::TempDir) -> Found {
    Files::open(directory.path(), BOOT).unwrap().read()
}

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_and_the_journal_behind_it_are_read_in_order() {
    let directory = written();
    let found = read(&directory);
    assert_eq!(told(&found), [1, 2, 3]);
    assert!(found.trouble.is_none());
    assert_eq!(found.files[0].header.boot, BOOT);
}

#[test]
fn the_next_snapshot_takes_the_place_of_both() {
    let directory = written();
    let mut files = Files::open(directory.path(), BOOT).unwrap();
    files.read();
    files.snapshot(&mut snapshot(&Entry::Dropped(6))).unwrap();
    drop(files);
    assert_eq!(names(&directory), ["journal.2", "snapshot"]);
    assert_eq!(told(&read(&directory)), [6]);
}

#[test]
fn a_journal_of_a_snapshot_that_was_not_finished_is_read_too() {
    let directory = written();
    let header = Header {
        version: VERSION,
        boot: BOOT.to_owned(),
        generation: 2,
    };
    let mut next = framed_header(&header).unwrap();
    next.extend(dropped(4));
    fs::write(directory.path().join("journal.2"), next).unwrap();
    assert_eq!(told(&read(&directory)), [1, 2, 3, 4]);
}

#[test]
fn what_a_write_left_half_done_was_never_shown() {
    let directory = written();
    let path = directory.path().join("journal.1");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let found = read(&directory);
    assert_eq!(told(&found), [1, 2]);
    assert!(found.trouble.is_none());
}

#[test]
fn a_damaged_journal_counts_up_to_the_damage_and_is_told_of() {
    let directory = written();
    let path = directory.path().join("journal.1");
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[length - 5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let found = read(&directory);
    assert_eq!(told(&found), [1, 2]);
    let trouble = found.trouble.unwrap().to_string();
    assert!(trouble.ends_with("journal.1: it is damaged"), "{trouble}");
}

#[test]
fn files_of_an_earlier_version_are_read() {
    let directory = written();
    for name in ["snapshot", "journal.1"] {
        let path = directory.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let (header, rest) = text.split_once('\n').unwrap();
        let header = header[18..].replace(r#""version":2"#, r#""version":1"#);
        let mut bytes = Vec::new();
        frame::push(&mut bytes, header.as_bytes());
        bytes.extend_from_slice(rest.as_bytes());
        fs::write(&path, bytes).unwrap();
    }
    let found = read(&directory);
    assert_eq!(told(&found), [1, 2, 3]);
    assert!(found.trouble.is_none());
    assert_eq!(found.files[0].header.version, 1);
}

#[test]
fn a_snapshot_that_cannot_be_read_is_set_aside() {
    let whole = fs::read(written().path().join("snapshot")).unwrap();
    let newer = String::from_utf8(whole.clone()).unwrap();
    let newer = newer.replace(r#""version":2"#, r#""version":3"#);
    let mut reframed = Vec::new();
    frame::push(
        &mut reframed,
        &newer.lines().next().unwrap().as_bytes()[18..],
    );
    for (bytes, why) in [
        (&whole[..whole.len() - 1], "its end is missing"),
        (&whole[..whole.len() - 40], "its end is missing"),
        (&[][..], "its end is missing"),
        (
            &b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            "it is damaged",
        ),
        (newer.as_bytes(), "it is damaged"),
        (
            &reframed[..],
            "it is of version 3, and this oom-probe reads up to version 2",
        ),
    ] {
        let directory = written();
        fs::write(directory.path().join("snapshot"), bytes).unwrap();
        let found = read(&directory);
        assert!(told(&found).is_empty());
        let trouble = found.trouble.unwrap().to_string();
        assert!(trouble.ends_with(&format!("snapshot: {why}")), "{trouble}");
        assert_eq!(names(&directory), ["snapshot.unusable"]);
    }
}

#[test]
fn two_daemons_do_not_share_a_directory() {
    let directory = written();
    let _first = Files::open(directory.path(), BOOT).unwrap();
    let second = Files::open(directory.path(), BOOT).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
    assert!(remove(directory.path()).is_err());
}

#[test]
fn removing_leaves_what_is_not_ours() {
    let directory = written();
    fs::write(directory.path().join("notes"), "mine").unwrap();
    remove(directory.path()).unwrap();
    assert_eq!(names(&directory), ["notes"]);
    fs::remove_file(directory.path().join("notes")).unwrap();
    remove(directory.path()).unwrap();
    assert!(!directory.path().exists());
    remove(directory.path()).unwrap();
}

#[test]
fn others_cannot_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = written();
    for name in names(&directory) {
        let mode = fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o077, 0);
    }
}
