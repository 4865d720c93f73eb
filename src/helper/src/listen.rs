//! Where there is no systemd: binds the socket and runs this program once for each connection.
//! It reads no byte of what is said.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::setup::Setup;

/// Most processes beside those of sessions: logins, checks, revocations.
const OTHERS_MAX: usize = 256;

/// Accepts until SIGINT or SIGTERM, then removes the socket. Sessions live on.
pub fn run(setup: &Setup, path: &Path, policy: Option<&Path>) -> io::Result<()> {
    let listener = bind(setup, path)?;
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM] {
        mask.add(signal);
    }
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let processes_max = setup.policy.sessions_in_all as usize + OTHERS_MAX;
    let mut processes: Vec<Child> = Vec::new();
    loop {
        let full = processes.len() >= processes_max;
        let accepting = if full { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut watched =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), accepting)];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        while let Some(signal) = signals.read_signal()? {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                return fs::remove_file(path);
            }
        }
        processes.retain_mut(|process| matches!(process.try_wait(), Ok(None)));
        if full {
            continue;
        }
        // Somebody who hung up already, or no descriptor left: the next one may fare better.
        if let Ok((stream, _)) = listener.accept() {
            match serve(setup, stream, policy) {
                Ok(process) => processes.push(process),
                Err(error) => eprintln!("hubd-helper: a connection was dropped, no process for it: {error}"),
            }
        }
    }
}

/// A socket that nobody listens on is replaced; one that answers is left alone.
fn bind(setup: &Setup, path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another helper listens here; stop it first"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The umask is 077: until the group is set, nobody else can connect.
    let listener = UnixListener::bind(path)?;
    std::os::unix::fs::lchown(path, None, Some(setup.daemon_gid.as_raw()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// This very program with the connection as its standard input, in a process group of its own, so that
/// Ctrl-C in a terminal ends the listener alone.
fn serve(setup: &Setup, stream: UnixStream, policy: Option<&Path>) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("hubd-helper").arg("--runtime-dir").arg(&setup.places.runtime);
    if let Some(policy) = policy {
        command.arg("--policy").arg(policy);
    }
    // Nothing of the surroundings in which root started the listener reaches PAM modules.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::null()).process_group(0).spawn()
}
