//! A private installation: root helper, daemon as the user `hubd`, own directories, own PAM service.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hubd_proto::{Reply, Request, frame};
use nix::sys::signal::Signal;

use crate::{Process, Web, free_port, programs, repository, require_root, run, try_run, until};

/// The account of the daemon.
const DAEMON_USER: &str = "hubd";
/// How long the daemon may take until it answers, on a machine that is busy with a build.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a session may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The PAM service when the repository has none yet: local accounts, without the delay after a wrong password.
const PAM_SERVICE: &str = "auth required pam_unix.so nodelay\naccount required pam_unix.so\nsession required pam_limits.so\nsession required pam_unix.so\n";

/// What is different about an installation.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Lines for the table `[JupyterHub]` of hubd.toml; `{port}` in them is the public port.
    pub hub: String,
    /// Further tables of hubd.toml.
    pub tables: String,
    /// Lines for the top of helper.toml.
    pub policy: String,
    /// Tables of helper.toml, for instance `[profile.default]`.
    pub profiles: String,
    /// Whether the public port speaks plain HTTP.
    pub plain: bool,
    /// Whether the helper runs without root, as the daemon's own user: no PAM, no change of uid.
    pub trial: bool,
}

/// Helper and daemon, running. Everything goes when the value is dropped.
pub struct Installation {
    base: PathBuf,
    run_base: PathBuf,
    pam_service: PathBuf,
    plain: bool,
    trial: bool,
    /// The public port.
    pub port: u16,
    /// The inner port.
    pub inner_port: u16,
    helper: Option<Process>,
    hubd: Option<Process>,
}

impl Installation {
    /// Makes the directories and files, and starts the helper; [`Installation::start_hub`] does the rest.
    pub fn new(setup: &Setup) -> Self {
        require_root();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("hubd-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut installation = Self {
            base: Path::new("/var/lib").join(&mark),
            // Short: the sockets of kernels lie below, and a socket's path has at most 107 bytes.
            run_base: Path::new("/run").join(mark.replace("hubd-test", "hubt")),
            pam_service: Path::new("/etc/pam.d").join(&mark),
            plain: setup.plain,
            trial: setup.trial,
            port: free_port(),
            inner_port: free_port(),
            helper: None,
            hubd: None,
        };
        installation.make_directories();
        installation.write_files(setup, &mark);
        installation.start_helper();
        installation
    }

    /// As [`Installation::new`], with the daemon up and answering.
    pub fn running(setup: &Setup) -> Self {
        let mut installation = Self::new(setup);
        installation.start_hub();
        installation
    }

