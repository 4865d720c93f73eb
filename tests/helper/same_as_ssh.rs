//! A session equals a login of the same user with ssh, compared with a real sshd on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use hubd_tests::helper_process::{HelperProcess, TestUser, start_of, wait_for};

/// What is compared, as a script that both sessions run in the home directory.
const ASK: &str = "env -0 > ENV; { id; umask; ulimit -Sa; ulimit -Ha; cat /proc/self/loginuid; echo; pwd -P; \
    grep -E 'Cap|NoNewPrivs|Seccomp:|Groups|SigBlk|CoreDumping' /proc/self/status; } > TOLD 2>&1";
/// Variables of ssh itself, of the shell that runs the script, and the one that the helper adds.
const DIFFERENT: [&str; 7] =
    ["JUPYTER_RUNTIME_DIR", "_", "SHLVL", "PWD", "SSH_CLIENT", "SSH_CONNECTION", "MOTD_SHOWN"];

fn variables(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path)?;
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    // The number of the session is its own.
    let compared = |name: &str| !DIFFERENT.contains(&name) && name != "XDG_SESSION_ID";
    Ok(pairs
        .filter(|(name, _)| compared(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// A real sshd that knows one key for every user.
struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Sshd {
    fn start() -> Result<Self> {
        // sshd wants its empty directory.
        fs::create_dir_all("/run/sshd")?;
        let dir = tempfile::Builder::new().prefix("hubt-h-ssh-").tempdir_in("/run")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        for key in ["host", "key"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(key))
                .status()?;
            ensure!(status.success(), "ssh-keygen failed");
        }
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let place = dir.path().display();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/key.pub\nUsePAM yes\nStrictModes no\nPidFile none\n"
        );
        fs::write(dir.path().join("config"), text)?;
        let log = fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(dir.path().join("config"));
        let process =
            command.stdin(Stdio::null()).stderr(log).spawn().context("sshd; apt install openssh-server")?;
        let sshd = Self { dir, port, process };
        wait_for("sshd", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(sshd)
    }

    fn run(&self, user: &str, script: &str) -> Result<()> {
        let output = Command::new("ssh")
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "BatchMode=yes", "-p", &self.port.to_string(), "-i"])
            .arg(self.dir.path().join("key"))
            .args([&format!("{user}@127.0.0.1"), script])
            .output()?;
        let log = fs::read_to_string(self.dir.path().join("log"))?;
        ensure!(output.status.success(), "{}\n{log}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // It has ended by itself if this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A file in /etc/security/limits.d for one account.
struct Limits(String);

impl Drop for Limits {
    fn drop(&mut self) {
        // It was never written if it is not there.
        let _ = fs::remove_file(&self.0);
    }
}

fn limit(user: &str) -> Result<Limits> {
    let limits = Limits(format!("/etc/security/limits.d/{user}.conf"));
    let lines = ["soft nofile 777", "hard nofile 4000", "hard core 0", "soft nproc 555", "hard stack 16384"];
    let text: String = lines.iter().map(|line| format!("{user} {line}\n")).collect();
    fs::write(&limits.0, text)?;
    Ok(limits)
}

#[test]
fn identity_limits_umask_capabilities_and_environment_are_those_of_an_ssh_login() -> Result<()> {
    let helper = HelperProcess::start("[profile.default]\nprogram = [\"{dir}/bin/server\"]\n")?;
    let user = TestUser::make("same", &["-G", "games,cdrom"])?;
    let _limits = limit(&user.name)?;
    let ask =
        |place: &str| ASK.replace("ENV", &format!("{place}.env")).replace("TOLD", &format!("{place}.told"));
    helper.script("server", &format!("#!/bin/bash\n{}\n", ask("ours")))?;
    let (mut connection, _) = helper.login(&user)?;
    connection.start(start_of(&user.name, None)?)?;
    let exited = connection.exited()?;
    ensure!(exited.code == Some(0), "{exited:?}");
    let sshd = Sshd::start()?;
    sshd.run(&user.name, &ask("theirs"))?;
    let told = |place: &str| fs::read_to_string(user.home.join(format!("{place}.told")));
    let (ours, theirs) = (told("ours")?, told("theirs")?);
    ensure!(ours.contains("777") && ours.contains("555") && ours.contains("(games)"), "{ours}");
    for (our, their) in ours.lines().zip(theirs.lines()) {
        ensure!(our == their, "ours: {our}\ntheirs: {their}");
    }
    ensure!(ours == theirs, "{ours}\n{theirs}");
    let (ours, theirs) = (variables(&user.home.join("ours.env"))?, variables(&user.home.join("theirs.env"))?);
    ensure!(ours == theirs, "ours: {ours:?}\ntheirs: {theirs:?}");
    Ok(())
}

#[test]
fn an_accounts_own_umask_is_kept_and_a_missing_home_is_made_by_pam() -> Result<()> {
    let helper = HelperProcess::start("[profile.default]\nprogram = [\"{dir}/bin/server\"]\n")?;
    helper.add_to_pam_service("session required pam_mkhomedir.so umask=0077")?;
    helper.script("server", "#!/bin/sh\numask\npwd\n")?;
    let user = TestUser::make("umask", &["-c", "Some Body,umask=027"])?;
    fs::remove_dir_all(&user.home)?;
    let (mut connection, _) = helper.login(&user)?;
    connection.start(start_of(&user.name, None)?)?;
    let log = connection.exited()?.log;
    ensure!(log == ["0027", user.home.to_str().context("home")?], "{log:?}");
    ensure!(fs::metadata(&user.home)?.permissions().mode() & 0o777 == 0o700);
    chown(&user.home, Some(user.uid()?), None)?;
    Ok(())
}

#[test]
fn a_password_is_checked_behind_everybody_else_and_the_server_is_not() -> Result<()> {
    let helper = HelperProcess::start("[profile.default]\nprogram = [\"{dir}/bin/server\"]\n")?;
    let seen = helper.dir.path().join("nice");
    let module = helper.script("module", &format!("#!/bin/sh\nnice >> {}\n", seen.display()))?;
    helper.add_to_pam_service(&format!("auth required pam_exec.so {}", module.display()))?;
    helper.add_to_pam_service(&format!("session required pam_exec.so {}", module.display()))?;
    helper.script("server", "#!/bin/sh\nnice\n")?;
    let user = TestUser::make("nice", &[])?;
    let (mut connection, _) = helper.login(&user)?;
    connection.start(start_of(&user.name, None)?)?;
    let log = connection.exited()?.log;
    let mine: i32 = hubd_tests::run("nice", &[]).trim().parse()?;
    ensure!(log == [mine.to_string()], "{log:?}");
    let modules = fs::read_to_string(&seen)?;
    let nicer = (mine + 10).min(19).to_string();
    ensure!(modules.lines().next() == Some(nicer.as_str()), "{modules}");
    ensure!(modules.lines().skip(1).all(|nice| nice == mine.to_string()), "{modules}");
    Ok(())
}

#[test]
fn nothing_of_the_helper_is_open_in_the_server() -> Result<()> {
    let helper = HelperProcess::start("[profile.default]\nprogram = [\"{dir}/bin/server\"]\n")?;
    let user = TestUser::make("open", &[])?;
    helper.script("server", "#!/bin/sh\nls -l /proc/self/fd; ps -o pid=,pgid=,sid= -p $$\n")?;
    let (mut connection, _) = helper.login(&user)?;
    let status = connection.start(start_of(&user.name, None)?)?;
    let exited = connection.exited()?;
    let log = exited.log.join("\n");
    ensure!(
        log.contains("0 -> /dev/null") && log.contains("1 -> pipe:") && log.contains("2 -> pipe:"),
        "{log}"
    );
    // The fourth is the directory that ls(1) itself reads.
    ensure!(log.matches("->").count() == 4 && log.matches("-> /proc/").count() == 1, "{log}");
    let ids = exited.log.last().context("ps")?;
    ensure!(ids.split_whitespace().all(|id| id == status.pid.to_string()), "{ids} of {}", status.pid);
    Ok(())
}
