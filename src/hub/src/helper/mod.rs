//! The client of the root helper: each function is one request of `hubd_proto::message`.
//!
//! One connection is one helper process, so nothing is pooled: `login.rs` holds a PAM conversation,
//! `session.rs` a server from its start to its end. `connection.rs` carries the frames.

mod connection;
mod error;
mod login;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use hubd_proto::message::{Account, CheckAccount, CreateAccount, Revocation, Revoke};
use hubd_proto::{Reply, Request, Secret, UserName};

pub use error::HelperError;
pub(crate) use login::{Conversation, HeldLogin, Step};
pub(crate) use session::{Control, Event, StartError};

use connection::Connection;

/// The socket for making accounts, beside the helper's own.
const ACCOUNTS_SOCKET: &str = "accounts.sock";
/// The longest wait for an account: useradd(8) waits for the lock of the account files, the rate for its turn.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(60);

/// Knows the helper's socket; opens one connection per task.
#[derive(Debug, Clone)]
pub struct HelperClient {
    /// `JupyterHub.helper_socket`, for instance `/run/hubd/helper.sock`. `sessions` lies beside it.
    pub socket: PathBuf,
    /// The longest wait for an answer that needs no person.
    pub timeout: Duration,
}

impl HelperClient {
    /// Asks whether `user` may use hubd and, if a ticket is given, whether it still holds.
    ///
    /// # Errors
    /// The helper cannot be reached, or refused.
    pub async fn check_account(
        &self,
        user: &UserName,
        ticket: Option<&Secret>,
    ) -> Result<Account, HelperError> {
        let request = CheckAccount { user: user.clone(), ticket: ticket.cloned() };
        match self.ask(&Request::CheckAccount(request)).await? {
            Reply::Account(account) => Ok(account),
            _ => Err(HelperError::Unexpected("check_account")),
        }
    }

    /// Makes `ticket`, or all tickets of its user, worthless.
    ///
    /// # Errors
    /// The helper cannot be reached, or refused.
    pub async fn revoke(
        &self,
        user: &UserName,
        ticket: &Secret,
        which: Revocation,
    ) -> Result<(), HelperError> {
        let request = Revoke { user: user.clone(), ticket: ticket.clone(), which };
        match self.ask(&Request::Revoke(request)).await? {
            Reply::Done => Ok(()),
            _ => Err(HelperError::Unexpected("revoke")),
        }
    }

    /// Makes an account, over the socket that is there for it alone.
    ///
    /// # Errors
    /// The helper cannot be reached, or refused; useradd's own words are in the message.
    pub async fn create_account(&self, user: &UserName) -> Result<Account, HelperError> {
        let socket = self.socket.with_file_name(ACCOUNTS_SOCKET);
        let client = Self { socket, timeout: ACCOUNT_LIMIT };
        match client.ask(&Request::CreateAccount(CreateAccount { user: user.clone() })).await? {
            Reply::Account(account) => Ok(account),
            _ => Err(HelperError::Unexpected("create_account")),
        }
    }

    /// One request on a connection of its own, and its answer.
    async fn ask(&self, request: &Request) -> Result<Reply, HelperError> {
        let mut connection = Connection::open(&self.socket, self.timeout).await?;
        connection.send(request).await?;
        connection.receive_within(self.timeout).await
    }
}
