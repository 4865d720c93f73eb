//! The one canonical form of a path, decided once, before routing.
//!
//! A path is split into segments at each raw `/`; then each segment is decoded. What could mean one thing to
//! the proxy and another to a server (dot segments, control characters, backslashes, broken escapes) is
//! refused, so that nothing has to be rewritten: a user server gets the bytes the browser sent.
//! (RFC 3986 section 3.3, RFC 9112 section 3.2)

use std::borrow::Cow;

/// Prefixes with more segments are refused: routes have two or three.
pub(crate) const PREFIX_SEGMENTS_MAX: usize = 16;

/// Why a path has no canonical form. Each is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not of the form `/…`.
    #[error("the path must begin with a slash")]
    NotAbsolute,
    /// `.` or `..`, plain or encoded.
    #[error("the path must not have . or .. segments")]
    DotSegment,
    /// A control character, plain or encoded, or a backslash or another character that must be encoded.
    #[error("the path has a character that is not allowed")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the path has a % that is not followed by two hexadecimal digits")]
    Escape,
}

/// A path in canonical form: every segment decoded and encoded again in one way, so that equal segments
/// are equal bytes, and a `/` is always a separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanonicalPath<'a>(Cow<'a, str>);

impl<'a> CanonicalPath<'a> {
    /// Checks a path (without query) and brings it into canonical form.
    pub(crate) fn new(raw: &'a str) -> Result<Self, PathError> {
        let Some(rest) = raw.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
        let mut plain = true;
        for segment in rest.split('/') {
            plain &= check_segment(segment)?;
        }
        if plain {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let mut text = String::with_capacity(raw.len());
        for segment in rest.split('/') {
            text.push('/');
            append_canonical(segment, &mut text);
        }
        Ok(Self(Cow::Owned(text)))
    }

    /// The canonical text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of this path as a route's prefix: without the slash at its end.
    pub(crate) fn into_prefix_key(self) -> String {
        let mut text = self.0.into_owned();
        if text.ends_with('/') {
            text.pop();
        }
        text
    }
}

/// Checks one segment; says whether it is in canonical form as it stands.
fn check_segment(segment: &str) -> Result<bool, PathError> {
    let bytes = segment.as_bytes();
    let mut plain = true;
    // The decoded piece since the last slash, as far as it could be a dot segment.
    let mut dots = DotWatch::default();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let mut byte = *first;
        rest = tail;
        if byte == b'%' {
            let [high, low, tail @ ..] = rest else { return Err(PathError::Escape) };
            byte = (hex(*high)? << 4) | hex(*low)?;
            rest = tail;
            plain &= !stays_plain(byte) && !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
        } else if byte == b'\\' || byte == b'#' || byte == b'?' {
            return Err(PathError::Character);
        } else {
            plain &= stays_plain(byte);
        }
        if byte < 0x20 || byte == 0x7f || (byte == b' ' && *first == b' ') {
            return Err(PathError::Character);
        }
        dots.see(byte)?;
    }
    dots.end()?;
    Ok(plain)
}

/// Notices `.` and `..` between slashes that were encoded, too: a server that decodes before it splits
/// would see them.
#[derive(Default)]
struct DotWatch {
    length: usize,
    only_dots: bool,
}

impl DotWatch {
    fn see(&mut self, byte: u8) -> Result<(), PathError> {
        if byte == b'/' {
            self.end()?;
            *self = Self::default();
            return Ok(());
        }
        self.only_dots = byte == b'.' && (self.only_dots || self.length == 0);
        self.length += 1;
        Ok(())
    }

    fn end(&self) -> Result<(), PathError> {
        if self.only_dots && (self.length == 1 || self.length == 2) {
            return Err(PathError::DotSegment);
        }
        Ok(())
    }
}

/// Appends a checked segment, each byte decoded and, where it must be, encoded again.
fn append_canonical(segment: &str, text: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in percent_encoding::percent_decode_str(segment) {
        if stays_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.extend(DIGITS.get(usize::from(byte >> 4)));
            text.extend(DIGITS.get(usize::from(byte & 15)));
        }
    }
}

/// The characters of a segment that need no escape (`pchar` of RFC 3986).
fn stays_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::Escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(raw: &str) -> Result<String, PathError> {
        CanonicalPath::new(raw).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn plain_paths_stay_as_they_are() {
        for path in
            ["/", "/user/alice/", "/user/a@b/lab", "//double//", "/a;b=c/d,e", "/...", "/.config", "/a%20b"]
        {
            assert_eq!(canonical(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn escapes_are_decoded_and_written_in_one_way() {
        assert_eq!(canonical("/user/a%40b").as_deref(), Ok("/user/a@b"));
        assert_eq!(canonical("/user/%61lice").as_deref(), Ok("/user/alice"));
        assert_eq!(canonical("/user/\u{e4}").as_deref(), Ok("/user/%C3%A4"));
        assert_eq!(canonical("/user/%c3%a4").as_deref(), Ok("/user/%C3%A4"));
        assert_eq!(canonical("/a%252e%252e/b").as_deref(), Ok("/a%252e%252e/b"));
    }

    #[test]
    fn encoded_slash_stays_inside_its_segment() {
        assert_eq!(canonical("/user/a%2fb/c").as_deref(), Ok("/user/a%2Fb/c"));
    }

    #[test]
    fn encoded_backslash_of_a_directory_user_stays_inside_its_segment() {
        assert_eq!(canonical("/user/DOM%5calice/").as_deref(), Ok("/user/DOM%5Calice/"));
    }

    #[test]
    fn dot_segments_are_refused_raw_and_encoded() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/.%2e",
            "/a/%2e",
            "/a/..%2fb",
            "/a/b%2f..",
            "/a/x%2F.%2Fb",
        ] {
            assert_eq!(canonical(path), Err(PathError::DotSegment), "{path}");
        }
    }

    #[test]
    fn control_characters_and_backslashes_are_refused() {
        for path in ["/a\\b", "/a%00", "/a%0d%0a", "/a%1f", "/a%7f", "/a\u{7f}", "/a b", "/a#b", "/\t"] {
            assert_eq!(canonical(path), Err(PathError::Character), "{path}");
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for path in ["/%", "/%4", "/%zz", "/a%2", "/%%41"] {
            assert_eq!(canonical(path), Err(PathError::Escape), "{path}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for path in ["", "*", "user", "http://x/"] {
            assert_eq!(canonical(path), Err(PathError::NotAbsolute), "{path}");
        }
    }

    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(raw in "/([a-zA-Z0-9%./~@;:\\\\ -]|%[0-9a-fA-F]{2}|\u{e4}){0,40}") {
            if let Ok(once) = canonical(&raw) {
                let twice = canonical(&once);
                prop_assert_eq!(twice.as_deref(), Ok(once.as_str()));
            }
        }

        #[test]
        fn segments_are_those_of_the_raw_path(raw in "(/([a-z.~@]|%2[0-9a-fA-F]|%4[0-9]){0,6}){1,6}") {
            if let Ok(text) = canonical(&raw) {
                let decode = |s: &str| percent_encoding::percent_decode_str(s).collect::<Vec<u8>>();
                let before: Vec<_> = raw.split('/').map(decode).collect();
                let after: Vec<_> = text.split('/').map(decode).collect();
                prop_assert_eq!(&before, &after);
                prop_assert!(before.iter().all(|s| s != b"." && s != b".."));
            }
        }
    }
}
