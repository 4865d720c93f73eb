//! Reading `Cookie` headers and writing `Set-Cookie`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use jiff::Timestamp;

/// How long a browser keeps a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the browser closes.
    Session,
    /// Until a time.
    Until(SystemTime),
    /// For a while, as `Max-Age`.
    For(Duration),
}

/// A cookie to be set. All of the hub's cookies are `SameSite=Lax`.
#[derive(Debug, Clone)]
pub struct Cookie<'a> {
    /// Name.
    pub name: &'a str,
    /// Value; quoted when it needs to be.
    pub value: &'a str,
    /// `Path`.
    pub path: &'a str,
    /// `Domain`, if other hosts below it shall get the cookie, too.
    pub domain: Option<&'a str>,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Whether scripts may not read it.
    pub http_only: bool,
    /// Whether it travels over TLS only.
    pub secure: bool,
}

impl Cookie<'_> {
    /// The `Set-Cookie` value; attributes in JupyterHub's order.
    pub fn header(&self) -> String {
        let mut text = format!("{}={}", self.name, quoted(self.value));
        if let Some(domain) = self.domain {
            text.push_str(&format!("; Domain={domain}"));
        }
        if let Lifetime::Until(time) = self.lifetime {
            text.push_str(&format!("; expires={}", http_date(time)));
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if let Lifetime::For(duration) = self.lifetime {
            text.push_str(&format!("; Max-Age={}", duration.as_secs()));
        }
        text.push_str(&format!("; Path={}; SameSite=Lax", self.path));
        if self.secure {
            text.push_str("; Secure");
        }
        text
    }
}

/// All values that the browser sent for a cookie, in its order (the most specific path first), quotes removed.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(found, _)| found.trim() == name)
        .map(|(_, value)| unquoted(value.trim()))
}

/// A value in double quotes if it holds what Python's cookie module would quote.
pub(crate) fn quoted(value: &str) -> String {
    if value.contains('=') { format!("\"{value}\"") } else { value.to_owned() }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

fn http_date(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn attributes_are_written_in_jupyterhubs_order() {
        let until = UNIX_EPOCH + Duration::from_secs(1_797_885_717);
        let cookie = Cookie {
            name: "jupyterhub-hub-login",
            value: "2|YQ==|f",
            path: "/hub/",
            domain: None,
            lifetime: Lifetime::Until(until),
            http_only: true,
            secure: true,
        };
        assert_eq!(
            cookie.header(),
            "jupyterhub-hub-login=\"2|YQ==|f\"; expires=Mon, 21 Dec 2026 20:41:57 GMT; HttpOnly; Path=/hub/; \
             SameSite=Lax; Secure"
        );
        let plain = Cookie {
            lifetime: Lifetime::For(Duration::from_secs(3600)),
            secure: false,
            value: "x",
            ..cookie.clone()
        };
        assert_eq!(
            plain.header(),
            "jupyterhub-hub-login=x; HttpOnly; Max-Age=3600; Path=/hub/; SameSite=Lax"
        );
        let wide = Cookie {
            domain: Some("hub.example.org"),
            value: "x",
            lifetime: Lifetime::Session,
            secure: false,
            ..cookie
        };
        assert_eq!(
            wide.header(),
            "jupyterhub-hub-login=x; Domain=hub.example.org; HttpOnly; Path=/hub/; SameSite=Lax"
        );
    }

    #[test]
    fn cookies_are_found_in_any_header_with_and_without_quotes() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=\"2|x=\";a=3"));
        headers.append(header::COOKIE, HeaderValue::from_static("a=4; broken; =5"));
        assert_eq!(values(&headers, "a").collect::<Vec<_>>(), ["1", "3", "4"]);
        assert_eq!(values(&headers, "b").collect::<Vec<_>>(), ["2|x="]);
        assert_eq!(values(&headers, "c").count(), 0);
    }
}
