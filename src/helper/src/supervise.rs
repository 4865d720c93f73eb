//! The process above a running server: it answers the daemon, keeps the output, ends what the server
//! left behind, and closes the PAM session that it opened.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use hubd_proto::frame::{self, HEADER_BYTES};
use hubd_proto::message::{Exited, SessionStatus};
use hubd_proto::{Reply, Request};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::audit::Record;
use crate::channel::{ChannelError, MESSAGE_TIME_MAX};
use crate::dispatch::{self, State};
use crate::log::Log;
use crate::pam::Pam;
use crate::peer;
use crate::places::Places;
use crate::setup::Setup;

/// Most control connections at a time; a further one pushes the oldest out.
const CONNECTIONS_MAX: usize = 8;
/// How long what a server left behind has between SIGTERM and SIGKILL.
const LEFTOVER_TIME: Duration = Duration::from_secs(5);
/// How long SIGKILL is repeated before the session gives up and says so.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often leftovers are looked for while they are being ended.
const LEFTOVER_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of output taken at a time.
const OUTPUT_BYTES: usize = 16 * 1024;
/// Bytes that a pipe can hold at most unless somebody enlarged it, see pipe(7).
const PIPE_BYTES: usize = 64 * 1024;

/// A session that has been started. Its fields are dropped in this order: PAM closes first.
pub struct Running {
    /// What it is.
    pub status: SessionStatus,
    /// The server's process.
    pub child: Pid,
    /// What it prints.
    pub output: OwnedFd,
    /// The control socket.
    pub listener: UnixListener,
    /// SIGCHLD, SIGTERM and SIGINT.
    pub signals: SignalFd,
    /// Who is connected.
    pub connections: VecDeque<Connection>,
    /// The output's last lines and its place.
    pub log: Log,
    /// The PAM session.
    pub pam: Option<Pam>,
    /// What has to be removed at the end.
    pub places: Places,
    /// Held for as long as the session is there.
    pub lock: Flock<File>,
}

/// One control connection.
pub struct Connection {
    stream: UnixStream,
    bytes: Vec<u8>,
    begun: Option<Instant>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Runs,
    /// SIGTERM was sent; SIGKILL follows then.
    Stopping(Instant),
    /// The server is gone; what it left behind is being ended since then.
    Leftovers(Instant),
}

