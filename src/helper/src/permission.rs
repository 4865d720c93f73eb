//! Whether a start may be: who has proved what, and whether the account is open today.

use hubd_policy::account::same_name;
use hubd_policy::{Account, Refusal, policy::Service, ticket::Ticket};
use hubd_proto::{Secret, UserName, message::Start};

use crate::pam::{Pam, Talk};
use crate::{account, kept, login::Login, setup::Setup};

/// The account, if there is one and the policy does not bar it.
pub fn find(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let account = account::find(setup, name)?.ok_or_else(|| Refusal::no_account(name))?;
    not_barred(setup, &account, false).map(|()| account)
}

/// Whether root's policy lets this account have servers at all, or as a `system` account a service.
pub fn not_barred(setup: &Setup, account: &Account, system: bool) -> Result<(), Refusal> {
    let why = account::bar(setup, account, system);
    why.map_or(Ok(()), |why| Err(Refusal::barred(&account.name, &why)))
}

/// The account of a service. Root's own line is a standing grant, with the same exception; and root may
/// write that it is a system account.
pub fn of_service(setup: &Setup, service: &Service) -> Result<Account, Refusal> {
    let (name, system) = (&service.user, service.system_account);
    let account = account::find(setup, name)?.ok_or_else(|| Refusal::no_account(name))?;
    not_barred(setup, &account, system)?;
    match if setup.root && !system { powerful(setup, &account)? } else { None } {
        Some(group) => Err(Refusal::barred(&account.name, &format!("it is a member of {group}"))),
        None => Ok(account),
    }
}

/// Holds a ticket against the account; an unknown account is told like an unknown ticket.
pub fn with_ticket(setup: &Setup, name: &UserName, secret: &Secret) -> Result<(Account, Ticket), Refusal> {
    let account = account::find(setup, name)?.ok_or_else(|| Refusal::ticket("no such account"))?;
    let ticket = kept::find_ticket(setup, &account, secret).map_err(Refusal::ticket)?;
    Ok((account, ticket))
}

/// An account that was locked since the ticket was made: account management alone does not see it.
pub fn refuse_locked(account: &Account, ticket: &Ticket) -> Result<(), Refusal> {
    if ticket.was_locked || !account::is_locked(account) {
        return Ok(());
    }
    Err(Refusal::closed(format!("The account {} is locked.", account.name)))
}

/// Whether this start may be: after a login in this very process, with a ticket, or by a standing grant.
pub fn of_start(
    setup: &Setup,
    request: &Start,
    login: Option<Login>,
) -> Result<(Account, Option<Pam>), Refusal> {
    let name = &request.user;
    let (account, pam) = match (login, &request.ticket) {
        (Some(login), _) if same_name(login.account.name.as_str(), name.as_str()) => {
            (login.account, Some(login.pam))
        }
        (Some(_), _) => return Err(Refusal::another_login()),
        (None, _) if !setup.root => (find(setup, name)?, None),
        (None, Some(secret)) => {
            let (account, ticket) = with_ticket(setup, name, secret)?;
            if let Some(group) = powerful(setup, &account)? {
                return Err(Refusal::stale(group));
            }
            refuse_locked(&account, &ticket)?;
            (account, None)
        }
        (None, None) => match account::find(setup, name)? {
            Some(account) if has_standing_grant(setup, &account)? => (account, None),
            _ => return Err(Refusal::no_login(name)),
        },
    };
    not_barred(setup, &account, false)?;
    Ok((account, pam))
}

fn has_standing_grant(setup: &Setup, account: &Account) -> Result<bool, Refusal> {
    let standing = account::member_of(account, &setup.policy.standing_groups)?.is_some();
    Ok((standing || was_made_here(setup, account)) && powerful(setup, account)?.is_none())
}

/// Whether hubd-accounts made this very account: a uid that somebody else has now does not count.
fn was_made_here(setup: &Setup, account: &Account) -> bool {
    let path = setup.policy.accounts_dir.join(format!("u{}", account.uid));
    std::fs::read(path).is_ok_and(|name| name == account.name.as_str().as_bytes())
}

/// The group that makes a fresh password necessary, if the account is in one.
fn powerful<'a>(setup: &'a Setup, account: &Account) -> Result<Option<&'a str>, Refusal> {
    account::member_of(account, &setup.policy.fresh_password_groups)
}

/// A PAM transaction for somebody who has proved before who they are, after account management.
pub fn pam_without_password(setup: &Setup, account: &Account) -> Result<Pam, Refusal> {
    let mut pam = Pam::start(&setup.policy.pam_service, &account.name, None, Talk::with(None, false))?;
    accept_account(&mut pam)?;
    if pam.is_about(&account.name) { Ok(pam) } else { Err(Refusal::closed("PAM changed the user.")) }
}

/// Asks account management; an expired password closes the account until it is changed at a login.
pub fn accept_account(pam: &mut Pam) -> Result<(), Refusal> {
    let refusal = Refusal::without_password(pam.account());
    refusal.map_or(Ok(()), |refusal| Err(refusal.with_notices(pam.talk().take_notices())))
}
