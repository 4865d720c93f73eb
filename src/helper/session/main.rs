//! hubd-session: answers for one running server, where the daemon may ask for its status, its last lines and its end.
//!
//! It has no privilege: hubd-helper executes it as the daemon's own account and hands it what it needs, the control
//! socket, the server's output and the log. What needs root, the process above the server does when this one says
//! so, with a byte; see ../src/control.rs. When either of the two ends, so does the other, and the session.

mod output;
mod receive;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hubd_helper::cgroup::figure;
use hubd_helper::channel::Channel;
use hubd_helper::unix;
use hubd_policy::state::{ChannelError, State};
use hubd_proto::line::{STOP, Told, VIOLATION};
use hubd_proto::message::{Exited, SessionStatus};
use hubd_proto::{Reply, Request};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{self, Uid};

use output::Output;

/// Most control connections at a time; a further one pushes the oldest out.
const CONNECTIONS_MAX: usize = 8;
/// Longest packet from the process above the server, in bytes: a status, and the text around it.
const PACKET_BYTES_MAX: usize = 24 * 1024;
/// How many descriptors come with the first one.
const DESCRIPTORS: usize = 5;

fn main() -> ExitCode {
    let begun = restrict_this_process().and_then(|()| Session::begin());
    match begun.and_then(|session| session.map_or(Ok(()), Session::serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubd-session: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Nobody looks into it, it becomes nobody else, and it starts nothing.
fn restrict_this_process() -> io::Result<()> {
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
    // A limit for files that root was started with must not end it.
    unix::ignore_signal(libc::SIGXFSZ);
    Ok(())
}

/// One running server, as the daemon sees it.
struct Session {
    /// To the process above the server.
    line: OwnedFd,
    status: SessionStatus,
    /// The directory of its control group.
    group: Option<PathBuf>,
    listener: UnixListener,
    connections: VecDeque<Channel>,
    output: Output,
}

impl Session {
    /// Waits until the server runs, and tells so whoever asked for it. Nothing, if it never ran.
    fn begin() -> io::Result<Option<Self>> {
        let line = io::stdin().as_fd().try_clone_to_owned()?;
        let Some((Told::Runs(status, group, log_bytes), descriptors)) = receive(&line)? else {
            return Ok(None);
        };
        let [listener, pipe, log, older_log, connection] = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors)
            .map_err(|_| io::Error::other("not all descriptors came"))?;
        let output = Output::new(pipe, [log.into(), older_log.into()], log_bytes)?;
        let (listener, connections) = (UnixListener::from(listener), VecDeque::new());
        listener.set_nonblocking(true)?;
        let mut session = Self { line, status: *status, group, listener, connections, output };
        let started = Reply::Started(session.status.clone());
        // If the daemon is gone already, the session lives on behind its control socket.
        if let Ok(mut channel) = Channel::new(Uid::effective(), connection.into())?
            && channel.send(&started).is_ok()
        {
            session.connections.push_back(channel);
        }
        Ok(Some(session))
    }

    /// Serves until the process above the server says how that ended, or ends itself.
    fn serve(mut self) -> io::Result<()> {
        loop {
            self.output.take();
            self.accept()?;
            self.answer()?;
            if !self.wait()? {
                continue;
            }
            match receive(&self.line)? {
                Some((Told::Stopping, _)) => self.status.stopping = true,
                Some((Told::Ended(exited), _)) => {
                    self.tell_everybody(exited);
                    return Ok(());
                }
                Some((Told::Runs(..), _)) => {}
                None => return Ok(()),
            }
        }
    }

    /// Sleeps until something happens; whether it is on the line.
    fn wait(&self) -> io::Result<bool> {
        let mut descriptors = vec![self.line.as_fd(), self.listener.as_fd()];
        descriptors.extend(self.connections.iter().map(|channel| channel.stream().as_fd()));
        descriptors.extend(self.output.pipe());
        let mut watched: Vec<_> =
            descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => Ok(watched.first().and_then(PollFd::any).unwrap_or(true)),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok((stream, _)) => match Channel::new(Uid::effective(), stream) {
                Ok(Ok(channel)) => self.connections.push_back(channel),
                Ok(Err(_)) => self.say(VIOLATION)?,
                // Somebody has hung up again.
                Err(_) => {}
            },
            // Somebody hung up, or no descriptor is left: then the oldest connection gives its own.
            Err(_) => drop(self.connections.pop_front()),
        }
        if self.connections.len() > CONNECTIONS_MAX {
            self.connections.pop_front();
        }
        Ok(())
    }

    /// Answers who has asked; drops who breaks the rules or is gone. One request of each in a round, so that nobody
    /// keeps the session from the others.
    fn answer(&mut self) -> io::Result<()> {
        for _ in 0..self.connections.len() {
            let Some(mut connection) = self.connections.pop_front() else { break };
            match self.answer_one(&mut connection) {
                Ok(()) | Err(ChannelError::Silent) => self.connections.push_back(connection),
                Err(ChannelError::Closed) => {}
                Err(ChannelError::Violation(_)) => self.say(VIOLATION)?,
            }
        }
        Ok(())
    }

    /// One request, if one has come.
    fn answer_one(&mut self, connection: &mut Channel) -> Result<(), ChannelError> {
        let reply = match connection.receive(State::Running, Duration::ZERO)? {
            Request::Status => Reply::Status(self.status_now()),
            Request::Log => Reply::Log(self.output.last_lines()),
            _ => {
                self.status.stopping = true;
                self.say(STOP).map_err(|_| ChannelError::Closed)?;
                Reply::Done
            }
        };
        connection.send(&reply)
    }

    /// The status with what the server uses now, where the kernel counts that.
    fn status_now(&self) -> SessionStatus {
        let figure = |file, key| self.group.as_ref().and_then(|group| figure(group, file, key));
        SessionStatus {
            memory_bytes: figure("memory.current", ""),
            memory_limit_bytes: figure("memory.max", ""),
            cpu_microseconds: figure("cpu.stat", "usage_usec"),
            ..self.status.clone()
        }
    }

    /// Says one byte to the process above the server.
    fn say(&self, byte: u8) -> io::Result<()> {
        Ok(unistd::write(&self.line, &[byte]).map(drop)?)
    }

    /// Tells every connection how the server ended, with its last lines.
    fn tell_everybody(mut self, mut exited: Exited) {
        self.output.take_rest();
        exited.log = [self.output.last_lines(), exited.log].concat();
        for mut connection in self.connections {
            // A daemon that does not listen any more finds out from the missing socket.
            let _ = connection.send(&Reply::Exited(exited.clone()));
        }
    }
}

/// The next packet from the process above the server; nothing when that has ended.
fn receive(line: &OwnedFd) -> io::Result<Option<(Told, Vec<OwnedFd>)>> {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let (length, descriptors) = receive::receive(line.as_fd(), &mut packet, DESCRIPTORS)?;
    packet.truncate(length);
    if packet.is_empty() { Ok(None) } else { Ok(Some((serde_json::from_slice(&packet)?, descriptors))) }
}
