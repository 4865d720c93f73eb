//! Install, enable, log in, work, upgrade under the open notebook, downgrade, remove, purge.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hubd_tests::{Web, notebook_program, repository, test_python, until};

use crate::Packages;
use crate::machine::Machine;

/// How long nobody may get an answer while hubd becomes a new one, with `HUBD_TEST_BARS=1`.
const BACK: Duration = Duration::from_secs(1);
/// The same on a machine that is busy with other things.
const BACK_BUSY: Duration = Duration::from_secs(8);
/// From the package to the first cell, without what the network takes; and the commands that it takes at most, of
/// which two are typed here: the third would be for a notebook program.
const FIRST_CELL: Duration = Duration::from_secs(180);
/// How long hubd may take to answer after its first start.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A cell that tells one kernel from another.
const WHO: &str = "import os; print(6 * 7, os.getuid(), os.getpid())";

/// All of it, on one machine.
pub fn whole_story(packages: &Packages) {
    let notebook = notebook_program();
    let environment = notebook.parent().and_then(|bin| bin.parent()).unwrap();
    let log = repository().join("tests/out/machine.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let machine = Machine::boot(packages.folder.path(), environment, &log);
    let began = Instant::now();
    install(&machine, "+1");
    let policy = format!("[profile.default]\nprogram = [\"{}\"]\n", notebook.display());
    machine.write("/etc/jupyterhub/helper.toml", &policy);
    machine.run(&["useradd", "--create-home", "--shell", "/bin/bash", "alice"]);
    machine.run(&["sh", "-c", "echo 'alice:pass of alice' | chpasswd"]);

    machine.run(&["systemctl", "enable", "--now", "hubd"]);
    machine.enter_network();
    let certificate = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(certificate.path(), machine.run(&["cat", "/srv/jupyterhub/hubd-self-signed.crt"]))
        .unwrap();
    let web = Web::tls("127.0.0.1:8000".parse().unwrap(), certificate.path());
    until("the login page", START_LIMIT, || (web.get("/hub/login").status == 200).then_some(()));
    let mut notebook = Notebook::open("alice", "pass of alice");
    let who = notebook.run(WHO);
    assert!(who.starts_with("42 1000 "), "{who}");
    // What the network takes, for the notebook environment, is apart: it is on the machine already.
    let first_cell = began.elapsed();
    println!("from the package to the first cell: {} s, two commands", first_cell.as_secs());
    assert!(first_cell < FIRST_CELL, "{first_cell:?} from the package to the first cell");

    let gap = gap_during(&web, || install(&machine, "+2"));
    println!("upgrade: the longest wait for an answer was {} ms", gap.as_millis());
    let limit = if std::env::var_os("HUBD_TEST_BARS").is_some() { BACK } else { BACK_BUSY };
    assert!(gap < limit, "for {gap:?} nobody got an answer");
    assert_eq!(notebook.run(WHO), who, "the kernel is another one after the upgrade");
    assert_eq!(
        machine.run(&["cat", "/etc/jupyterhub/helper.toml"]),
        policy,
        "the upgrade changed the policy"
    );
    units_are_told_apart(&machine);
    servers_are_in_a_slice_of_their_own(&machine);
    machine.run(&["systemctl", "restart", "hubd-helper.socket"]);
    assert_eq!(notebook.run(WHO), who, "the kernel is another one after a restart of the helper's socket");
    install(&machine, "+1");
    assert_eq!(notebook.run(WHO), who, "the kernel is another one after the downgrade");

    log_files_are_rotated(&machine, &web);
    assert_eq!(notebook.run(WHO), who, "the kernel is another one after the log was rotated");
    a_hubd_that_hangs_is_started_again(&machine, &web);
    assert_eq!(notebook.run(WHO), who, "the kernel is another one after hubd was started again");
    an_admin_adds_somebody(&machine, &web, &policy);
    port_443(&machine, &certificate);

    machine.run(&["apt-get", "--yes", "remove", "hubd"]);
    until("the servers to end with the package", START_LIMIT, || {
        (!machine.output(&["pgrep", "--uid", "alice", "--full", "jupyterhub-singleuser"]).status.success())
            .then_some(())
    });
    assert!(machine.output(&["test", "-e", "/etc/jupyterhub/hubd.toml"]).status.success());
    let said = machine.run(&["apt-get", "--yes", "purge", "hubd"]);
    assert!(said.contains("left as it is: /srv/jupyterhub"), "{said}");
    machine.run(&["test", "!", "-e", "/etc/jupyterhub/hubd.toml"]);
    machine.run(&["test", "-d", "/home/alice"]);
    machine.run(&["test", "-s", "/srv/jupyterhub/jupyterhub.sqlite"]);
}

fn install(machine: &Machine, suffix: &str) {
    let command =
        "apt-get --yes --no-install-recommends --allow-downgrades install /packages/hubd_*\"$1\"_*.deb";
    machine.run(&["sh", "-c", command, "sh", suffix]);
    let failed = machine.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]);
    assert!(failed.trim().is_empty(), "{failed}");
    let reload = machine.run(&["systemctl", "show", "hubd", "--property=NeedDaemonReload"]);
    assert_eq!(reload.trim(), "NeedDaemonReload=no");
}

