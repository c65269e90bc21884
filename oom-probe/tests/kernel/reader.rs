use capture::btf::{Array, Btf, Enumerator, Kind, Located, Malformed, TypeId};

use super::builder::{btf, info};

/// `INT` of so many bytes.
fn int(bytes: u32) -> [u32; 4] {
    [0, info(1, 0), bytes, bytes * 8]
}

fn parse(types: &[u32], names: &[&str]) -> Btf {
    Btf::parse(btf(types, names)).unwrap()
}

#[test]
fn every_kind_is_stepped_over_by_its_own_length() {
    // Each kind once, with two elements where it has elements, and a struct behind it.
    for (kind, words) in [
        (1, 1),
        (2, 0),
        (3, 3),
        (4, 6),
        (5, 6),
        (6, 4),
        (7, 0),
        (8, 0),
        (9, 0),
        (10, 0),
        (11, 0),
        (12, 0),
        (13, 4),
        (14, 1),
        (15, 6),
        (16, 0),
        (17, 1),
        (18, 0),
        (19, 6),
    ] {
        let vlen = if matches!(kind, 4 | 5 | 6 | 13 | 15 | 19) {
            2
        } else {
            0
        };
        let mut types = vec![0, info(kind, vlen), 0];
        types.resize(3 + words, 0);
        types.extend([1, info(4, 0), 8]);
        let btf = parse(&types, &["last"]);
        assert_eq!(btf.len(), 2, "kind {kind}");
        assert_eq!(
            btf.find(Kind::Struct, "last")
                .map(|t| t.id)
                .collect::<Vec<_>>(),
            [TypeId(2)]
        );
    }
}

#[test]
fn members_are_found_inside_anonymous_structs_and_unions() {
    let mut types = int(4).to_vec();
    // 2: union { int a; int b; }, 3: struct { <2> at 32 bits }, 4: struct s { int x; <3> at 64 }
    types.extend([0, info(5, 2), 4, 1, 1, 0, 3, 1, 0]);
    types.extend([0, info(4, 1), 8, 0, 2, 32]);
    types.extend([5, info(4, 2), 16, 7, 1, 0, 0, 3, 64]);
    let btf = parse(&types, &["a", "b", "s", "x"]);
    let s = btf.find(Kind::Struct, "s").next().unwrap();
    for (name, offset) in [
        ("x", Some(0)),
        ("a", Some(12)),
        ("b", Some(12)),
        ("s", None),
    ] {
        let located = offset.map(|offset| Located {
            offset,
            type_id: TypeId(1),
        });
        assert_eq!(btf.member(s, name), Ok(located), "{name}");
    }
}

#[test]
fn a_bit_field_is_an_error_for_it_has_no_address() {
    // A struct with the flag has sizes and offsets of bits in one word.
    let with_flag = |place: u32| {
        let mut types = int(4).to_vec();
        types.extend([1, info(4, 1) | 1 << 31, 8, 3, 1, place]);
        types
    };
    // Without it, an integer with fewer bits than its bytes have is one.
    let partial = [0, info(1, 0), 4, 3, 1, info(4, 1), 8, 3, 1, 0];
    for (types, found) in [
        (
            with_flag(32),
            Ok(Some(Located {
                offset: 4,
                type_id: TypeId(1),
            })),
        ),
        (
            with_flag(3 << 24 | 32),
            Err(Malformed::BitField("m".into())),
        ),
        (with_flag(33), Err(Malformed::BitField("m".into()))),
        (partial.to_vec(), Err(Malformed::BitField("m".into()))),
    ] {
        let btf = parse(&types, &["s", "m"]);
        let s = btf.find(Kind::Struct, "s").next().unwrap();
        assert_eq!(btf.member(s, "m"), found, "{types:x?}");
    }
}

