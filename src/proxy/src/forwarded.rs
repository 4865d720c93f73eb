//! The `Forwarded` header (RFC 7239): what a trusted front proxy says in it, and what a user server is told.

use std::fmt::Write;
use std::net::IpAddr;

/// What the header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// All `for`, nearest last, joined like those of `X-Forwarded-For`.
    pub(crate) chain: String,
    /// Of the last element.
    pub(crate) proto: Option<String>,
    /// Of the last element.
    pub(crate) host: Option<String>,
}

/// Reads the values of the header, if it is there and well written.
pub(crate) fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Forwarded> {
    let mut found = None;
    for value in values {
        for element in pieces(std::str::from_utf8(value).ok()?, ',') {
            let known: &mut Forwarded = found.get_or_insert_default();
            (known.proto, known.host) = (None, None);
            let mut node = "unknown".to_owned();
            for pair in pieces(element, ';') {
                let (name, value) = pair.split_once('=')?;
                let value = unquoted(value)?;
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => node = value,
                    "proto" => known.proto = Some(value),
                    "host" => known.host = Some(value),
                    _ => {}
                }
            }
            let separator = if known.chain.is_empty() { "" } else { ", " };
            known.chain = format!("{}{separator}{node}", known.chain);
        }
    }
    found
}

/// The value that tells of all `addresses` on the way, nearest last, and of `host` and `scheme` here.
pub(crate) fn written<'a>(
    addresses: impl Iterator<Item = Option<IpAddr>> + 'a,
    host: &str,
    scheme: &str,
) -> String {
    let mut text = String::with_capacity(64);
    // Writing into a String does not fail.
    for address in addresses {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = match address {
            Some(IpAddr::V6(ip)) => write!(text, "{separator}for=\"[{ip}]\""),
            Some(IpAddr::V4(ip)) => write!(text, "{separator}for={ip}"),
            None => write!(text, "{separator}for=unknown"),
        };
    }
    if !host.is_empty() {
        let _ = write!(text, ";host=\"{host}\"");
    }
    let _ = write!(text, ";proto={scheme}");
    text
}

/// The pieces between separators that do not stand in quotes; empty ones are left out.
fn pieces(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = text.split(move |character: char| {
        let was_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    });
    pieces.map(str::trim).filter(|piece| !piece.is_empty())
}

/// A token, or what stands in the quotes.
fn unquoted(text: &str) -> Option<String> {
    let text = text.trim();
    let Some(inner) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let inner = inner.strip_suffix('"')?;
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(values: &[&str]) -> Option<(String, Option<String>, Option<String>)> {
        read(values.iter().map(|value| value.as_bytes())).map(|known| (known.chain, known.proto, known.host))
    }

    #[test]
    fn the_last_element_counts_and_all_make_the_chain() {
        let (chain, proto, host) = read_of(&[
            "for=6.6.6.6;proto=http;host=evil, For=\"[2001:db8::1]:4711\"",
            "by=x;for=192.0.2.7;Proto=https;host=\"hub:80\"",
        ])
        .unwrap();
        assert_eq!(chain, "6.6.6.6, [2001:db8::1]:4711, 192.0.2.7");
        assert_eq!((proto.as_deref(), host.as_deref()), (Some("https"), Some("hub:80")));
        assert_eq!(read_of(&["for=1.1.1.1;proto=https, for=2.2.2.2"]).unwrap().1, None);
    }

    #[test]
    fn separators_in_quotes_separate_nothing() {
        let (chain, proto, _) = read_of(&["for=\"a,b;proto=https\\\",c\";proto=http"]).unwrap();
        assert_eq!((chain.as_str(), proto.as_deref()), ("a,b;proto=https\",c", Some("http")));
    }

    #[test]
    fn what_is_not_well_written_says_nothing() {
        for value in ["for", "for=\"1.1.1.1", "for=1.1.1.1;proto"] {
            assert_eq!(read_of(&[value]), None, "{value}");
        }
        assert_eq!(read_of(&[]), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let addresses = ["192.0.2.7".parse().ok(), None, "2001:db8::1".parse().ok()];
        let text = written(addresses.into_iter(), "hub:80", "https");
        assert_eq!(text, "for=192.0.2.7, for=unknown, for=\"[2001:db8::1]\";host=\"hub:80\";proto=https");
        assert_eq!(read_of(&[&text]).unwrap().0, "192.0.2.7, unknown, [2001:db8::1]");
    }
}
