//! `src/helper/src/supervise.rs`: what runs, how it is stopped, and that nothing stays behind.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use anyhow::{Result, ensure};
use hubd_proto::message::{Edge, Endpoint, Listen, RefusalCode, Start};
use hubd_proto::{ProfileName, Reply, Request, Secret, ServerName};
use hubd_tests::helper_process::{Connection, HelperProcess, TestUser, parent_of, shown, start_of, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLICY: &str = r#"
stop_seconds = 1
sessions_per_user = 3
[profile.default]
program = ["{dir}/bin/server"]
arguments = ["--fixed"]
[profile.asks]
program = ["{dir}/bin/server"]
auth = "oauth"
[profile.crash]
program = ["{dir}/bin/crash"]
[profile.family]
program = ["{dir}/bin/family"]
[profile.stubborn]
program = ["{dir}/bin/stubborn"]
"#;

struct Case {
    helper: HelperProcess,
    user: TestUser,
    ticket: Secret,
}

impl Case {
    fn new() -> Result<Self> {
        let helper = HelperProcess::start(POLICY)?;
        helper.script("server", "#!/bin/sh\necho started \"$@\"\ncat > /dev/null\nexec sleep 1000\n")?;
        helper.script(
            "crash",
            "#!/bin/sh\nfor i in $(seq 40); do echo line $i; done\necho oh no >&2\nexit 3\n",
        )?;
        helper.script(
            "family",
            "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &\nsetsid nohup sleep 1000 >/dev/null 2>&1 &\n(sleep 1000 &)\nexec sleep 1000\n",
        )?;
        helper.script("stubborn", "#!/bin/sh\ntrap '' TERM\necho deaf\nwhile :; do sleep 1; done\n")?;
        let user = TestUser::make("run", &[])?;
        let ticket = helper.login(&user)?.1.ticket;
        Ok(Self { helper, user, ticket })
    }

    fn start(&self, profile: &str) -> Result<Start> {
        let mut start = start_of(&self.user.name, Some(&self.ticket))?;
        start.profile = Some(ProfileName::new(profile)?);
        Ok(start)
    }

    fn nothing_is_left(&self) -> Result<()> {
        wait_for("the user's last process", || self.user.processes().is_ok_and(|count| count == 0))?;
        for dir in ["run/servers", "run/sessions", "state/sessions"] {
            let left = fs::read_dir(self.helper.dir.path().join(dir))?.count();
            ensure!(left == 0, "{dir} holds {left}");
        }
        Ok(())
    }
}

#[test]
fn a_server_runs_as_its_user_and_answers_on_its_control_socket() -> Result<()> {
    let case = Case::new()?;
    let (mut first, _) = case.helper.login(&case.user)?;
    let status = first.start(start_of(&case.user.name, None)?)?;
    let process = fs::metadata(format!("/proc/{}", status.pid))?;
    ensure!(process.uid() == case.user.uid()? && status.uid == case.user.uid()?);
    let Endpoint::Unix(socket) = &status.endpoint else { anyhow::bail!("{:?}", status.endpoint) };
    let directory = fs::metadata(std::path::Path::new(socket).parent().expect("a directory"))?;
    ensure!(directory.mode() & 0o7777 == 0o2710 && directory.uid() == status.uid, "{:o}", directory.mode());
    let mut control = Connection::open(&case.helper.control(&status))?;
    match control.ask(&Request::Status)? {
        Reply::Status(again) => ensure!(again == status, "{again:?}"),
        other => anyhow::bail!("{}", shown(&other)),
    }
    wait_for(
        "the first line",
        || matches!(control.ask(&Request::Log), Ok(Reply::Log(lines)) if lines.iter().any(|line| line.starts_with("started"))),
    )?;
    ensure!(matches!(control.ask(&Request::Stop)?, Reply::Done));
    let (exited, told) = (control.exited()?, first.exited()?);
    ensure!(exited == told && exited.stopped, "{exited:?}");
    ensure!(exited.log.iter().any(|line| line.contains("--fixed")), "{exited:?}");
    case.nothing_is_left()
}

#[test]
fn the_session_outlives_daemon_and_listener() -> Result<()> {
    let mut case = Case::new()?;
    let status = {
        let mut connection = case.helper.connect()?;
        connection.start(case.start("default")?)?
    };
    case.helper.stop_listening()?;
    ensure!(case.helper.connect().is_err());
    let mut control = Connection::open(&case.helper.control(&status))?;
    ensure!(control.stop()?.stopped);
    case.nothing_is_left()
}

#[test]
fn a_crash_is_told_with_its_code_and_last_lines() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    connection.start(case.start("crash")?)?;
    let exited = connection.exited()?;
    ensure!(exited.code == Some(3) && !exited.stopped, "{exited:?}");
    ensure!(exited.log.len() == 30 && exited.log.last().is_some_and(|line| line == "oh no"), "{exited:?}");
    ensure!(exited.log.first().is_some_and(|line| line == "line 12"), "{exited:?}");
    case.nothing_is_left()
}

