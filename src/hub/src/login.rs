//! Logging in: a PAM conversation through the helper, step by step.
//!
//! A conversation stays open between two form posts when PAM asks more than a password. After a
//! login the connection with its PAM handle is kept for a while under the browser's session id, so
//! the first start opens its session from the very handle that saw the password.

use std::net::IpAddr;
use std::sync::Arc;

use hubd_proto::message::{Notice, Prompt};
use hubd_proto::{Secret, UserName};

use crate::Hub;

/// Conversations in progress and PAM handles still held. Both are bounded in number and time.
#[derive(Default)]
pub struct Logins {}

/// Where a login stands.
pub enum LoginStep {
    /// PAM asks something else: show `prompt` and post the answer to [`Hub::login_answer`].
    Prompt(Pending),
    /// The person is who they say and may use the hub.
    Done(LoggedIn),
    /// Refused or failed.
    Refused(LoginRefused),
}

/// A conversation that waits for the person.
pub struct Pending {
    /// Names the conversation in the form: 32 hex digits, only known to this browser.
    pub id: String,
    /// Who logs in.
    pub user: UserName,
    /// What PAM asks.
    pub prompt: Prompt,
    /// What PAM said before it asked.
    pub notices: Vec<Notice>,
}

/// A login that succeeded.
pub struct LoggedIn {
    /// The hub's user name: what NSS says, lower case as JupyterHub normalises.
    pub user: UserName,
    /// The helper's ticket for the person's own cookie, and when it ends (seconds since 1970).
    /// `None` with an authenticator that has no tickets.
    pub ticket: Option<(Secret, u64)>,
    /// Names the held PAM handle: pass it to [`Hub::keep_login`] with the browser's session id.
    pub(crate) held: Option<crate::helper::HeldLogin>,
    /// What PAM said, for instance that the password expires soon.
    pub notices: Vec<Notice>,
}

/// A login that did not succeed.
#[derive(Debug, Clone)]
pub struct LoginRefused {
    /// HTTP status of the answer: 403, 429 or 503.
    pub status: u16,
    /// Stable code, for instance `login-refused`.
    pub code: String,
    /// For the person: what happened and what to do.
    pub message: String,
    /// What PAM said.
    pub notices: Vec<Notice>,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl Hub {
    /// Begins a login with a name and the password typed beside it. The first hidden prompt of the
    /// conversation is answered with `password`.
    pub async fn login_begin(self: &Arc<Self>, user: &str, password: Secret, source: IpAddr) -> LoginStep {
        todo!()
    }

    /// Goes on with a conversation.
    pub async fn login_answer(self: &Arc<Self>, id: &str, answer: Secret) -> LoginStep {
        todo!()
    }

    /// Keeps the PAM handle of a login for the first start from the browser session `session_id`.
    pub fn keep_login(&self, session_id: &str, login: &mut LoggedIn) {
        todo!()
    }

    /// Forgets a held PAM handle and revokes `ticket`, at logout. Never fails: what cannot be told the
    /// helper is logged.
    pub async fn end_login(&self, session_id: &str, user: &UserName, ticket: Option<Secret>) {
        todo!()
    }
}
