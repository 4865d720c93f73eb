//! What of an answer has to be the same, and what may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hubd_tests::Answer;
use serde_json::Value;

/// Headers that a client may depend on. `Cache-Control` and the security headers are hubd's own.
const HEADERS: &[&str] = &[
    "content-type",
    "location",
    "www-authenticate",
    "retry-after",
    "allow",
    "etag",
    "pragma",
    "access-control-allow-headers",
    "access-control-allow-origin",
    "x-jupyterhub-version",
];

/// Keys whose texts and numbers are never the same twice.
const VARIES: &[&str] = &[
    "created",
    "created_at",
    "last_activity",
    "expires_at",
    "token",
    "id",
    "python",
    "sys_executable",
    "started",
    "code",
    "access_token",
    "token_id",
    "last_exchanged_at",
    "pid",
    "accept_url",
    "target",
];

/// One line for each part of an answer that has to be the same.
pub type Summary = BTreeMap<&'static str, String>;

/// A part that is not the same.
pub struct Difference {
    /// The request as written.
    pub request: String,
    /// Which part.
    pub part: &'static str,
    wanted: String,
    found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, part, wanted, found } = self;
        write!(out, "{request}\n  {part}\n    JupyterHub {wanted}\n    hubd       {found}")
    }
}

impl Difference {
    /// What differs between two answers to a request.
    pub fn between(request: &str, wanted: &Summary, found: &Summary) -> Vec<Self> {
        let parts: BTreeSet<&'static str> = wanted.keys().chain(found.keys()).copied().collect();
        let text = |summary: &Summary, part| summary.get(part).cloned().unwrap_or_else(|| "-".to_owned());
        let all = parts.into_iter().map(|part| Self {
            request: request.to_owned(),
            part,
            wanted: text(wanted, part),
            found: text(found, part),
        });
        all.filter(|one| one.wanted != one.found).collect()
    }
}

/// The wanted differences: a request as written, below it the parts that differ and why.
pub struct Differences(BTreeMap<(String, String), String>);

impl Differences {
    /// Reads the file: lines `PART: REASON`, indented, below lines of requests that they hold for.
    pub fn parse(text: &str) -> Self {
        let mut known = BTreeMap::new();
        let mut requests: Vec<&str> = Vec::new();
        let mut reasons = false;
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            if !line.starts_with(' ') {
                if reasons {
                    requests.clear();
                }
                reasons = false;
                requests.push(line.trim());
                continue;
            }
            reasons = true;
            let (parts, reason) = line.trim().split_once(": ").unwrap_or_else(|| panic!("no reason: {line}"));
            for (request, part) in
                requests.iter().flat_map(|request| parts.split(", ").map(move |part| (*request, part)))
            {
                known.insert((request.to_owned(), part.to_owned()), reason.to_owned());
            }
        }
        Self(known)
    }

    /// What differs without a reason, and what was to differ and does not.
    pub fn unexplained(&self, found: &[Difference]) -> Vec<String> {
        let of = |one: &Difference| (one.request.clone(), one.part.to_owned());
        let unknown = found.iter().filter(|one| !self.0.contains_key(&of(one))).map(ToString::to_string);
        let seen: BTreeSet<_> = found.iter().map(of).collect();
        let gone = self.0.keys().filter(|key| !seen.contains(*key));
        let gone = gone
            .map(|(request, part)| format!("{request}\n  {part} is the same now: take it out of the file"));
        unknown.chain(gone).collect()
    }
}

