//! How entries lie in a file: one line each, with its length and a checksum.
//!
//! `<length, 8 hex digits> <CRC-32, 8 hex digits> <JSON>\n`. A line that was torn by a full disk or
//! a lost machine is told from a whole one, and `less` shows what there is.

use std::io::{self, Read, Write};

use flate2::Crc;

/// Longer lines are no entries: a batch of the largest records takes a tenth.
pub const MAX_FRAME: usize = 16 << 20;
/// Hex digits of a length or a checksum.
const DIGITS: usize = 8;
/// Two numbers, each with the space behind it.
const HEAD: usize = 2 * (DIGITS + 1);

/// Why the frames of a file end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The file ends with a whole frame.
    Whole,
    /// The last frame is not all there.
    Torn,
    /// What follows is no frame, or not the one that was written.
    Corrupt,
}

/// The frames of a file, up to the first that is not as it was written. One is held at a time.
#[derive(Debug)]
pub struct Frames<R> {
    reader: R,
    payload: Vec<u8>,
    end: Option<End>,
}

/// Appends a frame.
pub fn push(frames: &mut Vec<u8>, payload: &[u8]) {
    frames.reserve(HEAD + payload.len() + 1);
    write!(frames, "{:08x} {:08x} ", payload.len(), checksum(payload))
        .expect("writing to a vector does not fail");
    frames.extend_from_slice(payload);
    frames.push(b'\n');
}

impl<R: Read> Frames<R> {
    /// The frames that are read from there.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            payload: Vec::new(),
            end: None,
        }
    }

    /// The next frame.
    ///
    /// # Errors
    /// The file cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "the frame borrows from this, and reading may fail"
    )]
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.end.is_none() {
            self.end = self.read()?;
        }
        Ok(self.end.is_none().then_some(&*self.payload))
    }

    /// Why there are no more; to be asked after the last.
    #[must_use]
    pub fn end(&self) -> End {
        self.end.unwrap_or(End::Whole)
    }

    /// Reads a frame, unless there is a reason why there is none.
    fn read(&mut self) -> io::Result<Option<End>> {
        let mut head = [0; HEAD];
        match fill(&mut self.reader, &mut head)? {
            0 => return Ok(Some(End::Whole)),
            HEAD => {}
            _ => return Ok(Some(End::Torn)),
        }
        let (length, sum) = head.split_at(DIGITS + 1);
        let (Some(length), Some(sum)) = (number(length), number(sum)) else {
            return Ok(Some(End::Corrupt));
        };
        if length as usize > MAX_FRAME {
            return Ok(Some(End::Corrupt));
        }
        self.payload.clear();
        // It grows with what is there: the length may be wrong.
        let mut line = (&mut self.reader).take(u64::from(length) + 1);
        line.read_to_end(&mut self.payload)?;
        if self.payload.len() <= length as usize {
            return Ok(Some(End::Torn));
        }
        let is_right = self.payload.pop() == Some(b'\n') && checksum(&self.payload) == sum;
        Ok((!is_right).then_some(End::Corrupt))
    }
}

/// Reads as many bytes as there is room for; fewer at the end of the file.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Exactly eight lower-case hex digits and a space.
fn number(text: &[u8]) -> Option<u32> {
    let (digits, b" ") = text.split_at_checked(DIGITS)? else {
        return None;
    };
    digits.iter().try_fold(0, |number: u32, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(digit))
    })
}

fn checksum(payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(payload);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            push(&mut bytes, payload);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, End) {
        let mut frames = Frames::new(bytes);
        let mut read = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            read.push(frame.to_vec());
        }
        (read, frames.end())
    }

    #[test]
    fn frames_can_be_read_by_people() {
        assert_eq!(
            String::from_utf8(written(&[b"{}"])).unwrap(),
            "00000002 5ed74c51 {}\n".replace("5ed74c51", &format!("{:08x}", checksum(b"{}")))
        );
    }

    #[test]
    fn what_is_torn_at_any_byte_ends_with_the_frames_before() {
        let bytes = written(&[b"{\"a\":1}", b"{\"b\":2}"]);
        let one = written(&[b"{\"a\":1}"]).len();
        for length in 0..bytes.len() {
            let (frames, end) = read(&bytes[..length]);
            assert_eq!(frames.len(), length / one, "{length}");
            let whole = length == 0 || length == one;
            assert_eq!(end, if whole { End::Whole } else { End::Torn }, "{length}");
        }
        assert_eq!(read(&bytes).0.len(), 2);
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let bytes = written(&[b"{\"a\":1}", b"{\"b\":2}"]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x08;
            let (frames, end) = read(&changed);
            assert!(frames.len() < 2, "byte {at}");
            assert_ne!(end, End::Whole, "byte {at}");
        }
    }

    #[test]
    fn a_length_that_no_frame_has_is_no_frame() {
        assert_eq!(read(b"ffffffff 00000000 x").1, End::Corrupt);
        assert_eq!(read(b"0000000g 00000000 x").1, End::Corrupt);
    }

    proptest! {
        #[test]
        fn any_bytes_end_somehow(bytes: Vec<u8>) {
            let (frames, _) = read(&bytes);
            prop_assert!(frames.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }

        #[test]
        fn what_was_written_is_read(payloads: Vec<Vec<u8>>) {
            let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let bytes = written(&slices);
            prop_assert_eq!(read(&bytes), (payloads, End::Whole));
        }
    }
}
