//! `src/helper/session`: the process that answers for a running server has no privilege, and neither its death nor its
//! silence keeps a session alive.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hubd_proto::{Reply, Request};
use hubd_tests::helper_process::{
    HelperProcess, PASSWORD, TestUser, answering, answering_below, parent_of, start_of, wait_for,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLICY: &str =
    "stop_seconds = 1\nlog_bytes = 1000\n[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";
const FAMILY: &str =
    "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &\nexec sleep 1000\n";

fn nothing_is_left(helper: &HelperProcess, user: &TestUser) -> Result<()> {
    wait_for("the user's last process", || user.processes().is_ok_and(|count| count == 0))?;
    for dir in ["run/servers", "run/sessions", "state/sessions"] {
        let empty = || fs::read_dir(helper.dir.path().join(dir)).is_ok_and(|left| left.count() == 0);
        wait_for(&format!("an empty {dir}"), empty)?;
    }
    Ok(())
}

/// Logs in, starts a server, says its process, and waits.
const DAEMON: &str = r#"
import json, socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
def ask(m):
    b = json.dumps(m).encode(); s.sendall(b"hub\x04" + struct.pack(">I", len(b)) + b)
    n = struct.unpack(">I", s.recv(8, socket.MSG_WAITALL)[4:])[0]
    return json.loads(s.recv(n, socket.MSG_WAITALL))
ask({"authenticate": {"user": sys.argv[2], "source": None}})
ask({"answer": {"text": sys.argv[3]}})
r = ask({"start": {"user": sys.argv[2], "ticket": None, "server": "", "profile": None, "listen": "unix", "arguments": [], "environment": {}, "note": ""}})
print(r["started"]["pid"] if "started" in r else r, flush=True)
sys.stdin.read()
print(ask("stop"), flush=True)
"#;

#[test]
fn the_process_that_answers_is_the_daemons_and_has_no_privilege() -> Result<()> {
    let (daemon, user) = (TestUser::make("answers", &["--system"])?, TestUser::make("asked", &[])?);
    let helper = HelperProcess::start(&format!("daemon_user = \"{}\"\n{POLICY}", daemon.name))?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &daemon.name, "--regid", &daemon.name, "--clear-groups", "--no-new-privs"]);
    command.args(["/usr/bin/python3", "-c", DAEMON]).arg(helper.socket()).args([&user.name, PASSWORD]);
    let mut driver = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(driver.stdout.take().context("its output")?).lines();
    let pid: i32 = said.next().context("a line")??.parse()?;
    let (above, answering) = (parent_of(pid)?, answering(pid)?);
    let status = fs::read_to_string(format!("/proc/{answering}/status"))?;
    let uid = daemon.uid()?;
    for (key, value) in [
        ("Uid", format!("{uid} {uid} {uid} {uid}")),
        ("CapInh", "0000000000000000".into()),
        ("CapPrm", "0000000000000000".into()),
        ("CapEff", "0000000000000000".into()),
        ("CapAmb", "0000000000000000".into()),
        ("NoNewPrivs", "1".into()),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let words: Vec<&str> = line.context(key)?.split_whitespace().collect();
        ensure!(words.join(" ") == value, "{key} of the process that answers:\n{status}");
    }
    let of = |path: &str, pid: i32| fs::read(format!("/proc/{pid}/{path}"));
    ensure!(of("environ", answering)?.is_empty(), "it has variables");
    // The kernel gives the files of a process that nobody may look into to root.
    ensure!(fs::metadata(format!("/proc/{answering}/mem"))?.uid() == 0, "its own user may look into it");
    ensure!(of("cgroup", answering)? == of("cgroup", above)?, "it is where the user's limits count");
    let open: Vec<String> = fs::read_dir(format!("/proc/{answering}/fd"))?
        .flatten()
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .filter(|target| target.contains("/state") || target.contains(".toml") || target.contains("/home"))
        .collect();
    ensure!(open.is_empty(), "it holds {open:?}");
    drop(driver.stdin.take());
    ensure!(said.next().context("a line")??.contains("done"));
    driver.wait()?;
    nothing_is_left(&helper, &user)
}

