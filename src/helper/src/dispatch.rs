//! Which request is legal in which state, and the way of one connection through the states.
//!
//! Only this process's own state counts. A request that is not in the table ends the process.

use std::time::Duration;

use hubd_proto::Request;
use hubd_proto::message::{Account as AccountReply, CheckAccount, Refused, Reply, Revocation, Revoke};

use crate::audit::Record;
use crate::channel::{Channel, ChannelError};
use crate::login::{self, Login};
use crate::permission;
use crate::refusal::Refusal;
use crate::session;
use crate::setup::Setup;
use crate::ticket::Tickets;

/// Longest time between connecting and the first request.
const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Just connected.
    Idle,
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
    let legal = match state {
        State::Idle => {
            matches!(
                request,
                Request::Authenticate(_)
                    | Request::CheckAccount(_)
                    | Request::Revoke(_)
                    | Request::Start(_)
                    | Request::StartService(_)
            )
        }
        State::Conversing => matches!(request, Request::Answer(_)),
        State::Authenticated => matches!(request, Request::Start(_)),
        State::Running => matches!(request, Request::Status | Request::Stop | Request::Log),
    };
    if legal { Ok(()) } else { Err(ChannelError::Violation(format!("not legal in state {state:?}"))) }
}

/// Serves one connection to its end. For a started server that is the server's end.
pub fn serve(setup: &Setup, mut channel: Channel) {
    let ended = match serve_idle(setup, &mut channel) {
        Ok(None) => return,
        Ok(Some(login)) => serve_authenticated(setup, channel, login),
        Err(error) => Err((channel, error)),
    };
    let Err((mut channel, error)) = ended else { return };
    if let ChannelError::Violation(what) = error {
        Record { request: "protocol", verdict: "violation", reason: &what, ..Record::default() }.write();
        let code = hubd_proto::message::RefusalCode::Protocol;
        let refused = Refused { code, message: what, notices: Vec::new(), retry_after_seconds: None };
        // The process ends either way; a peer that breaks the rules may not even read this.
        let _ = channel.send(&Reply::Refused(refused));
    }
}

/// The first request. A login that succeeded leads on; everything else is answered and over.
fn serve_idle(setup: &Setup, channel: &mut Channel) -> Result<Option<Login>, ChannelError> {
    let request = channel.receive(FIRST_REQUEST_TIME_MAX)?;
    check(State::Idle, &request)?;
    let answer = match request {
        Request::Authenticate(authenticate) => match login::run(setup, channel, &authenticate)? {
            Ok((login, reply)) => {
                channel.send(&Reply::Authenticated(reply))?;
                return Ok(Some(login));
            }
            Err(refusal) => Reply::Refused(refusal.refused),
        },
        Request::CheckAccount(check) => {
            answer("check_account", check.user.as_str(), check_account(setup, &check).map(Reply::Account))
        }
        Request::Revoke(request) => {
            answer("revoke", request.user.as_str(), revoke(setup, &request).map(|()| Reply::Done))
        }
        Request::Start(start) => {
            session::run(setup, channel.duplicate()?, &start, None);
            return Ok(None);
        }
        Request::StartService(start) => {
            session::run_service(setup, channel.duplicate()?, start);
            return Ok(None);
        }
        _ => return Err(ChannelError::Closed),
    };
    channel.send(&answer)?;
    Ok(None)
}

/// Somebody is logged in: their PAM handle waits a while for a start.
fn serve_authenticated(
    setup: &Setup,
    mut channel: Channel,
    login: Login,
) -> Result<(), (Channel, ChannelError)> {
    let hold = Duration::from_secs(setup.policy.login_hold_seconds.into());
    let request =
        channel.receive(hold).and_then(|request| check(State::Authenticated, &request).map(|()| request));
    match request {
        Ok(Request::Start(start)) => session::run(setup, channel, &start, Some(login)),
        Ok(_) | Err(ChannelError::Closed | ChannelError::Silent) => {}
        Err(error) => return Err((channel, error)),
    }
    Ok(())
}

/// Turns a result into its reply and writes the audit record.
fn answer(request: &str, user: &str, result: Result<Reply, Refusal>) -> Reply {
    match result {
        Ok(reply) => {
            Record { request, verdict: "accepted", user, ..Record::default() }.write();
            reply
        }
        Err(refusal) => {
            Record { request, verdict: "refused", user, reason: &refusal.reason, ..Record::default() }
                .write();
            Reply::Refused(refusal.refused)
        }
    }
}

/// Without a ticket: what NSS and the policy say, which any local process could find out. With a
/// live one also what PAM's account management says today.
fn check_account(setup: &Setup, check: &CheckAccount) -> Result<AccountReply, Refusal> {
    let found = permission::find(setup, &check.user);
    let Some(ticket) = &check.ticket else {
        let account = found?;
        return Ok(AccountReply { user: account.name, uid: account.uid.as_raw(), ticket_expires_at: None });
    };
    let (account, ticket) = permission::with_ticket(setup, &check.user, ticket)?;
    found?;
    if setup.root {
        permission::account_management(setup, &account, &ticket)?;
    }
    let ticket_expires_at = Some(ticket.expires_at);
    Ok(AccountReply { user: account.name, uid: account.uid.as_raw(), ticket_expires_at })
}

fn revoke(setup: &Setup, request: &Revoke) -> Result<(), Refusal> {
    let (account, _) = permission::with_ticket(setup, &request.user, &request.ticket)?;
    let tickets = Tickets::new(setup).map_err(|error| Refusal::system("tickets", error))?;
    let uid = account.uid.as_raw();
    match request.which {
        Revocation::This => tickets.revoke(uid, &request.ticket),
        Revocation::All => tickets.revoke_all_of(uid),
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
