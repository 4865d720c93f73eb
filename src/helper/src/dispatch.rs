//! The way of one connection through the states of `hubd_policy::state`. Only this process's own state counts.

use std::time::Duration;

use hubd_policy::state::{ChannelError, Ended, State};
use hubd_policy::{OrRefuse, Refusal, record::Record};
use hubd_proto::Request;
use hubd_proto::message::{Account as AccountReply, CheckAccount, RefusalCode, Reply, Revoke};

use crate::channel::Channel;
use crate::session::{self, Asked};
use crate::{audit, kept, login, permission, setup::Setup};

/// Longest time between connecting and the first request.
pub const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

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
        audit::write(&Record {
            request: "protocol",
            verdict: "violation",
            reason: what,
            ..Record::default()
        });
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
        Request::Authenticate(request) => match login::run(setup, channel, &request) {
            Ok((login, reply)) => {
                channel.send(&Reply::Authenticated(reply))?;
                return match channel.receive(State::Authenticated, setup.policy.login_hold()) {
                    Ok(Request::Start(start)) => Ok(Some(Asked::Server(start, Some(login)))),
                    Err(error @ ChannelError::Violation(_)) => Err(error),
                    _ => Ok(None),
                };
            }
            Err(Ended::Refused(refusal)) => Reply::Refused(refusal.refused),
            Err(Ended::Broken(error)) => return Err(error),
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
    audit::write(&Record { request, verdict, user, reason, ..Record::default() });
    result.unwrap_or_else(|refusal| Reply::Refused(refusal.refused))
}

/// Without a ticket: what NSS and the policy say, which any local process could find out. With a
/// live one also what PAM's account management says today.
fn check_account(setup: &Setup, check: &CheckAccount) -> Result<AccountReply, Refusal> {
    let Some(secret) = &check.ticket else {
        return Ok(permission::find(setup, &check.user)?.told(None));
    };
    let (account, ticket) = permission::with_ticket(setup, &check.user, secret)?;
    permission::not_barred(setup, &account, false)?;
    if setup.root {
        permission::refuse_locked(&account, &ticket)?;
        permission::pam_without_password(setup, &account)?;
    }
    Ok(account.told(Some(ticket.expires_at)))
}

fn revoke(setup: &Setup, request: &Revoke) -> Result<(), Refusal> {
    let (account, _) = permission::with_ticket(setup, &request.user, &request.ticket)?;
    kept::revoke(setup, account.uid, request).or_refuse("the ticket could not be removed")
}