#[test]
fn sizes_are_those_of_the_types_behind_typedefs_qualifiers_and_arrays() {
    // 1: int, 2: const <1>, 3: volatile <2>, 4: typedef <3>, 5: type tag <4>, 6: <5>[3], 7: <6>[2],
    // 8: pointer to <7>, 9: function
    let mut types = int(4).to_vec();
    for (kind, target) in [(10, 1), (9, 2), (8, 3), (18, 4)] {
        types.extend([0, info(kind, 0), target]);
    }
    types.extend([0, info(3, 0), 0, 5, 1, 3]);
    types.extend([0, info(3, 0), 0, 6, 1, 2]);
    types.extend([0, info(2, 0), 7]);
    types.extend([0, info(12, 0), 0]);
    let btf = parse(&types, &[]);
    for (id, size) in [
        (0, None),
        (1, Some(4)),
        (5, Some(4)),
        (6, Some(12)),
        (7, Some(24)),
        (8, Some(8)),
        (9, None),
    ] {
        assert_eq!(btf.size_of(TypeId(id)), Ok(size), "type {id}");
    }
    assert_eq!(
        btf.get(TypeId(6)).unwrap().array(),
        Array {
            element: TypeId(5),
            len: 3
        }
    );
    assert_eq!(btf.pointee(TypeId(8)).unwrap().unwrap().id, TypeId(7));
    assert!(btf.pointee(TypeId(7)).unwrap().is_none());
}

#[test]
fn enumerators_keep_their_sign_and_their_upper_half() {
    let types = [
        [1, info(6, 1) | 1 << 31, 4, 7, u32::MAX].as_slice(),
        &[3, info(6, 1), 4, 7, u32::MAX],
        &[5, info(19, 1), 8, 7, 1, 2],
    ]
    .concat();
    let btf = parse(&types, &["s", "u", "w", "v"]);
    for (name, value) in [("s", -1), ("u", 0xffff_ffff), ("w", 0x2_0000_0001)] {
        assert_eq!(btf.enumerator(name, "v"), Some(value), "{name}");
        assert_eq!(btf.enumerator(name, "x"), None);
    }
    let signed = btf.find(Kind::Enum, "s").next().unwrap();
    assert_eq!(
        signed.enumerators().collect::<Vec<_>>(),
        [Enumerator { name: 7, value: -1 }]
    );
}

#[test]
fn the_parameters_of_a_tracepoint_are_behind_its_typedef() {
    // 1: int, 2: prototype (<1>, <1>), 3: pointer to <2>, 4: typedef <3>, 5: function <2>
    let mut types = int(4).to_vec();
    types.extend([0, info(13, 2), 0, 0, 1, 0, 1]);
    types.extend([0, info(2, 0), 2]);
    types.extend([0, info(8, 0), 3]);
    types.extend([0, info(12, 0), 2]);
    let btf = parse(&types, &[]);
    for (id, params) in [(4, Some(2)), (5, Some(2)), (1, None)] {
        let found = btf.params(TypeId(id)).unwrap();
        assert_eq!(found.map(|params| params.len()), params, "type {id}");
    }
}

#[test]
fn a_kind_that_came_later_is_stepped_over_if_the_file_tells_its_length() {
    // Kind 20 with one word and two bytes for each of two elements; lengths of 21 kinds behind.
    let mut layouts = vec![0_u32; 20];
    layouts.push(4 | 2 << 8);
    let mut types = vec![0, info(20, 2), 0, 0xdead, 0xbeef];
    types.extend([1, info(4, 0), 8]);
    let plain = btf(&types, &["last"]);
    assert_eq!(
        Btf::parse(plain.clone()).err(),
        Some(Malformed::UnknownKind { id: 1, kind: 20 }),
        "without the lengths nothing behind it can be found"
    );
    let (types_len, strings_len) = (types.len() as u32 * 4, 6);
    let mut bytes: Vec<u8> = [
        0x0001_eb9f,
        32,
        0,
        types_len,
        types_len,
        strings_len,
        types_len + strings_len,
        84,
    ]
    .iter()
    .flat_map(|word: &u32| word.to_ne_bytes())
    .collect();
    bytes.extend(&plain[24..]);
    bytes.extend(layouts.iter().flat_map(|word| word.to_ne_bytes()));
    let btf = Btf::parse(bytes).unwrap();
    assert_eq!(btf.find(Kind::Struct, "last").count(), 1);
}

#[test]
fn it_keeps_the_file_and_four_bytes_a_type() {
    let bytes = super::recorded::btf_bytes("7.2");
    let len = bytes.len();
    let btf = Btf::parse(bytes).unwrap();
    assert!(
        btf.memory() <= len + len / 64 + 4 * btf.len(),
        "{} of {len}",
        btf.memory()
    );
}

#[test]
fn the_running_kernel_is_read_where_it_has_btf() {
    let path = std::path::Path::new(capture::btf::KERNEL_BTF);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return;
    }
    let btf = Btf::read(path).unwrap();
    let layout = capture::layout::resolve(&btf);
    assert!(
        layout.has(&["task_pid", "task_tgid", "task_comm"]),
        "{:?}",
        layout.missing
    );
}
