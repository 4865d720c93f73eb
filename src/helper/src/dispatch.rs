//! Which request is legal in which state, and the way of one connection through the states.
//!
//! Only this process's own state counts. A request that is not in the table ends the process.

use std::time::Duration;

use hubd_proto::Request;
use hubd_proto::message::{Account as AccountReply, CheckAccount, RefusalCode, Reply, Revocation, Revoke};

use crate::channel::{Channel, ChannelError};
use crate::session::{self, Asked};
use crate::{audit::Record, login, permission, refusal::Refusal, setup::Setup, ticket};

/// Longest time between connecting and the first request.
pub const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

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

/// Whether `request` is legal in `state`: the whole table.
///
/// # Errors
/// A violation, which ends the process.
pub fn check(state: State, request: &Request) -> Result<(), ChannelError> {
    use Request::{
        Answer, Authenticate, CheckAccount, CreateAccount, Log, Revoke, Start, StartService, Status, Stop,
    };
    let legal = match state {
        State::Idle => {
            matches!(request, Authenticate(_) | CheckAccount(_) | Revoke(_) | Start(_) | StartService(_))
        }
        State::Accounts => matches!(request, CreateAccount(_)),
        State::Conversing => matches!(request, Answer(_)),
        State::Authenticated => matches!(request, Start(_)),
        State::Running => matches!(request, Status | Stop | Log),
    };
    if legal { Ok(()) } else { Err(ChannelError::Violation(format!("not legal in state {state:?}"))) }
}

/// Serves one connection to its end. For a started server that is the server's end.
pub fn serve(setup: &Setup, mut channel: Channel) {
    let asked = until_start(setup, &mut channel);
    if let Some(asked) = settle(&mut channel, asked).flatten() {
        session::run(setup, channel, asked);
    }
}

/// What has been served, unless the daemon is gone or has broken the rules, which ends the process.
pub fn settle<T>(channel: &mut Channel, served: Result<T, ChannelError>) -> Option<T> {
    if let Err(ChannelError::Violation(what)) = &served {
        Record { request: "protocol", verdict: "violation", reason: what, ..Record::default() }.write();
        // The process ends either way; a peer that breaks the rules may not even read this.
        let _ = channel.send(&Reply::Refused(Refusal::new(RefusalCode::Protocol, what).refused));
    }
    served.ok()
}

/// Everything before a server, to the request for one.
fn until_start(setup: &Setup, channel: &mut Channel) -> Result<Option<Asked>, ChannelError> {
    let answer = match channel.receive(State::Idle, FIRST_REQUEST_TIME_MAX)? {
        Request::Start(start) => return Ok(Some(Asked::Server(start, None))),
        Request::StartService(start) => return Ok(Some(Asked::Service(start))),
        Request::Authenticate(request) => match login::run(setup, channel, &request)? {
            Ok((login, reply)) => {
                channel.send(&Reply::Authenticated(reply))?;
                let hold = Duration::from_secs(setup.policy.login_hold_seconds.into());
                return match channel.receive(State::Authenticated, hold) {
                    Ok(Request::Start(start)) => Ok(Some(Asked::Server(start, Some(login)))),
                    Err(error @ ChannelError::Violation(_)) => Err(error),
                    _ => Ok(None),
                };
            }
            Err(refusal) => Reply::Refused(refusal.refused),
        },
        Request::CheckAccount(check) => {
            recorded("check_account", check.user.as_str(), check_account(setup, &check).map(Reply::Account))
        }
        Request::Revoke(request) => {
            recorded("revoke", request.user.as_str(), revoke(setup, &request).map(|()| Reply::Done))
        }
        _ => return Err(ChannelError::Closed),
    };
    channel.send(&answer)?;
    Ok(None)
}

/// Turns a result into its reply and writes the audit record.
pub fn recorded(request: &str, user: &str, result: Result<Reply, Refusal>) -> Reply {
    let refusal = result.as_ref().err();
    let verdict = if refusal.is_none() { "accepted" } else { "refused" };
    let reason = refusal.map_or("", |refusal| &refusal.reason);
    Record { request, verdict, user, reason, ..Record::default() }.write();
    result.unwrap_or_else(|refusal| Reply::Refused(refusal.refused))
}

/// Without a ticket: what NSS and the policy say, which any local process could find out. With a
/// live one also what PAM's account management says today.
fn check_account(setup: &Setup, check: &CheckAccount) -> Result<AccountReply, Refusal> {
    let mut ticket_expires_at = None;
    let account = match &check.ticket {
        None => permission::find(setup, &check.user)?,
        Some(secret) => {
            let (account, ticket) = permission::with_ticket(setup, &check.user, secret)?;
            ticket_expires_at = Some(ticket.expires_at);
            permission::not_barred(setup, &account)?;
            if setup.root {
                permission::refuse_locked(&account, &ticket)?;
                permission::pam_without_password(setup, &account)?;
            }
            account
        }
    };
    Ok(account.told(ticket_expires_at))
}

fn revoke(setup: &Setup, request: &Revoke) -> Result<(), Refusal> {
    let (account, _) = permission::with_ticket(setup, &request.user, &request.ticket)?;
    let uid = account.uid.as_raw();
    match request.which {
        Revocation::This => ticket::revoke(setup, uid, &request.ticket),
        Revocation::All => ticket::revoke_all_of(setup, uid),
    }
    .map_err(|error| Refusal::system("the ticket could not be removed", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_closed_until_the_step_before_opened_it() {
        let stop = Request::Stop;
        assert!(check(State::Running, &stop).is_ok());
        for state in [State::Idle, State::Conversing, State::Authenticated] {
            assert!(matches!(check(state, &stop), Err(ChannelError::Violation(_))), "{state:?}");
        }
        let answer = Request::Answer(hubd_proto::message::Answer { text: String::from("x").into() });
        for state in [State::Idle, State::Running, State::Authenticated] {
            assert!(check(state, &answer).is_err(), "{state:?}");
        }
        assert!(check(State::Conversing, &answer).is_ok());
        assert!(check(State::Conversing, &stop).is_err());
    }
}
