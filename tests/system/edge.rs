//! Servers that do not ask who comes, because hubd does: `auth = "edge"`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hubd_tests::{Answer, Installation, Setup, Web, notebook_program};

use crate::Case;
use crate::browser::Script;
use crate::failures::RootProgram;
use crate::suite::{Suite, with_program_only};

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("edge lets plain jupyterlab be a server and asks who comes", plain_jupyterlab),
    ("edge lets people have hosts of their own", own_hosts),
    ("edge guards any program on a unix socket and gives it no credential", any_program),
    ("edge is refused on a port that everybody on the machine can reach", not_on_tcp),
];

/// How long an answer may go on after its person has logged out: two seconds, and as many for a busy machine.
const CUT: Duration = Duration::from_secs(4);

/// A web program of a few lines, as somebody would write one: it says what it was asked.
const PROGRAM: &str = r#"#!/usr/bin/python3
import http.server, os, socket, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/stream":
            return self.stream()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = (self.requestline + "\n" + str(self.headers)).encode()
        self.send_response(302 if self.path.startswith("/away") else 200)
        if self.path.startswith("/away"):
            self.send_header("Location", "/here?x")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_DELETE = do_GET
    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        # Nothing comes before the connection ends.
        self.rfile.read(1)
    def address_string(self):
        return "hubd"

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self):
        os.umask(0o117)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0

Server(sys.argv[1], Handler).serve_forever()
"#;

fn plain_jupyterlab(suite: &mut Suite) {
    suite.alice();
    suite.bob();
    suite.fresh_homes();
    let program = notebook_program().with_file_name("jupyter-lab");
    let tables = format!("[Authenticator]\nadmin_users = [\"{}\"]\n", suite.bob().name);
    let setup = Setup {
        hub: "admin_access = true\n".to_owned(),
        tables,
        ..with_program_only(&program.to_string_lossy())
    };
    let installation = Installation::running(&setup);
    Script::new("edge", &suite.people()).run(&installation.url(), |_| {});
}

fn own_hosts(suite: &mut Suite) {
    suite.alice();
    suite.fresh_homes();
    let program = notebook_program().with_file_name("jupyter-lab");
    // Browsers find everything below localhost on this machine.
    let hub = "subdomain_host = \"https://hub.localhost:{port}\"\n".to_owned();
    let installation = Installation::running(&Setup { hub, ..with_program_only(&program.to_string_lossy()) });
    let url = format!("https://hub.localhost:{}", installation.port);
    Script::new("edge_hosts", &suite.people()).run(&url, |_| {});
}

fn any_program(suite: &mut Suite) {
    let program = RootProgram::new("edge", PROGRAM);
    let profiles = format!(
        "[profile.default]\nprogram = [\"{}\"]\nunix_arguments = [\"{{socket}}\"]\nstrip_prefix = true\n",
        program.path().display()
    );
    let installation = Installation::running(&Setup { profiles, ..Setup::default() });
    let (name, password) = (suite.alice().name.clone(), suite.alice().password.clone());
    let alice = installation.web();
    alice.log_in(&name, &password);
    let started = alice.api("POST", &format!("users/{name}/server"), "");
    assert_eq!(started.status, 201, "{}", started.words());
    let own = format!("/user/{name}");
    comes_in(&alice, &own);
    is_kept_from_credentials(&alice, &own, &name);
    strangers(&installation, &alice, suite, &own);
    replayed(&alice, &own);
    // Its own user and hubd alone can reach the socket.
    let sockets = installation.runtime().join("servers");
    for entry in fs::read_dir(sockets).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o7777, 0o2710);
    }
    let kept = alice.copy();
    let stream = Stream::open(&alice, &format!("{own}/stream"));
    alice.get("/hub/logout");
    let ended = stream.ended();
    assert!(ended < CUT, "the answer went on for {ended:?} after the logout");
    assert_eq!(kept.request("GET", &format!("{own}/x"), &[], b"").status, 403, "after the logout");
}

/// An answer that never comes to its end by itself.
struct Stream {
    reading: JoinHandle<Vec<u8>>,
}

impl Stream {
    /// Asks for it, and waits until it has begun.
    fn open(web: &Web, target: &str) -> Self {
        let mut stream = web.connect().unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n",
            web.cookies_for(target)
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"first\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("no stream ({error}): {}", String::from_utf8_lossy(&answer));
            });
            answer.extend_from_slice(&byte);
        }
        let reading = std::thread::spawn(move || {
            let mut rest = Vec::new();
            // The end comes without TLS's goodbye, and before the answer's.
            stream.read_to_end(&mut rest).ok();
            rest
        });
        Self { reading }
    }

    /// Waits until it has ended, incomplete; gives how long that took.
    fn ended(self) -> Duration {
        let began = Instant::now();
        let rest = self.reading.join().unwrap();
        assert_eq!(rest, b"", "more came than there was");
        began.elapsed()
    }
}

