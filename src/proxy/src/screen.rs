//! What is refused before anything is forwarded: requests that two programs may understand differently.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::head::is_host;
use crate::path::{CanonicalPath, PathError};
use crate::wire::Seen;

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
    #[error("the request has too many headers")]
    Headers,
    #[error("there is no WebSocket at this address")]
    NoWebSocket,
    #[error("the request's body comes too slowly")]
    Slow,
    #[error("{0}")]
    Path(#[from] PathError),
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Encoding => StatusCode::NOT_IMPLEMENTED,
            Self::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoWebSocket => StatusCode::NOT_FOUND,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Host | Self::Authority | Self::Framing | Self::LineEnd | Self::Path(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// Checks a request's head and reduces its target to origin-form. The host comes back, empty for HTTP/1.0
/// without one.
pub(crate) fn screen(head: &mut Parts, seen: Seen) -> Result<String, Refusal> {
    if seen.bare_line_feed() {
        return Err(Refusal::LineEnd);
    }
    if seen.fragment() {
        return Err(PathError::Character.into());
    }
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let host = host(head)?;
    framing(&head.headers, head.version, seen)?;
    origin_form(head, &host)?;
    Ok(host)
}

fn host(head: &Parts) -> Result<String, Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match hosts.next() {
        Some(host) => host.to_str().map_err(|_| Refusal::Host)?,
        None if head.version < Version::HTTP_11 => "",
        None => return Err(Refusal::Host),
    };
    if hosts.next().is_some() || (host.is_empty() && head.version >= Version::HTTP_11) {
        return Err(Refusal::Host);
    }
    if host.is_empty() || is_host(host) { Ok(host.to_owned()) } else { Err(Refusal::Host) }
}

/// hyper has refused most of this already (RFC 9112 section 6); what it lets pass is refused here.
fn framing(headers: &HeaderMap, version: Version, seen: Seen) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Encoding);
        }
        let lengths = headers.contains_key(CONTENT_LENGTH) || seen.content_length();
        if codings.next().is_some() || lengths || version < Version::HTTP_11 {
            return Err(Refusal::Framing);
        }
    }
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Refusal::Framing);
    }
    Ok(())
}

/// `GET http://host/path` means `GET /path` if it is the Host header's host.
fn origin_form(head: &mut Parts, host: &str) -> Result<(), Refusal> {
    let Some(authority) = head.uri.authority() else { return Ok(()) };
    let scheme = head.uri.scheme();
    let known = scheme == Some(&Scheme::HTTP) || scheme == Some(&Scheme::HTTPS);
    if !known || !authority.as_str().eq_ignore_ascii_case(host) {
        return Err(Refusal::Authority);
    }
    let path = match head.uri.path_and_query() {
        Some(path) if path.as_str().starts_with('?') => {
            PathAndQuery::try_from(format!("/{}", path.as_str())).map_err(|_| PathError::Character)?
        }
        Some(path) if !path.as_str().is_empty() => path.clone(),
        _ => PathAndQuery::from_static("/"),
    };
    head.uri = Uri::from(path);
    Ok(())
}

/// The same address with its path in canonical form, for the app.
pub(crate) fn canonical_uri(uri: &Uri, path: &CanonicalPath<'_>) -> Uri {
    if path.as_str() == uri.path() {
        return uri.clone();
    }
    let text = match uri.query() {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    };
    // A canonical path has only characters that an address may have.
    Uri::try_from(text).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn screened(request: http::request::Builder) -> Result<(String, Uri), Refusal> {
        let mut head = request.body(()).unwrap().into_parts().0;
        screen(&mut head, crate::wire::Watch::new(100, None).seen()).map(|host| (host, head.uri))
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::get(uri)
    }

    #[test]
    fn trace_and_connect_are_refused() {
        for method in [Method::TRACE, Method::CONNECT] {
            let request = Request::builder().method(method).uri("/").header(HOST, "h");
            assert_eq!(screened(request).unwrap_err().status(), 405);
        }
    }

    #[test]
    fn exactly_one_host_is_needed() {
        assert_eq!(screened(get("/")), Err(Refusal::Host));
        assert_eq!(screened(get("/").header(HOST, "a").header(HOST, "a")), Err(Refusal::Host));
        for bad in ["", "a b", "a@b", "a/b", "a,b"] {
            assert_eq!(screened(get("/").header(HOST, bad)), Err(Refusal::Host), "{bad}");
        }
        assert_eq!(screened(get("/").header(HOST, "[::1]:80")).unwrap().0, "[::1]:80");
        assert_eq!(screened(get("/").version(Version::HTTP_10)).unwrap().0, "");
    }

    #[test]
    fn absolute_form_becomes_origin_form_if_host_agrees() {
        let uri = |uri, host| screened(get(uri).header(HOST, host)).map(|(_, uri)| uri.to_string());
        assert_eq!(uri("http://Hub.example:80/a?b", "hub.example:80").as_deref(), Ok("/a?b"));
        assert_eq!(uri("https://hub", "hub").as_deref(), Ok("/"));
        assert_eq!(uri("http://hub?x", "hub").as_deref(), Ok("/?x"));
        assert_eq!(uri("http://evil/a", "hub"), Err(Refusal::Authority));
        assert_eq!(uri("http://hub@evil/a", "hub"), Err(Refusal::Authority));
        assert_eq!(uri("ftp://hub/a", "hub"), Err(Refusal::Authority));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let post = || get("/").header(HOST, "h");
        assert!(screened(post().header(TRANSFER_ENCODING, "Chunked")).is_ok());
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "\x0bchunked", "x"] {
            let Ok(value) = http::HeaderValue::from_bytes(coding.as_bytes()) else { continue };
            assert_eq!(screened(post().header(TRANSFER_ENCODING, value)), Err(Refusal::Encoding), "{coding}");
        }
        let both = post().header(TRANSFER_ENCODING, "chunked").header(CONTENT_LENGTH, "3");
        assert_eq!(screened(both), Err(Refusal::Framing));
        let twice = post().header(TRANSFER_ENCODING, "chunked").header(TRANSFER_ENCODING, "chunked");
        assert_eq!(screened(twice), Err(Refusal::Framing));
        let old = post().header(TRANSFER_ENCODING, "chunked").version(Version::HTTP_10);
        assert_eq!(screened(old), Err(Refusal::Framing));
        let lengths = post().header(CONTENT_LENGTH, "3").header(CONTENT_LENGTH, "3");
        assert_eq!(screened(lengths), Err(Refusal::Framing));
    }

    #[test]
    fn the_app_sees_the_canonical_path_and_the_query_as_sent() {
        let uri: Uri = "/hub/%75ser/a%2fb?next=%2f".parse().unwrap();
        let path = CanonicalPath::new(uri.path()).unwrap();
        assert_eq!(canonical_uri(&uri, &path), "/hub/user/a%2Fb?next=%2f");
    }
}
