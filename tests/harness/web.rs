//! A browser of a few lines: HTTP/1.1 with cookies, over TLS or plain TCP, one connection a request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

/// The longest wait for the next bytes of an answer: a start with `slow_spawn_timeout` takes ten seconds.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// One person's browser: an address, and the cookies it got.
#[derive(Clone)]
pub struct Web {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    cookies: Arc<Mutex<Vec<Cookie>>>,
}

#[derive(Clone)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

/// A connection, over TLS or not.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a person reads on the page: the text without scripts and marks, white space made one.
    pub fn words(&self) -> String {
        let text = self.text();
        let mut words = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('<') {
            words += before;
            words.push(' ');
            let hidden = ["script", "style", "svg"].iter().find(|name| after.starts_with(**name));
            rest = match hidden {
                Some(name) => after.split_once(&format!("</{name}>")).map_or("", |(_, rest)| rest),
                None => after.split_once('>').map_or("", |(_, rest)| rest),
            };
        }
        words += rest;
        let plain = words
            .replace("&#39;", "'")
            .replace("&#x27;", "'")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}), status {}: {}", self.status, self.text()))
    }

    /// `Location` of a redirect, or nothing.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }
}

impl Web {
    /// A browser without cookies for `http://address`.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, cookies: Arc::default() }
    }

    /// A browser without cookies for `https://address` that trusts exactly the certificate in the
    /// PEM file, which must name `localhost`.
    ///
    /// # Panics
    /// When the file holds no certificate.
    pub fn tls(address: SocketAddr, certificate: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, tls: Some(Arc::new(config)), cookies: Arc::default() }
    }

    /// Another browser for the same address, without cookies.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { cookies: Arc::default(), ..self.clone() }
    }

    /// Another browser that starts with copies of this one's cookies.
    #[must_use]
    pub fn copy(&self) -> Self {
        let cookies = self.cookies.lock().unwrap().clone();
        Self { cookies: Arc::new(Mutex::new(cookies)), ..self.clone() }
    }

    /// Another browser that starts with copies of this one's cookies, for the address of `base`.
    #[must_use]
    pub fn copy_to(&self, base: &Self) -> Self {
        Self { cookies: self.copy().cookies, ..base.clone() }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.clone())
    }

    /// Sends one request and reads the whole answer; redirects are not followed.
    ///
    /// # Errors
    /// When the connection fails or the answer is not HTTP/1.1.
    pub fn try_request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost:{}\r\n", self.address.port());
        let cookies = self.cookies_for(target);
        if !cookies.is_empty() {
            head += &format!("Cookie: {cookies}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || !matches!(method, "GET" | "HEAD") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "Connection: close\r\n\r\n";
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        let answer = parse(&self.exchange(&message)?, method)?;
        self.keep_cookies(&answer);
        Ok(answer)
    }

    /// As [`Web::try_request`].
    ///
    /// # Panics
    /// When there is no answer.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_request(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target} got no answer: {error}"))
    }

    /// `GET`.
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[("Accept", "text/html")], b"")
    }

    /// Posts a form.
    pub fn post_form(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", quote(name), quote(value))).collect();
        let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "text/html")];
        self.request("POST", target, &headers, pairs.join("&").as_bytes())
    }

    /// `GET`, following at most ten redirects on this address.
    ///
    /// # Panics
    /// When there are more.
    pub fn follow(&self, target: &str) -> Answer {
        let mut target = target.to_owned();
        for _ in 0..10 {
            let answer = self.get(&target);
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return answer;
            }
            answer.location().clone_into(&mut target);
        }
        panic!("more than ten redirects, the last one to {target}");
    }

    /// Fills in the login form and sends it; returns the answer to the post.
    pub fn log_in(&self, user: &str, password: &str) -> Answer {
        let form = self.get("/hub/login");
        let xsrf = self.cookie("_xsrf").unwrap_or_default();
        assert!(form.status == 200 && !xsrf.is_empty(), "no login form: {} {}", form.status, form.text());
        self.post_form("/hub/login?next=", &[("_xsrf", &xsrf), ("username", user), ("password", password)])
    }

    /// A request to the API with the login cookie, as the scripts of the pages send it.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        self.try_api(method, path, body)
            .unwrap_or_else(|error| panic!("{method} /hub/api/{path} got no answer: {error}"))
    }

    /// As [`Web::api`].
    ///
    /// # Errors
    /// When the connection fails or the answer is not HTTP/1.1.
    pub fn try_api(&self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let xsrf = self.cookie("_xsrf").unwrap_or_default();
        let mark = if path.contains('?') { '&' } else { '?' };
        let target = format!("/hub/api/{path}{mark}_xsrf={}", quote(&xsrf));
        let referer = format!(
            "{}://localhost:{}/hub/home",
            if self.tls.is_some() { "https" } else { "http" },
            self.address.port()
        );
        let headers = [
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("Referer", referer.as_str()),
        ];
        self.try_request(method, &target, &headers, body.as_bytes())
    }

    /// A connection to the address, with TLS if the browser speaks it.
    ///
    /// # Errors
    /// Nobody listens there; a wrong certificate is told by the first byte that is read or written.
    pub fn connect(&self) -> std::io::Result<Box<dyn Stream + Send>> {
        let tcp = TcpStream::connect_timeout(&self.address, READ_LIMIT)?;
        tcp.set_read_timeout(Some(READ_LIMIT))?;
        tcp.set_nodelay(true)?;
        let Some(config) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from("localhost").expect("a valid name");
        let client =
            rustls::ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        Ok(Box::new(rustls::StreamOwned::new(client, tcp)))
    }

    fn exchange(&self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut stream = self.connect()?;
        stream.write_all(message)?;
        match stream.read_to_end(&mut answer) {
            // A peer that ends without TLS's goodbye is noticed by the length of the answer.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(answer),
        }
    }

    /// What it sends in `Cookie` for an address.
    pub fn cookies_for(&self, target: &str) -> String {
        let path = target.split('?').next().unwrap_or_default();
        let cookies = self.cookies.lock().unwrap();
        let mut fitting: Vec<&Cookie> =
            cookies.iter().filter(|cookie| path.starts_with(&cookie.path)).collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> =
            fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        pairs.join("; ")
    }

    fn keep_cookies(&self, answer: &Answer) {
        let mut cookies = self.cookies.lock().unwrap();
        for (_, line) in answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let attribute = |wanted: &str| {
                line.split(';').skip(1).find_map(|part| {
                    let (key, value) = part.trim().split_once('=')?;
                    key.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
                })
            };
            let path = attribute("path").unwrap_or_else(|| "/".to_owned());
            cookies.retain(|cookie| !(cookie.name == name && cookie.path == path));
            let ended = attribute("max-age").is_some_and(|age| age.parse::<i64>().is_ok_and(|age| age <= 0));
            let value = value.trim_matches('"').to_owned();
            if !ended && !value.is_empty() {
                cookies.push(Cookie { name: name.to_owned(), value, path });
            }
        }
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
fn quote(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn parse(bytes: &[u8], method: &str) -> std::io::Result<Answer> {
    let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let end = find(bytes, b"\r\n\r\n").ok_or_else(|| broken("the answer has no end of headers"))?;
    let (head, rest) = bytes.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| broken("the answer is not HTTP/1.1"))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    let length = answer.header("content-length").and_then(|value| value.parse::<usize>().ok());
    let bare = method == "HEAD" || matches!(status, 101 | 204 | 304);
    answer.body = if bare {
        Vec::new()
    } else if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        chunks(body).ok_or_else(|| broken("the chunks of the answer are cut off"))?
    } else if let Some(length) = length {
        body.get(..length).ok_or_else(|| broken("the answer is shorter than it said"))?.to_vec()
    } else {
        body.to_vec()
    };
    Ok(answer)
}

fn chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(bytes, b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let rest = bytes.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        bytes = rest.get(size + 2..)?;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
