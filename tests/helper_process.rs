//! A running hubd-helper, the daemon's side of its protocol, and throwaway accounts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::message::{Authenticated, SessionStatus};
use hubd_proto::{Reply, Request};
use nix::unistd::Uid;

mod connection;
mod user;

pub use connection::{Connection, shown, start_of};
pub use user::TestUser;

/// Longest wait for anything; real ones take milliseconds, a loaded machine takes seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The password of every throwaway account.
pub const PASSWORD: &str = "correct-Horse-9-battery";

/// Fails with a clear word unless run by root.
pub fn need_root() -> Result<()> {
    ensure!(Uid::effective().is_root(), "these tests make accounts and need root: run sudo tests/run");
    Ok(())
}

/// Builds the helper once and says where it is.
pub fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = PROGRAM.get() {
        return Ok(path);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
    let built =
        Command::new(env!("CARGO")).current_dir(root).args(["build", "-q", "-p", "hubd-helper"]).status()?;
    ensure!(built.success(), "cargo build -p hubd-helper failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(PROGRAM.get_or_init(|| target.join("debug/hubd-helper")))
}

/// Programs where a daemon that is not root can run its own, wherever the sources are; with the modes of a package.
fn copy_programs(dir: &Path) -> Result<()> {
    for (name, mode) in [("hubd-helper", 0o755), ("hubd-listen", 0o755), ("hubd-session", 0o711)] {
        let path = dir.join("bin").join(name);
        fs::copy(program()?.with_file_name(name), &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Hides what the machine has of these, so that the helper prints its records.
const HIDE_LOGS: &str = "\
    if [ -S /run/systemd/journal/socket ]; then mount -t tmpfs hubt /run/systemd/journal; fi\n\
    if [ -S /dev/log ]; then mount --bind /dev/null \"$(realpath /dev/log)\"; fi\n";

/// The command that runs `program` where there are no logs and `script` has run, in a mount namespace if need be. The
/// process stays the same.
fn without_logs(program: &Path, script: &str) -> Command {
    let logs = ["/run/systemd/journal/socket", "/dev/log"].iter().any(|place| Path::new(place).exists());
    if script.is_empty() && !logs {
        return Command::new(program);
    }
    let script = format!("{HIDE_LOGS}{script}\nexec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "slave", "sh", "-ec", &script, "sh"]).arg(program);
    command
}

/// Where records go then.
fn audit(dir: &Path) -> std::io::Result<fs::File> {
    fs::File::options().append(true).create(true).open(dir.join("audit"))
}

/// Waits until `condition` holds.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The parent of a process.
pub fn parent_of(pid: i32) -> Result<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("a name")?;
    Ok(rest.split(' ').nth(1).context("a parent")?.parse()?)
}

/// The process that answers for a running server, by the server's own.
pub fn answering(server: i32) -> Result<i32> {
    answering_below(parent_of(server)?)
}

/// The same, by the process above the server.
pub fn answering_below(above: i32) -> Result<i32> {
    let children = fs::read_to_string(format!("/proc/{above}/task/{above}/children"))?;
    for pid in children.split_whitespace() {
        if fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() == "hubd-session" {
            return Ok(pid.parse()?);
        }
    }
    bail!("nobody answers below {above}")
}

/// A helper that listens in a directory of its own. Dropping it ends the helper and removes everything.
pub struct HelperProcess {
    /// `run`, `state`, `bin`, `helper.toml`, `audit` are in here.
    pub dir: tempfile::TempDir,
    process: Child,
    accounts: Option<Child>,
    service: PathBuf,
}

impl HelperProcess {
    /// Starts it with `policy` after the lines that every test needs. The daemon is root here, so that
    /// tests can connect; `{dir}` in the policy is replaced. Root only.
    pub fn start(policy: &str) -> Result<Self> {
        Self::start_after(policy, "")
    }

    /// Starts it in a mount namespace of its own, where `script` of sh(1) has changed something; `{dir}` is replaced
    /// in it, too.
    pub fn start_after(policy: &str, script: &str) -> Result<Self> {
        need_root()?;
        let dir = tempfile::Builder::new().prefix("hubt-h-").tempdir_in("/run")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(dir.path().join("bin"))?;
        if policy.contains("daemon_user") {
            copy_programs(dir.path())?;
        }
        let name = dir.path().file_name().context("a name")?.to_string_lossy().to_lowercase();
        let service = Path::new("/etc/pam.d").join(&name);
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/pam.d/hubd"), &service)?;
        let mut text = format!(
            "pam_service = \"{name}\"\nstate_dir = \"{{dir}}/state\"\nlog_dir = \"{{dir}}/log\"\naccounts_dir = \"{{dir}}/accounts\"\n"
        );
        for (key, value) in [("daemon_user", "\"root\""), ("refusal_seconds", "1")] {
            if !policy.contains(key) {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text.push_str(policy);
        let text = text.replace("{dir}", &dir.path().to_string_lossy());
        fs::write(dir.path().join("helper.toml"), text)?;
        let process = Self::listen(dir.path(), &script.replace("{dir}", &dir.path().to_string_lossy()))?;
        let helper = Self { dir, process, accounts: None, service };
        wait_for("the helper's socket", || helper.socket().exists())?;
        Ok(helper)
    }

    fn listen(dir: &Path, script: &str) -> Result<Child> {
        let own = dir.join("bin/hubd-helper");
        let mut command = without_logs(if own.exists() { &own } else { program()? }, script);
        command.arg("--listen").arg(dir.join("run/helper.sock")).arg("--policy").arg(dir.join("helper.toml"));
        Ok(command.stdin(Stdio::null()).stderr(audit(dir)?).spawn()?)
    }

    /// Starts the second listener, which makes accounts, and connects to it.
    pub fn accounts(&mut self) -> Result<Connection> {
        let socket = self.dir.path().join("run/accounts.sock");
        if self.accounts.is_none() {
            let mut command = without_logs(program()?, "");
            command.args(["accounts", "--listen"]).arg(&socket);
            command.arg("--policy").arg(self.dir.path().join("helper.toml"));
            self.accounts = Some(command.stdin(Stdio::null()).stderr(audit(self.dir.path())?).spawn()?);
            wait_for("the accounts' socket", || UnixStream::connect(&socket).is_ok())?;
        }
        Connection::open(&socket)
    }

    /// A script in root's own directory, as a profile's program.
    pub fn script(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// A path as the helper sees it, in its mount namespace.
    pub fn seen(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.id()))
    }

    /// Removes the PAM service that the policy names.
    pub fn remove_pam_service(&self) -> Result<()> {
        Ok(fs::remove_file(&self.service)?)
    }

    /// Puts `to` in the place of `from` in the PAM service.
    pub fn change_pam_service(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(&self.service)?;
        ensure!(text.contains(from), "the PAM service has no {from}");
        Ok(fs::write(&self.service, text.replace(from, to))?)
    }

    /// Adds a line to the PAM service.
    pub fn add_to_pam_service(&self, line: &str) -> Result<()> {
        let mut file = fs::File::options().append(true).open(&self.service)?;
        Ok(writeln!(file, "{line}")?)
    }

    /// The listener's process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/helper.sock")
    }

    /// The control socket of a session.
    pub fn control(&self, status: &SessionStatus) -> PathBuf {
        self.dir.path().join(format!("run/sessions/{}.sock", status.session))
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&self.socket())
    }

    /// The audit records so far: helpers of tests find no journal and no syslog.
    pub fn audit(&self) -> String {
        fs::read_to_string(self.dir.path().join("audit")).unwrap_or_default()
    }

    /// Sends SIGTERM to the listener and waits until it is gone.
    pub fn stop_listening(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        self.process.wait()?;
        Ok(())
    }

    /// Logs in and gives the connection with its held login.
    pub fn login(&self, user: &TestUser) -> Result<(Connection, Authenticated)> {
        let mut connection = self.connect()?;
        match connection.authenticate(&user.name, None, &[PASSWORD])?.0 {
            Reply::Authenticated(authenticated) => Ok((connection, authenticated)),
            other => bail!("no login: {}", shown(&other)),
        }
    }
}

impl Drop for HelperProcess {
    fn drop(&mut self) {
        let sessions = fs::read_dir(self.dir.path().join("run/sessions"));
        for session in sessions.into_iter().flatten().flatten() {
            // A session that a test has ended already does not answer.
            if let Ok(mut connection) = Connection::open(&session.path()) {
                let _ = connection.send(&Request::Stop);
                while connection.receive().is_ok() {}
            }
        }
        let _ = self.stop_listening();
        if let Some(mut accounts) = self.accounts.take() {
            let _ = accounts.kill();
            let _ = accounts.wait();
        }
        let _ = fs::remove_file(&self.service);
    }
}