/// logrotate(8) puts the log away, and hubd goes on in a new file without a restart.
fn log_files_are_rotated(machine: &Machine, web: &Web) {
    let log = "/var/log/jupyterhub/hubd.log";
    machine.write("/etc/jupyterhub/conf.d/log.toml", &format!("[JupyterHub]\nlog_file = \"{log}\"\n"));
    machine.run(&["systemctl", "restart", "hubd"]);
    web.get("/hub/before-rotation");
    let process = || machine.run(&["systemctl", "show", "hubd", "--property=MainPID"]);
    let before = process();
    machine.run(&["logrotate", "--force", "/etc/logrotate.d/hubd"]);
    until("hubd to write the new file", START_LIMIT, || {
        web.get("/hub/after-rotation");
        machine.output(&["grep", "--quiet", "after-rotation", log]).status.success().then_some(())
    });
    machine.run(&["grep", "--quiet", "before-rotation", &format!("{log}.1")]);
    assert!(machine.run(&["stat", "--format=%U:%G %a", log]).starts_with("hubd:hubd 640"));
    assert_eq!(process(), before, "the rotation restarted hubd");
}

/// The watchdog ends a hubd that does nothing any more, and people's servers are there again.
fn a_hubd_that_hangs_is_started_again(machine: &Machine, web: &Web) {
    machine.run(&["mkdir", "--parents", "/run/systemd/system/hubd.service.d"]);
    machine.write("/run/systemd/system/hubd.service.d/watchdog.conf", "[Service]\nWatchdogSec=5s\n");
    typed(machine, "systemctl daemon-reload; systemctl restart hubd");
    let property = |name: &str| machine.run(&["systemctl", "show", "hubd", "--value", "--property", name]);
    let id = property("MainPID");
    assert!(property("StatusText").contains("1 servers running"), "{}", property("StatusText"));
    machine.run(&["kill", "-STOP", id.trim()]);
    until("the watchdog to start another hubd", START_LIMIT, || {
        let other = property("MainPID");
        (property("NRestarts").trim() != "0" && other != id && other.trim() != "0").then_some(())
    });
    until("an answer", START_LIMIT, || {
        web.try_request("GET", "/hub/health", &[], b"").is_ok_and(|answer| answer.status == 200).then_some(())
    });
    let journal = machine.run(&["journalctl", "--no-pager", "--unit=hubd", "--lines=40"]);
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    machine.run(&["rm", "/run/systemd/system/hubd.service.d/watchdog.conf"]);
    typed(machine, "systemctl daemon-reload; systemctl restart hubd");
}

fn typed(machine: &Machine, commands: &str) {
    machine.run(&["sh", "-ec", commands]);
}

/// An account is made by the unit for it, shut in as it is, with useradd(8) of the distribution.
fn an_admin_adds_somebody(machine: &Machine, web: &Web, policy: &str) {
    let classes =
        "[LocalAuthenticator]\ncreate_system_users = true\n[Authenticator]\nadmin_users = [\"alice\"]\n";
    machine.write("/etc/jupyterhub/conf.d/accounts.toml", classes);
    machine.write("/etc/jupyterhub/helper.toml", &format!("create_system_users = true\n{policy}"));
    machine.run(&["systemctl", "enable", "--now", "hubd-accounts.socket"]);
    machine.run(&["systemctl", "restart", "hubd"]);
    web.log_in("alice", "pass of alice");
    web.get("/hub/home");
    let answer = web.api("POST", "users/carol", "");
    let journal = || machine.run(&["journalctl", "--no-pager", "--identifier=hubd-helper", "--lines=30"]);
    assert_eq!(answer.status, 201, "{}\n{}", answer.text(), journal());
    assert!(machine.run(&["getent", "passwd", "carol"]).trim().ends_with(":/home/carol:/bin/bash"));
    assert!(machine.run(&["getent", "shadow", "carol"]).starts_with("carol:!"), "the password is not locked");
    assert!(machine.run(&["stat", "--format=%U %a", "/home/carol"]).starts_with("carol 7"));
    assert!(journal().contains("create_account accepted user=carol"), "{}", journal());
}

