//! A hub for a trial: dummy logins, servers of one ordinary user, plain HTTP on a port of its own.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hubd_tests::{Person, PersonKind, Process, Web, free_port, notebook_program, programs, until};

/// How long helper and daemon may take to answer, on a machine that is busy with a build.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Helper and daemon, running; they and their servers end when it is dropped.
pub struct Trial {
    directory: tempfile::TempDir,
    port: u16,
    inner_port: u16,
    with_tls: bool,
    /// Authorities that hubd is to take for the system's.
    authorities: Option<PathBuf>,
    // Dropped in this order: the daemon, the helper, then the account with what still runs.
    hubd: Option<Process>,
    helper: Option<Process>,
    person: Option<Person>,
}

impl Trial {
    /// Starts both. `tables` are further tables of hubd.toml.
    pub fn start(tables: &str) -> Self {
        let mut trial = Self::prepared(tables);
        trial.run();
        trial
    }

    /// The same with a certificate, so that browsers may speak HTTP/2.
    pub fn start_tls(tables: &str) -> Self {
        let mut trial = Self::prepared(&format!("ssl_cert = \"cert.pem\"\nssl_key = \"key.pem\"\n{tables}"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        trial.write("cert.pem", &made.cert.pem(), 0o644);
        trial.write("key.pem", &made.signing_key.serialize_pem(), 0o600);
        trial.with_tls = true;
        trial.run();
        trial
    }

    /// Everything is there, nothing runs yet.
    pub fn prepared(tables: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = nix::unistd::geteuid().is_root();
        // As root an account is made for it: the trial mode is for ordinary users.
        let person = root.then(|| {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            Person::new(&format!("hubt-api-{number}"), PersonKind::Ordinary)
        });
        let directory = tempfile::Builder::new().prefix("hubt-api").tempdir().expect("a directory");
        let (port, inner_port, with_tls) = (free_port(), free_port(), false);
        let authorities = None;
        let trial =
            Self { directory, port, inner_port, with_tls, authorities, hubd: None, helper: None, person };
        trial.write_files(tables);
        trial
    }

    /// Starts helper and daemon.
    pub fn run(&mut self) {
        let socket = self.path("run/helper.sock");
        let helper = self.command("hubd-helper", &["--listen", "run/helper.sock", "--policy", "helper.toml"]);
        self.helper = Some(self.process("helper", helper));
        until("the helper's socket", START_LIMIT, || socket.exists().then_some(()));
        let mut hubd = self.command("hubd", &["-f", "hubd.toml"]);
        if let Some(authorities) = &self.authorities {
            hubd = among(authorities, &hubd);
        }
        self.hubd = Some(self.process("hubd", hubd));
        let web = self.web();
        until("an answer of hubd", START_LIMIT, || {
            web.try_request("GET", "/hub/health", &[], b"").ok().filter(|answer| answer.status == 200)
        });
    }

    /// Writes a file of the person's into the trial's directory.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        std::fs::write(self.path(name), text).expect("written");
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).expect("set");
        self.give(name);
    }

    /// Makes a directory of the person's.
    pub fn directory(&self, name: &str) {
        std::fs::create_dir(self.path(name)).expect("made");
        self.give(name);
    }

    /// Makes a directory of the person's with room for so many bytes. Only root can; says whether it was made.
    pub fn small_directory(&self, name: &str, bytes: usize) -> bool {
        if self.person.is_none() {
            println!("skipped: only root mounts a small file system");
            return false;
        }
        std::fs::create_dir(self.path(name)).expect("made");
        let (place, size) = (self.path(name), format!("size={bytes},mode=700"));
        hubd_tests::run("mount", &["-t", "tmpfs", "-o", &size, "hubt", &place.to_string_lossy()]);
        self.give(name);
        true
    }

    /// Has hubd believe certificates of the authorities in a PEM file, and no others. Only root can; says whether.
    pub fn trust_only(&mut self, name: &str) -> bool {
        if self.person.is_none() {
            println!("skipped: only root shows a program other files than there are");
            return false;
        }
        self.authorities = Some(self.path(name));
        true
    }