    /// A path in the installation's own directory, which belongs to root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// The daemon's configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.path("hubd.toml")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.path("srv/jupyterhub.sqlite")
    }

    /// The helper's policy file.
    pub fn policy(&self) -> PathBuf {
        self.path("helper.toml")
    }

    /// The directory of the helper's sockets.
    pub fn runtime(&self) -> PathBuf {
        self.run_base.clone()
    }

    /// The helper's socket.
    pub fn helper_socket(&self) -> PathBuf {
        self.runtime().join("helper.sock")
    }

    /// The hub's address for a browser, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", if self.plain { "http" } else { "https" }, self.port)
    }

    /// A browser without cookies.
    pub fn web(&self) -> Web {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        if self.plain { Web::plain(address) } else { Web::tls(address, &self.path("cert.pem")) }
    }

    /// The daemon.
    ///
    /// # Panics
    /// When it was not started.
    pub fn hubd(&mut self) -> &mut Process {
        self.hubd.as_mut().expect("the daemon was started")
    }

    /// The helper that listens.
    ///
    /// # Panics
    /// When it was not started.
    pub fn helper(&mut self) -> &mut Process {
        self.helper.as_mut().expect("the helper was started")
    }

    /// The command that runs the daemon as a service manager does: as its own user, without a
    /// capability and without a way to get one.
    pub fn hubd_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.as_daemon(&self.path("bin/hubd"));
        command.args(arguments);
        command
    }

    /// The command that runs `program` as the daemon's user, without a capability.
    pub fn as_daemon(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", DAEMON_USER, "--regid", DAEMON_USER, "--clear-groups", "--no-new-privs"])
            .args(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"])
            .arg(program)
            .current_dir(self.path("srv"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8");
        command
    }

    /// Starts the daemon and waits until it answers; returns how long that took.
    ///
    /// # Panics
    /// When it ends before, with its log.
    pub fn start_hub(&mut self) -> Duration {
        let configuration = self.configuration().to_string_lossy().into_owned();
        let mut command = self.hubd_command(&["-f", &configuration]);
        let begin = Instant::now();
        let mut process = Process::start("hubd", &mut command, &self.path("log/hubd.log"));
        let web = self.web();
        until("an answer of hubd on /hub/health", START_LIMIT, || {
            assert!(process.ended().is_none(), "hubd ended; it said:\n{}", process.log());
            web.try_request("GET", "/hub/health", &[], b"").ok().filter(|answer| answer.status == 200)
        });
        self.hubd = Some(process);
        begin.elapsed()
    }

    /// Ends the daemon at once, as a crash does.
    pub fn kill_hub(&mut self) {
        let mut process = self.hubd.take().expect("the daemon was started");
        process.signal(Signal::SIGKILL);
        process.wait(STOP_LIMIT);
    }

    /// Asks the daemon to end and waits for it.
    pub fn stop_hub(&mut self) -> std::process::ExitStatus {
        let mut process = self.hubd.take().expect("the daemon was started");
        process.signal(Signal::SIGTERM);
        process.wait(STOP_LIMIT)
    }

    /// The control sockets of all sessions.
    pub fn sessions(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.runtime().join("sessions")).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "sock"));
        paths.sort();
        paths
    }

    /// Stops every session over its control socket, without the daemon.
    pub fn stop_sessions(&self) {
        for path in self.sessions() {
            if let Ok(mut stream) = connect_as_daemon(&path) {
                let _ = stream.set_read_timeout(Some(STOP_LIMIT));
                let _ = frame::write(&mut stream, &Request::Stop);
                while let Ok(body) = frame::read_body(&mut stream) {
                    if matches!(frame::decode::<Reply>(&body), Ok(Reply::Exited(_))) {
                        break;
                    }
                }
            }
        }
    }

    /// What helper, daemon and servers wrote, for the report of a failed test.
    pub fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        let mut logs =
            format!("--- hubd.log\n{}\n--- helper.log\n{}", read("log/hubd.log"), read("log/helper.log"));
        for entry in fs::read_dir(self.path("log/servers")).into_iter().flatten().flatten() {
            let name = entry.path();
            logs += &format!("\n--- {}\n{}", name.display(), fs::read_to_string(&name).unwrap_or_default());
        }
        logs
    }

    fn make_directories(&self) {
        if try_run("getent", &["passwd", DAEMON_USER]).is_err() {
            run(
                "useradd",
                &["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", DAEMON_USER],
            );
        }
        for name in ["bin", "srv", "log", "state"] {
            fs::create_dir_all(self.path(name)).unwrap();
        }
        fs::create_dir_all(self.runtime()).unwrap();
        for (path, mode) in [(self.base.clone(), 0o755), (self.runtime(), 0o711), (self.path("state"), 0o700)]
        {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        // The daemon's user may not be able to enter the folder of the sources.
        for (name, program) in programs().all() {
            fs::copy(program, self.path("bin").join(name)).unwrap();
        }
        give_to_daemon(&self.path("srv"), 0o700);
        if self.trial {
            give_to_daemon(&self.runtime(), 0o711);
        }
    }

    fn write_files(&self, setup: &Setup, pam_service: &str) {
        let packaged = repository().join("packaging/pam.d/hubd");
        let pam = fs::read_to_string(packaged).unwrap_or_else(|_| PAM_SERVICE.to_owned());
        fs::write(&self.pam_service, pam).unwrap();
        let policy = format!(
            "daemon_user = \"{DAEMON_USER}\"\npam_service = \"{pam_service}\"\nruntime_dir = \"{}\"\nstate_dir = \"{}\"\nlog_dir = \"{}\"\n{}\n{}\n",
            self.runtime().display(),
            self.path("state").display(),
            self.path("log/servers").display(),
            setup.policy,
            setup.profiles
        );
        // Without root the helper works beside its socket.
        let policy = if setup.trial { setup.profiles.clone() } else { policy };
        fs::write(self.policy(), policy).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let tls = if setup.plain {
            String::new()
        } else {
            format!(
                "ssl_cert = \"{}\"\nssl_key = \"{}\"\n",
                self.path("cert.pem").display(),
                self.path("key.pem").display()
            )
        };
        let classes = "authenticator_class = \"dummy\"\nspawner_class = \"simple\"\n";
        let classes = if setup.trial { classes } else { "" };
        let configuration = format!(
            "[JupyterHub]\n{classes}bind_url = \"{}\"\nhub_port = {}\nhelper_socket = \"{}\"\n{tls}{}\n{}\n",
            format_args!("{}://127.0.0.1:{}/", if setup.plain { "http" } else { "https" }, self.port),
            self.inner_port,
            self.helper_socket().display(),
            setup.hub.replace("{port}", &self.port.to_string()),
            setup.tables
        );
        fs::write(self.configuration(), configuration).unwrap();
        for (name, mode) in [("hubd.toml", 0o400), ("key.pem", 0o400), ("cert.pem", 0o444)] {
            give_to_daemon(&self.path(name), mode);
        }
    }

    fn start_helper(&mut self) {
        let program = self.path("bin/hubd-helper");
        let mut command = if self.trial { self.as_daemon(&program) } else { Command::new(program) };
        command.arg("--listen").arg(self.helper_socket()).arg("--policy").arg(self.policy()).current_dir("/");
        let mut process = Process::start("hubd-helper", &mut command, &self.path("log/helper.log"));
        until("the helper's socket", START_LIMIT, || {
            assert!(process.ended().is_none(), "hubd-helper ended; it said:\n{}", process.log());
            self.helper_socket().exists().then_some(())
        });
        self.helper = Some(process);
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        drop(self.hubd.take());
        self.stop_sessions();
        drop(self.helper.take());
        for directory in [&self.base, &self.run_base] {
            if let Err(error) = fs::remove_dir_all(directory) {
                eprintln!("{} cannot be removed: {error}", directory.display());
            }
        }
        let _ = fs::remove_file(&self.pam_service);
    }
}

/// Connects as the daemon's account: the sessions talk to nobody else, not even root.
///
/// The effective ids are those of the whole process, so no other thread may work meanwhile.
fn connect_as_daemon(path: &Path) -> std::io::Result<UnixStream> {
    let daemon = nix::unistd::User::from_name(DAEMON_USER)?.expect("the account was made");
    nix::unistd::setegid(daemon.gid)?;
    nix::unistd::seteuid(daemon.uid)?;
    let stream = UnixStream::connect(path);
    nix::unistd::seteuid(0.into())?;
    nix::unistd::setegid(0.into())?;
    stream
}

/// Hands a file or directory to the daemon's account.
fn give_to_daemon(path: &Path, mode: u32) {
    run("chown", &[&format!("{DAEMON_USER}:{DAEMON_USER}"), &path.to_string_lossy()]);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
