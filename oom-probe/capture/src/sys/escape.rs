//! One spelling for names that come from elsewhere: the kernel, the API server, another daemon.
//!
//! `task_struct.comm` and the names of cgroups are bytes that any process of any container may
//! choose, and an API server may send any text for a name. What a terminal shows as it stands stays; everything else becomes an escape of Rust's
//! own syntax, so that no name can move the cursor, reorder a line or pass for another name.

use std::{
    fmt::{self, Write},
    path::Path,
};

/// Shows bytes escaped, without allocating.
///
/// | input | output |
/// |---|---|
/// | printable UTF-8 | itself |
/// | `\` | `\\` |
/// | newline, tab, carriage return | `\n`, `\t`, `\r` |
/// | other ASCII control characters | `\x1b`: a byte |
/// | invalid UTF-8 | `\xff`: a byte |
/// | other invisible, reordering, private or unassigned characters | `\u{202e}`: a character |
/// | a combining mark that follows no printable character | `\u{301}` |
///
/// The output is unambiguous: equal output means equal bytes. It takes at most four times the
/// bytes of the input.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

/// The escaped form as a string; see [`Escaped`].
pub fn escape(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}

impl Escaped<'_> {
    /// A path, whose components may be the names of cgroups.
    pub fn path(path: &Path) -> Escaped<'_> {
        Escaped(path.as_os_str().as_encoded_bytes())
    }
}

/// The bytes that an escaped text stands for; absent where no bytes have that form.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let letter = rest.chars().next()?;
        rest = &rest[letter.len_utf8()..];
        match letter {
            '\\' => bytes.push(b'\\'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend(c.to_string().bytes());
                rest = after;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, "\\\\")
    }
}

/// Text that another daemon sends, in which names are escaped already: backslashes stay, and all
/// else as in [`Escaped`].
pub fn escape_again(text: &str) -> String {
    EscapedAgain(text).to_string()
}

struct EscapedAgain<'a>(&'a str);

impl fmt::Display for EscapedAgain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0.as_bytes(), "\\")
    }
}

fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8], backslash: &str) -> fmt::Result {
    let mut has_base = false;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let form = form(c, has_base);
            has_base = form == Form::Plain;
            match form {
                Form::Plain => f.write_char(c)?,
                Form::Backslash => f.write_str(backslash)?,
                Form::Short(letter) => write!(f, "\\{letter}")?,
                Form::Byte => write!(f, "\\x{:02x}", u32::from(c))?,
                Form::Scalar => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        for byte in chunk.invalid() {
            has_base = false;
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Backslash,
    Short(char),
    Byte,
    Scalar,
}

fn form(c: char, has_base: bool) -> Form {
    match c {
        '\\' => Form::Backslash,
        '\n' => Form::Short('n'),
        '\t' => Form::Short('t'),
        '\r' => Form::Short('r'),
        ' '..='~' => Form::Plain,
        '\0'..='\x7f' => Form::Byte,
        _ if draws_nothing(c) => Form::Scalar,
        _ if is_printable(c, has_base) => Form::Plain,
        _ => Form::Scalar,
    }
}

/// What the standard library prints as it stands: no control, format, private, unassigned or
/// separator characters, no space but U+0020; a combining mark only after its base.
fn is_printable(c: char, has_base: bool) -> bool {
    if !has_base {
        return c.escape_debug().len() == 1;
    }
    // `str::escape_debug` accepts combining marks anywhere but at the start.
    let mut buffer = [0; 5];
    buffer[0] = b'a';
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    str::from_utf8(&buffer[..end]).is_ok_and(|text| text.escape_debug().count() == 2)
}

/// Letters, marks and symbols without a glyph, which the categories do not give away: those of
/// `Default_Ignorable_Code_Point` (Unicode's `DerivedCoreProperties.txt`) outside the format
/// characters, and the blank Braille pattern.
const fn draws_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn printable_names_stay_as_they_are() {
        for name in [
            "python3",
            "kworker/u8:2-ev",
            "it's \"quoted\" {x}",
            "größe",
            "日本語",
            "हिन्दी",
            "🦀",
            "",
        ] {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_could_deceive_a_reader_is_spelled_out() {
        for (bytes, escaped) in [
            (&b"a\\b"[..], "a\\\\b"),
            (b"\\x2d", "\\\\x2d"),
            (b"a\nb\tc\r", "a\\nb\\tc\\r"),
            (b"\0\x07\x1b[2J\x7f", "\\x00\\x07\\x1b[2J\\x7f"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"n\xc3", "n\\xc3"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            ("\u{85}\u{9b}".as_bytes(), "\\u{85}\\u{9b}"),
            ("\u{2028}\u{2029}".as_bytes(), "\\u{2028}\\u{2029}"),
            (
                "\u{202a}\u{202e}\u{2066}\u{2069}".as_bytes(),
                "\\u{202a}\\u{202e}\\u{2066}\\u{2069}",
            ),
            (
                "\u{61c}\u{200e}\u{200f}".as_bytes(),
                "\\u{61c}\\u{200e}\\u{200f}",
            ),
            (
                "\u{200b}\u{200d}\u{2060}\u{feff}".as_bytes(),
                "\\u{200b}\\u{200d}\\u{2060}\\u{feff}",
            ),
            (
                "\u{ad}\u{34f}\u{3164}\u{2800}".as_bytes(),
                "\\u{ad}\\u{34f}\\u{3164}\\u{2800}",
            ),
            (
                "a\u{fe0f}\u{e0101}\u{e0041}".as_bytes(),
                "a\\u{fe0f}\\u{e0101}\\u{e0041}",
            ),
            (
                "\u{a0}\u{2003}\u{3000}".as_bytes(),
                "\\u{a0}\\u{2003}\\u{3000}",
            ),
            ("\u{e000}\u{fffe}".as_bytes(), "\\u{e000}\\u{fffe}"),
        ] {
            assert_eq!(escape(bytes), escaped);
        }
    }

    #[test]
    fn a_combining_mark_needs_a_character_to_stand_on() {
        assert_eq!(escape("e\u{301}\u{302}".as_bytes()), "e\u{301}\u{302}");
        assert_eq!(escape("\u{301}e".as_bytes()), "\\u{301}e");
        assert_eq!(escape("\n\u{301}".as_bytes()), "\\n\\u{301}");
        assert_eq!(escape(b"\xff\xcc\x81"), "\\xff\\u{301}");
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            prop::sample::select(vec![
                "\\", "\\x", "\\u{", "}", "41", "\u{202e}", "\n", "\u{301}"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_escaped_form_stands_for_exactly_its_bytes(bytes in hostile()) {
            let escaped = escape(&bytes);
            prop_assert_eq!(unescape(&escaped), Some(bytes.clone()));
            prop_assert!(escaped.len() <= 4 * bytes.len());
        }

        #[test]
        fn the_escaped_form_holds_nothing_that_needs_escaping(bytes in hostile()) {
            let escaped = escape(&bytes);
            prop_assert!(!escaped.chars().any(|c| c.is_control() || draws_nothing(c)));
            prop_assert_eq!(escape(escaped.replace('\\', "").as_bytes()), escaped.replace('\\', ""));
        }

        #[test]
        fn escaped_text_stays_when_it_is_escaped_again(bytes in hostile()) {
            let escaped = escape(&bytes);
            prop_assert_eq!(escape_again(&escaped), escaped);
        }

        #[test]
        fn text_that_should_be_escaped_and_is_not_deceives_nobody(bytes in hostile()) {
            let again = escape_again(&String::from_utf8_lossy(&bytes));
            prop_assert!(!again.chars().any(|c| c.is_control() || draws_nothing(c)));
            prop_assert_eq!(escape_again(&again), again);
        }
    }
}
