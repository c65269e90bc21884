//! Whatever the bytes, reading ends soon, with a value or an error that names the cause.

use std::path::Path;

use capture::{
    btf::{Btf, Kind, Malformed, TypeId},
    layout::{self, format::Format},
};
use oom_probe_common::offsets::ABSENT;
use proptest::prelude::*;

use super::builder::{btf, info};
use super::recorded::{KERNELS, btf_bytes, format_text};

#[test]
fn what_is_no_btf_is_named() {
    let whole = btf(&[0, info(4, 0), 8], &["name"]);
    let with = |at: usize, bytes: &[u8]| {
        let mut whole = whole.clone();
        whole[at..at + bytes.len()].copy_from_slice(bytes);
        whole
    };
    for (bytes, cause) in [
        (vec![], "it is empty"),
        (
            b"\x7fELF\x02".to_vec(),
            "it is an ELF file; extract its BTF with `objcopy",
        ),
        (
            b"MZ\0\0".to_vec(),
            "it begins with 0x5a4d, raw BTF begins with 0xeb9f",
        ),
        (
            with(0, &0x9feb_u16.to_ne_bytes()),
            "it is BTF of a machine with the other byte order",
        ),
        (
            with(2, &[2]),
            "it has version 2 of the format, only version 1 is known",
        ),
        (
            whole[..3].to_vec(),
            "its header ends at byte 24, but the file has 3",
        ),
        (
            whole[..20].to_vec(),
            "its header ends at byte 24, but the file has 20",
        ),
        (
            with(4, &[255; 4]),
            "its header ends at byte 4294967295, but the file has 42",
        ),
        (
            with(12, &[255; 4]),
            "its section of types ends at byte 4294967319, but the file has 42",
        ),
        (
            with(16, &[255; 8]),
            "its section of names ends at byte 8589934614, but the file has 42",
        ),
        (
            whole[..41].to_vec(),
            "its section of names ends at byte 42, but the file has 41",
        ),
        (with(12, &11_u32.to_ne_bytes()), "type 1 is cut short"),
        (with(28, &info(4, 1).to_ne_bytes()), "type 1 is cut short"),
        (
            with(28, &info(4, 0xff_ffff).to_ne_bytes()),
            "type 1 is cut short",
        ),
        (
            with(28, &info(20, 0).to_ne_bytes()),
            "type 1 is of kind 20, which this version does not",
        ),
        (with(28, &info(0, 0).to_ne_bytes()), "type 1 is of kind 0"),
    ] {
        let error = Btf::parse(bytes).err().unwrap().to_string();
        assert!(error.starts_with(cause), "{error}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn errors_name_the_file_and_the_cause_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    for (path, cause) in [
        (empty.as_path(), "it is empty"),
        (Path::new("/nonexistent/btf"), "No such file or directory"),
        (directory.path(), "Is a directory"),
        (Path::new("/dev/zero"), "it begins with 0x0000"),
    ] {
        let error = Btf::read(path).err().unwrap().to_string();
        assert!(
            error.contains(path.to_str().unwrap()) && error.contains(cause),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    std::fs::write(&path, btf(&[], &[])).unwrap();
    // Sparse: it takes no space.
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let error = Btf::read(&path).err().unwrap().to_string();
    assert!(
        error.ends_with("it is larger than 64 MiB, which no kernel's BTF is"),
        "{error}"
    );
}

#[test]
fn types_without_end_are_errors() {
    // 1: typedef of itself; 2: array of itself; 3: struct with itself as an anonymous member
    let mut types = vec![0, info(8, 0), 1];
    types.extend([0, info(3, 0), 0, 2, 2, 1]);
    types.extend([1, info(4, 1), 8, 0, 3, 0]);
    let btf = Btf::parse(btf(&types, &["s"])).unwrap();
    assert_eq!(btf.resolve(TypeId(1)).err(), Some(Malformed::TooDeep(1)));
    assert_eq!(btf.size_of(TypeId(2)), Err(Malformed::TooDeep(2)));
    let s = btf.find(Kind::Struct, "s").next().unwrap();
    assert_eq!(btf.member(s, "m"), Err(Malformed::TooDeep(3)));
}

#[test]
fn structs_that_multiply_end_too() {
    // A hundred anonymous members, each the struct itself: 100 to the power of 32 paths.
    let mut types = vec![1, info(4, 100), 8];
    for _ in 0..100 {
        types.extend([0, 1, 0]);
    }
    let btf = Btf::parse(btf(&types, &["s"])).unwrap();
    let s = btf.find(Kind::Struct, "s").next().unwrap();
    assert_eq!(btf.member(s, "m"), Err(Malformed::TooDeep(1)));
}

#[test]
fn sizes_and_offsets_that_overflow_are_errors() {
    // 1: int, 2: <1>[2^31], 3: <2>[2^31], 4: struct with an anonymous one at 2^32 - 8 bits, twice
    let mut types = vec![0, info(1, 0), 4, 32];
    types.extend([0, info(3, 0), 0, 1, 1, 1 << 31]);
    types.extend([0, info(3, 0), 0, 2, 1, 1 << 31]);
    types.extend([0, info(4, 1), 8, 3, 1, u32::MAX - 7]);
    types.extend([1, info(4, 1), 8, 0, 4, u32::MAX - 7]);
    let btf = Btf::parse(btf(&types, &["s", "m"])).unwrap();
    assert_eq!(btf.size_of(TypeId(2)), Err(Malformed::TooDeep(2)));
    assert_eq!(btf.size_of(TypeId(3)), Err(Malformed::TooDeep(3)));
    let s = btf.find(Kind::Struct, "s").next().unwrap();
    assert!(btf.member(s, "m").is_err());
}

#[test]
fn references_into_nowhere_are_errors() {
    let types = [9, info(8, 0), 7];
    let btf = Btf::parse(btf(&types, &["s"])).unwrap();
    assert_eq!(btf.resolve(TypeId(1)).err(), Some(Malformed::NoSuchType(7)));
    assert_eq!(
        btf.get(TypeId(u32::MAX)).err(),
        Some(Malformed::NoSuchType(u32::MAX))
    );
    assert_eq!(btf.name(9), Err(Malformed::NoSuchName(9)));
    assert!(!btf.is_named(9, "s"));
}

/// Uses everything that the reader offers, on every type.
fn exercise(mut bytes: Vec<u8>) {
    bytes.shrink_to_fit();
    let len = bytes.len();
    let Ok(btf) = Btf::parse(bytes) else { return };
    assert!(btf.memory() <= 2 * len + 64, "{} for {len}", btf.memory());
    for t in btf.types() {
        let _ = (
            btf.size_of(t.id),
            btf.params(t.id),
            btf.pointee(t.id),
            btf.name(t.name),
        );
        let _ = (t.array(), t.target(), t.int_bits());
        let _ = t.enumerators().count() + t.params().count() + t.members().count();
    }
    let layout = layout::resolve(&btf);
    let absent = layout
        .offsets
        .fields()
        .iter()
        .filter(|(_, value)| *value == ABSENT)
        .count();
    assert_eq!(
        absent,
        layout.missing.len(),
        "absent and missing are the same"
    );
}

fn kernel() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&KERNELS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        exercise(bytes);
    }

    #[test]
    fn random_types_are_survived(
        // Every kind with few elements, and ids and names that mostly lead somewhere.
        types in proptest::collection::vec((0_u32..21, 0_u32..3, 0_u32..2, 0_u32..64), 0..64),
        words in proptest::collection::vec(0_u32..64, 512),
    ) {
        let mut words = words.into_iter();
        let mut section = Vec::new();
        for (kind, vlen, flag, target) in types {
            section.extend([target, info(kind, vlen) | flag << 31, target]);
            section.extend(words.by_ref().take((vlen * 3) as usize));
        }
        exercise(btf(&section, &["task_struct", "btf_trace_mark_victim", "mm", "signal", "pid"]));
    }

    #[test]
    fn truncated_files_are_survived(kernel in kernel(), keep in 0.0..1.0) {
        let mut bytes = btf_bytes(kernel);
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        exercise(bytes);
    }

    #[test]
    fn flipped_bits_are_survived(
        kernel in kernel(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8), 1..48),
    ) {
        let mut bytes = btf_bytes(kernel);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
        }
        exercise(bytes);
    }

    #[test]
    fn random_text_is_no_format(text in ".{0,400}") {
        prop_assert!(Format::parse(&text).is_err());
    }

    #[test]
    fn broken_formats_are_survived(
        kernel in kernel(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = format_text(kernel, "mark_victim").into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(format) = Format::parse(&String::from_utf8_lossy(&bytes)) {
            for field in format.fields {
                prop_assert!(field.offset <= 0xffff && field.size <= 0xffff && !field.name.is_empty());
            }
        }
    }
}
