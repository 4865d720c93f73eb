//! What is refused before anything is forwarded: requests that two programs may understand differently.

use http::StatusCode;

use crate::framing::{Length, content_length};
use crate::head::is_host;
use crate::kind::Kind;
use crate::path::{CanonicalPath, PathError};
use crate::request::RequestHead;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this method is not allowed")]
    Method,
    #[error("the request has no Host header, or several, or one that is no host")]
    Host,
    #[error("the address in the request line is not that of the Host header")]
    Authority,
    #[error("the request has more than one way to say how long its body is")]
    Framing,
    #[error("this transfer encoding is not supported")]
    Encoding,
    #[error("the request is not written as the standard says: lines must end with CR and LF")]
    LineEnd,
    #[error("the request is not written as the standard says")]
    Syntax,
    #[error("the request's head is too large")]
    TooLarge,
    #[error("the request's head comes too slowly")]
    SlowHead,
    #[error("the request has too many headers")]
    Headers,
    #[error("there is no WebSocket at this address")]
    NoWebSocket,
    #[error("the request's body comes too slowly")]
    Slow,
    #[error("you may not use this server any more")]
    Ended,
    #[error("{0}")]
    Path(#[from] PathError),
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Encoding => StatusCode::NOT_IMPLEMENTED,
            Self::Headers | Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoWebSocket => StatusCode::NOT_FOUND,
            Self::Ended => StatusCode::FORBIDDEN,
            Self::Slow | Self::SlowHead => StatusCode::REQUEST_TIMEOUT,
            Self::Host | Self::Authority | Self::Framing | Self::LineEnd | Self::Syntax | Self::Path(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// Checks a request's head, reduces its target to origin-form, and finds out how its body is framed. A request of
/// HTTP/2 says that in another way: its `framed` is kept.
pub(crate) fn screen(head: &mut RequestHead, framed: Option<Length>) -> Result<(), Refusal> {
    if matches!(head.method(), b"TRACE" | b"CONNECT") {
        return Err(Refusal::Method);
    }
    host(head)?;
    let length = framing(head)?;
    head.length = framed.unwrap_or(length);
    origin_form(head)
}

fn host(head: &RequestHead) -> Result<(), Refusal> {
    let mut hosts = head.fields.all(Kind::Host);
    match (hosts.next(), hosts.next()) {
        (None, _) | (Some(b""), None) if head.is_old => Ok(()),
        (Some(host), None) if std::str::from_utf8(host).is_ok_and(is_host) => Ok(()),
        _ => Err(Refusal::Host),
    }
}

/// RFC 9112 section 6, without the choices that it leaves.
fn framing(head: &RequestHead) -> Result<Length, Refusal> {
    let mut codings = head.fields.all(Kind::TransferEncoding);
    let mut lengths = head.fields.all(Kind::ContentLength);
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Length::Empty),
        (None, Some(length)) if lengths.next().is_none() => {
            content_length(length).map(Length::Known).ok_or(Refusal::Framing)
        }
        (Some(coding), None) if codings.next().is_none() && !head.is_old => {
            let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
            match coding.rsplit(|byte| *byte == b',').next() {
                _ if is_chunked(coding) => Ok(Length::Chunked),
                // Its end can be found, but this proxy would have to look inside.
                Some(last) if is_chunked(last) => Err(Refusal::Encoding),
                _ => Err(Refusal::Framing),
            }
        }
        _ => Err(Refusal::Framing),
    }
}

/// `GET http://host/path` means `GET /path` if it is the Host field's host.
fn origin_form(head: &mut RequestHead) -> Result<(), Refusal> {
    let (mut authority, mut rest) = (head.authority, head.target);
    if authority.is_none()
        && let Some((scheme, after)) = head.target().split_once("://")
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(Refusal::Authority);
        }
        let length = after.find(['/', '?', '#']).unwrap_or(after.len());
        let start = head.target.after(scheme.len() + "://".len());
        (authority, rest) = (Some(start.up_to(length)), start.after(length));
    }
    if let Some(authority) = authority {
        if !head.fields.text(authority).eq_ignore_ascii_case(head.host()) {
            return Err(Refusal::Authority);
        }
        if !head.fields.text(rest).starts_with('/') {
            let target = format!("/{}", head.fields.text(rest));
            rest = head.fields.keep(target.as_bytes());
        }
    }
    head.target = rest;
    characters(head.target())
}

/// A fragment is for the browser alone, and what no address may have is not passed on (RFC 3986 section 3, with what
/// browsers send nevertheless).
fn characters(target: &str) -> Result<(), Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let in_path = |byte: u8| !matches!(byte, 0..=0x20 | b'#' | b'<' | b'>' | b'`' | 0x7f);
    let in_query = |byte: u8| !matches!(byte, 0..=0x20 | b'"' | b'#' | b'<' | b'>' | 0x7f);
    if path.bytes().all(in_path) && query.bytes().all(in_query) {
        Ok(())
    } else {
        Err(PathError::Character.into())
    }
}

