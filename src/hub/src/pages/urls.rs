//! Writing URLs: path segments, query strings, and reading queries.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub use crate::servers::url_escape as segment;

/// What a value keeps in a query string; Python's `quote(value, safe="")`.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// Most parameters that are read from a query or form; JupyterLab's own links carry fewer than ten.
const PAIRS_MAX: usize = 256;

/// A text as a value in a query string.
pub fn value(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

/// `path` with `pairs` as its query, in their order.
pub fn with_query(path: &str, pairs: &[(String, String)]) -> String {
    let query: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", value(k), value(v))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// The parameters of a query string or an urlencoded form, decoded. Bytes that are no UTF-8 are replaced.
pub fn pairs(encoded: &str) -> Vec<(String, String)> {
    encoded
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(PAIRS_MAX)
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key).into_owned(), decode(value).into_owned())
        })
        .collect()
}

/// One part of an urlencoded text.
pub fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_upstream_quotes_them() {
        assert_eq!(segment("Grace Hopper@x"), "Grace%20Hopper@x");
        assert_eq!(segment("ü"), "%C3%BC");
        assert_eq!(segment("a/b"), "a%2Fb");
        assert_eq!(value("/user/erin/lab?x=1"), "%2Fuser%2Ferin%2Flab%3Fx%3D1");
    }

    #[test]
    fn queries_round_trip() {
        let given = vec![("a b".to_owned(), "1&2".to_owned()), ("c".to_owned(), String::new())];
        let url = with_query("/x", &given);
        assert_eq!(url, "/x?a%20b=1%262&c=");
        assert_eq!(pairs(&url[3..]), given);
        assert_eq!(pairs("a+b=1%262&&c"), given);
    }

    #[test]
    fn broken_encodings_and_floods_are_harmless() {
        assert_eq!(pairs("%zz=%ff%"), vec![("%zz".to_owned(), "\u{fffd}%".to_owned())]);
        assert_eq!(pairs(&"a&".repeat(10_000)).len(), PAIRS_MAX);
    }
}
