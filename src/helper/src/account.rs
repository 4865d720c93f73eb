//! Accounts as NSS and shadow(5) know them.

use std::{ffi::CString, fs};

use hubd_policy::account::{SHELLS, same_name, takes};
use hubd_policy::{Account, OrRefuse, Refusal};
use hubd_proto::UserName;
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use zeroize::Zeroizing;

use crate::setup::Setup;

/// Looks the name up. `None`: there is no such account, it is spelled differently, or the policy does
/// not take the name. Directories may spell capitals where the daemon has small letters: what NSS
/// says is the name then.
///
/// Without root every name is the helper's own account, with a home of its own.
///
/// # Errors
/// NSS failed, for instance because a directory server does not answer.
pub fn find(setup: &Setup, asked: &UserName) -> Result<Option<Account>, Refusal> {
    look_up(setup, asked).or_refuse("looking the account up failed")
}

fn look_up(setup: &Setup, asked: &UserName) -> nix::Result<Option<Account>> {
    let found = if setup.root { User::from_name(asked.as_str())? } else { User::from_uid(Uid::effective())? };
    let Some(mut user) = found else { return Ok(None) };
    if !setup.root {
        (user.name, user.dir) = (asked.to_string(), setup.policy.trial_home(&setup.paths.runtime, asked));
    } else if !same_name(&user.name, asked.as_str()) || !takes(&setup.policy, &user.name) {
        return Ok(None);
    }
    let name = UserName::new(user.name).map_err(|_| Errno::EINVAL)?;
    let shell = if user.shell.as_os_str().is_empty() { "/bin/sh".into() } else { user.shell };
    Ok(Some(Account { name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir, shell }))
}

/// All groups of an account.
pub fn groups(account: &Account) -> nix::Result<Vec<Gid>> {
    let name = CString::new(account.name.as_str()).map_err(|_| Errno::EINVAL)?;
    getgrouplist(&name, Gid::from_raw(account.gid))
}

/// The first of `wanted` that the account is a member of.
///
/// # Errors
/// NSS failed; then nobody can say that it is not a member.
pub fn member_of<'a>(account: &Account, wanted: &'a [String]) -> Result<Option<&'a str>, Refusal> {
    let find = || -> nix::Result<_> {
        let mine = if wanted.is_empty() { Vec::new() } else { groups(account)? };
        for name in wanted {
            if Group::from_name(name)?.is_some_and(|group| mine.contains(&group.gid)) {
                return Ok(Some(name.as_str()));
            }
        }
        Ok(None)
    };
    find().or_refuse("looking groups up failed")
}

/// Why root's policy bars the account from having servers, if it does; as a `system` account, why it bars it
/// even from the service that root gave to it.
pub fn bar(setup: &Setup, account: &Account, system: bool) -> Option<String> {
    let (policy, daemon) = (&setup.policy, setup.daemon_uid.as_raw());
    if !setup.root {
        return None;
    }
    let shells = || fs::read_to_string("/etc/shells").unwrap_or_else(|_| SHELLS.into());
    let as_person = || account.bar(policy, daemon, &shells());
    let bar = if system { account.bar_from_everything(policy, daemon) } else { as_person() };
    bar.or_else(|| match member_of(account, &policy.denied_groups) {
        Ok(group) => Some(format!("it is a member of {}, which denied_groups names", group?)),
        Err(refusal) => Some(refusal.reason),
    })
}

/// Whether the local shadow file has the account locked, as `usermod -L` does.
pub fn is_locked(account: &Account) -> bool {
    account.is_locked_in(&Zeroizing::new(fs::read("/etc/shadow").unwrap_or_default()))
}
