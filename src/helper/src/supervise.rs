//! The process above a running server: it ends the server when asked, then what the server left behind, and
//! closes the PAM session that it opened. The daemon is answered by another process, see `control.rs`.

use std::time::{Duration, Instant};
use std::{fs, io, os::fd::AsFd};

use hubd_proto::message::{Exited, SessionStatus};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::{errno::Errno, sys::prctl, unistd::Pid};

use crate::control::{Control, Told, VIOLATION};
use crate::{audit::Record, cgroup::Cgroup, pam::Pam, places::Places, setup::Setup};

/// How long what a server left behind has between SIGTERM and SIGKILL.
const LEFTOVER_TIME: Duration = Duration::from_secs(5);
/// How long SIGKILL is repeated before the session gives up and says so.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often leftovers are looked for while they are being ended.
const LEFTOVER_INTERVAL: Duration = Duration::from_millis(50);
/// What ends a session from outside: SIGTERM and SIGINT, as when the machine goes down.
const END: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// A session that has been started.
pub struct Running {
    /// What it is.
    pub status: SessionStatus,
    /// Who answers for it.
    pub control: Control,
    /// SIGCHLD, and what asks for the end.
    pub signals: SignalFd,
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

/// Stays until nothing of the session runs any more.
pub fn run(setup: &Setup, mut running: Running) {
    let exited = serve(setup, &mut running).unwrap_or_else(|error| {
        // Without its loop the session cannot be served: nothing of it may stay behind.
        let _ = kill(running.server(), Signal::SIGKILL);
        let log = vec![format!("hubd-helper: the session's process failed: {error}")];
        Exited { code: None, signal: Some(libc::SIGKILL), stopped: false, out_of_memory: None, log }
    });
    let reason = match (exited.stopped, exited.code, exited.signal) {
        _ if exited.out_of_memory.is_some() => "out of memory".to_owned(),
        _ if !running.leftovers().is_empty() => "some of its processes cannot be ended".to_owned(),
        (true, ..) => "stopped".to_owned(),
        (_, Some(code), _) => format!("exit status {code}"),
        (.., signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    Record { reason: &reason, ..running.record("exit", "ended") }.write();
    let Running { control, pam, places, cgroup, .. } = running;
    // Everything is gone before the daemon hears of it, so that it may start the server again at once.
    drop(cgroup);
    drop(pam);
    drop(places);
    control.end(exited);
}

/// Before the fork: orphans of the server become children of this process; signals become readable.
pub fn prepare() -> io::Result<SignalFd> {
    prctl::set_child_subreaper(true)?;
    let signals: SigSet = END.into_iter().chain([Signal::SIGCHLD, Signal::SIGHUP]).collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn serve(setup: &Setup, running: &mut Running) -> io::Result<Exited> {
    let stop_time = Duration::from_secs(setup.policy.stop_seconds.into());
    let (mut phase, mut ended) = (Phase::Runs, (None, None));
    // The first round looks at everything: the server may have ended before it began.
    loop {
        while let Some(signal) = running.signals.read_signal()? {
            running.status.stopping |= END.iter().any(|end| *end as u32 == signal.ssi_signo);
        }
        match running.control.heard() {
            Some(VIOLATION) => running.record("control", "violation").write(),
            // Whatever else it says is a stop, as its end is.
            heard => running.status.stopping |= heard.is_some(),
        }
        if let Some(status) = running.reap()? {
            (phase, ended) = (Phase::Leftovers(Instant::now()), status);
            running.signal_leftovers(Signal::SIGTERM);
        }
        match phase {
            Phase::Runs if running.status.stopping => {
                let _ = kill(running.server(), Signal::SIGTERM);
                running.control.tell(&Told::Stopping);
                phase = Phase::Stopping(Instant::now() + stop_time);
            }
            Phase::Stopping(kill_at) if Instant::now() >= kill_at => {
                let _ = kill(running.server(), Signal::SIGKILL);
                phase = Phase::Stopping(Instant::now() + KILL_TIME_MAX);
            }
            Phase::Leftovers(since)
                if running.leftovers().is_empty() || since.elapsed() > LEFTOVER_TIME + KILL_TIME_MAX =>
            {
                let ((code, signal), stopped) = (ended, running.status.stopping);
                let killed = signal == Some(libc::SIGKILL) && !stopped;
                let out_of_memory =
                    running.cgroup.as_ref().filter(|_| killed).and_then(Cgroup::out_of_memory);
                return Ok(Exited { code, signal, stopped, out_of_memory, log: Vec::new() });
            }
            Phase::Leftovers(since) if since.elapsed() > LEFTOVER_TIME => {
                running.cgroup.iter().for_each(Cgroup::kill);
                running.signal_leftovers(Signal::SIGKILL);
            }
            _ => {}
        }
        running.wait(phase)?;
    }
}

/// This process's children, see proc_pid_task(5). Only unreaped children are signalled, so no pid can be
/// somebody else's; grandchildren become children when their parents end.
pub fn children() -> Vec<Pid> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

impl Running {
    fn server(&self) -> Pid {
        Pid::from_raw(self.status.pid)
    }

    fn record<'a>(&'a self, request: &'a str, verdict: &'a str) -> Record<'a> {
        let status = &self.status;
        let (user, uid, session) = (status.user.as_str(), Some(status.uid), status.session.as_str());
        Record { request, verdict, user, uid, session, ..Record::default() }
    }

    /// What is left beside the process that answers the daemon. None can end unseen while the list is read, because
    /// only this process collects them.
    fn leftovers(&self) -> Vec<Pid> {
        children().into_iter().filter(|pid| !self.control.is(*pid)).collect()
    }

    fn signal_leftovers(&self, signal: Signal) {
        for pid in self.leftovers() {
            // One that ended just now is collected in the next round.
            let _ = kill(pid, signal);
        }
    }

    /// Collects every child that has ended, and gives code and signal of the server if it is among them.
    fn reap(&mut self) -> io::Result<Option<(Option<i32>, Option<i32>)>> {
        let mut found = None;
        loop {
            let (pid, status) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, (Some(code), None)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, (None, Some(signal as i32))),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(found),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if self.control.is(pid) {
                // Nobody could ask about the server any more, nor have it ended.
                self.control.collected();
                self.status.stopping = true;
            } else if pid == self.server() {
                found = Some(status);
            }
        }
    }

    /// Sleeps until something happens, or the next deadline.
    fn wait(&self, phase: Phase) -> io::Result<()> {
        let timeout = match phase {
            Phase::Runs => PollTimeout::NONE,
            Phase::Leftovers(_) => LEFTOVER_INTERVAL.try_into().unwrap_or(PollTimeout::ZERO),
            Phase::Stopping(until) => {
                until.saturating_duration_since(Instant::now()).try_into().unwrap_or(PollTimeout::MAX)
            }
        };
        let descriptors = [Some(self.signals.as_fd()), self.control.line()].into_iter().flatten();
        let mut watched: Vec<_> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
