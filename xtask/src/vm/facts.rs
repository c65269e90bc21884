//! Files that a machine sent out through its third serial port, to be recorded as fixtures or to be
//! there when it is started again: for each a line `PATH SIZE`, then that many bytes.

use std::fs;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};

/// One file as it was in the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fact<'a> {
    pub(crate) path: &'a str,
    pub(crate) data: &'a [u8],
}

/// Splits what came through the port.
///
/// # Errors
/// It is cut short, or a header is not one.
pub(crate) fn parse(stream: &[u8]) -> Result<Vec<Fact<'_>>> {
    let mut found = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            bail!("cut off in a header after {} files", found.len());
        };
        let header = std::str::from_utf8(&rest[..end]).context("a header is not text")?;
        let Some((path, size)) = header.rsplit_once(' ') else {
            bail!("no header: {header:?}")
        };
        let size: usize = size
            .parse()
            .with_context(|| format!("no size: {header:?}"))?;
        let Some((data, after)) = rest[end + 1..].split_at_checked(size) else {
            bail!(
                "{path} is cut off: {} of {size} bytes",
                rest.len() - end - 1
            );
        };
        found.push(Fact { path, data });
        rest = after;
    }
    Ok(found)
}

/// Writes the files below `dir`, at the paths they had in the guest.
///
/// # Errors
/// The stream is damaged, or a file cannot be written.
pub(crate) fn unpack(stream: &Path, dir: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(stream).with_context(|| format!("read {}", stream.display()))?;
    let mut written = Vec::new();
    for Fact { path, data } in parse(&bytes)? {
        let file = dir.join(relative(path)?);
        fs::create_dir_all(file.parent().unwrap_or(dir))?;
        fs::write(&file, data).with_context(|| format!("write {}", file.display()))?;
        written.push(format!("{path} ({} bytes)", data.len()));
    }
    Ok(written)
}

/// The path below a root directory.
///
/// # Errors
/// It would lead out of it.
pub(crate) fn relative(path: &str) -> Result<&Path> {
    let relative = Path::new(path.trim_start_matches('/'));
    let is_plain = |part| matches!(part, Component::Normal(_));
    if !relative.components().all(is_plain) {
        bail!("{path:?} leads out of the directory that it is to be in");
    }
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_root() {
        assert_eq!(relative("/a/b").unwrap(), Path::new("a/b"));
        for path in ["/../a", "/a/../../b", ".."] {
            assert!(relative(path).is_err(), "{path}");
        }
    }

    #[test]
    fn files_of_any_bytes_come_back() {
        let stream = b"/a b 3\n\n\0\xff/empty 0\n/c 1\nx";
        assert_eq!(
            parse(stream).unwrap(),
            [
                Fact {
                    path: "/a b",
                    data: b"\n\0\xff"
                },
                Fact {
                    path: "/empty",
                    data: b""
                },
                Fact {
                    path: "/c",
                    data: b"x"
                },
            ]
        );
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn a_stream_cut_anywhere_inside_a_file_is_an_error() {
        let stream = b"/abc 4\nwxyz";
        for end in 1..stream.len() {
            assert!(parse(&stream[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(
            parse(b"/abc 4\nwx").unwrap_err().to_string(),
            "/abc is cut off: 2 of 4 bytes"
        );
        assert!(parse(b"/abc many\n").is_err());
    }
}
