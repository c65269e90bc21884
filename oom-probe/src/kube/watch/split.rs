//! Bodies of any length as pieces of bounded length: a list as its items, a watch as its lines.
//!
//! The whole list of a node with 250 pods is 2 to 5 MB, of which 250 KB are of use; and a server
//! that never comes to an end must not be the end of the daemon. So no more than one object is
//! held.

use serde::Deserialize;

/// An object of etcd has at most 1.5 MiB by default; JSON takes somewhat more.
pub(crate) const MAX_OBJECT: usize = 4 << 20;
/// What a list has beside its items takes less than 1 KB.
const MAX_HEAD: usize = 64 << 10;
/// A buffer that grew beyond this for one large object is given back.
const KEPT_BUFFER: usize = 64 << 10;

/// A body that is not what the API sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("an object is larger than {} MiB", MAX_OBJECT >> 20)]
    TooLarge,
    #[error("the body is no list of objects")]
    NoList,
    #[error("the list ends before its end")]
    CutOff,
}

/// What a list has beside its items.
#[derive(Debug, Default, Deserialize)]
struct Head {
    #[serde(default)]
    kind: Box<str>,
    #[serde(default)]
    metadata: ListMeta,
}

/// `io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMeta {
    pub(crate) resource_version: Box<str>,
    /// There is more, to be had with this token.
    #[serde(rename = "continue")]
    pub(crate) continue_token: Box<str>,
}

/// Takes a `PodList` piece by piece and gives its items one by one.
#[derive(Debug, Default)]
pub(crate) struct ListSplitter {
    /// The body without its items.
    head: Vec<u8>,
    /// The item under way.
    item: Vec<u8>,
    /// Open braces and brackets: 1 is the list, 2 its `items`, 3 an item.
    depth: usize,
    in_items: bool,
    in_string: bool,
    escaped: bool,
    /// Where in `head` the last string begins and ends.
    string: (usize, usize),
}

