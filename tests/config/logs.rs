//! Where log lines go, and what is in them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubd_tests::{Process, Web, free_port, until};

use crate::daemon::{Daemon, health, local};

/// How long a line may take.
const LINE_LIMIT: Duration = Duration::from_secs(30);

fn ports() -> (Web, String) {
    let port = free_port();
    (local(port), format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n", free_port()))
}

#[test]
fn the_log_file_gets_every_line_and_is_opened_again_after_it_was_moved() {
    let (web, hub) = ports();
    let mut daemon = Daemon::configured(&hub);
    daemon.start(&["--log-file=hub.log"], &[], || health(&web));
    web.get("/hub/login");
    let read = |name: &str| std::fs::read_to_string(daemon.path(name)).unwrap_or_default();
    let has = |file: &str, line: &str| {
        until(line, LINE_LIMIT, || read(file).contains(line).then_some(()));
    };
    has("hub.log", "200 GET /hub/login");
    assert_eq!(daemon.path("hub.log").metadata().unwrap().permissions().mode() & 0o137, 0);
    std::fs::rename(daemon.path("hub.log"), daemon.path("hub.log.1")).unwrap();
    let (good, _, error) = daemon.hubd(&["-f", "hubd.toml", "reload"]);
    assert!(good, "{error}");
    web.get("/hub/login?moved");
    has("hub.log", "GET /hub/login?moved");
    assert!(!read("hub.log.1").contains("moved"));
    assert!(daemon.process().log().contains("GET /hub/login?moved"), "standard error has the lines too");
}

#[test]
fn json_has_a_line_for_each_event_with_its_fields() {
    let (web, hub) = ports();
    let mut daemon = Daemon::running(&format!("{hub}log_to = \"json\""), &web);
    web.log_in("ann", "");
    web.get("/hub/home");
    let log = daemon.process().log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let message =
        |line: &serde_json::Value| line["fields"]["message"].as_str().unwrap_or_default().to_owned();
    let home = lines.iter().find(|line| message(line).starts_with("200 GET /hub/home")).unwrap();
    let fields = &home["fields"];
    assert_eq!((&fields["user"], &fields["route"]), (&"ann".into(), &"/hub/home".into()), "{fields}");
    assert!(fields["status"] == 200 && fields["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{fields}");
    assert_eq!((&home["level"], &home["target"]), (&"INFO".into(), &"hubd::access".into()));
    assert!(home["timestamp"].is_string());
}

/// A socket in place of that of the journal or of syslog, for a daemon in a `/run` of its own.
struct Collector {
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Who holds it keeps the socket from being read.
    reading: Arc<Mutex<()>>,
    daemon: Daemon,
}

impl Collector {
    /// Starts the daemon with `link` below `/run` leading to the socket; nothing without the rights to do so.
    fn start(link: &str, log_to: &str, web: &Web, hub: &str) -> Option<(Self, Process)> {
        if !nix::unistd::geteuid().is_root() {
            println!("only root can give the daemon a /run of its own: skipped");
            return None;
        }
        let daemon = Daemon::configured(&format!("{hub}log_to = \"{log_to}\""));
        let path = daemon.path("collector");
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let messages: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let reading: Arc<Mutex<()>> = Arc::default();
        let (kept, may_read) = (messages.clone(), reading.clone());
        // A socket that is not read is full after a few messages, as the real ones.
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length) = socket.recv(&mut buffer) {
                drop(may_read.lock());
                kept.lock().unwrap().push(buffer[..length].to_vec());
            }
        });
        let inner = daemon.command(&["-f", "hubd.toml"]);
        let script = "mount -t tmpfs none /run && mkdir -p \"/run/$(dirname \"$1\")\" && ln -s \"$2\" \"/run/$1\" && shift 2 && \
                      exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", link]).arg(&path).arg(inner.get_program());
        command.args(inner.get_args()).current_dir(daemon.path(""));
        let log = daemon.path("hubd.log");
        let mut process = Process::start("hubd", &mut command, &log);
        until("an answer of hubd", LINE_LIMIT, || {
            assert!(process.ended().is_none(), "{}", process.log());
            health(web).then_some(())
        });
        Some((Self { messages, reading, daemon }, process))
    }

    /// The first message that `wanted` takes.
    fn message<T>(&self, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        until("a message", LINE_LIMIT, || {
            self.messages.lock().unwrap().iter().find_map(|message| wanted(message))
        })
    }
}

/// The fields of a message in the journal's own protocol: `KEY=value`, or a key, a length and a value.
fn fields(mut message: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = BTreeMap::new();
    while let Some(end) = message.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&message[..end], &message[end + 1..]);
        message = match line.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
                rest
            }
            None => {
                let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
                fields.insert(text(line), text(&rest[8..8 + length]));
                &rest[8 + length + 1..]
            }
        };
    }
    fields
}

