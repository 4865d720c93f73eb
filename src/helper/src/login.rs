//! A login: PAM's conversation, with one answer and one time for everything that is not a success.

use std::time::Instant;

use hubd_policy::account::unknown;
use hubd_policy::{Account, OrRefuse, Refusal, rates as charges, record::Record, state::Ended};
use hubd_proto::message::{Authenticate, Authenticated};

use crate::pam::{Browser, Pam, Talk};
use crate::{account, audit, kept, setup::Setup};
use crate::{channel::Channel, own_limits::behind_others};

/// Somebody whom PAM accepted in this process.
pub struct Login {
    /// Who it is.
    pub account: Account,
    /// The handle that saw the password.
    pub pam: Pam,
}

/// Who it is, and what the daemon is told.
type Outcome = (Login, Authenticated);

/// Runs the conversation.
pub fn run(setup: &Setup, channel: &Channel, request: &Authenticate) -> Result<Outcome, Ended> {
    let outcome = attempt(setup, channel, request);
    let uid = outcome.as_ref().ok().map(|(login, _)| login.account.uid);
    let (verdict, reason) = outcome.as_ref().err().map_or(("accepted", String::new()), Ended::told);
    audit::write(&Record { uid, ..Record::of_login(request, verdict, &reason) });
    outcome
}

fn attempt(setup: &Setup, channel: &Channel, request: &Authenticate) -> Result<Outcome, Ended> {
    if !setup.root {
        return Err(Refusal::without_root().into());
    }
    let charges = charges::of_login(&setup.policy, request);
    kept::take_or_wait(setup, &charges)?;
    let account = account::find(setup, &request.user)?;
    let unknown = || Some(unknown(&setup.policy, &request.user).into());
    let bar = account.as_ref().map_or_else(unknown, |account| account::bar(setup, account, false));
    let browser = Browser::new(channel, setup.policy.conversation_time())?;
    let talk = Talk::with(Some(browser), bar.is_some());
    let source = request.source.map(|source| source.to_string());
    let name = account.as_ref().map_or(&request.user, |account| &account.name);
    let mut pam = Pam::start(&setup.policy.pam_service, name, source.as_deref(), talk)?;
    let authenticated = behind_others(|| pam.authenticate());
    pam.talk().check()?;
    match (authenticated, bar, account) {
        (Ok(()), None, Some(account)) if pam.is_about(&account.name) => {
            kept::give_back(setup, &charges);
            finish(setup, account, pam)
        }
        (authenticated, bar, _) => {
            let answered_at = pam.talk().person.as_ref().map_or_else(Instant::now, |b| b.answered_at);
            drop(pam);
            std::thread::sleep(setup.policy.refusal_pause(answered_at.elapsed()));
            let reason = bar.or(authenticated.err()).unwrap_or_else(|| "PAM changed the user".into());
            Err(Refusal::login(reason).into())
        }
    }
}

/// After the right password: account management, an expired password's change, the ticket.
fn finish(setup: &Setup, account: Account, mut pam: Pam) -> Result<Outcome, Ended> {
    let open = match pam.account() {
        Ok(true) => pam.change_password().and_then(|()| pam.account()),
        other => other,
    };
    pam.talk().check()?;
    if let Some(refusal) = Refusal::after_password(open, pam.is_about(&account.name)) {
        return Err(refusal.with_notices(pam.talk().take_notices()).into());
    }
    pam.talk().end()?;
    let made = kept::create_ticket(setup, &account).or_refuse("the ticket could not be written");
    let (ticket, ticket_expires_at) = made?;
    let (user, uid) = (account.name.clone(), account.uid);
    Ok((Login { account, pam }, Authenticated { user, uid, ticket, ticket_expires_at }))
}
