//! The head of a request, of HTTP/1.1 or HTTP/2, in one form.

use std::mem::MaybeUninit;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};
use memchr::memchr_iter;

use crate::fields::{Fields, Options, Part};
use crate::framing::Length;
use crate::kind::Kind;
use crate::screen::Refusal;

/// Fields that are read without asking for memory.
const FIELDS_ON_STACK: usize = 100;

/// A request's head. The memory is used again for the next one.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestHead {
    pub(crate) fields: Fields,
    pub(crate) method: Part,
    /// Path and query, as the other end wrote them.
    pub(crate) target: Part,
    /// Scheme and host of the request line, where there are some.
    pub(crate) authority: Option<Part>,
    /// HTTP/1.0.
    pub(crate) is_old: bool,
    /// What `Connection` says.
    pub(crate) options: Options,
    /// How its body is framed, by the rules of `screen`.
    pub(crate) length: Length,
}

impl RequestHead {
    /// Reads a head of HTTP/1.1 from the beginning of `bytes`. Its length comes back, or nothing if it has not come
    /// to its end yet.
    pub(crate) fn read(&mut self, bytes: &[u8], fields_max: usize) -> Result<Option<usize>, Refusal> {
        let mut on_stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        if let Some(found) = on_stack.get_mut(..fields_max) {
            return self.read_into(bytes, found);
        }
        let mut many = vec![MaybeUninit::uninit(); fields_max];
        self.read_into(bytes, &mut many)
    }

    fn read_into<'b>(
        &mut self,
        bytes: &'b [u8],
        found: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<Option<usize>, Refusal> {
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, found) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::Headers),
            Err(_) => return Err(Refusal::Syntax),
        };
        let head = bytes.get(..length).unwrap_or_default();
        if has_bare_line_feed(head) {
            return Err(Refusal::LineEnd);
        }
        self.fields.take(head, request.headers);
        self.method = Part::of(head, request.method.unwrap_or_default().as_bytes());
        self.target = Part::of(head, request.path.unwrap_or_default().as_bytes());
        self.authority = None;
        self.is_old = request.version == Some(0);
        self.options = self.fields.options();
        Ok(Some(length))
    }

    /// Takes the head of a request of HTTP/2 over as HTTP/1.1 has it: with a Host field, and all cookies in one (RFC 9113
    /// sections 8.2.3 and 8.3.1).
    pub(crate) fn take_http2(&mut self, parts: &Parts) {
        let head = self;
        let fields = &mut head.fields;
        fields.clear();
        (head.authority, head.is_old) = (None, false);
        head.method = fields.keep(parts.method.as_str().as_bytes());
        let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        head.target = fields.keep(target.as_bytes());
        if let Some(authority) = parts.uri.authority() {
            head.authority = Some(fields.keep(authority.as_str().as_bytes()));
            if !parts.headers.contains_key(http::header::HOST) {
                fields.push(b"host", authority.as_str().as_bytes());
            }
        }
        let mut crumbs: Vec<u8> = Vec::new();
        for (name, value) in &parts.headers {
            if name == http::header::COOKIE {
                if !crumbs.is_empty() {
                    crumbs.extend_from_slice(b"; ");
                }
                crumbs.extend_from_slice(value.as_bytes());
            } else {
                fields.push(name.as_str().as_bytes(), value.as_bytes());
            }
        }
        if !crumbs.is_empty() {
            fields.push(b"cookie", &crumbs);
        }
        head.options = head.fields.options();
    }

    /// The method.
    pub(crate) fn method(&self) -> &[u8] {
        self.fields.bytes(self.method)
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.fields.text(self.target)
    }

    /// The path.
    pub(crate) fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The query, if there is one.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// The host, checked by `screen`. Empty for HTTP/1.0 without one.
    pub(crate) fn host(&self) -> &str {
        self.fields.first_part(Kind::Host).map_or("", |host| self.fields.text(host))
    }

    /// Whether a body follows.
    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.length, Length::Empty | Length::Known(0))
    }

    /// Whether it can be sent twice: nothing is changed by that (RFC 9110 section 9.2.2), and all of it is here.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.has_body() && matches!(self.method(), b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS")
    }

    /// Whether the other end wants to go on after the answer.
    pub(crate) fn wants_more(&self) -> bool {
        if self.is_old { self.options.keep_alive && !self.options.close } else { !self.options.close }
    }

    /// Whether the other end waits for an invitation before it sends the body.
    pub(crate) fn waits(&self) -> bool {
        let expects = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
        !self.is_old && self.has_body() && self.fields.first(Kind::Expect).is_some_and(expects)
    }

    /// The same for the app, with the fields that `kept` lets through. Nothing if it is no request for it.
    pub(crate) fn parts(&self, target: &str, kept: impl Fn(Kind, &[u8]) -> bool) -> Option<Parts> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = Method::from_bytes(self.method()).ok()?;
        parts.uri = Uri::try_from(target).ok()?;
        parts.version = if self.is_old { Version::HTTP_10 } else { Version::HTTP_11 };
        for field in self.fields.iter().filter(|field| kept(field.kind, field.name)) {
            let name = HeaderName::from_bytes(field.name).ok()?;
            parts.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
        Some(parts)
    }
}

