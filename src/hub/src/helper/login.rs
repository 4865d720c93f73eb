//! A PAM conversation, from the daemon's end.

use std::net::IpAddr;
use std::time::Duration;

use hubd_proto::message::{Answer, Authenticate, Notice, Prompt};
use hubd_proto::{Reply, Request, Secret, UserName};

use super::connection::Connection;
use super::{HelperClient, HelperError};

/// The longest wait for a PAM module to go on. It may wait for the person's telephone, so it is the
/// helper's own time for a conversation (`conversation_seconds`).
pub(crate) const PAM_LIMIT: Duration = Duration::from_secs(180);

/// A conversation that waits for an answer.
pub(crate) struct Conversation {
    connection: Connection,
}

/// An `authenticated` connection: a PAM handle that is still held by its helper process. Dropping it
/// ends that process.
pub struct HeldLogin {
    pub(super) connection: Connection,
    /// The account as the helper knows it, which the start must name.
    pub(super) account: UserName,
}

/// What PAM did next.
pub(crate) enum Step {
    /// It asks the person something.
    Prompt(Conversation, Prompt),
    /// It said yes.
    Authenticated {
        /// The connection with the PAM handle.
        held: HeldLogin,
        /// The account's name as NSS spells it.
        account: UserName,
        /// The ticket and its end, in seconds since 1970.
        ticket: (Secret, u64),
    },
}

impl HelperClient {
    /// Begins a conversation. What PAM says on the way is added to `notices`.
    pub(crate) async fn begin_login(
        &self,
        user: &UserName,
        source: IpAddr,
        notices: &mut Vec<Notice>,
    ) -> Result<Step, HelperError> {
        let mut connection = Connection::open(&self.socket, self.timeout).await?;
        let request = Authenticate { user: user.clone(), source: Some(source) };
        connection.send(&Request::Authenticate(request)).await?;
        Conversation { connection }.step(notices).await
    }
}

impl Conversation {
    /// Answers the prompt that came last.
    pub(crate) async fn answer(
        mut self,
        text: Secret,
        notices: &mut Vec<Notice>,
    ) -> Result<Step, HelperError> {
        self.connection.send(&Request::Answer(Answer { text })).await?;
        self.step(notices).await
    }

    async fn step(mut self, notices: &mut Vec<Notice>) -> Result<Step, HelperError> {
        loop {
            match self.connection.receive_within(PAM_LIMIT).await? {
                Reply::Prompt(prompt) => return Ok(Step::Prompt(self, prompt)),
                Reply::Notice(notice) => notices.push(notice),
                Reply::Authenticated(yes) => {
                    let held = HeldLogin { connection: self.connection, account: yes.user.clone() };
                    let ticket = (yes.ticket, yes.ticket_expires_at);
                    return Ok(Step::Authenticated { held, account: yes.user, ticket });
                }
                _ => return Err(HelperError::Unexpected("authenticate")),
            }
        }
    }
}