/// Serves the session until nothing of it runs any more.
pub fn run(setup: &Setup, mut running: Running, first: Option<UnixStream>) {
    running.connections.extend(first.and_then(|stream| Connection::new(stream).ok()));
    let exited = match serve(setup, &mut running) {
        Ok(exited) => exited,
        Err(error) => {
            // Without its loop the session cannot be served: nothing of it may stay behind.
            let _ = kill(running.child, Signal::SIGKILL);
            let log = vec![format!("hubd-helper: the session's process failed: {error}")];
            Exited { code: None, signal: Some(libc::SIGKILL), stopped: false, log }
        }
    };
    let reason = match (exited.stopped, exited.code, exited.signal) {
        _ if !children().is_empty() => "some of its processes cannot be ended".to_owned(),
        (true, ..) => "stopped".to_owned(),
        (_, Some(code), _) => format!("exit status {code}"),
        (.., signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    let status = &running.status;
    let (user, uid, session) = (status.user.as_str(), Some(status.uid), status.session.as_str());
    Record { request: "exit", verdict: "ended", user, uid, session, reason: &reason, ..Record::default() }
        .write();
    let Running { mut connections, pam, places, lock, listener, .. } = running;
    // Everything is gone before the daemon hears of it, so that it may start the server again at once.
    drop(pam);
    drop(places);
    drop((lock, listener));
    for connection in &mut connections {
        // A daemon that does not listen any more finds out from the missing socket.
        let _ = connection.send(&Reply::Exited(exited.clone()));
    }
}

/// Before the fork: orphans of the server become children of this process; signals become readable.
pub fn prepare() -> io::Result<SignalFd> {
    prctl::set_child_subreaper(true)?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn serve(setup: &Setup, running: &mut Running) -> io::Result<Exited> {
    fcntl(&running.output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let stop_time = Duration::from_secs(setup.policy.stop_seconds.into());
    let (mut phase, mut exited, mut output_open) = (Phase::Runs, None, true);
    // The first round looks at everything: the server may have ended before it began.
    let mut ready = Ready { signal: true, listener: true, output: true };
    loop {
        if ready.output {
            output_open = running.take_output();
        }
        if ready.signal && asked_to_end(&running.signals)? {
            running.status.stopping = true;
        }
        if let Some(status) = reap(running.child)? {
            exited = Some(status);
            phase = Phase::Leftovers(Instant::now());
            signal_children(Signal::SIGTERM);
        }
        if ready.listener {
            accept(setup, running);
        }
        answer(running);
        match phase {
            Phase::Runs if running.status.stopping => {
                let _ = kill(running.child, Signal::SIGTERM);
                phase = Phase::Stopping(Instant::now() + stop_time);
            }
            Phase::Stopping(kill_at) if Instant::now() >= kill_at => {
                let _ = kill(running.child, Signal::SIGKILL);
                phase = Phase::Stopping(Instant::now() + KILL_TIME_MAX);
            }
            Phase::Leftovers(since) => {
                let left = children();
                let late = since.elapsed() > LEFTOVER_TIME + KILL_TIME_MAX;
                if left.is_empty() || late {
                    running.drain_output();
                    let (code, signal) = exited.unwrap_or((None, None));
                    let (stopped, log) = (running.status.stopping, running.log.last_lines());
                    return Ok(Exited { code, signal, stopped, log });
                }
                if since.elapsed() > LEFTOVER_TIME {
                    signal_children(Signal::SIGKILL);
                }
            }
            _ => {}
        }
        ready = wait(running, phase, output_open)?;
    }
}

struct Ready {
    signal: bool,
    listener: bool,
    output: bool,
}

/// Sleeps until something happens, or the next deadline.
fn wait(running: &Running, phase: Phase, output_open: bool) -> io::Result<Ready> {
    let timeout = match phase {
        _ if running.connections.iter().any(|connection| connection.begun.is_some()) => {
            Some(MESSAGE_TIME_MAX)
        }
        Phase::Runs => None,
        Phase::Stopping(until) => Some(until.saturating_duration_since(Instant::now())),
        Phase::Leftovers(_) => Some(LEFTOVER_INTERVAL),
    };
    let timeout =
        timeout.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    let mut descriptors = vec![running.signals.as_fd(), running.listener.as_fd()];
    descriptors.extend(running.connections.iter().map(|connection| connection.stream.as_fd()));
    if output_open {
        descriptors.push(running.output.as_fd());
    }
    let mut watched: Vec<_> = descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut watched, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready = |fd: Option<&PollFd>| fd.and_then(PollFd::any).unwrap_or(false);
    let output = output_open && ready(watched.last());
    Ok(Ready { signal: ready(watched.first()), listener: ready(watched.get(1)), output })
}

/// Whether SIGTERM or SIGINT is among the signals that came: the machine goes down.
fn asked_to_end(signals: &SignalFd) -> io::Result<bool> {
    let mut asked = false;
    while let Some(signal) = signals.read_signal()? {
        asked |= [Signal::SIGTERM, Signal::SIGINT].iter().any(|end| *end as u32 == signal.ssi_signo);
    }
    Ok(asked)
}

type ExitStatus = (Option<i32>, Option<i32>);

/// Collects every child that has ended; the server's own status if it is among them.
fn reap(server: Pid) -> io::Result<Option<ExitStatus>> {
    let mut found = None;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == server => found = Some((Some(code), None)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == server => {
                found = Some((None, Some(signal as i32)))
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(found),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// This process's children. Only unreaped children are signalled, so no pid can be somebody else's;
/// grandchildren become children when their parents end.
fn children() -> Vec<Pid> {
    let own = getpid().to_string();
    let is_child = |pid: &i32| {
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat);
        // pid (name) state ppid …; the name may hold anything, so the last parenthesis counts.
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        fields.next().is_some() && fields.next() == Some(&own)
    };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_child).map(Pid::from_raw).collect()
}

fn signal_children(signal: Signal) {
    for pid in children() {
        // One that ended just now is collected in the next round.
        let _ = kill(pid, signal);
    }
}

fn accept(setup: &Setup, running: &mut Running) {
    let Ok((stream, _)) = running.listener.accept() else { return };
    if let Err(reason) = peer::check(setup, &stream) {
        let session = running.status.session.as_str();
        Record { request: "connect", verdict: "refused", reason: &reason, session, ..Record::default() }
            .write();
        return;
    }
    if running.connections.len() >= CONNECTIONS_MAX {
        running.connections.pop_front();
    }
    running.connections.extend(Connection::new(stream).ok());
}

/// Answers what has come completely; drops who breaks the rules or is gone.
fn answer(running: &mut Running) {
    let mut connections = std::mem::take(&mut running.connections);
    connections.retain_mut(|connection| match connection.serve(running) {
        Ok(()) => true,
        Err(ChannelError::Violation(reason)) => {
            let session = running.status.session.as_str();
            Record {
                request: "control",
                verdict: "violation",
                reason: &reason,
                session,
                ..Record::default()
            }
            .write();
            false
        }
        Err(_) => false,
    });
    running.connections = connections;
}

impl Running {
    /// Takes all that is there, as much as a pipe holds.
    fn drain_output(&mut self) {
        for _ in 0..PIPE_BYTES / OUTPUT_BYTES {
            self.take_output();
        }
    }

    /// Takes what the server has printed; `false` at its end.
    fn take_output(&mut self) -> bool {
        let mut buffer = [0; OUTPUT_BYTES];
        match nix::unistd::read(&self.output, &mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.log.take(buffer.get(..count).unwrap_or_default());
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }
}

impl Connection {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, bytes: Vec::new(), begun: None })
    }

    fn serve(&mut self, running: &mut Running) -> Result<(), ChannelError> {
        self.read()?;
        while let Some(request) = self.next_request()? {
            dispatch::check(State::Running, &request)?;
            let reply = match request {
                Request::Status => Reply::Status(running.status.clone()),
                Request::Log => Reply::Log(running.log.last_lines()),
                _ => {
                    running.status.stopping = true;
                    Reply::Done
                }
            };
            self.send(&reply)?;
        }
        match self.begun {
            Some(begun) if begun.elapsed() > MESSAGE_TIME_MAX => {
                Err(ChannelError::Violation("a message was not finished in time".into()))
            }
            _ => Ok(()),
        }
    }

    /// Takes what is there, at most one frame more than has been taken apart.
    fn read(&mut self) -> Result<(), ChannelError> {
        let mut buffer = [0; HEADER_BYTES + hubd_proto::FRAME_BYTES_MAX];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ChannelError::Closed),
            Ok(count) => {
                self.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.begun.get_or_insert_with(Instant::now);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn next_request(&mut self) -> Result<Option<Request>, ChannelError> {
        let violation = |error: hubd_proto::FrameError| ChannelError::Violation(error.to_string());
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else {
            if self.bytes.is_empty() {
                self.begun = None;
            }
            return Ok(None);
        };
        let length = frame::body_length(*header).map_err(violation)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let request = frame::decode_request(body).map_err(violation)?;
        self.bytes.drain(..HEADER_BYTES + length);
        Ok(Some(request))
    }

    /// Replies fit into the socket's buffer unless the daemon does not read; then it is dropped.
    fn send(&mut self, reply: &Reply) -> Result<(), ChannelError> {
        let bytes = frame::encode(reply).map_err(|error| ChannelError::Violation(error.to_string()))?;
        Ok(self.stream.write_all(&bytes)?)
    }
}