    /// Copies a file that only the person may read.
    pub fn copy(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).expect("copied");
        std::fs::set_permissions(self.path(to), std::fs::Permissions::from_mode(0o600)).expect("set");
        self.give(to);
    }

    fn give(&self, name: &str) {
        if let Some(person) = &self.person {
            hubd_tests::run("chown", &[&person.name, &self.path(name).to_string_lossy()]);
        }
    }

    /// A browser without cookies.
    pub fn web(&self) -> Web {
        if self.with_tls {
            return Web::tls(self.address(), &self.path("cert.pem"));
        }
        Web::plain(self.address())
    }

    /// Where browsers go.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A program of this machine, at the port where user servers reach the hub.
    pub fn inside(&self) -> Web {
        Web::plain(SocketAddr::from(([127, 0, 0, 1], self.inner_port)))
    }

    /// What both programs said.
    pub fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("--- hubd\n{}--- helper\n{}", read("hubd.log"), read("helper.log"))
    }

    /// A file in the trial's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_files(&self, tables: &str) {
        let write = |name: &str, text: String| std::fs::write(self.path(name), text).expect("written");
        let program = notebook_program();
        write("helper.toml", format!("[profile.default]\nprogram = [\"{}\"]\n", program.display()));
        let tables = if tables.contains("[Authenticator]") {
            tables.to_owned()
        } else {
            format!("{tables}[Authenticator]\nallow_all = true\n")
        };
        write(
            "hubd.toml",
            format!(
                "[JupyterHub]\nbind_url = \"http://127.0.0.1:{}/\"\nhub_port = {}\nhelper_socket = \"{}\"\n\
                 authenticator_class = \"dummy\"\nspawner_class = \"simple\"\n{tables}",
                self.port,
                self.inner_port,
                self.path("run/helper.sock").display()
            ),
        );
        // The account may not be able to enter the folder of the sources. A program of its own copies: a file that
        // this process had open for writing could not be run while another test forks ("text file busy").
        for (name, program) in programs().all() {
            hubd_tests::run("cp", &[&program.to_string_lossy(), &self.path(name).to_string_lossy()]);
        }
        std::fs::set_permissions(self.directory.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
        std::fs::set_permissions(self.path("hubd.toml"), std::fs::Permissions::from_mode(0o600))
            .expect("set");
        if let Some(person) = &self.person {
            hubd_tests::run("chown", &["-R", &person.name, &self.directory.path().to_string_lossy()]);
        }
    }

    /// The command that runs a program as the ordinary user, in the trial's directory.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        self.command_of(&self.path(program), arguments)
    }

    /// The same for any program.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = match &self.person {
            None => Command::new(program),
            Some(person) => {
                let mut command = Command::new("setpriv");
                // The account's own group: its number need not be that of the user.
                let name = person.name.as_str();
                command.args(["--reuid", name, "--regid", name, "--clear-groups", "--"]).arg(program);
                command
            }
        };
        let home = self.person.as_ref().map_or_else(|| Path::new("/tmp"), |person| &person.home);
        command.args(arguments).current_dir(self.directory.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("HOME", home);
        command
    }

    fn process(&self, name: &str, mut command: Command) -> Process {
        Process::start(name, &mut command, &self.path(&format!("{name}.log")))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        drop(self.hubd.take());
        drop(self.helper.take());
        drop(self.person.take());
        for entry in std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            // Fails for all that is no mount.
            let _ = hubd_tests::try_run("umount", &["--quiet", "--lazy", &entry.path().to_string_lossy()]);
        }
    }
}

/// The same command in a view of the file system in which the system's authorities are others.
fn among(authorities: &Path, command: &Command) -> Command {
    let mut inner = Command::new("unshare");
    let script = "mount --bind \"$1\" /etc/ssl/certs/ca-certificates.crt && shift && exec \"$@\"";
    inner.args(["--mount", "sh", "-c", script, "sh"]).arg(authorities);
    inner.arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        inner.current_dir(directory);
    }
    inner.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            inner.env(name, value);
        }
    }
    inner
}
