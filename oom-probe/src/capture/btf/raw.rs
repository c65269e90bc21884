//! The header of a BTF file, and where its types begin.

use std::ops::Range;

use super::error::Malformed;
use super::types::{Info, Kind, TYPE_LEN, u32_at};

const MAGIC: u16 = 0xeb9f;
/// Up to and with `str_len`: what every version of the header has.
pub(super) const HEADER_LEN: usize = 24;
/// With `layout_off` and `layout_len`, which came with Linux 7.1.
const HEADER_WITH_LAYOUT_LEN: usize = 32;

/// Where the parts of a BTF file are.
#[derive(Debug)]
pub(super) struct Sections {
    types_start: usize,
    pub(super) types_end: usize,
    strings: Range<usize>,
    /// The lengths of all kinds, where the file tells them: `struct btf_layout` for each.
    layout: Range<usize>,
}

/// Looks at the beginning of a file, which is enough to know whether it is BTF.
pub(super) fn identify(beginning: &[u8]) -> Result<(), Malformed> {
    if beginning.is_empty() {
        return Err(Malformed::Empty);
    }
    if beginning.starts_with(b"\x7fELF") {
        return Err(Malformed::Elf);
    }
    let &[first, second, version, ..] = beginning else {
        let len = beginning.len();
        return Err(Malformed::Truncated {
            section: "header",
            end: HEADER_LEN as u64,
            len,
        });
    };
    match u16::from_ne_bytes([first, second]) {
        MAGIC => {}
        magic if magic == MAGIC.swap_bytes() => return Err(Malformed::ByteOrder),
        magic => return Err(Malformed::Magic(magic)),
    }
    if version == 1 {
        Ok(())
    } else {
        Err(Malformed::Version(version))
    }
}

impl Sections {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        identify(bytes)?;
        let len = bytes.len();
        let cut = |section, end| Malformed::Truncated { section, end, len };
        let header_len = u32_at(bytes, 4)
            .map_or(HEADER_LEN, |len| len as usize)
            .max(HEADER_LEN);
        if header_len > len {
            return Err(cut("header", header_len as u64));
        }
        let section = |name, at| {
            let field = |at| u64::from(u32_at(bytes, at).unwrap_or(0));
            let start = header_len as u64 + field(at);
            let end = start + field(at + 4);
            match (usize::try_from(start), usize::try_from(end)) {
                (Ok(start), Ok(end)) if end <= len => Ok(start..end),
                _ => Err(cut(name, end)),
            }
        };
        let types = section("section of types", 8)?;
        let strings = section("section of names", 16)?;
        let layout = if header_len >= HEADER_WITH_LAYOUT_LEN {
            section("section of layouts", HEADER_LEN)?
        } else {
            0..0
        };
        Ok(Self {
            types_start: types.start,
            types_end: types.end,
            strings,
            layout,
        })
    }

    pub(super) fn strings<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.strings.clone()]
    }

    /// Where each type begins, from the start of the file.
    pub(super) fn index(&self, bytes: &[u8]) -> Result<Vec<u32>, Malformed> {
        // 21 to 25 bytes a type in the kernels looked at: one allocation, little of it unused.
        let mut index = Vec::with_capacity((self.types_end - self.types_start) / 20);
        let mut at = self.types_start;
        while at < self.types_end {
            let id = u32::try_from(index.len() + 1).map_err(|_| Malformed::TooLarge)?;
            let cut = Malformed::TypeTruncated(id);
            let info = u32_at(bytes, at + 4).ok_or(cut.clone())?;
            let end = self
                .type_len(bytes, id, info)?
                .checked_add(at)
                .filter(|&end| end <= self.types_end)
                .ok_or(cut)?;
            index.push(u32::try_from(at).map_err(|_| Malformed::TooLarge)?);
            at = end;
        }
        index.shrink_to_fit();
        Ok(index)
    }

    fn type_len(&self, bytes: &[u8], id: u32, info: u32) -> Result<usize, Malformed> {
        let Info {
            kind: number, vlen, ..
        } = Info::new(info);
        let (fixed, each) = match Kind::from_number(number) {
            Some(kind) if kind != Kind::Void => kind.trailer(),
            _ => self
                .layout_of(bytes, number)
                .ok_or(Malformed::UnknownKind { id, kind: number })?,
        };
        // vlen has 24 bits and an element at most 255 bytes: no overflow in 64 bits.
        Ok(TYPE_LEN + fixed + each * vlen as usize)
    }

    /// Bytes after `struct btf_type`, and for each element, of a kind that came after this reader,
    /// from the file's own `struct btf_layout`.
    fn layout_of(&self, bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
        let layouts = &bytes[self.layout.clone()];
        let &[fixed, each, ..] = layouts.get(usize::from(kind) * 4..)? else {
            return None;
        };
        (kind != 0).then_some((fixed.into(), each.into()))
    }
}
