//! The line that each request leaves in the log, in JupyterHub's form.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri, header};

/// Who asked, left by a handler in the response's extensions.
#[derive(Debug, Clone)]
pub struct Asker(pub String);

/// Words that make a query parameter secret when its name contains one.
const SECRET_WORDS: [&str; 6] = ["token", "auth", "key", "code", "state", "_xsrf"];
/// What stands for a secret.
const SECRET: &str = "[secret]";

/// One request and its answer.
pub struct Line<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub uri: &'a Uri,
    /// Name of the person or service; empty for strangers.
    pub asker: &'a str,
    /// The browser's address.
    pub address: std::net::IpAddr,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: &'a HeaderMap,
    /// How long it took.
    pub took: Duration,
}

impl Line<'_> {
    /// Writes the line at the level that JupyterHub uses.
    pub fn write(&self) {
        let status = self.status.as_u16();
        let path = self.uri.path();
        let (user, ms) = (self.asker, self.took.as_secs_f64() * 1000.0);
        let quiet = status == 304
            || (status < 300
                && (path.contains("/static/") || path.ends_with("/health") || path.ends_with("/logo")));
        // Route and text are made only where the level is logged.
        match status {
            _ if quiet => {
                tracing::debug!(target: "hubd::access", user, route = scrub_path(path), status, ms, "{}", self.text())
            }
            ..400 => {
                tracing::info!(target: "hubd::access", user, route = scrub_path(path), status, ms, "{}", self.text())
            }
            400..500 => {
                tracing::warn!(target: "hubd::access", user, route = scrub_path(path), status, ms, "{}", self.text())
            }
            _ => {
                tracing::error!(target: "hubd::access", user, route = scrub_path(path), status, ms, "{}", self.text())
            }
        }
    }

    /// `200 GET /hub/home (alice@127.0.0.1) 6.97ms`.
    fn text(&self) -> String {
        let redirect = matches!(self.status.as_u16(), 301 | 302);
        let location = self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let arrow = match location {
            Some(location) if redirect => format!(" -> {}", scrub(location)),
            _ => String::new(),
        };
        format!(
            "{} {} {}{arrow} ({}@{}) {:.2}ms",
            self.status.as_u16(),
            self.method,
            scrub(&self.uri.to_string()),
            self.asker,
            self.address,
            self.took.as_secs_f64() * 1000.0
        )
    }
}

/// A URI without its secrets.
pub fn scrub(uri: &str) -> String {
    let (uri, fragment) = uri.split_once('#').map_or((uri, None), |(uri, fragment)| (uri, Some(fragment)));
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let mut text = scrub_path(path);
    if let Some(query) = query {
        let pairs: Vec<String> = query.split('&').map(scrub_pair).collect();
        text.push('?');
        text.push_str(&pairs.join("&"));
    }
    if let Some(fragment) = fragment {
        text.push('#');
        text.push_str(fragment);
    }
    text
}

/// Hides the token or cookie that the old authorization API carries in its path.
fn scrub_path(path: &str) -> String {
    let secret = ["/api/authorizations/cookie/", "/api/authorizations/token/"]
        .iter()
        .any(|prefix| path.contains(prefix));
    match path.rsplit_once('/') {
        Some((start, _)) if secret => format!("{start}/{SECRET}"),
        _ => path.to_owned(),
    }
}

/// Hides the value of a secret parameter.
fn scrub_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if SECRET_WORDS.iter().any(|word| name.to_ascii_lowercase().contains(word)) => {
            format!("{name}={SECRET}")
        }
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_reach_the_log() {
        for (uri, logged) in [
            ("/hub/home", "/hub/home"),
            ("/hub/login?next=%2F&_xsrf=abc", "/hub/login?next=%2F&_xsrf=[secret]"),
            ("/x?token=abc&a=1", "/x?token=[secret]&a=1"),
            ("/x?access_token=abc&a=1&state=2", "/x?access_token=[secret]&a=1&state=[secret]"),
            ("/hub/api/authorizations/token/abcdef", "/hub/api/authorizations/token/[secret]"),
            ("/hub/api/authorizations/cookie/n/v", "/hub/api/authorizations/cookie/n/[secret]"),
            ("/x?flag&code", "/x?flag&code"),
            ("/x?mykeyname=1", "/x?mykeyname=[secret]"),
            ("/x?a=b=c&authx=1", "/x?a=b=c&authx=[secret]"),
            ("/x?code=1#frag", "/x?code=[secret]#frag"),
        ] {
            assert_eq!(scrub(uri), logged);
        }
    }

    #[test]
    fn a_line_reads_as_in_jupyterhub() {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, "/hub/".parse().unwrap());
        let uri = Uri::from_static("/");
        let mut line = Line {
            method: &Method::GET,
            uri: &uri,
            asker: "",
            address: [127, 0, 0, 1].into(),
            status: StatusCode::FOUND,
            headers: &headers,
            took: Duration::from_micros(830),
        };
        assert_eq!(line.text(), "302 GET / -> /hub/ (@127.0.0.1) 0.83ms");
        let uri = Uri::from_static("/hub/home");
        line.uri = &uri;
        line.asker = "erin";
        line.status = StatusCode::OK;
        assert_eq!(line.text(), "200 GET /hub/home (erin@127.0.0.1) 0.83ms");
    }
}