/// Whether a line ends without a carriage return: others may read on where this proxy sees an end.
pub(crate) fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at.checked_sub(1).and_then(|before| head.get(before)) != Some(&b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HEADERS;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<(usize, RequestHead)>, Refusal> {
        let mut head = RequestHead::default();
        Ok(head.read(text.as_bytes(), HEADERS)?.map(|length| (length, head)))
    }

    #[test]
    fn a_head_is_read_up_to_its_end() {
        let text = "\r\nPOST /a?b HTTP/1.1\r\nHost:  h \r\nContent-Length: 1\r\n\r\n";
        let (length, head) = read(&format!("{text}x\n")).unwrap().unwrap();
        assert_eq!(length, text.len());
        assert_eq!((head.method(), head.path(), head.query()), (&b"POST"[..], "/a", Some("b")));
        assert_eq!((head.host(), head.is_old, head.wants_more()), ("h", false, true));
        for end in 0..text.len() {
            assert!(read(&text[..end]).unwrap().is_none(), "{end}");
        }
    }

    #[test]
    fn what_is_not_written_as_the_standard_says_is_refused() {
        for text in ["GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\n\n", "\nGET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(read(text).unwrap_err(), Refusal::LineEnd, "{text:?}");
        }
        for text in [
            "GET /\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "G T / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\n: b\r\n\r\n",
        ] {
            assert_eq!(read(text).unwrap_err(), Refusal::Syntax, "{text:?}");
        }
        let many: String = (0..=HEADERS).map(|_| "A: b\r\n").collect();
        assert_eq!(read(&format!("GET / HTTP/1.1\r\n{many}\r\n")).unwrap_err(), Refusal::Headers);
        let some: String = (0..HEADERS * 2).map(|_| "A: b\r\n").collect();
        let text = format!("GET / HTTP/1.1\r\n{some}\r\n");
        assert!(RequestHead::default().read(text.as_bytes(), HEADERS * 2).unwrap().is_some());
    }

    #[test]
    fn old_browsers_go_on_only_if_they_say_so() {
        let more = |text: &str| read(text).unwrap().unwrap().1.wants_more();
        assert!(!more("GET / HTTP/1.0\r\n\r\n"));
        assert!(more("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(more("GET / HTTP/1.1\r\n\r\n"));
        assert!(!more("GET / HTTP/1.1\r\nConnection: keep-alive, close\r\n\r\n"));
    }

    #[test]
    fn a_head_of_http2_has_one_host_and_one_cookie_field() {
        let request = http::Request::get("https://hub:80/a").version(Version::HTTP_2);
        let request = request.header("cookie", "a=1").header("cookie", "b=2; c=3");
        let mut head = RequestHead::default();
        head.take_http2(&request.body(()).unwrap().into_parts().0);
        assert_eq!((head.host(), head.target()), ("hub:80", "/a"));
        let cookies: Vec<_> = head.fields.all(Kind::Cookie).collect();
        assert_eq!(cookies, [b"a=1; b=2; c=3"]);
    }

    /// Method, path and query, fields.
    type Read = (String, String, Vec<(String, Vec<u8>)>);

    /// What hyper reads of a head.
    fn hypers(text: &str) -> Option<Read> {
        use http_body_util::Empty;
        use hyper::service::service_fn;
        use hyper_util::rt::TokioIo;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
        let shared = seen.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let fields = request.headers().iter();
            let mut fields: Vec<_> =
                fields.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
            fields.sort();
            let uri = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
            *shared.lock().unwrap() = Some((request.method().to_string(), uri, fields));
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
                Empty::<bytes::Bytes>::new(),
            )))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(64 * 1024);
            client.write_all(text.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.serve_connection(TokioIo::new(server), service).await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
        });
        seen.lock().unwrap().take()
    }

    proptest! {
        #[test]
        fn heads_are_read_as_hyper_reads_them(
            method in "(GET|POST|P!T|get)", target in "/[!-~]{0,12}(\\?[!-~]{0,8})?",
            fields in proptest::collection::vec(("[A-Za-z-]{1,12}", "[ -~\t\u{e4}]{0,12}"), 0..8),
            ends in proptest::collection::vec("(\r\n|\r\n|\r\n|\r\n|\n|\r\n | \r\n)", 9),
        ) {
            let mut text = format!("{method} {target} HTTP/1.1\r\nHost: h{}", ends[0]);
            for ((name, value), end) in fields.iter().zip(&ends[1..]) {
                text.push_str(&format!("{name}: {value}{end}"));
            }
            text.push_str("\r\n");
            let own = read(&text).ok().flatten();
            if let (Some((_, own)), Some((method, uri, theirs))) = (own, hypers(&text)) {
                // hyper leaves fragments out, which are refused here by `screen`.
                prop_assert_eq!(own.target().split('#').next().unwrap(), uri);
                prop_assert_eq!(std::str::from_utf8(own.method()).unwrap(), method);
                let mut fields: Vec<_> = own.fields.iter()
                    .map(|field| (String::from_utf8_lossy(field.name).to_lowercase(), field.value.to_vec()))
                    .collect();
                fields.sort();
                // Beside Transfer-Encoding, hyper drops a length, which is refused here.
                if own.fields.first(Kind::TransferEncoding).is_none() {
                    prop_assert_eq!(fields, theirs);
                }
            }
        }
    }
}
