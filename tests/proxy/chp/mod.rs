//! `hubd proxy` and configurable-http-proxy 5.3.0, asked the same.
//!
//! What the original answers is recorded in `original.txt`, and what differs on purpose in `different.txt`. If a
//! `configurable-http-proxy` is in `PATH`, or `HUBD_TEST_CHP` names one, the record is compared with it.
//! With `HUBD_TEST_RECORD=1` both files are written anew.

mod cases;
mod command;
mod target;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hubd_tests::{Process, free_port, programs, repository, try_run, until};

use cases::{Case, GROUPS, Group};

/// No answer takes so long.
const LIMIT: Duration = Duration::from_secs(20);
const TOKEN: &str = "tok";
/// Headers of answers that are compared. The others are the library's, or change with time.
const COMPARED: [&str; 4] = ["content-type", "location", "set-cookie", "x-answer"];
/// Headers of which several are the same as one with a comma (RFC 9110 section 5.2).
const JOINED: &str = "x-answer";

/// Answers by what was asked.
type Transcript = BTreeMap<String, String>;

#[test]
fn hubd_proxy_answers_as_configurable_http_proxy_does() {
    let hubd = transcript(&|| {
        let mut command = Command::new(&programs().hubd);
        command.arg("proxy");
        command
    });
    if std::env::var_os("HUBD_TEST_RECORD").is_some() {
        let original = transcript(&|| Command::new(original().expect("the original is needed to record it")));
        let different = hubd.iter().filter(|(asked, answer)| original.get(*asked) != Some(answer));
        write("different.txt", &different.map(|(a, b)| (a.clone(), b.clone())).collect());
        write("original.txt", &original);
        return;
    }
    let (recorded, different) = (read("original.txt"), read("different.txt"));
    for (asked, answer) in &hubd {
        let expected = different.get(asked).or_else(|| recorded.get(asked));
        assert_eq!(Some(answer), expected, "{asked}");
    }
    assert_eq!(hubd.len(), recorded.len());
}

#[test]
fn the_record_of_the_original_is_true() {
    let Some(program) = original() else {
        println!("configurable-http-proxy is not installed: its record is not compared");
        return;
    };
    let found = transcript(&|| Command::new(&program));
    for (asked, answer) in read("original.txt") {
        assert_eq!(found.get(&asked), Some(&answer), "{asked}");
    }
}

fn original() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HUBD_TEST_CHP") {
        return Some(path.into());
    }
    let name = "configurable-http-proxy";
    try_run(name, &["--version"]).is_ok_and(|version| version.trim() == "5.3.0").then(|| name.into())
}

/// Asks a proxy everything.
fn transcript(program: &dyn Fn() -> Command) -> Transcript {
    let target = target::start();
    let mut all = Transcript::new();
    for (number, group) in GROUPS.iter().enumerate() {
        let proxy = Proxy::start(program(), group, target);
        for (at, case) in group.cases.iter().enumerate() {
            let (asked, answer) = proxy.ask(case, target);
            let answer = answer.replace(&target.to_string(), "TARGET");
            all.insert(format!("{number}.{at:02} {asked}"), answer);
        }
    }
    all
}

