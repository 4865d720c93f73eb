//! A login: PAM's conversation, with one answer and one time for everything that is not a success.

use std::time::{Duration, Instant};

use hubd_proto::message::{Authenticate, Authenticated, RefusalCode};

use crate::account::Account;
use crate::audit::Record;
use crate::channel::{Channel, ChannelError};
use crate::limits::{Charge, Limits};
use crate::pam::{Pam, Talk};
use crate::permission::find_account;
use crate::refusal::Refusal;
use crate::setup::Setup;
use crate::ticket::Tickets;

/// Somebody whom PAM accepted in this process.
pub struct Login {
    /// Who it is.
    pub account: Account,
    /// The handle that saw the password.
    pub pam: Pam,
}

/// Runs the conversation.
///
/// # Errors
/// The outer error ends the process; the inner one is sent to the daemon.
pub fn run(
    setup: &Setup,
    channel: &Channel,
    request: &Authenticate,
) -> Result<Result<(Login, Authenticated), Refusal>, ChannelError> {
    let result = match attempt(setup, channel, request) {
        Ok(result) => result,
        Err(error) => {
            let (user, source, reason) = (request.user.as_str(), request.source, error.to_string());
            let verdict = "abandoned";
            Record { request: "authenticate", verdict, user, source, reason: &reason, ..Record::default() }
                .write();
            return Err(error);
        }
    };
    let refusal = result.as_ref().err();
    Record {
        request: "authenticate",
        verdict: if refusal.is_none() { "accepted" } else { "refused" },
        user: request.user.as_str(),
        uid: result.as_ref().ok().map(|(login, _)| login.account.uid.as_raw()),
        source: request.source,
        reason: refusal.map_or("", |refusal| &refusal.reason),
        ..Record::default()
    }
    .write();
    Ok(result)
}

type Attempt = Result<(Login, Authenticated), Refusal>;

fn attempt(setup: &Setup, channel: &Channel, request: &Authenticate) -> Result<Attempt, ChannelError> {
    if !setup.root {
        let message =
            "this helper runs without root: it checks no passwords; use authenticator_class = \"dummy\"";
        return Ok(Err(Refusal::new(RefusalCode::NotAvailable, message)));
    }
    let limits = Limits::new(setup);
    let charges = charges(setup, request);
    if let Err(refusal) = limits.take_or_wait(&charges) {
        return Ok(Err(refusal));
    }
    let account = match find_account(setup, &request.user) {
        Ok(account) => account,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let bar = bar(setup, request, account.as_ref());
    let time = Duration::from_secs(setup.policy.conversation_seconds.into());
    let talk = Talk::with(channel.duplicate()?, bar.is_some(), time);
    let source = request.source.map(|source| source.to_string());
    let mut pam = match Pam::start(&setup.policy.pam_service, &request.user, source.as_deref(), talk) {
        Ok(pam) => pam,
        Err(message) => return Ok(Err(Refusal::new(RefusalCode::System, message))),
    };
    let authenticated = pam.authenticate();
    if let Some(failure) = pam.talk().failure.take() {
        return Err(failure);
    }
    let account = match (authenticated, bar, account) {
        (Ok(()), None, Some(account)) if pam.is_about(&request.user) => account,
        (authenticated, bar, _) => {
            let answered_at = pam.talk().answered_at;
            drop(pam);
            wait_until_due(setup, answered_at);
            let reason = bar.or(authenticated.err()).unwrap_or_else(|| "PAM changed the user".into());
            return Ok(Err(Refusal::login(reason)));
        }
    };
    limits.give_back(&charges);
    finish(setup, account, pam)
}

/// Why this login cannot succeed, whatever is answered.
fn bar(setup: &Setup, request: &Authenticate, account: Option<&Account>) -> Option<String> {
    match account {
        Some(account) => account.bar(setup),
        None if setup.policy.username_pattern.takes(request.user.as_str()) => Some("no such account".into()),
        None => Some("the name is not of the form that username_pattern allows".into()),
    }
}

/// After the right password: account management, an expired password's change, the ticket.
fn finish(setup: &Setup, account: Account, mut pam: Pam) -> Result<Attempt, ChannelError> {
    let closed = |pam: &Pam, why: &str| {
        let message = format!("The password is right, but this account may not log in now: {why}.");
        Refusal::new(RefusalCode::AccountClosed, message).with_notices(pam.take_notices())
    };
    let open = match pam.account() {
        Ok(true) => pam.change_password().and_then(|()| pam.account()),
        other => other,
    };
    if let Some(failure) = pam.talk().failure.take() {
        return Err(failure);
    }
    match open {
        Ok(false) => {}
        Ok(true) => return Ok(Err(closed(&pam, "its password has expired and was not changed"))),
        Err(why) => return Ok(Err(closed(&pam, &why))),
    }
    if !pam.is_about(&account.name) {
        return Ok(Err(closed(&pam, "PAM changed the user")));
    }
    pam.talk().end();
    if let Some(failure) = pam.talk().failure.take() {
        return Err(failure);
    }
    let ticket = Tickets::new(setup).and_then(|tickets| tickets.create(&account, setup.policy.ticket_days));
    let (ticket, ticket_expires_at) = match ticket {
        Ok(made) => made,
        Err(error) => return Ok(Err(Refusal::system("the ticket could not be written", error))),
    };
    let reply =
        Authenticated { user: account.name.clone(), uid: account.uid.as_raw(), ticket, ticket_expires_at };
    Ok(Ok((Login { account, pam }, reply)))
}

/// What one attempt costs; given back when it succeeds, so only failures count.
fn charges(setup: &Setup, request: &Authenticate) -> [Charge; 3] {
    let policy = &setup.policy;
    let source = request.source.map_or_else(|| "none".to_owned(), |source| source.to_string());
    [
        Charge::new("login", policy.failures_per_minute),
        Charge::new(format!("login source {source}"), policy.failures_per_source_per_minute),
        Charge::new(format!("login user {}", request.user), policy.failures_per_user_per_minute),
    ]
}

/// Waits for the next full `refusal_seconds` after the last answer, so that neither a fast refusal nor a
/// slow hash shows why.
fn wait_until_due(setup: &Setup, answered_at: Instant) {
    let step = u64::from(setup.policy.refusal_seconds.max(1)) * 1000;
    let passed = u64::try_from(answered_at.elapsed().as_millis()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(step - passed % step));
}