/// What has to be the same.
pub fn summary(answer: &Answer, target: &str) -> Summary {
    let mut summary = Summary::from([("status", answer.status.to_string())]);
    let is_json = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    for name in HEADERS {
        let Some(value) = answer.header(name) else { continue };
        let value = match *name {
            "location" => location(value),
            // Pages are not to be stored, so they need no tag.
            "etag" if !is_json => continue,
            "etag" | "retry-after" => "present".to_owned(),
            "x-jupyterhub-version" if !target.starts_with("/hub/") || target.starts_with("/hub/api") => {
                value.to_owned()
            }
            "x-jupyterhub-version" => continue,
            _ => value.to_ascii_lowercase().replace("; charset", ";charset"),
        };
        summary.insert(name, value);
    }
    let cookies = cookies(answer);
    if !cookies.is_empty() {
        summary.insert("set-cookie", cookies.join(" / "));
    }
    let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(value) => shape(&value),
        Err(_) if answer.body.is_empty() => "empty".to_owned(),
        Err(_) if media_type == "text/html" && answer.status >= 400 => heading(&answer.text()),
        Err(_) if media_type == "text/event-stream" => events(&answer.text()),
        Err(_) => "text".to_owned(),
    };
    summary.insert("body", body);
    summary
}

/// A redirect without the hub's own origin, and without what is new each time.
fn location(text: &str) -> String {
    let path = text
        .split_once("://localhost")
        .map_or(text, |(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or_default());
    match path.split_once("code=") {
        Some((before, rest)) => {
            let after = rest.find('&').and_then(|end| rest.get(end..)).unwrap_or_default();
            format!("{before}code=*{after}")
        }
        None => path.to_owned(),
    }
}

/// The cookies that are set: names and attributes, without values and times.
fn cookies(answer: &Answer) -> Vec<String> {
    let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let mut cookies: Vec<String> = lines
        .map(|(_, line)| {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
            let ended = if value.trim_matches('"').is_empty() { "=''" } else { "" };
            let mut attributes: Vec<String> = parts
                .map(|part| match part.split_once('=') {
                    Some((name, _)) if name.eq_ignore_ascii_case("expires") => "expires".to_owned(),
                    _ => part.to_ascii_lowercase(),
                })
                .collect();
            attributes.sort();
            format!("{name}{ended} {}", attributes.join(" "))
        })
        .collect();
    cookies.sort();
    cookies
}

/// The text of the first heading of a page.
fn heading(text: &str) -> String {
    let inner =
        text.split_once("<h1").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(_, rest)| rest);
    let inner = inner.split_once("</h1>").map_or("", |(heading, _)| heading);
    let text: String =
        inner.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The last event of a stream: those before it depend on how fast the server starts.
fn events(text: &str) -> String {
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap_or_default();
    serde_json::from_str::<Value>(last).map_or_else(|_| "no event".to_owned(), |value| shape(&value))
}

/// JSON with its keys, kinds and texts; what is new each time is left out.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", field(key, value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            let mut kinds: Vec<String> = items.iter().map(shape).collect();
            if items.iter().all(Value::is_string) {
                // Sets, in no order.
                kinds.sort();
            }
            format!("[{}]", kinds.join(", "))
        }
        Value::String(text) => without_seconds(&without_ports(&in_order(text))).replace('\n', "\\n"),
        other => other.to_string(),
    }
}

fn field(key: &str, value: &Value) -> String {
    match value {
        Value::Null | Value::String(_) if key == "session_id" => "session".to_owned(),
        Value::String(_) if VARIES.contains(&key) => "text".to_owned(),
        Value::String(scopes) if key == "scope" => {
            scopes.split(' ').collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
        }
        Value::Number(_) if VARIES.contains(&key) => "number".to_owned(),
        _ => shape(value),
    }
}

/// Python names the scopes that are missing in no order.
fn in_order(text: &str) -> String {
    let Some((scopes, rest)) =
        text.strip_prefix("Not assigning requested scopes ").and_then(|text| text.split_once(" not held"))
    else {
        return text.to_owned();
    };
    let scopes: BTreeSet<&str> = scopes.split(',').collect();
    let scopes: Vec<&str> = scopes.into_iter().collect();
    format!("Not assigning requested scopes {} not held{rest}", scopes.join(","))
}

/// Whoever has to wait is told another time each time.
fn without_seconds(text: &str) -> String {
    match text.split_once("Try again in ") {
        Some((before, rest)) if rest.ends_with("0 seconds.") => format!("{before}Try again in some seconds."),
        _ => text.to_owned(),
    }
}

/// A text in which `localhost:9612` is the same as `localhost:9610`.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("localhost:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "localhost" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}