/// A proxy that runs.
struct Proxy {
    public: u16,
    api: u16,
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Proxy {
    fn start(mut command: Command, group: &Group, target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("pages");
        fs::create_dir(&pages).unwrap();
        fs::write(pages.join("404.html"), "<p>own 404").unwrap();
        fs::write(pages.join("error.html"), "<p>own error").unwrap();
        let (public, api) = (free_port(), free_port());
        command.env("CONFIGPROXY_AUTH_TOKEN", TOKEN).args(["--ip=127.0.0.1", "--api-ip=127.0.0.1"]);
        command.args([format!("--port={public}"), format!("--api-port={api}")]);
        for flag in group.flags {
            command
                .arg(flag.replace("TARGET", &target.to_string()).replace("PAGES", pages.to_str().unwrap()));
        }
        let process = Process::start("proxy", &mut command, &directory.path().join("log"));
        for port in [public, api] {
            until("the proxy listens", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
        }
        Self { public, api, _process: process, _directory: directory }
    }

    /// What was asked, in short, and what came.
    fn ask(&self, case: &Case, target: SocketAddr) -> (String, String) {
        match case {
            Case::Api(method, path, body) => self.api(method, path, "token tok", body, target),
            Case::ApiAs(method, path, token) => self.api(method, path, token, "", target),
            Case::Public(line, headers, body) => {
                let upgrade = headers.contains("Upgrade");
                let close = if upgrade { "" } else { "Connection: close\r\n" };
                let host = "Host: hub.example:8443";
                let request = format!("{line} HTTP/1.1\r\n{host}\r\n{close}{headers}\r\n{body}");
                let body = line.split(' ').next() != Some("HEAD");
                (format!("{line} {upgrade}"), shown(&talk(self.public, &request), body))
            }
        }
    }

    fn api(&self, method: &str, path: &str, token: &str, body: &str, target: SocketAddr) -> (String, String) {
        let body = body.replace("TARGET", &target.to_string());
        let length = body.len();
        let request = format!(
            "{method} /api/routes{path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nAuthorization: {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        (format!("API {method} {path} {token}"), shown(&talk(self.api, &request), true))
    }
}

/// Sends bytes and reads until the other end closes; a WebSocket that was refused may stay open.
fn talk(port: u16, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
        if answer.ends_with(b"\r\n\r\n")
            && answer.to_ascii_lowercase().windows(17).any(|w| w == b"content-length: 0")
        {
            break;
        }
    }
    answer
}

/// Status, compared headers and body, with what changes from run to run left out.
fn shown(answer: &[u8], has_body: bool) -> String {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return format!("no answer: {text}") };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let mut shown = format!("{status}\n");
    let mut chunked = false;
    let mut joined = Vec::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = name.to_ascii_lowercase();
        chunked |= name == "transfer-encoding";
        if name == JOINED {
            joined.push(value);
        } else if COMPARED.contains(&name.as_str()) {
            shown.push_str(&format!("{name}: {value}\n"));
        }
    }
    if !joined.is_empty() {
        shown.push_str(&format!("{JOINED}: {}\n", joined.join(", ")));
    }
    let body = if chunked { dechunked(body) } else { body.to_owned() };
    if has_body {
        shown.push_str(&normal(&body));
    }
    shown.trim_end().to_owned()
}

/// JSON in one order and without times; of pages of a proxy's own the title.
fn normal(body: &str) -> String {
    if let Some((_, title)) = body.split_once("<title>") {
        return format!("<title>{}", title.split('<').next().unwrap_or_default());
    }
    let mut value: serde_json::Value = match serde_json::from_str(body) {
        Ok(value) => value,
        // The parsers say it in their own words.
        Err(_) => return body.split("JSON: ").next().unwrap_or_default().to_owned(),
    };
    let now = serde_json::Value::from("now");
    if let Some(time) = value.get_mut("last_activity") {
        *time = now.clone();
    }
    for route in value.as_object_mut().into_iter().flat_map(|routes| routes.values_mut()) {
        if let Some(time) = route.get_mut("last_activity") {
            *time = now.clone();
        }
    }
    value.to_string()
}

fn dechunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let Some(piece) = usize::from_str_radix(length, 16).ok().and_then(|length| rest.get(..length)) else {
            break;
        };
        text.push_str(piece);
        body = rest.get(piece.len() + 2..).unwrap_or_default();
    }
    text
}

fn place(name: &str) -> PathBuf {
    repository().join(Path::new("tests/proxy/chp").join(name))
}

/// A record: `> ` asked, then the answer, each line behind two blanks.
fn write(name: &str, transcript: &Transcript) {
    let mut text = String::new();
    for (asked, answer) in transcript {
        text.push_str(&format!("> {asked}\n"));
        for line in answer.lines() {
            text.push_str(format!("  {line}").trim_end());
            text.push('\n');
        }
    }
    fs::write(place(name), text).unwrap();
}

fn read(name: &str) -> Transcript {
    let text = fs::read_to_string(place(name)).unwrap();
    let cases = text.split("\n> ").map(|case| case.strip_prefix("> ").unwrap_or(case));
    let cases = cases.filter_map(|case| {
        let (asked, answer) = case.split_once('\n')?;
        let lines: Vec<&str> = answer.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        Some((asked.to_owned(), lines.join("\n")))
    });
    cases.collect()
}
