//! The same requests to the real JupyterHub and to hubd: status, redirect, type, heading, cookies and
//! the shape of JSON must be the same. Both run without root, with `dummy` and `simple`.
//!
//! JupyterHub is asked at its own port, without configurable-http-proxy before it.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use hubd_tests::{Answer, Installation, Process, Setup, Web, free_port, notebook_program, until};
use serde_json::Value;

use crate::Case;
use crate::suite::Suite;

/// The cases of this file.
pub const CASES: &[Case] = &[("pages and api answer as the real jupyterhub does", same_answers)];

/// How long JupyterHub takes to start, at most.
const START_LIMIT: Duration = Duration::from_secs(60);

/// JupyterHub without a proxy: it is asked directly.
const CONFIGURATION: &str = r#"
from jupyterhub.proxy import Proxy
class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {}
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_port = PORT
c.JupyterHub.bind_url = "http://127.0.0.1:OTHER/"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "pw"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"adm"}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.log_level = "WARN"
"#;

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
enum Who {
    /// A browser without cookies.
    Anon,
    /// An ordinary user.
    Erin,
    /// An admin.
    Adm,
}
use Who::{Adm, Anon, Erin};

/// The requests. `*` stands for the browser's XSRF token.
const REQUESTS: &[(Who, &str, &str)] = &[
    (Anon, "GET", "/"),
    (Anon, "GET", "/hub"),
    (Anon, "GET", "/hub/"),
    (Anon, "GET", "/hub/home"),
    (Anon, "GET", "/hub/token"),
    (Anon, "GET", "/hub/admin"),
    (Anon, "GET", "/hub/spawn/erin"),
    (Anon, "GET", "/hub/user/erin/lab?x=1"),
    (Anon, "GET", "/user/erin"),
    (Anon, "GET", "/user/erin/lab?x=1"),
    (Anon, "GET", "/hub/user-redirect/lab?x=1"),
    (Anon, "GET", "/hub/nope"),
    (Anon, "GET", "/hub/home/"),
    (Anon, "GET", "/hub/error/503"),
    (Anon, "GET", "/hub/health"),
    (Anon, "GET", "/hub/static/nope.css"),
    (Anon, "GET", "/hub/api/"),
    (Anon, "GET", "/hub/api/user"),
    (Anon, "GET", "/hub/api/nope"),
    (Anon, "GET", "/hub/login"),
    (Anon, "HEAD", "/hub/login"),
    (Anon, "OPTIONS", "/hub/home"),
    (Anon, "PUT", "/hub/home"),
    (Anon, "POST", "/hub/api/users"),
    (Erin, "GET", "/hub/"),
    (Erin, "GET", "/hub/home"),
    (Erin, "GET", "/hub/token"),
    (Erin, "GET", "/hub/admin"),
    (Erin, "GET", "/hub/spawn-pending/erin"),
    (Erin, "GET", "/hub/user/erin/lab?x=1"),
    (Erin, "GET", "/hub/user/erin/api/contents"),
    (Erin, "GET", "/hub/user/adm/"),
    (Erin, "GET", "/hub/user-redirect/lab?x=1"),
    (Erin, "GET", "/hub/login?next=%2Fhub%2Ftoken"),
    (Erin, "GET", "/hub/login?next=https%3A%2F%2Fevil.example%2F"),
    (Erin, "GET", "/hub/spawn/erin/Bad_Name!"),
    (Erin, "GET", "/hub/api/user?_xsrf=*"),
    (Erin, "GET", "/hub/api/users/erin?_xsrf=*"),
    (Erin, "GET", "/hub/api/users/adm?_xsrf=*"),
    (Erin, "GET", "/hub/api/users?_xsrf=*"),
    (Erin, "GET", "/hub/api/users/erin/tokens?_xsrf=*"),
    (Erin, "POST", "/hub/api/users/erin/tokens?_xsrf=*"),
    (Erin, "POST", "/hub/api/users/erin/tokens"),
    (Adm, "GET", "/hub/admin"),
    (Adm, "GET", "/hub/user/nosuch/"),
    (Adm, "GET", "/hub/api/users?_xsrf=*"),
    (Adm, "GET", "/hub/api/users/nosuch?_xsrf=*"),
    (Adm, "GET", "/hub/api/groups?_xsrf=*"),
    (Adm, "GET", "/hub/api/services?_xsrf=*"),
    (Adm, "DELETE", "/hub/api/users/erin/server?_xsrf=*"),
];

