//! A stolen daemon: a program that runs as the daemon's own account and tries, line by line, what SECURITY.md says
//! that it must never be able to do. Each attempt must be refused, and recorded where the helper could see it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use hubd_tests::helper_process::{HelperProcess, PASSWORD, TestUser};

const POLICY: &str = "sessions_per_user = 1\nstarts_per_user_per_minute = 3\nfailures_per_user_per_minute = 2\n\
    [profile.default]\nprogram = [\"{dir}/bin/server\"]\n";

/// The attacker. `eve` is an account whose password they know, `victim` one that they want.
const ATTACKER: &str = r#"
import json, os, socket, struct, sys, ctypes
run, eve, victim, locked, password, here = sys.argv[1:7]
def connect(name): s = socket.socket(socket.AF_UNIX); s.settimeout(40); s.connect(run + "/" + name); return s
def send(s, body, head=None):
    b = body if isinstance(body, bytes) else json.dumps(body).encode()
    try: s.sendall((head or b"hub\x04" + struct.pack(">I", len(b))) + b)
    except OSError: pass
def get(s):
    try:
        n = struct.unpack(">I", s.recv(8, socket.MSG_WAITALL)[4:])[0]
        return json.loads(s.recv(n, socket.MSG_WAITALL))
    except (OSError, struct.error, ValueError): return None
def said(r):
    if r is None: return "closed"
    k = r if isinstance(r, str) else next(iter(r))
    return r["refused"]["code"] if k == "refused" else k
def ask(body, name="helper.sock", head=None): s = connect(name); send(s, body, head); return said(get(s))
def start(user, ticket=None, **more):
    d = dict(user=user, ticket=ticket, server="", profile=None, listen="unix", arguments=[], environment={}, note="")
    d.update(more); return {"start": d}
def login(user, secret):
    s = connect("helper.sock"); send(s, {"authenticate": {"user": user, "source": "192.0.2.7"}})
    r = get(s)
    while r and "prompt" in r: send(s, {"answer": {"text": secret}}); r = get(s)
    return s, r
def tell(label, result): print(label, result, flush=True)
def denied(action):
    try: action(); return "DONE"
    except OSError as e: return "denied"
# T1: root, the daemon itself, system accounts
for name in ["root", "daemon", "nobody"]:
    tell("T1-" + name, ask(start(name))); tell("T1-ticket-" + name, ask(start(name, "a" * 64)))
tell("T1-setuid", denied(lambda: os.setuid(0)))
# T2: somebody who has not logged in; with another's ticket; on another's login
tell("T2-absent", ask(start(victim)))
held, r = login(eve, password); ticket = r["authenticated"]["ticket"]; tell("T2-own-login", said(r))
tell("T2-others-ticket", ask(start(victim, ticket)))
send(held, start(victim)); tell("T2-others-login", said(get(held)))
# T3: program, directory, groups, limits, label; variables
for field in ["program", "cwd", "umask", "uid", "groups", "limits", "cgroup", "context"]:
    tell("T3-" + field, ask(start(eve, ticket, **{field: "/bin/sh"})))
tell("T3-argument", ask(start(eve, ticket, arguments=["--config=/tmp/x"])))
tell("T3-profile", ask(start(eve, ticket, profile="other")))
for name in ["LD_PRELOAD", "PYTHONPATH", "PATH", "HOME", "BASH_ENV"]:
    tell("T3-" + name, ask(start(eve, ticket, environment={name: "/tmp/x"})))
# T4: files, through the helper and past it
for name in ["../../etc/shadow", "/etc/shadow", "a/b"]: tell("T4-name", ask(start(name, ticket)))
tell("T4-server", ask(start(eve, ticket, server="../../x")))
for path in ["/etc/shadow", here + "/helper.toml", here + "/state", here + "/state/tickets"]:
    tell("T4-file", denied(lambda: os.listdir(path) if "state" in path else open(path)))