#[test]
fn the_journal_gets_fields_by_which_requests_can_be_found() {
    let (web, hub) = ports();
    let Some((collector, _process)) = Collector::start("systemd/journal/socket", "journal", &web, &hub)
    else {
        return;
    };
    web.log_in("ann", "");
    web.get("/hub/home");
    let home = collector.message(|message| {
        let fields = fields(message);
        fields.get("MESSAGE")?.starts_with("200 GET /hub/home").then_some(fields)
    });
    for (name, value) in [
        ("USER", "ann"),
        ("STATUS", "200"),
        ("ROUTE", "/hub/home"),
        ("SYSLOG_IDENTIFIER", "hubd"),
        ("PRIORITY", "5"),
        ("TARGET", "hubd::access"),
    ] {
        assert_eq!(home.get(name).map(String::as_str), Some(value), "{name}: {home:?}");
    }
    assert!(home.get("MS").is_some_and(|ms| ms.parse::<f64>().is_ok()), "{home:?}");
    assert!(nothing_else(&collector.daemon.path("hubd.log")), "lines are in one place");
}

#[test]
fn syslog_gets_lines_with_their_priority() {
    let (web, hub) = ports();
    let Some((collector, _process)) = Collector::start("syslog", "syslog", &web, &hub) else { return };
    web.get("/hub/no-such-page");
    let line = collector.message(|message| {
        let text = String::from_utf8_lossy(message).into_owned();
        text.contains("404 GET /hub/no-such-page").then_some(text)
    });
    // daemon.warning (RFC 3164): facility 3, severity 4.
    assert!(line.starts_with("<28>") && line.contains(" hubd["), "{line}");
    assert!(nothing_else(&collector.daemon.path("hubd.log")));
}

#[test]
fn a_journal_or_syslog_that_hangs_stops_nobody_and_what_is_lost_is_counted() {
    for (link, log_to) in [("systemd/journal/socket", "journal"), ("syslog", "syslog")] {
        let (web, hub) = ports();
        let Some((collector, mut process)) = Collector::start(link, log_to, &web, &hub) else { return };
        let hangs = collector.reading.lock().unwrap();
        // Four megabytes wait at most; this is more.
        let long = format!("/hub/login?next={}", "x".repeat(7000));
        for _ in 0..900 {
            assert_eq!(web.get(&long).status, 200);
        }
        drop(hangs);
        let text = collector.message(|message| {
            let text = String::from_utf8_lossy(message).into_owned();
            text.contains("log lines were lost").then_some(text)
        });
        assert!(text.contains("lost=") || text.contains("LOST\n"), "{text:?}");
        web.get("/hub/login?again");
        collector.message(|message| String::from_utf8_lossy(message).contains("?again").then_some(()));
        // Its last words get out too.
        process.end();
        collector.message(|message| String::from_utf8_lossy(message).contains("...done").then_some(()));
    }
}

#[test]
fn a_log_file_that_hangs_stops_nobody() {
    let (web, hub) = ports();
    let mut daemon = Daemon::configured(&hub);
    // A pipe of 64 KiB that nobody empties, in the place of a disk that does not answer.
    nix::unistd::mkfifo(&daemon.path("hub.log"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    std::fs::set_permissions(daemon.path("hub.log"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let reader = std::fs::File::options().read(true).write(true).open(daemon.path("hub.log")).unwrap();
    daemon.start(&["--log-file=hub.log"], &[], || health(&web));
    let long = format!("/hub/login?next={}", "x".repeat(7000));
    for _ in 0..40 {
        assert_eq!(web.get(&long).status, 200);
    }
    web.get("/hub/login?last");
    let mut lines = BufReader::new(reader).lines();
    until("the last line", LINE_LIMIT, || lines.next()?.unwrap().contains("?last").then_some(()));
}

#[test]
fn the_proxy_alone_waits_for_nobody_who_reads_its_log() {
    let daemon = Daemon::nothing();
    let port = free_port();
    let (web, ports) = (local(port), [format!("--port={port}"), format!("--api-port={}", free_port())]);
    let mut command = daemon.command(&["proxy", "--log-level=debug", &ports[0], &ports[1]]);
    let mut proxy = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    until("an answer", LINE_LIMIT, || web.try_request("GET", "/", &[], b"").is_ok().then_some(()));
    // Its standard output is a pipe of 64 KiB, which nobody empties; each of these leaves a line.
    let long = format!("/{}", "x".repeat(7000));
    for _ in 0..40 {
        assert_eq!(web.get(&long).status, 404);
    }
    let mut lines = BufReader::new(proxy.stdout.take().unwrap()).lines();
    let mut count = 0;
    until("all lines", LINE_LIMIT, || {
        count += usize::from(lines.next()?.unwrap().contains("/xxx"));
        (count >= 40).then_some(())
    });
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}

/// Whether standard error got no line of the log.
fn nothing_else(path: &Path) -> bool {
    !std::fs::read_to_string(path).unwrap_or_default().contains("GET /hub")
}