/// Opens a port that takes a privilege, which the daemon has not, as hubd-installation(7) says.
fn port_443(machine: &Machine, certificate: &tempfile::NamedTempFile) {
    machine.write("/etc/jupyterhub/conf.d/port.toml", "[JupyterHub]\nport = 443\n");
    machine.run(&["systemctl", "stop", "hubd"]);
    machine.run(&["systemctl", "enable", "--now", "hubd.socket", "hubd"]);
    let web = Web::tls("127.0.0.1:443".parse().unwrap(), certificate.path());
    assert_eq!(web.get("/hub/login").status, 200);
    let id = machine.run(&["systemctl", "show", "hubd", "--property=MainPID", "--value"]);
    let status = machine.run(&["cat", &format!("/proc/{}/status", id.trim())]);
    assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");
    let kept = machine.run(&["ss", "--listening", "--tcp", "--numeric"]);
    assert!(!kept.contains(":8000 "), "the port of before is still open:\n{kept}");
}

/// The hub's log and people's are apart, and the server is not in the daemon's unit.
fn units_are_told_apart(machine: &Machine) {
    let daemon = machine.run(&["journalctl", "--no-pager", "--unit=hubd"]);
    assert!(daemon.contains("JupyterHub is now running") && !daemon.contains("ServerApp]"), "{daemon}");
    let server = machine.run(&["journalctl", "--no-pager", "--identifier=hubd-server-alice"]);
    assert!(server.contains("ServerApp]"), "{server}");
    let processes = machine.run(&[
        "systemctl",
        "show",
        "hubd",
        "--property=TasksCurrent,MainPID,NRestarts,FileDescriptorStoreMax",
    ]);
    assert!(processes.contains("NRestarts=0"), "{processes}");
}

/// Who administers the machine sees whose server is where.
fn servers_are_in_a_slice_of_their_own(machine: &Machine) {
    let units = machine.run(&["systemctl", "status", "--no-pager", "hubd-helper@*"]);
    assert!(units.contains("Status: \"start accepted user=alice uid=1000 "), "{units}");
    let slice =
        machine.run(&["systemctl", "status", "--no-pager", "--full", "--lines=0", "hubd-users.slice"]);
    assert!(slice.contains("hubd-helper@") && slice.contains("jupyterhub-singleuser"), "{slice}");
}

/// Asks the hub again and again while `change` is done, each time on a new connection; gives the longest wait.
fn gap_during(web: &Web, change: impl FnOnce()) -> Duration {
    let (stop, web) = (Arc::new(AtomicBool::new(false)), web.fresh());
    let stopped = Arc::clone(&stop);
    // Threads inherit the network of the one that starts them.
    let asking = std::thread::spawn(move || {
        let mut longest = Duration::ZERO;
        while !stopped.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let answer = web.try_request("GET", "/hub/health", &[], b"");
            let answer =
                answer.unwrap_or_else(|error| panic!("a connection failed during the upgrade: {error}"));
            assert_eq!(answer.status, 200, "{}", answer.words());
            longest = longest.max(begin.elapsed());
        }
        longest
    });
    change();
    stop.store(true, Ordering::Relaxed);
    asking.join().expect("every request during the upgrade was answered")
}

/// Somebody with an open notebook; see `notebook.py`.
struct Notebook {
    process: Child,
    cells: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Notebook {
    fn open(user: &str, password: &str) -> Self {
        let mut process = Command::new(test_python())
            .arg(repository().join("tests/packages/notebook.py"))
            .args(["https://127.0.0.1:8000", user, password])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python can be run");
        let (cells, answers) =
            (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut notebook = Self { process, cells, answers };
        assert_eq!(notebook.answer(), "ready");
        notebook
    }

    fn run(&mut self, cell: &str) -> String {
        writeln!(self.cells, "{cell}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the notebook's program has ended; its reason is above");
        line.trim().to_owned()
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
