//! Where there is no systemd: binds the socket and runs this program once for each connection.
//! It reads no byte of what is said.

use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::{io, os::unix::process::CommandExt, path::Path, time::Duration};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::{sys::prctl, unistd::Pid};

use crate::setup::{Setup, remove_if_there};
use crate::supervise;

/// Most processes beside those of sessions: logins, checks, revocations.
const OTHERS_MAX: usize = 256;
/// How often orphans of killed sessions are looked for.
const ORPHANS_MILLISECONDS: u16 = 1000;
/// The pause after a connection that could not be served, so that nobody fills a log with them.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until a signal ends it. Sessions live on; the socket is replaced by the next one.
pub fn run(setup: &Setup, path: &Path, arguments: &[String]) -> io::Result<()> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another helper listens here; stop it first"));
    }
    let listener = bind(setup, path)?;
    let processes_max = setup.policy.sessions_in_all as usize + OTHERS_MAX;
    let mut processes: Vec<Child> = Vec::new();
    // What a killed session leaves behind becomes this process's, and is ended. An account is never left half
    // made: useradd(8) goes on by itself.
    prctl::set_child_subreaper(!arguments.iter().any(|word| word == "accounts"))?;
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
        match room.and_then(|stream| serve(stream, arguments)) {
            Ok(process) => processes.push(process),
            Err(error) => {
                eprintln!("hubd-helper: a connection was dropped, no process for it: {error}");
                std::thread::sleep(FAILURE_PAUSE);
            }
        }
    }
}

/// A socket that the daemon's group may connect to, in place of one left behind.
pub fn bind(setup: &Setup, path: &Path) -> io::Result<UnixListener> {
    remove_if_there(path, |path| fs::remove_file(path))?;
    // The umask is 077: until the group is set, nobody else can connect.
    let listener = UnixListener::bind(path)?;
    lchown(path, None, Some(setup.daemon_gid.as_raw()))?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// This very program with the connection as its standard input, in a process group of its own, so that
/// Ctrl-C in a terminal ends the listener alone.
fn serve(stream: UnixStream, arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    // Nothing of the surroundings in which root started the listener reaches PAM modules.
    command.arg0("hubd-helper").args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::null()).process_group(0).spawn()
}
