//! hubd-helper: the only program of hubd that runs as root. It checks logins with PAM and starts
//! people's servers as themselves. README.md in this crate tells its whole story.
//!
//! One thread, one connection, one process. Read `dispatch.rs` next.

mod account;
mod audit;
mod become_user;
mod channel;
mod dispatch;
mod environment;
mod limits;
mod listen;
mod log;
mod login;
mod own_limits;
mod pam;
mod pattern;
mod peer;
mod permission;
mod places;
mod policy;
mod program;
mod refusal;
mod service;
mod session;
mod setup;
mod supervise;
mod ticket;
mod unix;

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::SigSet;
use nix::sys::socket::{AddressFamily, SockaddrLike, UnixAddr, getsockname};
use nix::unistd::Uid;

use crate::audit::Record;
use crate::channel::Channel;
use crate::policy::Policy;
use crate::setup::Setup;
use crate::ticket::Tickets;

#[global_allocator]
static ALLOCATOR: unix::WipingAllocator = unix::WipingAllocator;

/// The command line was wrong.
const EXIT_USAGE: u8 = 2;

const HELP: &str = include_str!("usage.txt");

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    command: Command,
    policy: Option<PathBuf>,
    /// Given by `--listen` to the processes that it starts.
    runtime: Option<PathBuf>,
}

/// Longest path of the servers' directory, in bytes, below which a kernel's sockets fit into the 107 of
/// unix(7): `/u<uid>-<16 digits>/r/kernel-<36 digits>-ipc-<digit>` follows.
const SERVERS_PATH_BYTES_MAX: usize = 31;

#[derive(Debug, Default, PartialEq, Eq)]
enum Command {
    #[default]
    Serve,
    Listen(PathBuf),
    Check,
    Revoke(Option<String>),
    Print(&'static str),
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned())) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("hubd-helper: {what}\nTry: hubd-helper --help");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(what) = run(arguments) {
        eprintln!("hubd-helper: {what}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(arguments: Arguments) -> Result<(), String> {
    if let Command::Print(text) = arguments.command {
        print!("{text}");
        return Ok(());
    }
    let root = Uid::effective().is_root();
    own_limits::restrict_this_process()?;
    // Whoever started this program may have left signals blocked, or a file size limit.
    SigSet::empty().thread_set_mask().map_err(|error| error.to_string())?;
    unix::ignore_signal(libc::SIGXFSZ);
    let named = arguments.policy.as_deref();
    let policy = Policy::load(named, root).map_err(|error| error.to_string())?;
    let runtime = match &arguments.command {
        Command::Check => {
            println!("{}: good", named.unwrap_or(Path::new(policy::POLICY_PATH)).display());
            return Ok(());
        }
        Command::Listen(path) => path.parent().map(Path::to_owned),
        _ => arguments.runtime,
    };
    nix::unistd::chdir("/").map_err(|error| error.to_string())?;
    let setup = Setup::new(policy, runtime)?;
    match arguments.command {
        Command::Listen(path) => listen(&setup, &path, named),
        Command::Revoke(name) => revoke(&setup, name.as_deref()),
        _ => serve(&setup),
    }
}

fn listen(setup: &Setup, path: &Path, policy: Option<&Path>) -> Result<(), String> {
    if !setup.root {
        eprintln!(
            "hubd-helper: WARNING: running without root. Every server runs as uid {}, no password is checked, and people are not protected from each other. For trials only.",
            Uid::effective()
        );
    }
    if setup.places.servers.as_os_str().len() > SERVERS_PATH_BYTES_MAX {
        eprintln!(
            "hubd-helper: WARNING: {} is too long a path for the Unix sockets of notebook kernels. Listen in a directory of at most 23 bytes, or leave --ConnectionFileMixin.transport=ipc out of unix_arguments.",
            setup.places.servers.display()
        );
    }
    listen::run(setup, path, policy).map_err(|error| format!("{}: {error}", path.display()))
}

fn revoke(setup: &Setup, name: Option<&str>) -> Result<(), String> {
    let count = Tickets::new(setup).and_then(|tickets| tickets.revoke_by_name(name));
    let count = count.map_err(|error| format!("tickets: {error}"))?;
    let (user, reason) = (name.unwrap_or("(everybody)"), format!("{count} tickets, by root"));
    Record { request: "revoke", verdict: "accepted", user, reason: &reason, ..Record::default() }.write();
    println!("{count} tickets ended");
    Ok(())
}

/// Serves the one connection on standard input.
fn serve(setup: &Setup) -> Result<(), String> {
    let stdin = std::io::stdin();
    let family = getsockname::<UnixAddr>(stdin.as_raw_fd()).ok().and_then(|address| address.family());
    if family != Some(AddressFamily::Unix) {
        return Err("standard input is not a connection; use --listen PATH, or the socket unit".into());
    }
    let stream = UnixStream::from(stdin.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?);
    if let Err(reason) = peer::check(setup, &stream) {
        Record { request: "connect", verdict: "refused", reason: &reason, ..Record::default() }.write();
        return Ok(());
    }
    // Otherwise the daemon would wait for a descriptor that nobody serves any more.
    let null = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
    nix::unistd::dup2_stdin(&null).map_err(|error| error.to_string())?;
    let channel = Channel::new(stream).map_err(|error| error.to_string())?;
    dispatch::serve(setup, channel);
    Ok(())
}

fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut words = words;
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = |of: &str| words.next().ok_or(format!("{of} needs a value"));
        match word.as_str() {
            "--help" | "-h" => arguments.command = Command::Print(HELP),
            "--version" => {
                arguments.command = Command::Print(concat!("hubd-helper ", env!("CARGO_PKG_VERSION"), "\n"))
            }
            "--policy" => {
                let path = value("--policy")?;
                arguments.policy = Some(std::path::absolute(path).map_err(|error| error.to_string())?);
            }
            "--runtime-dir" => arguments.runtime = Some(value("--runtime-dir")?.into()),
            "--listen" => {
                let path = std::path::absolute(value("--listen")?).map_err(|error| error.to_string())?;
                arguments.command = Command::Listen(path);
            }
            "check" => arguments.command = Command::Check,
            "revoke" => {
                let name = value("revoke")?;
                arguments.command = Command::Revoke((name != "--all").then_some(name));
            }
            _ => return Err(format!("unknown argument: {word}")),
        }
    }
    Ok(arguments)
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
        assert_eq!(listen.command, Command::Listen("/run/x/helper.sock".into()));
        assert_eq!(listen.policy, std::path::absolute("p.toml").ok());
        assert_eq!(parsed("revoke --all").map(|a| a.command), Ok(Command::Revoke(None)));
        assert_eq!(parsed("revoke bob").map(|a| a.command), Ok(Command::Revoke(Some("bob".into()))));
        assert_eq!(parsed("").map(|a| a.command), Ok(Command::Serve));
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        for (line, what) in [("--frob", "--frob"), ("--listen", "needs a value"), ("revoke", "needs a value")]
        {
            assert!(parsed(line).is_err_and(|error| error.contains(what)), "{line}");
        }
    }
}