#[test]
fn what_went_into_the_background_ends_with_the_server() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    connection.start(case.start("family")?)?;
    wait_for("the family", || case.user.processes().is_ok_and(|count| count >= 4))?;
    ensure!(connection.stop()?.stopped);
    ensure!(case.user.processes()? == 0);
    case.nothing_is_left()
}

#[test]
fn a_server_that_does_not_listen_to_sigterm_is_killed() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    connection.start(case.start("stubborn")?)?;
    wait_for(
        "its trap",
        || matches!(connection.ask(&Request::Log), Ok(Reply::Log(lines)) if lines.iter().any(|line| line == "deaf")),
    )?;
    let exited = connection.stop()?;
    ensure!(exited.signal == Some(9) && exited.stopped, "{exited:?}");
    case.nothing_is_left()
}

#[test]
fn the_same_server_is_not_started_twice() -> Result<()> {
    let case = Case::new()?;
    let mut first = case.helper.connect()?;
    first.start(case.start("default")?)?;
    let again = Request::Start(Box::new(case.start("crash")?));
    case.helper.connect()?.refused(&again, RefusalCode::AlreadyRunning)?;
    ensure!(matches!(first.ask(&Request::Status)?, Reply::Status(_)), "the first one suffered");
    first.stop()?;
    let mut third = case.helper.connect()?;
    third.start(case.start("default")?)?;
    Ok(())
}

#[test]
fn sessions_are_counted() -> Result<()> {
    let case = Case::new()?;
    let mut connections = Vec::new();
    for name in ["", "two", "three"] {
        let mut start = case.start("default")?;
        start.server = ServerName::new(name)?;
        let mut connection = case.helper.connect()?;
        connection.start(start)?;
        connections.push(connection);
    }
    let mut start = case.start("default")?;
    start.server = ServerName::new("four")?;
    let refused =
        case.helper.connect()?.refused(&Request::Start(Box::new(start)), RefusalCode::TooManySessions)?;
    ensure!(refused.message.contains("3 of 3"), "{}", refused.message);
    Ok(())
}

#[test]
fn killing_the_session_process_ends_the_server_and_blocks_nothing() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    let status = connection.start(case.start("default")?)?;
    kill(Pid::from_raw(parent_of(status.pid)?), Signal::SIGKILL)?;
    wait_for("the server's end", || case.user.processes().is_ok_and(|count| count == 0))?;
    let mut again = case.helper.connect()?;
    again.start(case.start("default")?)?;
    ensure!(again.stop()?.stopped);
    case.nothing_is_left()
}

#[test]
fn killing_the_session_process_leaves_nothing_in_the_background() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    let status = connection.start(case.start("family")?)?;
    wait_for("the family", || case.user.processes().is_ok_and(|count| count >= 4))?;
    kill(Pid::from_raw(parent_of(status.pid)?), Signal::SIGKILL)?;
    let killed_at = std::time::Instant::now();
    wait_for("the end of all", || case.user.processes().is_ok_and(|count| count == 0))?;
    ensure!(killed_at.elapsed() < std::time::Duration::from_secs(5), "{:?}", killed_at.elapsed());
    Ok(())
}

#[test]
fn sigterm_to_the_session_process_is_a_stop() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    let status = connection.start(case.start("default")?)?;
    kill(Pid::from_raw(parent_of(status.pid)?), Signal::SIGTERM)?;
    ensure!(connection.exited()?.stopped);
    case.nothing_is_left()
}