impl ListSplitter {
    /// Takes the next piece of the body.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Malformed> {
        for &byte in piece {
            let in_item = self.in_items && self.depth > 2;
            if !in_item {
                self.outside(byte)?;
                continue;
            }
            if self.item.len() >= MAX_OBJECT {
                return Err(Malformed::TooLarge);
            }
            self.item.push(byte);
            self.structure(byte)?;
            if self.depth == 2 {
                take(&self.item);
                self.item.clear();
                self.item.shrink_to(KEPT_BUFFER);
            }
        }
        Ok(())
    }

    /// What the list has beside its items, at the end of the body.
    pub(crate) fn finish(self) -> Result<ListMeta, Malformed> {
        if self.depth != 0 || self.in_string {
            return Err(Malformed::CutOff);
        }
        let head: Head = serde_json::from_slice(&self.head).map_err(|_| Malformed::NoList)?;
        if &*head.kind == "PodList" {
            Ok(head.metadata)
        } else {
            Err(Malformed::NoList)
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.in_items && !self.in_string && self.depth == 2 {
            match byte {
                b'{' => {
                    self.item.push(byte);
                    return self.structure(byte);
                }
                b',' | b' ' | b'\t' | b'\r' | b'\n' => return Ok(()),
                b']' => self.in_items = false,
                _ => return Err(Malformed::NoList),
            }
        }
        if self.head.len() >= MAX_HEAD {
            return Err(Malformed::NoList);
        }
        let was_in_string = self.in_string;
        self.head.push(byte);
        self.structure(byte)?;
        match (was_in_string, self.in_string) {
            (false, true) => self.string.0 = self.head.len(),
            (true, false) => self.string.1 = self.head.len() - 1,
            _ => {}
        }
        // Only a name can stand before a bracket.
        if byte == b'[' && !was_in_string && self.depth == 2 {
            let (from, to) = self.string;
            self.in_items = self.head.get(from..to) == Some(b"items");
        }
        Ok(())
    }

    fn structure(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.checked_sub(1).ok_or(Malformed::NoList)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Takes a watch piece by piece and gives its lines one by one.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    /// Takes the next piece of the body.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Malformed> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_OBJECT {
                return Err(Malformed::TooLarge);
            }
            self.line.extend_from_slice(part);
            if let Some(line) = self.line.strip_suffix(b"\n") {
                if !line.trim_ascii().is_empty() {
                    take(line);
                }
                self.line.clear();
                self.line.shrink_to(KEPT_BUFFER);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The items and the rest of a list that comes in pieces of `size` bytes.
    fn split(body: &[u8], size: usize) -> Result<(Vec<Value>, ListMeta), Malformed> {
        let mut splitter = ListSplitter::default();
        let mut items = Vec::new();
        for piece in body.chunks(size) {
            splitter.feed(piece, |item| {
                items.push(serde_json::from_slice(item).unwrap_or(Value::Null));
            })?;
        }
        Ok((items, splitter.finish()?))
    }

    #[test]
    fn a_list_comes_apart_wherever_its_pieces_end() {
        let items = [
            json!({"metadata": {"name": "a", "note": "\"items\":[{\\"}}),
            json!({"items": [{"items": []}], "x": [[], {}, "]}"]}),
            json!({}),
        ];
        let list = json!({
            "kind": "PodList", "apiVersion": "v1",
            "metadata": {"resourceVersion": "42", "continue": "more", "x": ["items", [1]]},
            "items": items,
        });
        for body in [
            list.to_string(),
            serde_json::to_string_pretty(&list).unwrap(),
        ] {
            for size in 1..=body.len() {
                let (found, meta) = split(body.as_bytes(), size).unwrap();
                assert_eq!(found, items, "in pieces of {size}");
                assert_eq!(
                    (&*meta.resource_version, &*meta.continue_token),
                    ("42", "more")
                );
            }
        }
    }

    #[test]
    fn the_metadata_may_follow_the_items() {
        let body = br#"{"items":[{"a":1}],"metadata":{"resourceVersion":"7"},"kind":"PodList"}"#;
        let (items, meta) = split(body, 5).unwrap();
        assert_eq!((items.len(), &*meta.resource_version), (1, "7"));
    }

    #[test]
    fn an_empty_list_is_a_list() {
        for items in ["[]", "null"] {
            let body = format!(r#"{{"kind":"PodList","metadata":{{}},"items":{items}}}"#);
            assert_eq!(split(body.as_bytes(), 3), Ok((vec![], ListMeta::default())));
        }
    }

    #[test]
    fn what_is_no_list_is_said_to_be_none() {
        for (body, expected) in [
            ("", Malformed::NoList),
            ("<html>502 Bad Gateway</html>", Malformed::NoList),
            (r#"{"kind":"Status","code":500}"#, Malformed::NoList),
            (r#"{"kind":"PodList","items":[1]}"#, Malformed::NoList),
            (r#"{"kind":"PodList","items":[[]]}"#, Malformed::NoList),
            (r#"{"kind":"PodList","items":["{"]}"#, Malformed::NoList),
            ("}}}}", Malformed::NoList),
            (r#"{"kind":"PodList","items":[{"a":1}"#, Malformed::CutOff),
            (r#"{"kind":"PodList","items":[{"a":"#, Malformed::CutOff),
            (r#"{"kind":"Pod"#, Malformed::CutOff),
        ] {
            assert_eq!(split(body.as_bytes(), 7), Err(expected), "{body}");
        }
    }

    /// Feeds `piece` for ever, until it is refused.
    fn fed_until_refused(start: &str, piece: &[u8]) -> (Malformed, usize) {
        let mut splitter = ListSplitter::default();
        let mut refused = splitter.feed(start.as_bytes(), |_| {});
        for _ in 0..10_000 {
            refused = refused.and_then(|()| splitter.feed(piece, |_| {}));
        }
        let held = splitter.head.len() + splitter.item.len();
        (refused.unwrap_err(), held)
    }

    #[test]
    fn a_list_without_end_holds_a_bounded_number_of_bytes() {
        let piece = [b'x'; 1024];
        for (start, expected) in [
            (r#"{"kind":""#, Malformed::NoList),
            (
                r#"{"kind":"PodList","items":[{"name":""#,
                Malformed::TooLarge,
            ),
        ] {
            let (refused, held) = fed_until_refused(start, &piece);
            assert_eq!(refused, expected, "{start}");
            assert!(held <= MAX_OBJECT + MAX_HEAD, "{start}: {held}");
        }
        let mut splitter = ListSplitter::default();
        splitter
            .feed(br#"{"kind":"PodList","items":["#, |_| {})
            .unwrap();
        let mut items = 0;
        for _ in 0..100_000 {
            splitter
                .feed(br#"{"metadata":{}},   "#, |_| items += 1)
                .unwrap();
        }
        assert_eq!(items, 100_000);
        assert!(splitter.head.len() + splitter.item.len() < 100);
    }

    fn lines(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for piece in pieces {
            splitter.feed(piece, |line| {
                lines.push(String::from_utf8_lossy(line).into_owned());
            })?;
        }
        Ok(lines)
    }

    #[test]
    fn lines_come_apart_wherever_their_pieces_end() {
        assert_eq!(
            lines(&[
                b"{\"a\":1}\n{\"b\"",
                b":2}",
                b"\n",
                b"\n \r\n",
                b"{\"c\":3}\n{\"cut"
            ])
            .unwrap(),
            ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]
        );
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let piece = [b'x'; 1 << 16];
        let pieces: Vec<&[u8]> = vec![&piece; 1000];
        assert_eq!(lines(&pieces), Err(Malformed::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..40) {
            let _ = split(&body, size);
            let pieces: Vec<&[u8]> = body.chunks(size).collect();
            prop_assert!(lines(&pieces).is_ok());
        }

        #[test]
        fn any_json_like_bytes_are_survived(
            body in "[\\[\\]{}\",:\\\\ni items]{0,80}",
            size in 1_usize..9,
        ) {
            let whole = format!("{{\"items\":[{body}");
            let _ = split(whole.as_bytes(), size);
        }
    }
}
