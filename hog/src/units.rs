//! Sizes, durations and names as people write them on a command line.

use std::time::Duration;

/// Parses a size in bytes: `32M`, `1G`, `512KiB`, `4096`.
///
/// K, M, G and T are powers of 1024 with or without `i` and `B`, as in the cgroup files
/// (kernel lib/cmdline.c, `memparse`), systemd and docker.
///
/// # Errors
/// One line that quotes the input.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|error| format!("`{text}` is no size ({error}); try 32M, 1G or 512KiB"))
}

/// Parses a size that a process can hold: as [`parse_size()`], but never 0.
///
/// # Errors
/// One line that quotes the input.
pub fn parse_nonzero_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("0 bytes would never grow; try 1M".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Parses a whole number of MiB, the unit of `MEMORY_INCREMENT_MB`, into bytes.
///
/// # Errors
/// One line that quotes the input.
pub fn parse_mebibytes(text: &str) -> Result<u64, String> {
    text.trim()
        .parse::<u64>()
        .ok()
        .filter(|&mebibytes| mebibytes > 0)
        .and_then(|mebibytes| mebibytes.checked_mul(1 << 20))
        .ok_or_else(|| format!("`{text}` is no number of MiB; try 1 or 10"))
}

/// Parses a duration: `100ms`, `2s`, `1m 30s`, `0`.
///
/// # Errors
/// One line that quotes the input.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is no duration ({error}); try 100ms, 2s or 1m"))
}

/// Writes a size for people: `12 MiB`, `1.5 GiB`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY.decimal_places(1))
}

/// Turns C-like escapes into the bytes they stand for: `\n`, `\t`, `\r`, `\\`, `\"`, `\'`, `\xff`.
///
/// Names of processes are bytes in the kernel; the escapes let hostile ones be written in a shell.
///
/// # Errors
/// One line that names the escape that is not known or not complete.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let (byte, length) = match escape.chars().next() {
            Some('n') => (b'\n', 1),
            Some('t') => (b'\t', 1),
            Some('r') => (b'\r', 1),
            Some(quoted @ ('\\' | '"' | '\'')) => (quoted as u8, 1),
            Some('x') => {
                let byte = escape
                    .get(1..3)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .ok_or_else(|| format!("`\\x` needs two hex digits in `{text}`"))?;
                (byte, 3)
            }
            Some(other) => {
                return Err(format!(
                    "`\\{other}` is no escape; use \\n \\t \\r \\\\ \\\" \\' or \\xff"
                ));
            }
            None => return Err(format!("`{text}` ends in a lone backslash; write \\\\")),
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_with_or_without_i_and_b() {
        for (text, bytes) in [
            ("4096", 4096),
            ("0", 0),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("512KiB", 512 << 10),
            ("32M", 32 << 20),
            ("32Mi", 32 << 20),
            ("32 MiB", 32 << 20),
            ("32MB", 32 << 20),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_bad_size_is_quoted_with_what_to_try() {
        for text in ["", "M", "-1", "12X", "12MM", "99999999999999999999G"] {
            let error = parse_size(text).unwrap_err();
            assert!(
                error.contains(&format!("`{text}`")) && error.contains("try"),
                "{error}"
            );
        }
        assert!(parse_nonzero_size("0").is_err());
        assert_eq!(parse_nonzero_size("1"), Ok(1));
    }

    #[test]
    fn mebibytes_are_whole_and_not_zero() {
        assert_eq!(parse_mebibytes("10"), Ok(10 << 20));
        assert_eq!(parse_mebibytes(" 1 "), Ok(1 << 20));
        for text in ["", "0", "1.5", "-1", "10M", "99999999999999999"] {
            assert!(parse_mebibytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_may_be_nothing() {
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "5", "fast", "-1s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (4096, "4 KiB"),
            (12 << 20, "12 MiB"),
            (3 << 29, "1.5 GiB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }

    #[test]
    fn escapes_become_bytes() {
        for (text, bytes) in [
            ("plain", &b"plain"[..]),
            (r"a\nb", b"a\nb"),
            (r#"\"\\\'\t\r"#, b"\"\\'\t\r"),
            (r"\xff\x00\x41", b"\xff\x00A"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(unescape(text).as_deref(), Ok(bytes), "{text}");
        }
        for text in [r"\q", r"\", r"\x", r"\xf", r"\xzz", r"\x+1", r"\xé"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