/// The same address with its path in canonical form, for the app.
pub(crate) fn canonical_target(head: &RequestHead, path: &CanonicalPath<'_>) -> String {
    match head.query() {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HEADERS;

    fn screened(text: &str) -> Result<RequestHead, Refusal> {
        let mut head = RequestHead::default();
        let text = text.replace('\n', "\r\n");
        head.read(text.as_bytes(), HEADERS)?.expect("the head is whole");
        screen(&mut head, None).map(|()| head)
    }

    #[test]
    fn trace_and_connect_are_refused() {
        for method in ["TRACE", "CONNECT"] {
            let refusal = screened(&format!("{method} / HTTP/1.1\nHost: h\n\n")).unwrap_err();
            assert_eq!(refusal.status(), 405);
        }
    }

    #[test]
    fn exactly_one_host_is_needed() {
        let get = |hosts: &str| screened(&format!("GET / HTTP/1.1\n{hosts}\n")).map(|_| ());
        assert_eq!(get(""), Err(Refusal::Host));
        assert_eq!(get("Host: a\nHost: a\n"), Err(Refusal::Host));
        for bad in ["", "a b", "a@b", "a/b", "a,b", "\u{e4}"] {
            assert_eq!(get(&format!("Host: {bad}\n")), Err(Refusal::Host), "{bad}");
        }
        assert_eq!(screened("GET / HTTP/1.1\nHost: [::1]:80\n\n").unwrap().host(), "[::1]:80");
        assert_eq!(screened("GET / HTTP/1.0\n\n").unwrap().host(), "");
    }

    #[test]
    fn absolute_form_becomes_origin_form_if_host_agrees() {
        let target = |target: &str, host: &str| {
            let head = screened(&format!("GET {target} HTTP/1.1\nHost: {host}\n\n"))?;
            Ok(head.target().to_owned())
        };
        assert_eq!(target("http://Hub.example:80/a?b", "hub.example:80").as_deref(), Ok("/a?b"));
        assert_eq!(target("HTTPS://hub", "hub").as_deref(), Ok("/"));
        assert_eq!(target("http://hub?x", "hub").as_deref(), Ok("/?x"));
        assert_eq!(target("/a?http://hub/", "hub").as_deref(), Ok("/a?http://hub/"));
        assert_eq!(target("http://evil/a", "hub"), Err(Refusal::Authority));
        assert_eq!(target("http://hub@evil/a", "hub"), Err(Refusal::Authority));
        assert_eq!(target("ftp://hub/a", "hub"), Err(Refusal::Authority));
        for bad in ["/a#b", "/a?b#c", "http://hub#c", "/a<b", "/a?\"b"] {
            assert_eq!(target(bad, "hub"), Err(PathError::Character.into()), "{bad}");
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let post =
            |fields: &str| screened(&format!("POST / HTTP/1.1\nHost: h\n{fields}\n")).map(|head| head.length);
        assert_eq!(post(""), Ok(Length::Empty));
        assert_eq!(post("Content-Length: 3\n"), Ok(Length::Known(3)));
        assert_eq!(post("Transfer-Encoding: Chunked\n"), Ok(Length::Chunked));
        for coding in ["gzip, chunked", "chunked, chunked"] {
            assert_eq!(post(&format!("Transfer-Encoding: {coding}\n")), Err(Refusal::Encoding), "{coding}");
        }
        for fields in [
            "Transfer-Encoding: identity\n",
            "Transfer-Encoding: chunked, gzip\n",
            "Transfer-Encoding: xchunked\n",
            "Transfer-Encoding:\n",
            "Transfer-Encoding: chunked\nContent-Length: 3\n",
            "Content-Length: 3\nTransfer-Encoding: chunked\n",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n",
            "Content-Length: 3\nContent-Length: 3\n",
            "Content-Length: 3, 3\n",
            "Content-Length: +3\n",
            "Content-Length:\n",
        ] {
            assert_eq!(post(fields), Err(Refusal::Framing), "{fields}");
        }
        let old = screened("POST / HTTP/1.0\nHost: h\nTransfer-Encoding: chunked\n\n");
        assert_eq!(old.unwrap_err(), Refusal::Framing);
    }

    #[test]
    fn the_app_sees_the_canonical_path_and_the_query_as_sent() {
        let head = screened("GET /hub/%75ser/a%2fb?next=%2f HTTP/1.1\nHost: h\n\n").unwrap();
        let path = CanonicalPath::new(head.path()).unwrap();
        assert_eq!(canonical_target(&head, &path), "/hub/user/a%2Fb?next=%2f");
    }
}