#[test]
fn the_end_of_the_process_that_answers_is_the_end_of_the_session() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", FAMILY)?;
    let user = TestUser::make("unanswered", &[])?;
    let (mut connection, ticket) = helper.login(&user)?;
    let status = connection.start(start_of(&user.name, None)?)?;
    let above = parent_of(status.pid)?;
    wait_for("the family", || user.processes().is_ok_and(|count| count >= 3))?;
    let killed_at = Instant::now();
    kill(Pid::from_raw(answering(status.pid)?), Signal::SIGKILL)?;
    ensure!(connection.receive().is_err(), "somebody still answers");
    nothing_is_left(&helper, &user)?;
    wait_for("the end of the process above", || parent_of(above).is_err())?;
    // Five of them for a process that does not listen to SIGTERM; the others for machines that have much to do.
    ensure!(killed_at.elapsed() < Duration::from_secs(20), "{:?}", killed_at.elapsed());
    ensure!(helper.audit().contains("exit ended"), "{}", helper.audit());
    helper.connect()?.start(start_of(&user.name, Some(&ticket.ticket))?)?;
    Ok(())
}

#[test]
fn a_server_whose_answering_process_has_ended_before_it_began_is_ended() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", FAMILY)?;
    let (begun, go) = (helper.dir.path().join("begun"), helper.dir.path().join("go"));
    let wait =
        format!("echo $PPID >{0}; while ! [ -e {1} ]; do sleep 0.05; done", begun.display(), go.display());
    let script =
        helper.script("wait", &format!("#!/bin/sh\n[ $PAM_TYPE = open_session ] || exit 0\n{wait}\n"))?;
    helper.add_to_pam_service(&format!("session required pam_exec.so {}", script.display()))?;
    let user = TestUser::make("early", &[])?;
    let mut connection = helper.login(&user)?.0;
    connection.send(&Request::Start(Box::new(start_of(&user.name, None)?)))?;
    let above = || fs::read_to_string(&begun).ok()?.trim().parse().ok();
    wait_for("the session's opening", || above().is_some())?;
    // pam_exec runs the script right below the process that will be above the server.
    kill(Pid::from_raw(answering_below(above().context("a process")?)?), Signal::SIGKILL)?;
    fs::write(&go, "")?;
    ensure!(connection.receive().is_err(), "somebody answers");
    nothing_is_left(&helper, &user)
}

#[test]
fn root_ends_a_session_whose_answering_process_is_frozen() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", FAMILY)?;
    let user = TestUser::make("frozen", &[])?;
    let mut connection = helper.login(&user)?.0;
    let status = connection.start(start_of(&user.name, None)?)?;
    let (above, answering) = (parent_of(status.pid)?, answering(status.pid)?);
    kill(Pid::from_raw(answering), Signal::SIGSTOP)?;
    kill(Pid::from_raw(above), Signal::SIGTERM)?;
    nothing_is_left(&helper, &user)?;
    wait_for("the end of both processes", || parent_of(above).is_err() && parent_of(answering).is_err())
}

#[test]
fn a_log_that_is_too_long_becomes_the_older_one_and_both_are_roots() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", "#!/bin/sh\nfor i in $(seq 300); do echo line $i; done\nexec sleep 1000\n")?;
    let user = TestUser::make("prints", &[])?;
    let mut connection = helper.login(&user)?.0;
    let status = connection.start(start_of(&user.name, None)?)?;
    wait_for(
        "the last line",
        || matches!(connection.ask(&Request::Log), Ok(Reply::Log(lines)) if lines.iter().any(|line| line == "line 300")),
    )?;
    connection.stop()?;
    let mut text = String::new();
    for name in ["log.1", "log"] {
        let path = helper.dir.path().join(format!("log/u{}.{name}", status.uid));
        let found = fs::metadata(&path).with_context(|| path.display().to_string())?;
        ensure!(found.uid() == 0 && found.mode() & 0o777 == 0o600, "{name}: {:o}", found.mode());
        text += &fs::read_to_string(&path)?;
    }
    ensure!(text.ends_with("line 300\n") || text.contains("line 300\n"), "{text}");
    Ok(())
}
