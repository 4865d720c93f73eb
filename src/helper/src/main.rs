//! hubd-helper: the only program of hubd that runs as root. It checks logins with PAM and starts
//! people's servers as themselves. README.md in this crate tells its whole story.
//!
//! One thread, one connection, one process. Read `dispatch.rs` next.

mod account;
mod accounts;
mod audit;
mod become_user;
mod cgroup;
mod channel;
mod dispatch;
mod environment;

mod listen;
mod log;
mod login;
mod own_limits;
mod pam;
mod permission;
mod places;
mod policy;
mod program;
mod rates;
mod refusal;
mod service;
mod session;
mod setup;
mod supervise;
mod ticket;
mod unix;

use std::path::{Path, PathBuf};
use std::{os::fd::AsFd, os::unix::net::UnixStream, process::ExitCode};

use nix::sys::signal::SigSet;

use crate::{audit::Record, channel::Channel, dispatch::State, policy::Policy, setup::Setup};

#[global_allocator]
static ALLOCATOR: unix::WipingAllocator = unix::WipingAllocator;

/// The command line was wrong.
const EXIT_USAGE: u8 = 2;
/// Longest path of the servers' directory, in bytes, below which a kernel's sockets fit into the 107 of
/// unix(7): `/u<uid>-<16 digits>/r/kernel-<36 digits>-ipc-<digit>` follows.
const SERVERS_PATH_BYTES_MAX: usize = 31;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    /// `accounts`, `check`, or a name and `revoke`; logins and starts are served without one.
    command: Vec<String>,
    policy: Option<PathBuf>,
    /// Whether systemd has delegated this process's control group to it.
    delegated: bool,
    listen: Option<PathBuf>,
    /// Given by `--listen` to the processes that it starts.
    runtime: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned())) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("hubd-helper: {what}\nTry: hubd-helper --help");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(what) = run(&arguments) {
        eprintln!("hubd-helper: {what}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let path = |text: String| std::path::absolute(text).map(Some).map_err(|error| error.to_string());
        match word.as_str() {
            "--policy" => arguments.policy = path(value()?)?,
            "--listen" => arguments.listen = path(value()?)?,
            "--runtime-dir" => arguments.runtime = path(value()?)?,
            "--delegated" => arguments.delegated = true,
            "revoke" => arguments.command = vec![value()?, word],
            "accounts" | "check" | "--help" | "--version" => arguments.command = vec![word],
            _ => return Err(format!("unknown argument: {word}")),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let command = arguments.command.last().map_or("", String::as_str);
    if let "--help" | "--version" = command {
        let version = concat!("hubd-helper ", env!("CARGO_PKG_VERSION"), "\n");
        print!("{}", if command == "--help" { include_str!("usage.txt") } else { version });
        return Ok(());
    }
    own_limits::restrict_this_process()?;
    // Whoever started this program may have left signals blocked, or a file size limit.
    SigSet::empty().thread_set_mask().map_err(|error| error.to_string())?;
    unix::ignore_signal(libc::SIGXFSZ);
    let policy = Policy::load(arguments.policy.as_deref())?;
    if command == "check" {
        let path = arguments.policy.as_deref().unwrap_or(Path::new(policy::POLICY_PATH));
        println!("{}: good", path.display());
        return Ok(());
    }
    nix::unistd::chdir("/").map_err(|error| error.to_string())?;
    let beside = arguments.listen.as_deref().and_then(Path::parent).map(Path::to_owned);
    let mut setup = Setup::new(policy, beside.or(arguments.runtime.clone()))?;
    if arguments.delegated {
        // Where it fails, there is no version 2; a limit in the policy is then refused.
        setup.cgroup = cgroup::own().ok();
    }
    match (&arguments.listen, command) {
        (Some(path), _) => listen(&setup, path, arguments),
        (None, "revoke") => revoke(&setup, arguments.command.first().map_or("", String::as_str)),
        (None, "accounts") => serve(&setup, State::Accounts),
        _ => serve(&setup, State::Idle),
    }
}

fn listen(setup: &Setup, path: &Path, arguments: &Arguments) -> Result<(), String> {
    let (servers, uid) = (&setup.servers, nix::unistd::geteuid());
    if !setup.root {
        eprintln!(
            "hubd-helper: WARNING: running without root. Every server runs as uid {uid}, no password is checked, and people are not protected from each other. For trials only."
        );
    }
    if servers.as_os_str().len() > SERVERS_PATH_BYTES_MAX {
        eprintln!(
            "hubd-helper: WARNING: {} is too long a path for the Unix sockets of notebook kernels. Listen in a directory of at most 23 bytes, or leave --ConnectionFileMixin.transport=ipc out of unix_arguments.",
            servers.display()
        );
    }
    let mut words = vec!["--runtime-dir".to_owned(), setup.runtime.display().to_string()];
    let policy = arguments.policy.iter().flat_map(|path| ["--policy".to_owned(), path.display().to_string()]);
    words.extend(policy.chain(arguments.command.iter().cloned()));
    listen::run(setup, path, &words).map_err(|error| format!("{}: {error}", path.display()))
}

fn revoke(setup: &Setup, name: &str) -> Result<(), String> {
    let all = name == "--all";
    let count = ticket::revoke_by_name(setup, (!all).then_some(name));
    let count = count.map_err(|error| format!("tickets: {error}"))?;
    let (user, reason) = (if all { "(everybody)" } else { name }, format!("{count} tickets, by root"));
    Record { request: "revoke", verdict: "accepted", user, reason: &reason, ..Record::default() }.write();
    println!("{count} tickets ended");
    Ok(())
}

/// Serves the one connection on standard input.
fn serve(setup: &Setup, state: State) -> Result<(), String> {
    let serve = || -> std::io::Result<()> {
        let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        // Otherwise the daemon would wait for a descriptor that nobody serves any more.
        nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        if let Some(channel) = Channel::new(setup, stream)? {
            dispatch::serve(setup, channel, state);
        }
        Ok(())
    };
    serve().map_err(|error| {
        format!("standard input is not a connection: {error}; use --listen PATH, or the socket unit")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_read() {
        let listen = parsed("--listen /run/x/helper.sock --policy p.toml").expect("good");
        assert_eq!(listen.listen, Some("/run/x/helper.sock".into()));
        assert_eq!(listen.policy, std::path::absolute("p.toml").ok());
        assert_eq!(parsed("revoke --all").map(|a| a.command), Ok(vec!["--all".into(), "revoke".into()]));
        assert_eq!(parsed(""), Ok(Arguments::default()));
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        for (line, what) in [("--frob", "--frob"), ("--listen", "needs a value"), ("revoke", "needs a value")]
        {
            assert!(parsed(line).is_err_and(|error| error.contains(what)), "{line}");
        }
    }
}
