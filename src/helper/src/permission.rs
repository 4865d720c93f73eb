//! Whether a start may be: who has proved what, and whether the account is open today.

use hubd_proto::message::{RefusalCode, Start};
use hubd_proto::{Secret, UserName};

use crate::account::Account;
use crate::login::Login;
use crate::pam::{Pam, Talk};
use crate::policy::Service;
use crate::refusal::Refusal;
use crate::setup::Setup;
use crate::ticket::{Ticket, Tickets};

/// Looks an account up.
pub fn find_account(setup: &Setup, name: &UserName) -> Result<Option<Account>, Refusal> {
    Account::find(setup, name).map_err(|error| Refusal::system("looking the account up failed", error))
}

/// The account, if there is one and the policy does not bar it.
pub fn find(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let account = find_any(setup, name)?;
    refuse_barred(account.bar(setup), name).map(|()| account)
}

fn find_any(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let unknown = || Refusal::new(RefusalCode::AccountUnknown, format!("There is no account {name}."));
    find_account(setup, name)?.ok_or_else(unknown)
}

/// Refuses an account for which there is a reason.
pub fn refuse_barred(why: Option<String>, name: &UserName) -> Result<(), Refusal> {
    let refusal =
        |why| Refusal::new(RefusalCode::AccountBarred, format!("root's policy bars {name}: {why}."));
    why.map_or(Ok(()), |why| Err(refusal(why)))
}

/// The account of a service. Root's own line is a standing grant, with the same exception; and root may
/// write that it is a system account.
pub fn of_service(setup: &Setup, service: &Service) -> Result<Account, Refusal> {
    if !service.system_account {
        let account = find(setup, &service.user)?;
        let powerful = if setup.root { setup.policy.fresh_password_groups.as_slice() } else { &[] };
        let why = member_of(&account, powerful)?.map(|group| format!("it is a member of {group}"));
        return refuse_barred(why, &service.user).map(|()| account);
    }
    let account = find_any(setup, &service.user)?;
    refuse_barred(account.bar_from_everything(setup), &service.user).map(|()| account)
}

/// Holds a ticket against the account; an unknown account is told like an unknown ticket.
pub fn with_ticket(setup: &Setup, name: &UserName, ticket: &Secret) -> Result<(Account, Ticket), Refusal> {
    let invalid = |reason: &str| Refusal {
        reason: format!("ticket-invalid: {reason}"),
        ..Refusal::new(RefusalCode::TicketInvalid, "This login is no longer valid. Log in again.")
    };
    let account = find_account(setup, name)?.ok_or_else(|| invalid("no such account"))?;
    let tickets = Tickets::new(setup).map_err(|error| Refusal::system("tickets", error))?;
    let found = tickets.find(&account, ticket).map_err(invalid)?;
    Ok((account, found))
}

/// What PAM's account management says today about somebody who comes with a ticket.
pub fn account_management(setup: &Setup, account: &Account, ticket: &Ticket) -> Result<(), Refusal> {
    refuse_locked(account, ticket)?;
    pam_without_password(setup, account).map(drop)
}

/// An account that was locked since the ticket was made: account management alone does not see it.
fn refuse_locked(account: &Account, ticket: &Ticket) -> Result<(), Refusal> {
    if account.is_locked() && !ticket.was_locked {
        let message = format!("The account {} is locked.", account.name);
        return Err(Refusal::new(RefusalCode::AccountClosed, message));
    }
    Ok(())
}

/// Whether this start may be: after a login in this very process, with a ticket, or by a standing grant.
pub fn of_start(
    setup: &Setup,
    request: &Start,
    login: Option<Login>,
) -> Result<(Account, Option<Pam>), Refusal> {
    if let Some(login) = login {
        if login.account.name == request.user {
            return Ok((login.account, Some(login.pam)));
        }
        let message = "The start is for somebody else than the one who logged in on this connection.";
        return Err(Refusal::new(RefusalCode::TicketInvalid, message));
    }
    if !setup.root {
        return Ok((find(setup, &request.user)?, None));
    }
    if let Some(ticket) = &request.ticket {
        let (account, ticket) = with_ticket(setup, &request.user, ticket)?;
        if let Some(group) = member_of(&account, &setup.policy.fresh_password_groups)? {
            let message =
                format!("Members of {group} start a server only right after logging in. Log in again.");
            return Err(Refusal::new(RefusalCode::TicketInvalid, message));
        }
        refuse_locked(&account, &ticket)?;
        return Ok((account, None));
    }
    if let Some(account) = find_account(setup, &request.user)?
        && member_of(&account, &setup.policy.standing_groups)?.is_some()
        && member_of(&account, &setup.policy.fresh_password_groups)?.is_none()
    {
        return Ok((account, None));
    }
    let message = format!(
        "Nobody has logged in for this start. For starts without a login, root's helper.toml has to name a group of {} in standing_groups.",
        request.user
    );
    Err(Refusal::new(RefusalCode::TicketMissing, message))
}

fn member_of<'a>(account: &Account, groups: &'a [String]) -> Result<Option<&'a str>, Refusal> {
    account.member_of(groups).map_err(|error| Refusal::system("looking groups up failed", error))
}

/// A PAM transaction for somebody who has proved before who they are, after account management.
pub fn pam_without_password(setup: &Setup, account: &Account) -> Result<Pam, Refusal> {
    let mut pam = Pam::start(&setup.policy.pam_service, &account.name, None, Talk::with_nobody())
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
