//! The process above a running server: it answers the daemon, keeps the output, ends what the server
//! left behind, and closes the PAM session that it opened.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{collections::VecDeque, fs, io, os::unix::net::UnixListener};

use hubd_proto::message::{Exited, SessionStatus};
use hubd_proto::{Reply, Request};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::{errno::Errno, sys::prctl, unistd::Pid};

use crate::channel::{Channel, ChannelError};
use crate::{
    audit::Record, cgroup::Cgroup, dispatch::State, log::Log, pam::Pam, places::Places, setup::Setup,
};

/// Most control connections at a time; a further one pushes the oldest out.
const CONNECTIONS_MAX: usize = 8;
/// How long what a server left behind has between SIGTERM and SIGKILL.
const LEFTOVER_TIME: Duration = Duration::from_secs(5);
/// How long SIGKILL is repeated before the session gives up and says so.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often leftovers are looked for while they are being ended.
const LEFTOVER_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of output taken at a time: as much as a pipe holds, see pipe(7).
const OUTPUT_BYTES: usize = 64 * 1024;
/// What ends a session from outside: SIGTERM and SIGINT, as when the machine goes down.
const END: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// A session that has been started.
pub struct Running {
    /// What it is.
    pub status: SessionStatus,
    /// What it prints.
    pub output: OwnedFd,
    /// The control socket.
    pub listener: UnixListener,
    /// SIGCHLD, and what asks for the end.
    pub signals: SignalFd,
    /// Who is connected.
    pub connections: VecDeque<Channel>,
    /// The output's last lines and its place.
    pub log: Log,
    /// The PAM session.
    pub pam: Option<Pam>,
    /// What has to be removed at the end.
    pub places: Places,
    /// Its control group.
    pub cgroup: Option<Cgroup>,
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
pub fn run(setup: &Setup, mut running: Running) {
    let exited = serve(setup, &mut running).unwrap_or_else(|error| {
        // Without its loop the session cannot be served: nothing of it may stay behind.
        let _ = kill(running.server(), Signal::SIGKILL);
        let log = vec![format!("hubd-helper: the session's process failed: {error}")];
        Exited { code: None, signal: Some(libc::SIGKILL), stopped: false, out_of_memory: None, log }
    });
    let reason = match (exited.stopped, exited.code, exited.signal) {
        _ if exited.out_of_memory.is_some() => "out of memory".to_owned(),
        _ if !children().is_empty() => "some of its processes cannot be ended".to_owned(),
        (true, ..) => "stopped".to_owned(),
        (_, Some(code), _) => format!("exit status {code}"),
        (.., signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    let status = &running.status;
    let (user, uid, session) = (status.user.as_str(), Some(status.uid), status.session.as_str());
    Record { request: "exit", verdict: "ended", user, uid, session, reason: &reason, ..Record::default() }
        .write();
    let Running { mut connections, pam, places, cgroup, .. } = running;
    // Everything is gone before the daemon hears of it, so that it may start the server again at once.
    drop(cgroup);
    drop(pam);
    drop(places);
    for connection in &mut connections {
        // A daemon that does not listen any more finds out from the missing socket.
        let _ = connection.send(&Reply::Exited(exited.clone()));
    }
}

/// Before the fork: orphans of the server become children of this process; signals become readable.
pub fn prepare() -> io::Result<SignalFd> {
    prctl::set_child_subreaper(true)?;
    let signals: SigSet = END.into_iter().chain([Signal::SIGCHLD, Signal::SIGHUP]).collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn serve(setup: &Setup, running: &mut Running) -> io::Result<Exited> {
    fcntl(&running.output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let stop_time = Duration::from_secs(setup.policy.stop_seconds.into());
    let (mut phase, mut ended, mut output_open) = (Phase::Runs, (None, None), true);
    // The first round looks at everything: the server may have ended before it began.
    loop {
        output_open &= running.take_output();
        while let Some(signal) = running.signals.read_signal()? {
            running.status.stopping |= END.iter().any(|end| *end as u32 == signal.ssi_signo);
        }
        let (server, all) = reap(running.server())?;
        if let Some(status) = server {
            (phase, ended) = (Phase::Leftovers(Instant::now()), status);
            signal_children(Signal::SIGTERM);
        }
        running.accept(setup);
        running.answer();
        match phase {
            Phase::Runs if running.status.stopping => {
                let _ = kill(running.server(), Signal::SIGTERM);
                phase = Phase::Stopping(Instant::now() + stop_time);
            }
            Phase::Stopping(kill_at) if Instant::now() >= kill_at => {
                let _ = kill(running.server(), Signal::SIGKILL);
                phase = Phase::Stopping(Instant::now() + KILL_TIME_MAX);
            }
            Phase::Leftovers(since) if all || since.elapsed() > LEFTOVER_TIME + KILL_TIME_MAX => {
                running.take_output();
                let ((code, signal), stopped) = (ended, running.status.stopping);
                let killed = signal == Some(libc::SIGKILL) && !stopped;
                let out_of_memory =
                    running.cgroup.as_ref().filter(|_| killed).and_then(Cgroup::out_of_memory);
                return Ok(Exited { code, signal, stopped, out_of_memory, log: running.log.last_lines() });
            }
            Phase::Leftovers(since) if since.elapsed() > LEFTOVER_TIME => {
                running.cgroup.iter().for_each(Cgroup::kill);
                signal_children(Signal::SIGKILL);
            }
            _ => {}
        }
        running.wait(phase, output_open)?;
    }
}

type ExitStatus = (Option<i32>, Option<i32>);

/// Collects every child that has ended: the server's own status if it is among them, and whether no
/// child is left at all.
fn reap(server: Pid) -> io::Result<(Option<ExitStatus>, bool)> {
    let mut found = None;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == server => found = Some((Some(code), None)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == server => {
                found = Some((None, Some(signal as i32)))
            }
            Ok(WaitStatus::StillAlive) => return Ok((found, false)),
            Err(Errno::ECHILD) => return Ok((found, true)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// This process's children, see proc_pid_task(5). Only unreaped children are signalled, so no pid can be
/// somebody else's; grandchildren become children when their parents end.
pub fn children() -> Vec<Pid> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn signal_children(signal: Signal) {
    for pid in children() {
        // One that ended just now is collected in the next round.
        let _ = kill(pid, signal);
    }
}

impl Running {
    fn server(&self) -> Pid {
        Pid::from_raw(self.status.pid)
    }

    /// Sleeps until something happens, or the next deadline.
    fn wait(&self, phase: Phase, output_open: bool) -> io::Result<()> {
        let timeout = match phase {
            Phase::Runs => PollTimeout::NONE,
            Phase::Leftovers(_) => LEFTOVER_INTERVAL.try_into().unwrap_or(PollTimeout::ZERO),
            Phase::Stopping(until) => {
                until.saturating_duration_since(Instant::now()).try_into().unwrap_or(PollTimeout::MAX)
            }
        };
        let mut descriptors = vec![self.signals.as_fd(), self.listener.as_fd()];
        descriptors.extend(self.connections.iter().map(Channel::as_fd));
        descriptors.extend(output_open.then(|| self.output.as_fd()));
        let mut watched: Vec<_> =
            descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn accept(&mut self, setup: &Setup) {
        match self.listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok((stream, _)) => self.connections.extend(Channel::new(setup, stream).ok().flatten()),
            // Somebody hung up, or no descriptor is left: then the oldest connection gives its own.
            Err(_) => drop(self.connections.pop_front()),
        }
        if self.connections.len() > CONNECTIONS_MAX {
            self.connections.pop_front();
        }
    }

    /// Answers who has asked; drops who breaks the rules or is gone.
    fn answer(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        // One request of each in a round, so that nobody keeps the session from the others.
        connections.retain_mut(|connection| match self.answer_one(connection) {
            Ok(()) | Err(ChannelError::Silent) => true,
            Err(ChannelError::Closed) => false,
            Err(ChannelError::Violation(reason)) => {
                let (session, reason) = (self.status.session.as_str(), reason.as_str());
                Record { request: "control", verdict: "violation", reason, session, ..Record::default() }
                    .write();
                false
            }
        });
        self.connections = connections;
    }

    /// One request, if one has come.
    fn answer_one(&mut self, connection: &mut Channel) -> Result<(), ChannelError> {
        let reply = match connection.receive(State::Running, Duration::ZERO)? {
            Request::Status => {
                self.cgroup.iter().for_each(|cgroup| cgroup.tell(&mut self.status));
                Reply::Status(self.status.clone())
            }
            Request::Log => Reply::Log(self.log.last_lines()),
            _ => {
                self.status.stopping = true;
                Reply::Done
            }
        };
        connection.send(&reply)
    }

    /// Takes what the server has printed; `false` at its end.
    fn take_output(&mut self) -> bool {
        let mut buffer = [0; OUTPUT_BYTES];
        match nix::unistd::read(&self.output, &mut buffer) {
            Ok(count) => {
                self.log.take(buffer.get(..count).unwrap_or_default());
                count > 0
            }
            Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
        }
    }
}
