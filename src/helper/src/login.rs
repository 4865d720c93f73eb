//! A login: PAM's conversation, with one answer and one time for everything that is not a success.

use std::time::{Duration, Instant};

use hubd_proto::message::{Authenticate, Authenticated, RefusalCode};

use crate::account::{Account, takes};
use crate::channel::{Channel, ChannelError};
use crate::pam::{Pam, Talk};
use crate::rates::{Charge, give_back, take_or_wait};
use crate::{audit::Record, permission::find_account, refusal::Refusal, setup::Setup, ticket};

/// Somebody whom PAM accepted in this process.
pub struct Login {
    /// Who it is.
    pub account: Account,
    /// The handle that saw the password.
    pub pam: Pam,
}

type Outcome = Result<(Login, Authenticated), Refusal>;

/// Runs the conversation.
///
/// # Errors
/// The outer error ends the process; the inner one is sent to the daemon.
pub fn run(setup: &Setup, channel: &Channel, request: &Authenticate) -> Result<Outcome, ChannelError> {
    let outcome = attempt(setup, channel, request);
    let (verdict, reason, uid) = match &outcome {
        Ok(Ok((login, _))) => ("accepted", String::new(), Some(login.account.uid.as_raw())),
        Ok(Err(refusal)) => ("refused", refusal.reason.clone(), None),
        Err(error) => ("abandoned", error.to_string(), None),
    };
    let (user, source) = (request.user.as_str(), request.source);
    let request = "authenticate";
    Record { request, verdict, user, uid, source, reason: &reason, ..Record::default() }.write();
    outcome
}

fn attempt(setup: &Setup, channel: &Channel, request: &Authenticate) -> Result<Outcome, ChannelError> {
    let talk = channel.duplicate().map_err(|_| ChannelError::Closed)?;
    let charges = charges(setup, request);
    let begin = || {
        if !setup.root {
            let message =
                "this helper runs without root: it checks no passwords; use authenticator_class = \"dummy\"";
            return Err(Refusal::new(RefusalCode::NotAvailable, message));
        }
        take_or_wait(setup, &charges)?;
        let account = find_account(setup, &request.user)?;
        let bar = bar(setup, request, account.as_ref());
        let time = Duration::from_secs(setup.policy.conversation_seconds.into());
        let talk = Talk::with(Some(talk), bar.is_some(), time);
        let source = request.source.map(|source| source.to_string());
        let name = account.as_ref().map_or(&request.user, |account| &account.name);
        let pam = Pam::start(&setup.policy.pam_service, name, source.as_deref(), talk);
        Ok((account, bar, pam.map_err(|message| Refusal::new(RefusalCode::System, message))?))
    };
    let (account, bar, mut pam) = match begin() {
        Ok(begun) => begun,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let authenticated = pam.authenticate();
    pam.talk().check()?;
    match (authenticated, bar, account) {
        (Ok(()), None, Some(account)) if pam.is_about(&account.name) => {
            give_back(setup, &charges);
            finish(setup, account, pam)
        }
        (authenticated, bar, _) => {
            let answered_at = pam.talk().answered_at;
            drop(pam);
            wait_until_due(setup, answered_at);
            let reason = bar.or(authenticated.err()).unwrap_or_else(|| "PAM changed the user".into());
            Ok(Err(Refusal::login(reason)))
        }
    }
}

/// Why this login cannot succeed, whatever is answered.
fn bar(setup: &Setup, request: &Authenticate, account: Option<&Account>) -> Option<String> {
    match account {
        Some(account) => account.bar(setup),
        None if takes(&setup.policy, request.user.as_str()) => Some("no such account".into()),
        None => Some("the name has characters that username_extra would have to allow".into()),
    }
}

/// After the right password: account management, an expired password's change, the ticket.
fn finish(setup: &Setup, account: Account, mut pam: Pam) -> Result<Outcome, ChannelError> {
    let open = match pam.account() {
        Ok(true) => pam.change_password().and_then(|()| pam.account()),
        other => other,
    };
    pam.talk().check()?;
    let why = match open {
        Ok(false) if pam.is_about(&account.name) => None,
        Ok(false) => Some("PAM changed the user".to_owned()),
        Ok(true) => Some("its password has expired and was not changed".to_owned()),
        Err(why) => Some(why),
    };
    if let Some(why) = why {
        let message = format!("The password is right, but this account may not log in now: {why}.");
        let refusal = Refusal::new(RefusalCode::AccountClosed, message);
        return Ok(Err(refusal.with_notices(pam.take_notices())));
    }
    pam.talk().end()?;
    let (ticket, ticket_expires_at) = match ticket::create(setup, &account) {
        Ok(made) => made,
        Err(error) => return Ok(Err(Refusal::system("the ticket could not be written", error))),
    };
    let (user, uid) = (account.name.clone(), account.uid.as_raw());
    Ok(Ok((Login { account, pam }, Authenticated { user, uid, ticket, ticket_expires_at })))
}

/// What one attempt costs; given back when it succeeds, so only failures count.
fn charges(setup: &Setup, request: &Authenticate) -> [Charge; 3] {
    let policy = &setup.policy;
    let source = request.source.map_or("none".to_owned(), |source| source.to_string());
    [
        Charge::new("login", policy.failures_per_minute),
        Charge::new(format!("login source {source}"), policy.failures_per_source_per_minute),
        Charge::new(
            format!("login user {}", request.user.as_str().to_lowercase()),
            policy.failures_per_user_per_minute,
        ),
    ]
}

/// Waits for the next full `refusal_seconds` after the last answer, so that neither a fast refusal nor a
/// slow hash shows why.
fn wait_until_due(setup: &Setup, answered_at: Instant) {
    let step = u64::from(setup.policy.refusal_seconds.get()) * 1000;
    let passed = u64::try_from(answered_at.elapsed().as_millis()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(step - passed % step));
}
