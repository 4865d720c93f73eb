//! The process above a running server: it ends the server when asked, then what the server left behind, and
//! closes the PAM session that it opened. The daemon is answered by another process, see `control.rs`.

use std::time::{Duration, Instant};
use std::{fs, io, os::fd::AsFd};

use hubd_policy::ending::{Do, Phase};
use hubd_policy::{record::Record, session::ending, session::exited};
use hubd_proto::line::{Told, VIOLATION};
use hubd_proto::message::{Exited, SessionStatus};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::{errno::Errno, sys::prctl, unistd::Pid};

use crate::control::Control;
use crate::{audit, cgroup::Cgroup, pam::Pam, places::Places, setup::Setup};

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

/// Stays until nothing of the session runs any more.
pub fn run(setup: &Setup, mut running: Running) {
    let exited = serve(setup, &mut running).unwrap_or_else(|error| {
        // Without its loop the session cannot be served: nothing of it may stay behind.
        signal_all(&[running.server()], Signal::SIGKILL);
        let log = vec![format!("hubd-helper: the session's process failed: {error}")];
        Exited { log, ..exited((None, Some(libc::SIGKILL)), false, None) }
    });
    let reason = ending(&exited, !running.leftovers().is_empty());
    audit::write(&Record { reason: &reason, ..Record::of_session(&running.status, "exit", "ended") });
    let Running { control, pam, places, cgroup, .. } = running;
    // Everything is gone before the daemon hears of it, so that it may start the server again at once.
    drop((cgroup, pam, places));
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
    let (mut phase, mut ended) = (Phase::Runs, (None, None));
    // The first round looks at everything: the server may have ended before it began.
    loop {
        while let Some(signal) = running.signals.read_signal()? {
            running.status.stopping |= END.iter().any(|end| *end as u32 == signal.ssi_signo);
        }
        match running.control.heard() {
            Some(VIOLATION) => audit::write(&Record::of_session(&running.status, "control", "violation")),
            // Whatever else it says is a stop, as its end is.
            heard => running.status.stopping |= heard.is_some(),
        }
        if let Some(status) = running.reap()? {
            (phase, ended) = (Phase::Leftovers(Instant::now()), status);
            signal_all(&running.leftovers(), Signal::SIGTERM);
        }
        let (stopping, left) = (running.status.stopping, running.leftovers());
        match phase.step(Instant::now(), stopping, setup.policy.stop_time(), !left.is_empty()) {
            Do::Nothing => {}
            Do::Stop => {
                signal_all(&[running.server()], Signal::SIGTERM);
                running.control.tell(&Told::Stopping);
            }
            Do::Kill => signal_all(&[running.server()], Signal::SIGKILL),
            Do::KillLeftovers => {
                running.cgroup.iter().for_each(Cgroup::kill);
                signal_all(&left, Signal::SIGKILL);
            }
            Do::End => {
                let limit = running.cgroup.as_ref().and_then(Cgroup::out_of_memory);
                return Ok(exited(ended, stopping, limit));
            }
        }
        running.wait(phase.pause(Instant::now()))?;
    }
}

/// Signals children of this process that it has not collected.
fn signal_all(children: &[Pid], signal: Signal) {
    for pid in children {
        // One that ended just now is collected in the next round.
        let _ = kill(*pid, signal);
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

    /// What is left beside the process that answers the daemon. None can end unseen while the list is read, because
    /// only this process collects them.
    fn leftovers(&self) -> Vec<Pid> {
        children().into_iter().filter(|pid| self.control.process != Some(*pid)).collect()
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
            if self.control.process == Some(pid) {
                // Nobody could ask about the server any more, nor have it ended.
                self.control.process = None;
                self.status.stopping = true;
            } else if pid == self.server() {
                found = Some(status);
            }
        }
    }

    /// Sleeps until something happens, or for this long.
    fn wait(&self, pause: Option<Duration>) -> io::Result<()> {
        let timeout = pause.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        let descriptors =
            [Some(self.signals.as_fd()), self.control.line.as_ref().map(AsFd::as_fd)].into_iter().flatten();
        let mut watched: Vec<_> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut watched, timeout) {
            Err(errno) if errno != Errno::EINTR => Err(errno.into()),
            _ => Ok(()),
        }
    }
}
