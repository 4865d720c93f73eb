//! Which request is legal in which state of a connection, the whole table; and what breaks the rules.

use std::io::ErrorKind;

use hubd_proto::{Request, frame::FrameError};

use crate::refusal::Refusal;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Just connected.
    Idle,
    /// Just connected to the socket for making accounts.
    Accounts,
    /// A PAM module has asked something.
    Conversing,
    /// Somebody has logged in; the PAM handle is held.
    Authenticated,
    /// A server runs.
    Running,
}

impl State {
    /// The request, if it is legal now. One that is not ends the process.
    pub fn check(self, request: Request) -> Result<Request, ChannelError> {
        let illegal = || ChannelError::Violation(format!("not legal in state {self:?}"));
        self.allows(&request).then_some(request).ok_or_else(illegal)
    }

    fn allows(self, request: &Request) -> bool {
        use Request::{
            Answer, Authenticate, CheckAccount, CreateAccount, Log, Revoke, Start, StartService, Status, Stop,
        };
        match self {
            Self::Idle => {
                matches!(request, Authenticate(_) | CheckAccount(_) | Revoke(_) | Start(_) | StartService(_))
            }
            Self::Accounts => matches!(request, CreateAccount(_)),
            Self::Conversing => matches!(request, Answer(_)),
            Self::Authenticated => matches!(request, Start(_)),
            Self::Running => matches!(request, Status | Stop | Log),
        }
    }
}

/// Why no message came, or none could be sent.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The daemon hung up, or the connection failed.
    #[error("the daemon closed the connection")]
    Closed,
    /// Nothing came in the time allowed.
    #[error("nothing was asked in time")]
    Silent,
    /// What came is not a message, or not one that is legal now.
    #[error("{0}")]
    Violation(String),
}

/// A connection hung up between messages is no violation; everything else that frames complain about is.
impl From<FrameError> for ChannelError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Closed => Self::Closed,
            FrameError::Io(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    Self::Violation("a message was not finished in time".into())
                }
                ErrorKind::UnexpectedEof => Self::Violation("a message was cut short".into()),
                _ => Self::Closed,
            },
            other => Self::Violation(other.to_string()),
        }
    }
}

/// Why a login came to nothing.
#[derive(Debug)]
pub enum Ended {
    /// The daemon is told.
    Refused(Refusal),
    /// Nobody is left to tell.
    Broken(ChannelError),
}

impl Ended {
    /// The verdict and the reason, for the audit record.
    pub fn told(&self) -> (&'static str, String) {
        match self {
            Self::Refused(refusal) => ("refused", refusal.reason.clone()),
            Self::Broken(error) => ("abandoned", error.to_string()),
        }
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ChannelError> for Ended {
    fn from(error: ChannelError) -> Self {
        Self::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_closed_until_the_step_before_opened_it() {
        assert!(State::Running.allows(&Request::Stop));
        for state in [State::Idle, State::Accounts, State::Conversing, State::Authenticated] {
            assert!(!state.allows(&Request::Stop), "{state:?}");
        }
        let answer = Request::Answer(hubd_proto::message::Answer { text: String::from("x").into() });
        for state in [State::Idle, State::Accounts, State::Running, State::Authenticated] {
            assert!(!state.allows(&answer), "{state:?}");
        }
        assert!(State::Conversing.allows(&answer));
    }
}
