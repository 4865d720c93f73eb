//! The daemon in a directory of its own, as an ordinary user.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use hubd_tests::{Process, Web, programs, run, until};

/// How long the daemon may take to answer, on a machine that is busy with a build.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The account that it runs as, if the tests run as root: it owns nothing.
const ACCOUNT: &str = "nobody";
/// People log in without a password, and nothing of the machine is used.
const TRIAL: &str =
    "authenticator_class = \"dummy\"\nspawner_class = \"simple\"\nhelper_socket = \"run/helper.sock\"\n";

/// A directory, and what runs in it. Both go when it is dropped.
pub struct Daemon {
    process: Option<Process>,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// A directory without anything.
    pub fn nothing() -> Self {
        let directory = tempfile::Builder::new().prefix("hubt-config").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = Self { process: None, directory };
        daemon.give(".");
        daemon
    }

    /// A directory with a configuration: `hub` are lines of `[JupyterHub]`, and tables after them.
    pub fn configured(hub: &str) -> Self {
        let daemon = Self::nothing();
        daemon.configure(hub);
        daemon
    }

    /// The same, running, with these arguments; `web` is where it shall answer.
    pub fn running(hub: &str, web: &Web) -> Self {
        let mut daemon = Self::configured(hub);
        daemon.start(&[], &[], || health(web));
        daemon
    }

    /// Writes the configuration.
    pub fn configure(&self, hub: &str) {
        self.write("hubd.toml", &format!("[JupyterHub]\n{TRIAL}{hub}\n"), 0o600);
    }

    /// Starts it, and waits until `answers`.
    pub fn start(&mut self, arguments: &[&str], environment: &[(&str, &str)], answers: impl Fn() -> bool) {
        let all = [&["-f", "hubd.toml"], arguments].concat();
        let mut command = self.command(&all);
        command.envs(environment.iter().copied());
        let mut process = Process::start("hubd", &mut command, &self.path("hubd.log"));
        until("an answer of hubd", START_LIMIT, || {
            assert!(process.ended().is_none(), "hubd ended; it said:\n{}", process.log());
            answers().then_some(())
        });
        self.process = Some(process);
    }

    /// Ends it by SIGTERM.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// What runs.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// Runs `hubd ARGUMENTS` to its end.
    pub fn hubd(&self, arguments: &[&str]) -> (bool, String, String) {
        said(&self.command(arguments).output().unwrap())
    }

    /// The command that runs `hubd ARGUMENTS` as the ordinary user, in the directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(program(), arguments)
    }

    /// The command that runs a program as the ordinary user, in the directory.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", ACCOUNT, "--regid", "nogroup", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).current_dir(self.directory.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
        command
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of the account's.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        self.give(name);
    }

    /// Makes a directory of the account's.
    pub fn directory(&self, name: &str) {
        std::fs::create_dir(self.path(name)).unwrap();
        self.give(name);
    }

    /// Writes a new certificate for `localhost` and its key.
    pub fn certificate(&self, certificate: &str, key: &str) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        // The key first: a daemon that looks between the two finds a pair that does not fit, and waits.
        self.write(key, &made.signing_key.serialize_pem(), 0o600);
        self.write(certificate, &made.cert.pem(), 0o644);
    }

    fn give(&self, name: &str) {
        if nix::unistd::geteuid().is_root() {
            run("chown", &[&format!("{ACCOUNT}:nogroup"), &self.path(name).to_string_lossy()]);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let (Some(process), true) = (&self.process, std::thread::panicking()) {
            eprintln!("--- hubd\n{}", process.log());
        }
    }
}

/// The program under test, where every account may run it.
pub fn program() -> &'static Path {
    static COPY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("hubt-config-bin").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("hubd");
        // A program of its own copies: a file that this process had open for writing could not be run.
        run("cp", &[&programs().hubd.to_string_lossy(), &path.to_string_lossy()]);
        (folder, path)
    });
    path
}

/// Whether it succeeded, and what it printed to standard output and standard error.
pub fn said(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// A browser for a port of 127.0.0.1.
pub fn local(port: u16) -> Web {
    Web::plain(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Whether the hub answers there.
pub fn health(web: &Web) -> bool {
    web.try_request("GET", "/hub/health", &[], b"").is_ok_and(|answer| answer.status == 200)
}

/// Sends a request over a Unix socket; the whole answer as text.
pub fn over_socket(path: &Path, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