# T5: other processes
run_one = connect("helper.sock"); send(run_one, start(eve, ticket)); status = get(run_one)
tell("T5-own", said(status))
pid = status["started"]["pid"]; parent = int(open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()[1])
# The process that answers runs as the daemon, which may end it, as it may end the session.
answering = [int(p) for p in open(f"/proc/{parent}/task/{parent}/children").read().split() if int(p) != pid]
tell("T5-answering", len(answering))
for who in [pid, parent, 1] + answering:
    if who not in answering: tell("T5-signal", denied(lambda: os.kill(who, 9)))
    tell("T5-descriptors", denied(lambda: os.listdir(f"/proc/{who}/fd")))
    tell("T5-look", denied(lambda: open(f"/proc/{who}/environ", "rb").read()))
    tell("T5-memory", denied(lambda: open(f"/proc/{who}/mem", "rb").read(1)))
    tell("T5-trace", "denied" if ctypes.CDLL(None).ptrace(16, who, 0, 0) == -1 else "DONE")
control = "sessions/" + status["started"]["session"] + ".sock"
for body in [start(eve, ticket), {"answer": {"text": "x"}}, {"signal": 9}]: tell("T5-control", ask(body, control))
# T12: more sessions, more starts
tell("T12-sessions", ask(start(eve, ticket, server="two")))
tell("T12-same", ask(start(eve, ticket)))
for _ in range(4): tell("T12-rate", ask(start(eve, ticket, server="three")))
# T6: accounts
tell("T6-login-socket", ask({"create_account": {"user": "hubt-made-by-a-thief"}}))
tell("T6-off", ask({"create_account": {"user": "hubt-made-by-a-thief"}}, "accounts.sock"))
tell("T6-fields", ask({"create_account": {"user": "hubt-x", "uid": 0, "shell": "/bin/sh"}}, "accounts.sock"))
# T7: guessing
for name in [victim, locked, "hubt-nobody-at-all", "root", victim]: tell("T7-guess", said(login(name, "guess")[1]))
for _ in range(3): tell("T7-rate", said(login(victim, "guess")[1]))
# T8: what is too much
tell("T8-long", ask(b"x" * 10, head=b"hub\x04" + struct.pack(">I", 1 << 30)))
tell("T8-deep", ask(b"[" * 16000))
tell("T8-note", ask(start(eve, ticket, note="x" * 5000)))
crowd = [connect("helper.sock") for _ in range(100)]
for s in crowd: s.close()
tell("T8-after", ask({"check_account": {"user": eve, "ticket": ticket}}))
# T9: code, policy, PAM, units
for path in [here + "/helper.toml", here + "/bin/server", "/etc/pam.d/hubd", "/etc/systemd/system/x.service", "/usr/libexec/x"]:
    tell("T9-write", denied(lambda: open(path, "a")))
tell("T9-socket", denied(lambda: os.unlink(run + "/helper.sock")))
tell("T9-session", denied(lambda: os.unlink(run + "/" + control)))
# T10: a record of its own, or none
tell("T10-forge", ask({"check_account": {"user": "x\nhubd-helper: authenticate accepted user=root", "ticket": None}}))
tell("T10-erase", denied(lambda: os.truncate(here + "/audit", 0)))
# T11: a dead ticket
tell("T11-revoke", ask({"revoke": {"user": eve, "ticket": ticket, "which": "all"}}))
tell("T11-dead", ask(start(eve, ticket, server="four")))
send(run_one, "stop"); get(run_one); get(run_one)
"#;

