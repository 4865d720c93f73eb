//! `hubd proxy` as a program: sockets, signals, files, TLS on all sides.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hubd_tests::{Process, free_port, programs, until};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::{LIMIT, TOKEN, target};

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(&programs().hubd);
    command.arg("proxy").args(flags).env("CONFIGPROXY_AUTH_TOKEN", TOKEN);
    command
}

fn ended(flags: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(flags).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn what_cannot_be_obeyed_is_named_and_ends_the_program() {
    let port = format!("--port={}", free_port());
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = held.local_addr().unwrap().port();
    for (flags, words) in [
        (["--ssl-ciphers=HIGH", "--storage-backend=x"], "--ssl-ciphers cannot be used"),
        (["--storage-backend=x", "--ssl-allow-rc4"], "--ssl-allow-rc4 cannot be used"),
        (["--no-such-flag", &port], "--no-such-flag"),
        (["--redirect-port=1", &port], "HTTPS redirection specified but certificates not provided"),
        (["--custom-header=x", &port], "A colon was expected in custom header: x"),
        (["--log-level=loud", &port], "--log-level loud"),
        (["--default-target=x", &port], "--default-target x"),
        (["--error-target=http://a", "--error-path=/d"], "--error-path"),
        (["--ssl-key=/nonexistent", &port], "no --ssl-cert"),
        (["--ip=127.0.0.1", &format!("--port={held}")], "already"),
    ] {
        let (code, text) = ended(&flags);
        assert_eq!(code, Some(1), "{flags:?}: {text}");
        assert!(text.contains(words), "{flags:?}: {text}");
    }
    assert_eq!(ended(&["--version"]).0, Some(0));
    assert!(ended(&["--help"]).1.contains("--error-target"));
}

#[test]
fn signals_end_it_with_status_2_and_its_files_go() {
    for (signal, word) in [(Signal::SIGTERM, "Terminated"), (Signal::SIGINT, "Interrupted")] {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let flag = |flag: &str, name: &str| format!("--{flag}={}", place(name).display());
        let flags = [
            flag("socket", "s"),
            flag("api-socket", "a"),
            flag("metrics-socket", "m"),
            flag("pid-file", "p"),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut process = Process::start("proxy", &mut command(&flags), &place("log"));
        until("it runs", LIMIT, || fs::read_to_string(place("p")).ok().filter(|text| !text.is_empty()));
        assert_eq!(fs::read_to_string(place("p")).unwrap().trim(), process.id().to_string());
        process.signal(signal);
        let status = until("it ends", LIMIT, || process.ended());
        assert_eq!(status.code(), Some(2));
        let log = process.log();
        for line in [
            format!("[ConfigProxy] info: Proxying http://{} to (no default)", place("s").display()),
            format!("[ConfigProxy] info: Proxy API at http://{}/api/routes", place("a").display()),
            format!("[ConfigProxy] warn: {word}"),
        ] {
            assert!(log.contains(&line), "{line} is missing in {log}");
        }
        for name in ["s", "a", "m", "p"] {
            assert!(!place(name).exists(), "{name} is left");
        }
    }
}

#[test]
fn all_sides_can_be_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).display().to_string();
    let start = |prefix: &str, more: &[String]| {
        let sides = [("socket", "s"), ("api-socket", "a"), ("metrics-socket", "m")];
        let sides = sides.map(|(flag, name)| format!("--{flag}={}", place(&format!("{prefix}{name}"))));
        let flags: Vec<&str> = sides.iter().chain(more).map(String::as_str).collect();
        let process = Process::start("proxy", &mut command(&flags), &directory.path().join("log"));
        for name in ["s", "a", "m"] {
            until("it listens", LIMIT, || UnixStream::connect(place(&format!("{prefix}{name}"))).ok());
        }
        process
    };
    let _last = start("last-", &[format!("--default-target=http://{}/base", target::start())]);
    let _first = start("first-", &[]);
    let url = format!("http+unix://{}", place("last-s").replace('/', "%2F"));
    let added =
        ask_socket(&place("first-a"), "POST", "/api/routes/user/a", &format!("{{\"target\":\"{url}\"}}"));
    assert!(added.starts_with("HTTP/1.1 201"), "{added}");
    let answer = ask_socket(&place("first-s"), "GET", "/user/a/x", "");
    assert!(answer.contains("GET /base/user/a/x\n"), "{answer}");
    assert!(answer.contains("x-forwarded-for: 127.0.0.1,127.0.0.1\n"), "{answer}");
    let metrics = ask_socket(&place("first-m"), "GET", "/metrics", "");
    for line in ["requests_web 1", "requests_proxy{status=\"200\"} 1", "api_route_add 1"] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    assert!(ask_socket(&place("first-m"), "GET", "/other", "").starts_with("HTTP/1.1 404"));
}

fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nAuthorization: token {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ask_socket(socket: &str, method: &str, path: &str, body: &str) -> String {
    read_all(UnixStream::connect(socket).unwrap(), &request(method, path, body))
}

fn ask(port: u16, method: &str, path: &str, body: &str) -> String {
    read_all(TcpStream::connect(("127.0.0.1", port)).unwrap(), &request(method, path, body))
}

fn read_all(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// An authority and its certificate for this machine, as files.
struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let own_key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = CertificateParams::new(names).unwrap().signed_by(&own_key, &issuer).unwrap();
        fs::write(directory.path().join("ca"), authority.pem()).unwrap();
        let pair = directory.path().join("pair");
        fs::write(&pair, own.pem() + &own_key.serialize_pem()).unwrap();
        fs::set_permissions(&pair, fs::Permissions::from_mode(0o600)).unwrap();
        Self { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A proxy on ports of 127.0.0.1.
fn start(log: &Path, flags: &[String]) -> (Process, u16) {
    let (port, api) = (free_port(), free_port());
    let own = ["--ip=127.0.0.1".to_owned(), "--api-ip=127.0.0.1".to_owned()];
    let ports = [format!("--port={port}"), format!("--api-port={api}")];
    let flags: Vec<&str> = own.iter().chain(&ports).chain(flags).map(String::as_str).collect();
    let process = Process::start("proxy", &mut command(&flags), log);
    for port in [port, api] {
        until("it listens", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
    }
    (process, port)
}

#[test]
fn targets_with_tls_see_the_proxys_certificate_and_have_to_show_a_good_one() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let log = known.file("log");
    let flag = |flag: &str, file: PathBuf| format!("--{flag}={}", file.display());
    let plain = format!("--default-target=http://{}", target::start());
    let (_server, port) = start(
        &log,
        &[
            plain,
            flag("ssl-cert", known.file("pair")),
            flag("ssl-ca", known.file("ca")),
            "--ssl-request-cert".into(),
        ],
    );
    let over_tls = |flags: &[String]| {
        let mut all = vec![format!("--default-target=https://127.0.0.1:{port}")];
        all.extend_from_slice(flags);
        let (_proxy, port) = start(&log, &all);
        ask(port, "GET", "/x", "")
    };
    let own = flag("client-ssl-cert", known.file("pair"));
    let answer = over_tls(&[own.clone(), flag("client-ssl-ca", known.file("ca"))]);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("GET /x\n"), "{answer}");
    assert!(answer.contains("x-forwarded-proto: http,https\n"), "{answer}");
    let answer = over_tls(&[own.clone(), "--insecure".into()]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for bad in [
        vec![own.clone(), flag("client-ssl-ca", unknown.file("ca"))],
        vec![own],
        vec![flag("client-ssl-ca", known.file("ca"))],
        vec![flag("client-ssl-cert", unknown.file("pair")), flag("client-ssl-ca", known.file("ca"))],
    ] {
        let answer = over_tls(&bad);
        assert!(answer.starts_with("HTTP/1.1 503"), "{bad:?}: {answer}");
    }
}

#[test]
fn plain_http_is_sent_to_https() {
    let authority = Authority::new();
    let from = free_port();
    let flags = [
        format!("--ssl-cert={}", authority.file("pair").display()),
        format!("--redirect-port={from}"),
        "--redirect-to=443".to_owned(),
    ];
    let (_proxy, _) = start(&authority.file("log"), &flags);
    let answer = until("it listens", LIMIT, || TcpStream::connect(("127.0.0.1", from)).ok());
    let answer = read_all(answer, &request("GET", "/a?b", ""));
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("location: https://hub/a?b"), "{answer}");
}

#[test]
fn a_target_that_does_not_answer_is_given_up_after_the_time_that_was_set() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let target = format!("--default-target=http://{}", silent.local_addr().unwrap());
    let (_proxy, port) = start(&directory.path().join("log"), &[target, "--proxy-timeout=100".into()]);
    let answer = ask(port, "GET", "/x", "");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}
