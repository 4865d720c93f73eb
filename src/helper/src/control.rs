//! The process that answers for a running server, `hubd-session` (../session): it has no privilege and runs as the
//! daemon's account. The process above the server hears single bytes from it, and tells it what [`Told`] lists.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use hubd_policy::{OrRefuse, Refusal};
use hubd_proto::line::{STOP, Told};
use hubd_proto::message::Exited;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType};
use nix::sys::socket::{recv, sendmsg, socketpair};
use nix::{errno::Errno, sys::wait::waitpid, unistd::Pid};

use crate::become_user::{self, Plan, c_string};
use crate::{connection::beside, setup::Setup};

/// How long everybody may take to hear how the server ended, in milliseconds.
const FAREWELL_MILLISECONDS_MAX: u16 = 10_000;

/// This process's end of the line.
pub struct Control {
    /// Until it has been collected: the number may be somebody else's then.
    pub process: Option<Pid>,
    /// What to wait for, until it is closed at the other end.
    pub line: Option<OwnedFd>,
    /// What goes with the next thing that it is told, and is the other process's alone from then on.
    pub handed: Vec<OwnedFd>,
}

impl Control {
    /// Executes the program: before PAM opens the session, whose limits and context are not for it.
    pub fn start(setup: &Setup, handed: Vec<OwnedFd>) -> Result<Self, Refusal> {
        let (cloexec, sequence) = (SockFlag::SOCK_CLOEXEC, SockType::SeqPacket);
        let begin = || -> io::Result<_> {
            let (line, input) = socketpair(AddressFamily::Unix, sequence, None, cloexec)?;
            let program = c_string(beside("hubd-session")?.into_os_string().into_encoded_bytes());
            let plan = Plan {
                // A daemon that is root has nothing to be kept from.
                root: setup.root && !setup.daemon_uid.is_root(),
                uid: setup.daemon_uid,
                gid: setup.daemon_gid,
                groups: vec![setup.daemon_gid],
                home: "/".into(),
                must_own_home: false,
                cgroup: None,
                arguments: vec![program],
                environment: Vec::new(),
                input,
                output: io::stderr().as_fd().try_clone_to_owned()?,
            };
            Ok((line, plan))
        };
        let (line, plan) = begin().or_refuse("the session's line")?;
        let process = become_user::start(&plan).map_err(|(step, errno)| {
            let what = format!("hubd-session, which is installed beside hubd-helper, failed at {step}");
            Refusal::system(&what, errno.desc())
        })?;
        Ok(Self { process: Some(process), line: Some(line), handed })
    }

    /// Tells it something. If that fails, the line is closed: the process ends then, if it has not ended already, and
    /// with it the session.
    pub fn tell(&mut self, told: &Told) {
        let handed = std::mem::take(&mut self.handed);
        let numbers: Vec<_> = handed.iter().map(AsRawFd::as_raw_fd).collect();
        let sent = serde_json::to_vec(told).ok().zip(self.line.as_ref()).map(|(text, line)| {
            let rights = [ControlMessage::ScmRights(&numbers)];
            sendmsg::<()>(line.as_raw_fd(), &[IoSlice::new(&text)], &rights, MsgFlags::MSG_DONTWAIT, None)
        });
        if !matches!(sent, Some(Ok(_))) {
            self.line = None;
        }
    }

    /// The next byte that it has said, if any; [`STOP`] is also said by its end.
    pub fn heard(&mut self) -> Option<u8> {
        let mut byte = [0];
        match recv(self.line.as_ref()?.as_raw_fd(), &mut byte, MsgFlags::MSG_DONTWAIT) {
            Ok(1) => Some(u8::from_ne_bytes(byte)),
            Err(Errno::EAGAIN) => None,
            _ => {
                self.line = None;
                Some(STOP)
            }
        }
    }

    /// Has everybody told how the server ended, and ends the process.
    pub fn end(mut self, exited: Exited) {
        self.tell(&Told::Ended(exited));
        if let Some(line) = &self.line {
            // It ends when it has told everybody, which closes the other end.
            let _ = poll(&mut [PollFd::new(line.as_fd(), PollFlags::empty())], FAREWELL_MILLISECONDS_MAX);
        }
        if let Some(process) = self.process {
            let _ = kill(process, Signal::SIGKILL);
            let _ = waitpid(process, None);
        }
    }
}