#[test]
fn links_in_the_servers_directory_are_not_followed() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    let status = connection.start(case.start("default")?)?;
    let victim = case.helper.dir.path().join("victim");
    fs::create_dir(&victim)?;
    fs::write(victim.join("file"), "precious")?;
    let directory = case.helper.dir.path().join(format!("run/servers/{}", status.session));
    symlink(&victim, directory.join("link"))?;
    symlink(victim.join("file"), directory.join("s"))?;
    fs::create_dir(directory.join("deep"))?;
    connection.stop()?;
    ensure!(fs::read_to_string(victim.join("file"))? == "precious");
    // Somebody puts a link where the directory will be: it is replaced, not entered.
    symlink(&victim, &directory)?;
    let mut connection = case.helper.connect()?;
    connection.start(case.start("default")?)?;
    ensure!(fs::symlink_metadata(&directory)?.is_dir() && fs::metadata(&victim)?.uid() == 0);
    Ok(())
}

#[test]
fn a_violation_on_the_control_socket_ends_that_connection_only() -> Result<()> {
    let case = Case::new()?;
    let mut first = case.helper.connect()?;
    let status = first.start(case.start("default")?)?;
    let mut bad = Connection::open(&case.helper.control(&status))?;
    bad.send_bytes(b"GET / HTTP/1.1\r\n\r\n")?;
    ensure!(bad.receive().is_err());
    let mut bad = Connection::open(&case.helper.control(&status))?;
    bad.send(&Request::Start(Box::new(case.start("default")?)))?;
    ensure!(bad.receive().is_err());
    ensure!(matches!(first.ask(&Request::Status)?, Reply::Status(_)));
    // Another process writes it down, after the connection has been closed.
    wait_for("the record", || case.helper.audit().contains("control violation"))
}

#[test]
fn many_control_connections_push_the_oldest_out() -> Result<()> {
    let case = Case::new()?;
    let mut first = case.helper.connect()?;
    let status = first.start(case.start("default")?)?;
    let mut many = VecDeque::from([first]);
    for _ in 0..12 {
        let mut connection = Connection::open(&case.helper.control(&status))?;
        ensure!(matches!(connection.ask(&Request::Status)?, Reply::Status(_)));
        many.push_back(connection);
    }
    // Eight stay: the oldest have been told nothing, and are closed.
    for mut oldest in many.drain(..5) {
        ensure!(oldest.receive().is_err(), "one that is too old is still there");
    }
    for connection in &mut many {
        ensure!(matches!(connection.ask(&Request::Status)?, Reply::Status(_)));
    }
    ensure!(many.back_mut().expect("eight").stop()?.stopped);
    Ok(())
}

#[test]
fn a_server_that_does_not_ask_who_comes_says_so_and_gets_no_port() -> Result<()> {
    let case = Case::new()?;
    let mut start = case.start("default")?;
    start.listen = Listen::Tcp(23456);
    case.helper.connect()?.refused(&Request::Start(Box::new(start)), RefusalCode::NotAvailable)?;
    let status = case.helper.connect()?.start(case.start("default")?)?;
    ensure!(status.edge == Some(Edge { strip_prefix: false }));
    let mut connection = Connection::open(&case.helper.control(&status))?;
    let Reply::Status(again) = connection.ask(&Request::Status)? else { anyhow::bail!("no status") };
    ensure!(again.edge == status.edge, "the hub after a restart hears it, too");
    connection.stop()?;
    ensure!(case.helper.connect()?.start(case.start("asks")?)?.edge.is_none());
    Ok(())
}

#[test]
fn a_tcp_server_gets_no_socket_argument() -> Result<()> {
    let case = Case::new()?;
    let mut start = case.start("asks")?;
    start.listen = Listen::Tcp(23456);
    let mut connection = case.helper.connect()?;
    let status = connection.start(start)?;
    ensure!(status.endpoint == Endpoint::Tcp(23456));
    let words = fs::read_to_string(format!("/proc/{}/cmdline", status.pid))?;
    ensure!(!words.contains("ServerApp.sock"), "{words}");
    Ok(())
}
