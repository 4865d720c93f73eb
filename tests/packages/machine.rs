//! A Debian of its own with systemd as process 1, in systemd-nspawn, with a network of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use hubd_tests::{Process, run, until};
use nix::sched::{CloneFlags, setns};

/// What the machine has beside a minimal Debian: what any server has, and Python for the notebook.
const INSTALLED: &str = "systemd,systemd-sysv,dbus,libpam-systemd,passwd,procps,python3,ca-certificates,iproute2,adduser,logrotate";
/// Where the installed system is kept between runs; each machine writes into memory above it.
const BASE: &str = "/var/tmp/hubd-tests-debian";
/// How long the machine may take to start; it takes about one second.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// A running machine; it is switched off when dropped.
pub struct Machine {
    /// The process 1 of it, as seen from here.
    leader: i32,
    _nspawn: Process,
}

impl Machine {
    /// Boots one that sees the folder `packages` as `/packages`, and the notebook environment where it is here.
    ///
    /// # Panics
    /// When a tool is missing or the machine does not come up.
    pub fn boot(packages: &Path, notebook: &Path, log: &Path) -> Self {
        let base = base();
        let mut command = Command::new("systemd-nspawn");
        // Control groups of version 2, as Debian has them; without controllers, which tests/vm has.
        command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .args([
                "--boot",
                "--volatile=overlay",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--quiet",
            ])
            .arg(format!("--machine=hubd-tests-{}", std::process::id()))
            .arg("--directory")
            .arg(base)
            .arg(format!("--bind-ro={}", notebook.display()))
            .arg(format!("--bind-ro={}:/packages", packages.display()));
        let nspawn = Process::start("systemd-nspawn", &mut command, log);
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        let leader = until("the machine to be up", BOOT_LIMIT, || {
            // Its first child only prepares; the one after it is process 1.
            let leader =
                std::fs::read_to_string(&children).ok()?.split_whitespace().next_back()?.parse().ok()?;
            let state = inside(leader, &["systemctl", "is-system-running"]);
            (String::from_utf8_lossy(&state.stdout).trim() == "running").then_some(leader)
        });
        Self { leader, _nspawn: nspawn }
    }

    /// Runs a command as root of the machine.
    pub fn output(&self, command: &[&str]) -> Output {
        inside(self.leader, command)
    }

    /// The same, and gives what it printed on both streams.
    ///
    /// # Panics
    /// When it fails, with what it printed.
    pub fn run(&self, command: &[&str]) -> String {
        let output = self.output(command);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?} on the machine: {}\n{text}", output.status);
        text
    }

    /// Writes a file on the machine.
    pub fn write(&self, path: &str, text: &str) {
        self.run(&["sh", "-c", "printf %s \"$2\" >\"$1\"", "sh", path, text]);
    }

    /// Brings the calling thread, and what it starts, into the machine's network for good.
    pub fn enter_network(&self) {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.leader)).unwrap();
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.output(&["journalctl", "--no-pager", "--lines=60"]);
            eprintln!("the machine's journal:\n{}", String::from_utf8_lossy(&journal.stdout));
        }
        self.output(&["systemctl", "poweroff", "--no-block"]);
    }
}

/// Runs a command in all namespaces of the process `leader`.
fn inside(leader: i32, command: &[&str]) -> Output {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--all", "--target", &leader.to_string(), "--"]).args(command);
    nsenter.output().expect("nsenter can be run")
}

/// The system under every machine, installed if it is not there yet.
fn base() -> PathBuf {
    let (base, mark) = (PathBuf::from(BASE), PathBuf::from(format!("{BASE}.installed")));
    if std::fs::read_to_string(&mark).is_ok_and(|list| list == INSTALLED) {
        return base;
    }
    std::fs::remove_dir_all(&base).ok();
    let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let sources =
        sources.into_iter().find(|path| Path::new(path).exists()).expect("this machine is a Debian");
    let include = format!("--include={INSTALLED}");
    run("mmdebstrap", &["--quiet", "--mode=root", "--variant=minbase", &include, "bookworm", BASE, sources]);
    std::fs::write(mark, INSTALLED).unwrap();
    base
}
