//! Reads the `format` files of tracefs: which fields a tracepoint's record has, and where.
//!
//! Real-time kernels and RHEL 9 insert common fields, which shifts all that follow: offsets are
//! read, never known. The file is printed by kernel/trace/trace_events.c `f_show`.

/// The largest file parsed; the kernel's largest has some 10 kB.
pub const MAX_BYTES: usize = 64 << 10;

/// The fields of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Name of the tracepoint, without its group.
    pub name: String,
    /// Its id, by which `perf_event_open` knows it.
    pub id: u32,
    /// Its fields, those that are common to all tracepoints first.
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Bytes from the start of the record.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Whether it is signed.
    pub signed: bool,
}

/// Why text is no `format` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It has more than [`MAX_BYTES`].
    #[error("it is larger than 64 KiB, which no format file is")]
    TooLarge,
    /// It does not say what it describes.
    #[error("it has no line `{0}`")]
    NoLine(&'static str),
    /// A line that begins like a field's goes on differently.
    #[error("line {line} is no field: it has no valid `{part}`")]
    BadField {
        /// Which line, from 1.
        line: usize,
        /// What is missing or wrong in it.
        part: &'static str,
    },
    /// There is not a single field.
    #[error("it has no fields")]
    Empty,
}

impl Format {
    /// Parses the content of a `format` file.
    ///
    /// # Errors
    /// When the text is not of that form.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.len() > MAX_BYTES {
            return Err(FormatError::TooLarge);
        }
        let mut name = None;
        let mut id = None;
        let mut fields = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if let Some(value) = line.strip_prefix("name:") {
                name = Some(value.trim().to_owned()).filter(|name| !name.is_empty());
            } else if let Some(value) = line.strip_prefix("ID:") {
                id = value.trim().parse().ok();
            } else if let Some(rest) = line.strip_prefix("field:") {
                let field = Field::parse(rest);
                fields.push(field.map_err(|part| FormatError::BadField { line: number, part })?);
            }
        }
        let format = Self {
            name: name.ok_or(FormatError::NoLine("name:"))?,
            id: id.ok_or(FormatError::NoLine("ID:"))?,
            fields,
        };
        if format.fields.is_empty() {
            Err(FormatError::Empty)
        } else {
            Ok(format)
        }
    }

    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Offset of a field that is there and has that size, bytes.
    #[must_use]
    pub fn offset(&self, name: &str, size: u32) -> Option<u32> {
        self.field(name)
            .filter(|field| field.size == size)
            .map(|field| field.offset)
    }
}

impl Field {
    /// Parses what follows `field:`, such as `int pid; offset:8; size:4; signed:1;`. The error is the
    /// part that is wrong.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = text.split(';').map(str::trim);
        let declaration = parts.next().unwrap_or_default();
        let declared = declaration.rsplit([' ', '*']).next().unwrap_or_default();
        // `char comm[16]`, but `__data_loc char[] comm`.
        let name = declared.split_once('[').map_or(declared, |(name, _)| name);
        let identifier = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || name == declaration || !name.bytes().all(identifier) {
            return Err("TYPE NAME");
        }
        let mut number = |key: &'static str| -> Result<u32, &'static str> {
            let value = parts.next().and_then(|part| part.strip_prefix(key));
            // Records are at most a page of the ring.
            value
                .and_then(|v| v.parse::<u16>().ok())
                .map(u32::from)
                .ok_or(key)
        };
        Ok(Self {
            name: name.to_owned(),
            offset: number("offset:")?,
            size: number("size:")?,
            signed: number("signed:")? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name: mark_victim\nID: 506\nformat:\n";

    fn field(text: &str) -> Result<Field, FormatError> {
        Format::parse(&format!("{HEAD}\tfield:{text}\n")).map(|mut format| format.fields.remove(0))
    }

    #[test]
    fn names_are_found_in_every_form_of_declaration() {
        for (declaration, name) in [
            ("int pid", "pid"),
            ("unsigned long total_vm", "total_vm"),
            ("char comm[16]", "comm"),
            ("__data_loc char[] comm", "comm"),
            ("const char * reason", "reason"),
            ("void *ptr", "ptr"),
        ] {
            let parsed = field(&format!("{declaration};\toffset:8;\tsize:4;\tsigned:1;"));
            let expected = Field {
                name: name.to_owned(),
                offset: 8,
                size: 4,
                signed: true,
            };
            assert_eq!(parsed, Ok(expected), "{declaration}");
        }
    }

    #[test]
    fn a_broken_field_is_named_by_its_line_and_part() {
        for (text, part) in [
            ("", "TYPE NAME"),
            ("pid;\toffset:8;\tsize:4;\tsigned:1;", "TYPE NAME"),
            ("int p-d;\toffset:8;\tsize:4;\tsigned:1;", "TYPE NAME"),
            ("int pid;\tsize:4;\tsigned:1;", "offset:"),
            ("int pid;\toffset:-8;\tsize:4;\tsigned:1;", "offset:"),
            (
                "int pid;\toffset:99999999999;\tsize:4;\tsigned:1;",
                "offset:",
            ),
            ("int pid;\toffset:8;\tsize:;\tsigned:1;", "size:"),
            ("int pid;\toffset:8;\tsize:4;", "signed:"),
        ] {
            assert_eq!(
                field(text),
                Err(FormatError::BadField { line: 4, part }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_file_without_name_id_or_fields_is_refused() {
        for (text, error) in [
            ("", FormatError::NoLine("name:")),
            ("name: \nID: 1\n", FormatError::NoLine("name:")),
            ("name: mark_victim\n", FormatError::NoLine("ID:")),
            ("name: mark_victim\nID: many\n", FormatError::NoLine("ID:")),
            (HEAD, FormatError::Empty),
        ] {
            assert_eq!(Format::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_endless_file_is_refused() {
        assert_eq!(
            Format::parse(&"x".repeat(MAX_BYTES + 1)),
            Err(FormatError::TooLarge)
        );
    }

    #[test]
    fn a_field_of_another_size_has_no_offset() {
        let text = format!("{HEAD}\tfield:int pid;\toffset:12;\tsize:4;\tsigned:1;\n");
        let format = Format::parse(&text).unwrap();
        assert_eq!(format.offset("pid", 4), Some(12));
        assert_eq!(format.offset("pid", 8), None);
        assert_eq!(format.offset("tid", 4), None);
    }
}
