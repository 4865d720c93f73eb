//! Logging in: a PAM conversation through the helper, step by step.
//!
//! A conversation stays open between two form posts when PAM asks more than a password. After a
//! login the connection with its PAM handle is kept for a while under the browser's session id, so
//! the first start opens its session from the very handle that saw the password.
//!
//! `waiting.rs` keeps both, within limits; `refusal.rs` holds what people are told.

mod admission;
mod refusal;
mod shared;
#[cfg(test)]
mod tests;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;

use hubd_proto::message::{Notice, Prompt, Revocation};
use hubd_proto::{Secret, UserName};

use crate::Hub;
use crate::helper::{HeldLogin, HelperError, Step};
use crate::settings::AuthenticatorKind;

pub use admission::Admitted;
pub use refusal::LoginRefused;
pub use waiting::Logins;
use waiting::{Slot, Suspended};

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
    pub(crate) held: Option<HeldLogin>,
    /// What PAM said, for instance that the password expires soon.
    pub notices: Vec<Notice>,
    /// Whether the login makes or unmakes an admin; `None` leaves it.
    pub admin: Option<bool>,
    /// The groups of the hub that the login puts the person into, and no others; `None` leaves them.
    pub groups: Option<Vec<String>>,
}

impl LoggedIn {
    /// A login that the helper does not know of.
    fn without_ticket(user: UserName) -> Self {
        Self { user, ticket: None, held: None, notices: Vec::new(), admin: None, groups: None }
    }
}

/// One attempt: who, from where, and its place among all attempts.
struct Attempt {
    user: UserName,
    source: IpAddr,
    /// Given back when the attempt is over.
    _slot: Slot,
}

impl Hub {
    /// Begins a login with a name and the password typed beside it. The first hidden prompt of the
    /// conversation is answered with `password`.
    pub async fn login_begin(self: &Arc<Self>, user: &str, password: Secret, source: IpAddr) -> LoginStep {
        let name = match UserName::new(user.to_lowercase()) {
            // Root is refused here as well as by the helper, so that neither check stands alone.
            Ok(name) if name.as_str() != "root" => name,
            Ok(_) => {
                tracing::warn!("User 'root' not allowed.");
                return self.refused("root", LoginRefused::uniform());
            }
            Err(_) => {
                tracing::warn!("Disallowing invalid username {}.", quoted(user));
                return self.refused(user, LoginRefused::uniform());
            }
        };
        match &self.settings.authenticator.kind {
            AuthenticatorKind::Dummy { password: wanted } => {
                self.dummy_login(name, &password, wanted.as_ref()).await
            }
            AuthenticatorKind::Shared(_) => self.shared_login(name, &password, source).await,
            AuthenticatorKind::Null => self.refused(name.as_str(), LoginRefused::uniform()),
            AuthenticatorKind::Pam => {
                let Some(slot) = self.logins.slot(source).await else {
                    return self.refused(name.as_str(), LoginRefused::too_many());
                };
                let attempt = Attempt { user: name, source, _slot: slot };
                let mut notices = Vec::new();
                let mut step = self.helper.begin_login(&attempt.user, source, &mut notices).await;
                if let Ok(Step::Prompt(conversation, prompt)) = step {
                    step = if prompt.echo {
                        Ok(Step::Prompt(conversation, prompt))
                    } else {
                        conversation.answer(password, &mut notices).await
                    };
                }
                self.stepped(attempt, step, notices).await
            }
        }
    }

    /// Goes on with a conversation.
    pub async fn login_answer(self: &Arc<Self>, id: &str, answer: Secret) -> LoginStep {
        // Taken out of the table: a second answer to the same question finds nothing.
        let Some(Suspended { conversation, attempt }) = self.logins.resume(id) else {
            return LoginStep::Refused(LoginRefused::took_too_long());
        };
        let mut notices = Vec::new();
        let step = conversation.answer(answer, &mut notices).await;
        self.stepped(attempt, step, notices).await
    }

    /// Keeps the PAM handle of a login for the first start from the browser session `session_id`.
    pub fn keep_login(&self, session_id: &str, login: &mut LoggedIn) {
        if let Some(held) = login.held.take() {
            self.logins.hold(session_id, login.user.clone(), held);
        }
    }

    /// Forgets a held PAM handle and revokes `ticket`, or all tickets of its owner, at logout. Never fails: what cannot be told the
    /// helper is logged.
    pub async fn end_login(
        &self,
        session_id: &str,
        user: &UserName,
        ticket: Option<Secret>,
        which: Revocation,
    ) {
        self.logins.release(session_id);
        if let Some(ticket) = ticket
            && let Err(error) = self.helper.revoke(user, &ticket, which).await
        {
            tracing::warn!(%user, "cannot revoke a ticket at logout: {error}");
        }
    }

    /// Turns what PAM did into what the person sees.
    async fn stepped(
        self: &Arc<Self>,
        attempt: Attempt,
        step: Result<Step, HelperError>,
        notices: Vec<Notice>,
    ) -> LoginStep {
        match step {
            Ok(Step::Prompt(conversation, prompt)) => {
                let (id, user) = (self.new_token(), attempt.user.clone());
                self.logins.suspend(id.clone(), Suspended { conversation, attempt });
                LoginStep::Prompt(Pending { id, user, prompt, notices })
            }
            Ok(Step::Authenticated { held, account, ticket }) => {
                // PAM and NSS decide about the account's name; the hub knows it in lower case.
                match UserName::new(account.as_str().to_lowercase()) {
                    Ok(user) => {
                        let login = LoggedIn {
                            ticket: Some(ticket),
                            held: Some(held),
                            notices,
                            ..LoggedIn::without_ticket(user)
                        };
                        self.accepted(login).await
                    }
                    Err(_) => self.refused(account.as_str(), LoginRefused::uniform()),
                }
            }
            Err(error) => {
                let (user, source) = (quoted(attempt.user.as_str()), attempt.source);
                tracing::warn!("PAM Authentication failed ({user}@{source}): {error}");
                self.refused(attempt.user.as_str(), LoginRefused::from_helper(error, notices))
            }
        }
    }

    fn refused(&self, user: &str, refused: LoginRefused) -> LoginStep {
        tracing::warn!("Failed login for {}", quoted(user));
        LoginStep::Refused(refused)
    }
}

/// A name as JupyterHub's log shows it, quoted, printable and bounded.
fn quoted(name: &str) -> String {
    const CHARACTERS_MAX: usize = 32;
    const CHARACTERS_SHOWN: usize = 16;
    let characters = name.chars().count();
    if characters <= CHARACTERS_MAX {
        return format!("'{}'", name.escape_debug());
    }
    let shown: String = name.chars().take(CHARACTERS_SHOWN).collect();
    format!("'{}'...({characters} chars)", shown.escape_debug())
}
