//! A refusal on its way to the daemon and into the audit record.

use hubd_proto::message::{RefusalCode, Refused};

/// Why a request is refused: what the daemon may know, and what only root's audit record says.
#[derive(Debug)]
pub struct Refusal {
    /// What is sent.
    pub refused: Refused,
    /// The true reason, for the audit record alone.
    pub reason: String,
}

impl Refusal {
    /// A refusal whose reason may be known.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let message = message.into();
        let reason = format!("{}: {message}", code.as_str());
        Self { refused: Refused { code, message, notices: Vec::new(), retry_after_seconds: None }, reason }
    }

    /// The one answer to every login that fails before PAM said yes.
    pub fn login(reason: impl Into<String>) -> Self {
        let message = "The user name or the password is not right, or this account may not log in here.";
        Self { reason: reason.into(), ..Self::new(RefusalCode::LoginRefused, message) }
    }

    /// The system failed while doing `what`.
    pub fn system(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(RefusalCode::System, format!("{what}: {error}"))
    }

    /// Adds what PAM modules said.
    pub fn with_notices(mut self, notices: Vec<String>) -> Self {
        self.refused.notices = notices;
        self
    }

    /// Adds when to try again.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.refused.retry_after_seconds = Some(seconds);
        self
    }
}
