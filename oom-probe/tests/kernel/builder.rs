//! BTF made by hand, and recorded BTF with something changed in it.

use capture::btf::{Btf, TypeId};

/// BTF of these words of types and these names, each behind a NUL.
pub(crate) fn btf(types: &[u32], names: &[&str]) -> Vec<u8> {
    let mut strings = vec![0];
    for name in names {
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let header = [0x0001_eb9f, 24, 0, len(&types), len(&types), len(&strings)];
    let header = header.iter().flat_map(|word: &u32| word.to_ne_bytes());
    header.chain(types).chain(strings).collect()
}

/// `btf_type.info` of a kind with so many elements.
pub(crate) const fn info(kind: u32, vlen: u32) -> u32 {
    kind << 24 | vlen
}

/// Recorded BTF in which every use of a name has another one of the same length.
pub(crate) fn renamed(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let entry = |name: &str| [b"\0", name.as_bytes(), b"\0"].concat();
    let (from, to) = (entry(from), entry(to));
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(&to);
    bytes
}

/// Recorded BTF with one word of a type changed, counted from the type's start.
pub(crate) fn patched(mut bytes: Vec<u8>, id: TypeId, word: usize, value: u32) -> Vec<u8> {
    let btf = Btf::parse(bytes.clone()).unwrap();
    let before: usize = (1..id.0)
        .map(|id| btf.encoded(TypeId(id)).unwrap().len())
        .sum();
    let at = 24 + before + word * 4;
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    bytes
}