fn same_answers(_: &mut Suite) {
    let setup = Setup {
        plain: true,
        trial: true,
        hub: "allow_named_servers = true\n".to_owned(),
        tables: "[DummyAuthenticator]\npassword = \"pw\"\n[Authenticator]\nadmin_users = [\"adm\"]\n"
            .to_owned(),
        ..Setup::default()
    };
    let installation = Installation::running(&setup);
    let (mut process, port) = start_jupyterhub(&installation);
    let theirs = Web::plain(SocketAddr::from(([127, 0, 0, 1], port)));
    until("JupyterHub's answer", START_LIMIT, || {
        assert!(process.ended().is_none(), "JupyterHub ended:\n{}", process.log());
        theirs.try_request("GET", "/hub/health", &[], b"").ok().filter(|answer| answer.status == 200)
    });
    let (real, ours) = (browsers(&theirs), browsers(&installation.web()));
    let mut different = Vec::new();
    for (who, method, target) in REQUESTS {
        let wanted = summary(&send(&real, *who, method, target), target);
        let found = summary(&send(&ours, *who, method, target), target);
        if wanted != found {
            different.push(format!("{who:?} {method} {target}\n  JupyterHub {wanted}\n  hubd       {found}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} answers differ:\n{}",
        different.len(),
        REQUESTS.len(),
        different.join("\n")
    );
}

fn start_jupyterhub(installation: &Installation) -> (Process, u16) {
    let port = free_port();
    let configuration = installation.path("jupyterhub_config.py");
    let text = CONFIGURATION.replace("PORT", &port.to_string()).replace("OTHER", &free_port().to_string());
    fs::write(&configuration, text).unwrap();
    let program = notebook_program().with_file_name("jupyterhub");
    let mut command = installation.as_daemon(&program);
    command.arg("-f").arg(&configuration).args(["--db", "sqlite:///real.sqlite"]);
    command.arg("--JupyterHub.cookie_secret_file=real_cookie_secret");
    (Process::start("jupyterhub", &mut command, &installation.path("log/jupyterhub.log")), port)
}

/// Browsers of nobody, erin and adm; the latter two are logged in.
fn browsers(base: &Web) -> [Web; 3] {
    let logged_in = |name: &str| {
        let web = base.fresh();
        let answer = web.log_in(name, "pw");
        assert_eq!(answer.status, 302, "{name} cannot log in: {}", answer.words());
        web.get("/hub/home");
        web
    };
    [base.fresh(), logged_in("erin"), logged_in("adm")]
}

fn send(browsers: &[Web; 3], who: Who, method: &str, target: &str) -> Answer {
    let [anon, erin, adm] = browsers;
    let web = match who {
        Anon => anon.fresh(),
        Erin => erin.clone(),
        Adm => adm.clone(),
    };
    let target = target.replace('*', &web.cookie("_xsrf").unwrap_or_default());
    let navigation =
        [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "same-origin")];
    let script =
        [("Accept", "application/json"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "same-origin")];
    let headers = if target.starts_with("/hub/api") { script } else { navigation };
    web.request(method, &target, &headers, b"")
}

/// What has to be the same, in one line.
fn summary(answer: &Answer, target: &str) -> String {
    let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let location = answer.location();
    let location = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or_default());
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(value) => shape(&value),
        Err(_) if answer.status >= 400 && media_type == "text/html" => heading(&answer.text()),
        Err(_) => String::new(),
    };
    let version = target.starts_with("/hub/api").then(|| answer.header("x-jupyterhub-version")).flatten();
    let mut cookies = cookies(answer);
    if target.starts_with("/hub/login?") {
        // JupyterHub changes the XSRF token here, and forms in other tabs fail from then on; hubd keeps it.
        cookies.remove("_xsrf");
    }
    format!("{} {media_type} {location} {version:?} {cookies:?} {body}", answer.status)
}

/// The names of the cookies that are set.
fn cookies(answer: &Answer) -> BTreeSet<&str> {
    let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    lines.filter_map(|(_, line)| Some(line.split_once('=')?.0)).collect()
}

/// The first heading of a page.
fn heading(text: &str) -> String {
    let inner =
        text.split_once("<h1").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(_, rest)| rest);
    let inner = inner.split_once("</h1>").map_or("", |(heading, _)| heading);
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON with its keys, kinds and constant texts; times, tokens and numbers are left out.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", field(key, value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let kinds: BTreeSet<String> = items.iter().map(shape).collect();
            format!("[{}]", kinds.into_iter().collect::<Vec<_>>().join(","))
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(text) => without_ports(text),
        other => other.to_string(),
    }
}

/// A text in which `localhost:9612` is the same as `localhost:9610`.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("localhost:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "localhost" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn field(key: &str, value: &Value) -> String {
    let varies = [
        "created",
        "last_activity",
        "expires_at",
        "token",
        "id",
        "version",
        "python",
        "sys_executable",
        "started",
    ];
    match value {
        Value::Null | Value::String(_) if key == "session_id" => "session".to_owned(),
        Value::String(_) if varies.contains(&key) => "text".to_owned(),
        _ => shape(value),
    }
}
