//! Stands in for systemd's socket units: binds the socket and runs hubd-helper, or hubd-accounts, once for each
//! connection. It reads no byte of what is said.

use std::io;
use std::os::{fd::AsFd, fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hubd_helper::connection::{beside, set_up};
use hubd_helper::setup::{Setup, bind};
use hubd_helper::supervise;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Longest path of the servers' directory, in bytes, below which a kernel's sockets fit into the 107 of
/// unix(7): `/u<uid>-<16 digits>/r/kernel-<36 digits>-ipc-<digit>` follows.
const SERVERS_PATH_BYTES_MAX: usize = 31;
/// Most processes beside those of sessions: logins, checks, revocations.
const OTHERS_MAX: usize = 256;
/// How often orphans of killed sessions are looked for.
const ORPHANS_MILLISECONDS: u16 = 1000;
/// The pause after a connection that could not be served, so that nobody fills a log with them.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Binds `path` and serves its connections until a signal ends it.
pub fn run(path: &Path, policy: Option<&Path>, accounts: bool) -> Result<(), String> {
    let setup = set_up(policy, path.parent().map(Path::to_owned))?;
    warn(&setup);
    let mut words = vec!["--runtime-dir".as_ref(), setup.paths.runtime.as_path()];
    words.extend(policy.iter().flat_map(|path| ["--policy".as_ref(), *path]));
    listen(&setup, path, accounts, &words).map_err(|error| format!("{}: {error}", path.display()))
}

/// What is said at every start to somebody for whom this is no more than a trial.
fn warn(setup: &Setup) {
    let (servers, uid) = (&setup.paths.servers, nix::unistd::geteuid());
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
}

/// Accepts until a signal ends it. Sessions live on; the socket is replaced by the next one.
fn listen(setup: &Setup, path: &Path, accounts: bool, words: &[&Path]) -> io::Result<()> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another helper listens here; stop it first"));
    }
    let listener = bind(setup, path)?;
    let processes_max = setup.policy.sessions_in_all as usize + OTHERS_MAX;
    let mut processes: Vec<Child> = Vec::new();
    // What a killed session leaves behind becomes this process's, and is ended. An account is never left half
    // made: useradd(8) goes on by itself.
    prctl::set_child_subreaper(!accounts)?;
    listener.set_nonblocking(true)?;
    loop {
        // A signal is another reason to look around.
        let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], ORPHANS_MILLISECONDS);
        processes.retain_mut(|process| matches!(process.try_wait(), Ok(None)));
        let known =
            |orphan: &Pid| processes.iter().any(|process| process.id().to_string() == orphan.to_string());
        for orphan in supervise::children().into_iter().filter(|child| !known(child)) {
            let _ = kill(orphan, Signal::SIGKILL);
            let _ = waitpid(orphan, Some(WaitPidFlag::WNOHANG));
        }
        let stream = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            accepted => accepted.map(|(stream, _)| stream),
        };
        let full = || io::Error::other("too many logins and sessions at once");
        let room = if processes.len() < processes_max { stream } else { Err(full()) };
        let program = if accounts { "hubd-accounts" } else { "hubd-helper" };
        match room.and_then(|stream| serve(stream, Command::new(beside(program)?), words)) {
            Ok(process) => processes.push(process),
            Err(error) => {
                eprintln!("hubd-helper: a connection was dropped, no process for it: {error}");
                std::thread::sleep(FAILURE_PAUSE);
            }
        }
    }
}

/// The program with the connection as its standard input, in a process group of its own, so that Ctrl-C in a
/// terminal ends the listener alone.
fn serve(stream: UnixStream, mut program: Command, words: &[&Path]) -> io::Result<Child> {
    // Nothing of the surroundings in which root started the listener reaches PAM modules.
    program.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    program.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::null()).process_group(0).spawn()
}
