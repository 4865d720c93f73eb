//! What a process that serves one connection does before its own work.

use std::io;
use std::os::{fd::AsFd, unix::net::UnixStream, unix::process::CommandExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use hubd_policy::record::Record;
use nix::sys::signal::SigSet;

use crate::{audit, cgroup, channel::Channel, own_limits, setup, setup::Setup, unix};

/// What the unit, or `hubd-listen`, says to such a process.
#[derive(Default)]
struct Arguments {
    /// Root's policy, if not at its usual place.
    policy: Option<PathBuf>,
    /// Where sockets are, if not where the policy says.
    runtime: Option<PathBuf>,
    /// Whether systemd has delegated this process's control group to it.
    delegated: bool,
}

/// Serves the connection on standard input. Any other command line than that of such a process is for `hubd-listen`.
pub fn run(serve: fn(&Setup, Channel)) -> ExitCode {
    let done = own_limits::restrict_this_process().and_then(|()| match read_command_line() {
        Some(arguments) => serve_one(&arguments, serve),
        None => Err(become_program("hubd-listen", std::env::args_os().skip(1))),
    });
    done.map_or_else(failed, |()| ExitCode::SUCCESS)
}

/// Says why the work could not be done.
pub fn failed(what: String) -> ExitCode {
    eprintln!("hubd-helper: {what}");
    ExitCode::FAILURE
}

fn read_command_line() -> Option<Arguments> {
    let (mut words, mut arguments) = (std::env::args_os().skip(1), Arguments::default());
    while let Some(word) = words.next() {
        match word.to_str()? {
            "--policy" => arguments.policy = Some(words.next()?.into()),
            "--runtime-dir" => arguments.runtime = Some(words.next()?.into()),
            "--delegated" => arguments.delegated = true,
            _ => return None,
        }
    }
    Some(arguments)
}

/// Goes on as another program of this package; says why not.
pub fn become_program<S: AsRef<std::ffi::OsStr>>(name: &str, words: impl Iterator<Item = S>) -> String {
    let error = beside(name).map_or_else(|error| error, |path| Command::new(path).args(words).exec());
    format!("{name}, which is installed beside hubd-helper, cannot be run: {error}")
}

/// A program that is installed beside this one.
pub fn beside(program: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}

/// Reads the policy and finds everything's place.
pub fn set_up(policy: Option<&Path>, runtime: Option<PathBuf>) -> Result<Setup, String> {
    // Whoever started this program may have left signals blocked, or a file size limit.
    SigSet::empty().thread_set_mask().map_err(|error| error.to_string())?;
    unix::ignore_signal(libc::SIGXFSZ);
    let policy = setup::policy(policy)?;
    nix::unistd::chdir("/").map_err(|error| error.to_string())?;
    Setup::new(policy, runtime)
}

fn serve_one(arguments: &Arguments, serve: fn(&Setup, Channel)) -> Result<(), String> {
    let mut setup = set_up(arguments.policy.as_deref(), arguments.runtime.clone())?;
    if arguments.delegated {
        // Where it fails, there is no version 2; a limit in the policy is then refused.
        setup.paths.cgroup = cgroup::own().ok();
    }
    let accept = || -> io::Result<_> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Otherwise the daemon would wait for a descriptor that nobody serves any more.
        nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Channel::new(setup.daemon_uid, stream)
    };
    let cure = "use --listen PATH, or the socket unit";
    match accept().map_err(|error| format!("standard input is not a connection: {error}; {cure}"))? {
        Ok(channel) => serve(&setup, channel),
        Err(reason) => {
            let (request, verdict, reason) = ("connect", "refused", reason.as_str());
            audit::write(&Record { request, verdict, reason, ..Record::default() });
        }
    }
    Ok(())
}