/// By the hub, with a cookie for its own part of the site.
fn comes_in(alice: &Web, own: &str) {
    let script = alice.request("GET", &format!("{own}/x"), &[("Accept", "*/*")], b"");
    assert_eq!(
        (script.status, script.header("content-type")),
        (403, Some("application/json")),
        "{}",
        script.text()
    );
    let page = alice.follow(&format!("{own}/x?y=1"));
    assert!(page.status == 200 && page.text().starts_with("GET /x?y=1 HTTP/1.1\n"), "{}", page.text());
    assert_eq!(alice.follow(own).text().lines().next(), Some("GET / HTTP/1.1"));
    let away = alice.get(&format!("{own}/away"));
    assert_eq!((away.status, away.location()), (302, format!("{own}/here?x").as_str()));
}

fn is_kept_from_credentials(alice: &Web, own: &str, name: &str) {
    let token =
        alice.api("POST", &format!("users/{name}/tokens"), "{}").json()["token"].as_str().unwrap().to_owned();
    let with = format!("token {token}");
    let stranger = alice.fresh();
    let by_token = stranger.request("POST", &format!("{own}/t"), &[("Authorization", &with)], b"body");
    assert!(by_token.status == 200 && !by_token.text().contains(&token), "{}", by_token.text());
    let headers = [
        ("X-Forwarded-User", "root"),
        ("Remote-User", "root"),
        ("Cookie", "own=1"),
        ("X_Forwarded_User", "root"),
    ];
    let heard = alice.request("GET", &format!("{own}/x"), &headers, b"").text();
    assert!(heard.contains(&format!("x-forwarded-user: {name}")) && !heard.contains("root"), "{heard}");
    assert!(heard.contains(&format!("x-forwarded-prefix: {own}")) && heard.contains("own=1"), "{heard}");
    for secret in ["hubd-edge", "jupyterhub-", "hubd-ticket", "uthorization"] {
        assert!(!heard.contains(secret), "{secret} in {heard}");
    }
    for (header, value) in
        [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")]
    {
        for method in ["GET", "POST", "DELETE"] {
            let answer = alice.request(method, &format!("{own}/x"), &[(header, value)], b"");
            assert_eq!(answer.status, 403, "{method} {header}: {value}");
        }
    }
    let socket = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Origin", "https://evil.example")];
    assert_eq!(alice.request("GET", &format!("{own}/ws"), &socket, b"").status, 403);
    for odd in ["/..%2fhub/", "/../hub/home", "/%2e%2e/hub/", "/x\\..\\y"] {
        assert_eq!(alice.request("GET", &format!("{own}{odd}"), &[], b"").status, 400, "{odd}");
    }
}

fn strangers(installation: &Installation, alice: &Web, suite: &mut Suite, own: &str) {
    let bob = installation.web();
    bob.log_in(&suite.bob().name.clone(), &suite.bob().password.clone());
    let page = bob.follow(&format!("{own}/x"));
    assert!(page.status == 404 && page.words().contains("No access"), "{} {}", page.status, page.words());
    // Alice's cookie of another part of the site, sent by hand.
    let edge = alice.cookie("__Secure-hubd-edge").unwrap();
    for (cookie, status) in [
        (format!("__Secure-hubd-edge={edge}"), 200),
        (format!("hubd-edge={edge}"), 403),
        ("__Secure-hubd-edge=x".into(), 403),
    ] {
        let answer = alice.fresh().request("GET", &format!("{own}/x"), &[("Cookie", &cookie)], b"");
        assert_eq!(answer.status, status, "{cookie}");
    }
}

/// A code is good once, in the browser that it was made for.
fn replayed(alice: &Web, own: &str) {
    let browser = alice.fresh();
    let first = browser.get(&format!("{own}/x"));
    let code = alice.get(first.location()).location().to_owned();
    let enters =
        |answer: &Answer| answer.header("set-cookie").is_some_and(|cookie| cookie.contains("hubd-edge="));
    let stolen = alice.fresh().get(&code);
    assert!(stolen.status == 403 && !enters(&stolen), "{}", stolen.words());
    assert!(!enters(&browser.get(&code)), "it is gone");
    let code = alice.get(first.location()).location().to_owned();
    assert!(enters(&browser.get(&code)));
    assert!(!enters(&browser.get(&code)), "twice");
}

fn not_on_tcp(suite: &mut Suite) {
    let program = RootProgram::new("edge-tcp", PROGRAM);
    let tables = "[Spawner]\nsocket = \"tcp\"\n".to_owned();
    let installation =
        Installation::running(&Setup { tables, ..with_program_only(&program.path().to_string_lossy()) });
    let web = installation.web();
    let alice = suite.alice();
    web.log_in(&alice.name, &alice.password);
    web.api("POST", &format!("users/{}/server", alice.name), "");
    let page = web.follow(&format!("/hub/spawn-pending/{}", alice.name));
    assert!(page.words().contains("it must listen on a Unix socket"), "{}", page.words());
}
