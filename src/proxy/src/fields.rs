//! The fields of a head, as they came: bytes, and for each field where it is and what it is.

use crate::kind::Kind;

/// A head's bytes with its fields. The memory is used again for the next head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    kind: Kind,
    name: Part,
    value: Part,
}

/// Where a part of a head is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    start: usize,
    end: usize,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a [u8],
    /// Without white space around it.
    pub(crate) value: &'a [u8],
}

/// What the `Connection` fields say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Other fields are named, which end at this connection, too.
    pub(crate) names: bool,
}

impl Fields {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// Takes a whole head over, with the fields that were found in it.
    pub(crate) fn take(&mut self, head: &[u8], found: &[httparse::Header<'_>]) {
        self.clear();
        self.bytes.extend_from_slice(head);
        for field in found {
            let (name, value) = (field.name.as_bytes(), field.value.trim_ascii());
            let span =
                Span { kind: Kind::of(name), name: Part::of(head, name), value: Part::of(head, value) };
            self.spans.push(span);
        }
    }

    /// Appends bytes that belong to no field.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Part {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Part { start, end: self.bytes.len() }
    }

    /// Appends a field.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let (kind, name, value) = (Kind::of(name), self.keep(name), self.keep(value.trim_ascii()));
        self.spans.push(Span { kind, name, value });
    }

    /// The bytes of a part.
    pub(crate) fn bytes(&self, part: Part) -> &[u8] {
        self.bytes.get(part.start..part.end).unwrap_or_default()
    }

    /// The text of a part, empty if it is none.
    pub(crate) fn text(&self, part: Part) -> &str {
        std::str::from_utf8(self.bytes(part)).unwrap_or_default()
    }

    /// All fields, in their order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> {
        self.spans.iter().map(|span| Field {
            kind: span.kind,
            name: self.bytes(span.name),
            value: self.bytes(span.value),
        })
    }

    /// The values of all fields of one kind.
    pub(crate) fn all(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.spans.iter().filter(move |span| span.kind == kind).map(|span| self.bytes(span.value))
    }

    /// The value of the first field of one kind.
    pub(crate) fn first(&self, kind: Kind) -> Option<&[u8]> {
        self.all(kind).next()
    }

    /// Where the value of the first field of one kind is.
    pub(crate) fn first_part(&self, kind: Kind) -> Option<Part> {
        self.spans.iter().find(|span| span.kind == kind).map(|span| span.value)
    }

    /// What `Connection` says.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        for name in self.named() {
            match name {
                name if name.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                name if name.eq_ignore_ascii_case(b"close") => options.close = true,
                name if name.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                b"" => {}
                _ => options.names = true,
            }
        }
        options
    }

    /// Whether `Connection` names a field.
    pub(crate) fn names(&self, field: &[u8]) -> bool {
        self.named().any(|name| name.eq_ignore_ascii_case(field))
    }

    fn named(&self) -> impl Iterator<Item = &[u8]> {
        self.all(Kind::Connection).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }
}

impl Part {
    /// Where `inner` is in `outer`, a slice of which it is.
    pub(crate) fn of(outer: &[u8], inner: &[u8]) -> Self {
        let start = inner.as_ptr().addr().saturating_sub(outer.as_ptr().addr());
        Self { start, end: start + inner.len() }
    }

    /// The first bytes of the part.
    pub(crate) fn up_to(self, bytes: usize) -> Self {
        Self { start: self.start, end: (self.start + bytes).min(self.end) }
    }

    /// The part without its first bytes.
    pub(crate) fn after(self, bytes: usize) -> Self {
        Self { start: (self.start + bytes).min(self.end), end: self.end }
    }
}

/// Appends one field as a line.
pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    #[test]
    fn connection_is_read_as_a_list_over_all_its_fields() {
        let options = |values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
            fields(&lines).options()
        };
        assert_eq!(options(&[]), Options::default());
        let all = Options { close: true, keep_alive: true, upgrade: true, names: true };
        assert_eq!(options(&["Keep-Alive, X-Hop", " ,UPGRADE", "close"]), all);
        let named = fields(&[("Connection", "close, X-Hop")]);
        assert!(named.names(b"x-hop") && !named.names(b"x-ho"));
    }

    #[test]
    fn values_are_kept_without_white_space_around_them() {
        let fields = fields(&[("A", " \tb c "), ("host", "h"), ("HOST", "i")]);
        assert_eq!(fields.iter().next().unwrap().value, b"b c");
        assert_eq!(fields.all(Kind::Host).collect::<Vec<_>>(), [b"h", b"i"]);
    }
}
