//! A session equals a login of the same user: compared with `su -l`, and with a real sshd where there
//! is one.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hubd_tests::helper_process::{HelperProcess, TestUser, start_of};

/// What is compared, as a script that both sessions run.
const ASK: &str = "id; umask; ulimit -Sa; ulimit -Ha; grep -E 'Cap|NoNewPrivs|Seccomp:|Groups|SigIgn|SigBlk|CoreDumping' /proc/self/status";
/// Variables that differ by their nature: of a terminal, of ssh, of the shell, of hubd.
const DIFFERENT: [&str; 12] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "TERM",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "MOTD_SHOWN",
    "LS_COLORS",
    "MAIL",
    "JUPYTERHUB_USER",
];

fn variables(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| !DIFFERENT.contains(name) && !name.starts_with("XDG_SESSION"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn identity_limits_umask_capabilities_and_environment_are_those_of_a_login() -> Result<()> {
    let helper = HelperProcess::start("[profile.default]\nprogram = [\"{dir}/bin/server\"]\n")?;
    let user = TestUser::make("same", &["-G", "games,cdrom"])?;
    user.modify(&["-c", "Some Body,umask=027"])?;
    let limits = format!("/etc/security/limits.d/{}.conf", user.name);
    fs::write(
        &limits,
        format!(
            "{0} soft nofile 777\n{0} hard nofile 4000\n{0} hard core 0\n{0} soft nproc 555\n",
            user.name
        ),
    )?;
    helper.script(
        "server",
        &format!("#!/bin/bash\nenv -0 > env; {{ {ASK}; }} > told 2>&1; pwd -P >> told\n"),
    )?;
    let compared = (|| {
        let (mut connection, _) = helper.login(&user)?;
        connection.start(start_of(&user.name, None)?)?;
        let exited = connection.exited()?;
        ensure!(exited.code == Some(0), "{exited:?}");
        let ours = fs::read_to_string(user.home.join("told"))?;
        let ours_env = variables(&fs::read_to_string(user.home.join("env"))?);
        let script = format!("env -0 > ~/env2; {{ {ASK}; }} > ~/told2 2>&1; pwd -P >> ~/told2");
        let status =
            Command::new("su").args(["-l", &user.name, "-s", "/bin/bash", "-c", &script]).status()?;
        ensure!(status.success());
        let theirs = fs::read_to_string(user.home.join("told2"))?;
        ensure!(ours.contains("777") && ours.contains("0027"), "{ours}");
        compare(&ours, &theirs)?;
        let theirs_env = variables(&fs::read_to_string(user.home.join("env2"))?);
        for name in ["USER", "LOGNAME", "HOME", "SHELL"] {
            ensure!(ours_env.get(name) == theirs_env.get(name), "{name}: {ours_env:?} {theirs_env:?}");
        }
        let strange: Vec<_> = ours_env.keys().filter(|name| !theirs_env.contains_key(*name)).collect();
        ensure!(strange.is_empty(), "only in ours: {strange:?}");
        Ok(())
    })();
    fs::remove_file(limits)?;
    compared
}

/// Line by line, but for what `su -l` itself differs in from a login over the network.
fn compare(ours: &str, theirs: &str) -> Result<()> {
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.lines().collect(), theirs.lines().collect());
    ensure!(ours.len() == theirs.len(), "{ours:#?}\n{theirs:#?}");
    for (our, their) in ours.iter().zip(&theirs) {
        ensure!(our == their, "ours: {our}\ntheirs: {their}");
    }
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
    let others = exited.log.iter().filter(|line| line.contains("->") && !line.contains("/proc/")).count();
    ensure!(others == 3, "{log}");
    let ids = exited.log.last().context("ps")?;
    ensure!(ids.split_whitespace().all(|id| id == status.pid.to_string()), "{ids} of {}", status.pid);
    Ok(())
}
