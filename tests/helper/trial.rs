//! The helper as an ordinary user, for trials and tests without root, and policies that are refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use hubd_proto::Request;
use hubd_tests::helper_process::{Connection, TestUser, program, wait_for};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended by itself if this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_ordinary_user_serves_himself_alone() -> Result<()> {
    let user = TestUser::make("trial", &[])?;
    let (dir, uid) = (user.home.join("trial"), user.uid()?);
    fs::create_dir(&dir)?;
    chown(&dir, Some(uid), None)?;
    fs::set_permissions(&user.home, fs::Permissions::from_mode(0o755))?;
    let server = dir.join("server");
    fs::write(&server, "#!/bin/sh\nid -u; pwd; echo $USER $HOME\nexec sleep 1000\n")?;
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755))?;
    fs::write(dir.join("p.toml"), format!("[profile.default]\nprogram = [\"{}\"]\n", server.display()))?;
    let copy = dir.join("hubd-helper");
    fs::copy(program()?, &copy)?;
    for name in ["hubd-listen", "hubd-session"] {
        fs::copy(program()?.with_file_name(name), dir.join(name))?;
    }
    let socket = dir.join("run/helper.sock");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.name, "--regid", &user.name, "--init-groups"]).arg(&copy);
    command.arg("--listen").arg(&socket).arg("--policy").arg(dir.join("p.toml"));
    let out = fs::File::create(dir.join("out"))?;
    let _helper = Ended(command.stdin(Stdio::null()).stderr(out).spawn()?);
    wait_for("the socket", || socket.exists())?;
    // root is not the one it serves.
    let mut root = Connection::open(&socket)?;
    ensure!(root.ask(&Request::Status).is_err());
    let driver = dir.join("drive.py");
    fs::write(&driver, DRIVER)?;
    let output = Command::new("setpriv")
        .args(["--reuid", &user.name, "--regid", &user.name, "--init-groups", "/usr/bin/python3"])
        .arg(&driver)
        .arg(&socket)
        .output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for expected in
        ["not-available", "'account'", "'started'", &uid.to_string(), "homes/bob", "'stopped': True"]
    {
        ensure!(said.contains(expected), "{expected} is missing: {said}");
    }
    let home = fs::metadata(dir.join("run/homes/bob"))?;
    ensure!(home.uid() == uid && home.mode() & 0o777 == 0o700);
    ensure!(fs::read_to_string(dir.join("out"))?.contains("WARNING"));
    Ok(())
}

/// Logs in (refused), checks, starts, reads the log, stops.
const DRIVER: &str = r#"
import json, socket, struct, sys, time
class C:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX); self.s.connect(sys.argv[1]); self.s.settimeout(30)
    def ask(self, m):
        if m is not None:
            b = json.dumps(m).encode(); self.s.sendall(b"hub\x04" + struct.pack(">I", len(b)) + b)
        n = struct.unpack(">I", self.s.recv(8, socket.MSG_WAITALL)[4:])[0]
        r = json.loads(self.s.recv(n, socket.MSG_WAITALL)); print(r); return r
C().ask({"authenticate": {"user": "bob", "source": None}})
C().ask({"check_account": {"user": "bob", "ticket": None}})
c = C()
c.ask({"start": {"user": "bob", "ticket": None, "server": "", "profile": None, "listen": "unix", "arguments": [], "environment": {}, "note": ""}})
for _ in range(500):
    if len(c.ask("log")["log"]) == 3: break
    time.sleep(.01)
c.ask("stop"); c.ask(None)
"#;

#[test]
fn a_policy_that_others_may_write_is_refused_with_the_cure() -> Result<()> {
    hubd_tests::helper_process::need_root()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("helper.toml");
    let check = |text: &str, mode: u32, uid: u32| -> Result<String> {
        fs::write(&path, text)?;
        chown(&path, Some(uid), None)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let output = Command::new(program()?).arg("check").arg("--policy").arg(&path).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success() == said.ends_with("good\n"), "{said}");
        Ok(said)
    };
    ensure!(check("min_uid = 500\n", 0o644, 0)?.ends_with("good\n"));
    ensure!(check("", 0o666, 0)?.contains("chmod go-w"));
    ensure!(check("", 0o644, 12345)?.contains("chown root"));
    let said = check("min_uid = 500\nmin_uuid = 1\n", 0o644, 0)?;
    ensure!(said.contains("line 2") && said.contains("min_uuid"), "{said}");
    for (text, word) in [
        ("min_uid = 0", "min_uid"),
        ("state_dir = \"state\"", "absolute"),
        ("allow_environment = [\"LD_PRELOAD\"]", "LD_PRELOAD"),
        ("allow_environment = [\"PYTHONPATH\"]", "PYTHONPATH"),
        ("standing_groups = [\"sudo\"]", "sudo"),
        ("pam_service = \"../x\"", "pam_service"),
        ("pam_service = \"Hubd\"", "pam_service"),
        ("max_uid = 5", "max_uid"),
        ("ticket_days = 0", "ticket_days"),
        ("[profile.\"A B\"]\n", "profile"),
        ("[profile.x]\nprogram = [\"sh\"]", "absolute"),
        ("[service.x]\nuser = \"a\"\ncommand = [\"sh\"]", "absolute"),
        ("[service.x]\nuser = \"a\"\ncommand = []", "absolute"),
        ("[service.x]\nuser = \"a\"\ncommand = [\"/bin/sh\"]\ndirectory = \".\"", "absolute"),
        ("[service.\"a/b\"]\nuser = \"a\"\ncommand = [\"/bin/sh\"]", "service.a/b"),
        ("[service.x]\ncommand = [\"/bin/sh\"]", "user"),
    ] {
        let said = check(text, 0o644, 0)?;
        ensure!(!said.ends_with("good\n") && said.contains(word), "{text}: {said}");
    }
    Ok(())
}

#[test]
fn the_command_line_explains_itself() -> Result<()> {
    let run = |words: &[&str]| {
        Command::new(program()?).args(words).stdin(Stdio::null()).output().map_err(anyhow::Error::from)
    };
    ensure!(String::from_utf8(run(&["--help"])?.stdout)?.contains("--listen PATH"));
    ensure!(String::from_utf8(run(&["--version"])?.stdout)?.starts_with("hubd-helper "));
    let wrong = run(&["--frobnicate"])?;
    ensure!(wrong.status.code() == Some(2) && String::from_utf8(wrong.stderr)?.contains("--frobnicate"));
    let nothing = Command::new(program()?.with_file_name("hubd-listen")).stdin(Stdio::null()).output()?;
    let said = String::from_utf8(nothing.stderr)?;
    ensure!(nothing.status.code() == Some(1) && said.contains("--listen PATH is missing"), "{said}");
    Ok(())
}
