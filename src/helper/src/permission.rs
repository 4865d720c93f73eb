//! Whether a start may be: who has proved what, and whether the account is open today.

use std::time::Duration;

use hubd_proto::message::{RefusalCode, Start};
use hubd_proto::{Secret, UserName};

use crate::account::{Account, same_name};
use crate::pam::{Pam, Talk};
use crate::ticket::{self, Ticket};
use crate::{login::Login, policy::Service, refusal::Refusal, setup::Setup};

/// Looks an account up.
pub fn find_account(setup: &Setup, name: &UserName) -> Result<Option<Account>, Refusal> {
    Account::find(setup, name).map_err(|error| Refusal::system("looking the account up failed", error))
}

/// The account, if there is one and the policy does not bar it.
pub fn find(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let account = find_any(setup, name)?;
    not_barred(setup, &account)?;
    Ok(account)
}

fn find_any(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let unknown = || Refusal::new(RefusalCode::AccountUnknown, format!("There is no account {name}."));
    find_account(setup, name)?.ok_or_else(unknown)
}

/// Whether root's policy lets this account have servers at all.
pub fn not_barred(setup: &Setup, account: &Account) -> Result<(), Refusal> {
    refuse_barred(account, account.bar(setup))
}

fn refuse_barred(account: &Account, why: Option<String>) -> Result<(), Refusal> {
    why.map_or(Ok(()), |why| {
        let message = format!("root's policy bars {}: {why}.", account.name);
        Err(Refusal::new(RefusalCode::AccountBarred, message))
    })
}

/// The account of a service. Root's own line is a standing grant, with the same exception; and root may
/// write that it is a system account.
pub fn of_service(setup: &Setup, service: &Service) -> Result<Account, Refusal> {
    let account = find_any(setup, &service.user)?;
    let why = if service.system_account {
        account.bar_from_everything(setup)
    } else {
        not_barred(setup, &account)?;
        let powerful = if setup.root { powerful(setup, &account)? } else { None };
        powerful.map(|group| format!("it is a member of {group}"))
    };
    refuse_barred(&account, why)?;
    Ok(account)
}

/// Holds a ticket against the account; an unknown account is told like an unknown ticket.
pub fn with_ticket(setup: &Setup, name: &UserName, secret: &Secret) -> Result<(Account, Ticket), Refusal> {
    let invalid = |reason: &str| {
        let refusal =
            Refusal::new(RefusalCode::TicketInvalid, "This login is no longer valid. Log in again.");
        Refusal { reason: format!("ticket-invalid: {reason}"), ..refusal }
    };
    let account = find_account(setup, name)?.ok_or_else(|| invalid("no such account"))?;
    let ticket = ticket::find(setup, &account, secret).map_err(invalid)?;
    Ok((account, ticket))
}

/// An account that was locked since the ticket was made: account management alone does not see it.
pub fn refuse_locked(account: &Account, ticket: &Ticket) -> Result<(), Refusal> {
    if !account.is_locked() || ticket.was_locked {
        return Ok(());
    }
    Err(Refusal::new(RefusalCode::AccountClosed, format!("The account {} is locked.", account.name)))
}

/// Whether this start may be: after a login in this very process, with a ticket, or by a standing grant.
pub fn of_start(
    setup: &Setup,
    request: &Start,
    login: Option<Login>,
) -> Result<(Account, Option<Pam>), Refusal> {
    let refused = |code, message: String| Err(Refusal::new(code, message));
    let (account, pam) = match (login, &request.ticket) {
        (Some(login), _) if same_name(login.account.name.as_str(), request.user.as_str()) => {
            (login.account, Some(login.pam))
        }
        (Some(_), _) => {
            let message = "The start is for somebody else than the one who logged in on this connection.";
            return refused(RefusalCode::TicketInvalid, message.into());
        }
        (None, _) if !setup.root => (find(setup, &request.user)?, None),
        (None, Some(secret)) => {
            let (account, ticket) = with_ticket(setup, &request.user, secret)?;
            if let Some(group) = powerful(setup, &account)? {
                let message =
                    format!("Members of {group} start a server only right after logging in. Log in again.");
                return refused(RefusalCode::TicketInvalid, message);
            }
            refuse_locked(&account, &ticket)?;
            (account, None)
        }
        (None, None) => match find_account(setup, &request.user)? {
            Some(account) if has_standing_grant(setup, &account)? => (account, None),
            _ => {
                let message = format!(
                    "Nobody has logged in for this start. For starts without a login, root's helper.toml has to name a group of {} in standing_groups.",
                    request.user
                );
                return refused(RefusalCode::TicketMissing, message);
            }
        },
    };
    not_barred(setup, &account)?;
    Ok((account, pam))
}

fn has_standing_grant(setup: &Setup, account: &Account) -> Result<bool, Refusal> {
    let standing = member_of(account, &setup.policy.standing_groups)?.is_some();
    Ok((standing || was_made_here(setup, account)) && powerful(setup, account)?.is_none())
}

/// Whether hubd-accounts made this very account: a uid that somebody else has now does not count.
fn was_made_here(setup: &Setup, account: &Account) -> bool {
    let path = setup.policy.accounts_dir.join(format!("u{}", account.uid));
    std::fs::read(path).is_ok_and(|name| name == account.name.as_str().as_bytes())
}

/// The group that makes a fresh password necessary, if the account is in one.
fn powerful<'a>(setup: &'a Setup, account: &Account) -> Result<Option<&'a str>, Refusal> {
    member_of(account, &setup.policy.fresh_password_groups)
}

/// The first of `groups` that the account is a member of.
pub fn member_of<'a>(account: &Account, groups: &'a [String]) -> Result<Option<&'a str>, Refusal> {
    account.member_of(groups).map_err(|error| Refusal::system("looking groups up failed", error))
}

/// A PAM transaction for somebody who has proved before who they are, after account management.
pub fn pam_without_password(setup: &Setup, account: &Account) -> Result<Pam, Refusal> {
    let mut pam =
        Pam::start(&setup.policy.pam_service, &account.name, None, Talk::with(None, false, Duration::ZERO))
            .map_err(|message| Refusal::new(RefusalCode::System, message))?;
    accept_account(&mut pam)?;
    if pam.is_about(&account.name) {
        return Ok(pam);
    }
    Err(Refusal::new(RefusalCode::AccountClosed, "PAM changed the user."))
}

/// Asks account management; an expired password closes the account until it is changed at a login.
pub fn accept_account(pam: &mut Pam) -> Result<(), Refusal> {
    let why = match pam.account() {
        Ok(false) => return Ok(()),
        Ok(true) => "its password has expired; log in again to change it".to_owned(),
        Err(why) => why,
    };
    let message = format!("This account may not be used now: {why}.");
    Err(Refusal::new(RefusalCode::AccountClosed, message).with_notices(pam.take_notices()))
}
