//! What the kernel says of its own types, or a file that was named in its place.

use oom_probe_common::offsets::ABSENT;

use capture::{
    btf::Btf,
    layout::{self, format::Format},
};

pub(super) fn btf(input: &[u8]) {
    let btf = match Btf::parse(input.to_vec()) {
        Ok(btf) => btf,
        Err(error) => return super::assert_one_line(&error.to_string()),
    };
    assert!(btf.memory() <= 3 * input.len() + 64, "{}", btf.memory());
    for t in btf.types() {
        let _ = (btf.size_of(t.id), btf.params(t.id), btf.pointee(t.id));
        let _ = (btf.name(t.name), btf.encoded(t.id));
        let _ = (t.array(), t.target(), t.int_bits());
        let _ = t.enumerators().count() + t.params().count() + t.members().count();
    }
    let layout = layout::resolve(&btf);
    let fields = layout.offsets.fields();
    let absent = fields.iter().filter(|(_, value)| *value == ABSENT).count();
    assert_eq!(absent, layout.missing.len());
    for (_, why) in &layout.missing {
        super::assert_one_line(why);
    }
}

pub(super) fn format(input: &[u8]) {
    match Format::parse(&String::from_utf8_lossy(input)) {
        Err(error) => super::assert_one_line(&error.to_string()),
        Ok(format) => {
            assert!(!format.fields.is_empty());
            for field in format.fields {
                assert!(field.offset <= 0xffff && field.size <= 0xffff && !field.name.is_empty());
            }
        }
    }
}