#[test]
fn a_stolen_daemon_is_refused_in_every_line_of_the_contract() -> Result<()> {
    let (daemon, eve) = (TestUser::make("thief", &["--system"])?, TestUser::make("eve", &[])?);
    let (victim, locked) = (TestUser::make("victim", &[])?, TestUser::make("shut", &[])?);
    locked.modify(&["-L"])?;
    let mut helper = HelperProcess::start(&format!("daemon_user = \"{}\"\n{POLICY}", daemon.name))?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    drop(helper.accounts()?);
    let here = helper.dir.path();
    fs::set_permissions(here.join("helper.toml"), fs::Permissions::from_mode(0o600))?;
    let attacker = here.join("attacker.py");
    fs::write(&attacker, ATTACKER)?;
    let output = Command::new("setpriv")
        .args(["--reuid", &daemon.name, "--regid", &daemon.name, "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps=-all", "--bounding-set=-all", "/usr/bin/python3"])
        .arg(&attacker)
        .arg(here.join("run"))
        .args([&eve.name, &victim.name, &locked.name, PASSWORD])
        .arg(here)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in said.lines() {
        let (label, result) = line.split_once(' ').context("a label")?;
        let expected: &[&str] = match label {
            "T5-own" => &["started"],
            "T2-own-login" => &["authenticated"],
            "T5-answering" => &["1"],
            "T8-after" => &["account"],
            "T11-revoke" => &["done"],
            "T2-absent" => &["ticket-missing"],
            label if label.starts_with("T1-ticket") => &["ticket-invalid"],
            "T1-root" | "T1-daemon" | "T1-nobody" => &["ticket-missing"],
            "T2-others-ticket" | "T2-others-login" | "T11-dead" => &["ticket-invalid"],
            "T3-argument" => &["argument-refused"],
            "T3-profile" => &["profile-unknown"],
            "T3-LD_PRELOAD" | "T3-PYTHONPATH" | "T3-PATH" | "T3-HOME" | "T3-BASH_ENV" => {
                &["environment-refused"]
            }
            "T5-control" => &["closed", "protocol"],
            "T6-off" => &["not-available"],
            "T7-guess" => &["login-refused"],
            "T7-rate" | "T12-rate" => &["rate-limited"],
            "T12-sessions" => &["too-many-sessions"],
            "T12-same" => &["already-running"],
            label if label.starts_with("T3-") || label.starts_with("T6-") || label.starts_with("T8-") => {
                &["protocol"]
            }
            "T4-name" | "T4-server" | "T10-forge" => &["protocol"],
            _ => &["denied"],
        };
        ensure!(expected.contains(&result), "{line}: expected {expected:?}\n{said}");
        *seen.entry(label.split('-').next().unwrap_or_default()).or_default() += 1;
    }
    ensure!(seen.len() == 12, "not every line was tried: {seen:?}");
    let audit = helper.audit();
    every_attempt_is_recorded(&said, &audit)?;
    ensure!(!audit.contains("authenticate accepted user=root"), "a record was forged: {audit}");
    ensure!(!audit.contains(PASSWORD), "a password is in the records");
    ensure!(nix::unistd::User::from_name("hubt-made-by-a-thief")?.is_none());
    Ok(())
}

/// Holds each line of the attacker's against the next record. What the kernel denied, the helper has not seen; records
/// of control sockets come from another process, so their place among the others is not certain.
fn every_attempt_is_recorded(said: &str, audit: &str) -> Result<()> {
    let of_control = "hubd-helper: control violation user=hubt-eve-";
    // The test itself is root, and looks whether the helper listens.
    let (control, mut records): (Vec<&str>, Vec<&str>) = audit
        .lines()
        .filter(|record| !record.contains("connect refused reason=the peer is uid 0,"))
        .partition(|record| record.starts_with(of_control));
    ensure!(control.len() == said.lines().filter(|line| line.starts_with("T5-control ")).count(), "{audit}");
    records.reverse();
    for line in said.lines() {
        let (label, result) = line.split_once(' ').context("a label")?;
        let login = label.starts_with("T7-");
        let (begin, code) = match result {
            "denied" | "closed" | "1" => continue,
            "protocol" => ("protocol violation reason=", ""),
            "started" => ("start accepted user=hubt-eve-", ""),
            "authenticated" => ("authenticate accepted user=hubt-eve-", ""),
            "account" => ("check_account accepted user=hubt-eve-", ""),
            "done" => ("revoke accepted user=hubt-eve-", ""),
            "login-refused" => ("authenticate refused user=", ""),
            "not-available" => ("create_account refused user=hubt-made-by-a-thief", result),
            code if login => ("authenticate refused user=hubt-victim-", code),
            code => ("start refused user=", code),
        };
        let record = records.pop().with_context(|| format!("{line} has no record:\n{audit}"))?;
        let begins = record.strip_prefix("hubd-helper: ").is_some_and(|record| record.starts_with(begin));
        let source = !login || record.contains(" source=192.0.2.7 ");
        let gives_reason = record.contains(&format!("reason={code}")) || record.contains(" accepted ");
        ensure!(begins && source && gives_reason, "{line} is not what was recorded: {record}\n{audit}");
    }
    let last = records.pop().context("the end of the session")?;
    ensure!(last.contains("exit ended") && records.is_empty(), "nobody did: {last} {records:?}");
    Ok(())
}
