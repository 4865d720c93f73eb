//! Who may use hubd at all: the account as NSS knows it, held against root's policy.

use std::path::{Path, PathBuf};
use std::{fs, os::unix::ffi::OsStrExt};

use hubd_proto::{UserName, message::Account as AccountReply};
use nix::unistd::{Gid, Group, Uid, User};
use zeroize::Zeroizing;

use crate::{policy::Policy, setup::Setup};

/// uids that are never anybody's, beside root: nobody, and -1 as 16 and as 32 bits.
const NOBODY_UIDS: [u32; 3] = [65534, 65535, u32::MAX];
/// uids that systemd hands out to services for a while (`DynamicUser=`).
const SYSTEMD_DYNAMIC_UIDS: std::ops::RangeInclusive<u32> = 61184..=65519;

/// Longest name unless root allows further characters, in bytes, as useradd(8).
const NAME_BYTES_MAX: usize = 32;

/// An account that exists. What it may do, [`bar`] says.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name, as NSS spells it.
    pub name: UserName,
    /// Its uid.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
}

impl Account {
    /// Looks the name up. `None`: there is no such account, it is spelled differently, or the policy does
    /// not take the name. Directories may spell capitals where the daemon has small letters: what NSS
    /// says is the name then.
    ///
    /// Without root every name is the helper's own account, with a home of its own.
    ///
    /// # Errors
    /// NSS failed, for instance because a directory server does not answer.
    pub fn find(setup: &Setup, asked: &UserName) -> nix::Result<Option<Self>> {
        let found =
            if setup.root { User::from_name(asked.as_str())? } else { User::from_uid(Uid::effective())? };
        let Some(user) = found else { return Ok(None) };
        let (mut name, mut home) = (asked.clone(), user.dir);
        if !setup.root {
            home = trial_home(setup, asked);
        } else if same_name(&user.name, asked.as_str()) && takes(&setup.policy, &user.name) {
            name = UserName::new(user.name).map_err(|_| nix::errno::Errno::EINVAL)?;
        } else {
            return Ok(None);
        }
        let shell = if user.shell.as_os_str().is_empty() { "/bin/sh".into() } else { user.shell };
        Ok(Some(Self { name, uid: user.uid, gid: user.gid, home, shell }))
    }

    /// What the daemon is told of it.
    pub fn told(self, ticket_expires_at: Option<u64>) -> AccountReply {
        AccountReply { user: self.name, uid: self.uid.as_raw(), ticket_expires_at }
    }

    /// All of its groups, by number.
    pub fn groups(&self) -> nix::Result<Vec<Gid>> {
        let name = std::ffi::CString::new(self.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
        nix::unistd::getgrouplist(&name, self.gid)
    }

    /// The first of `groups` that the account is a member of.
    ///
    /// # Errors
    /// NSS failed; then nobody can say that it is not a member.
    pub fn member_of<'a>(&self, groups: &'a [String]) -> nix::Result<Option<&'a str>> {
        if groups.is_empty() {
            return Ok(None);
        }
        let mine = self.groups()?;
        for name in groups {
            if Group::from_name(name)?.is_some_and(|group| mine.contains(&group.gid)) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Why the policy bars this account from being a person's, if it does.
    pub fn bar(&self, setup: &Setup) -> Option<String> {
        let (policy, uid) = (&setup.policy, self.uid.as_raw());
        if let Some(why) = self.bar_from_everything(setup) {
            return Some(why);
        }
        if !setup.root {
            return None;
        }
        if uid < policy.min_uid || uid > policy.max_uid {
            return Some(format!("uid {uid} is not between {} and {}", policy.min_uid, policy.max_uid));
        }
        if !shell_is_allowed(&self.shell) {
            return Some(format!("its shell {} is not a login shell of /etc/shells", self.shell.display()));
        }
        (!self.home.is_absolute()).then(|| "its home directory is not an absolute path".into())
    }

    /// Why nothing is started as this account, not even a service that root gave it to.
    pub fn bar_from_everything(&self, setup: &Setup) -> Option<String> {
        let (policy, uid) = (&setup.policy, self.uid.as_raw());
        if !setup.root {
            return None;
        }
        if uid == 0 || NOBODY_UIDS.contains(&uid) || SYSTEMD_DYNAMIC_UIDS.contains(&uid) {
            return Some(format!("uid {uid} never gets a server"));
        }
        if self.uid == setup.daemon_uid {
            return Some("hubd itself gets no server".into());
        }
        if policy.denied_users.iter().any(|name| same_name(name, self.name.as_str())) {
            return Some("denied_users names it".into());
        }
        match self.member_of(&policy.denied_groups) {
            Ok(None) => None,
            Ok(Some(group)) => Some(format!("it is a member of {group}, which denied_groups names")),
            Err(errno) => Some(format!("its groups cannot be looked up: {}", errno.desc())),
        }
    }

    /// Whether the local shadow file has the account locked, as `usermod -L` does.
    pub fn is_locked(&self) -> bool {
        is_locked_in(&Zeroizing::new(fs::read("/etc/shadow").unwrap_or_default()), &self.name)
    }
}

/// Whether this text of shadow(5) has the account locked.
pub fn is_locked_in(shadow: &[u8], name: &UserName) -> bool {
    let begin = format!("{name}:!");
    shadow.split(|&byte| byte == b'\n').any(|line| line.starts_with(begin.as_bytes()))
}

/// Whether two names are one person's: the daemon keeps names in small letters.
pub fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Whether the policy takes a name: what useradd(8) makes by default, and root's further characters.
pub fn takes(policy: &Policy, name: &str) -> bool {
    let capitals = policy.username_extra.contains("A-Z");
    let others = policy.username_extra.replace("A-Z", "");
    let extra = |c: char| others.contains(c) || capitals && c.is_uppercase();
    let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
    (name.len() <= NAME_BYTES_MAX || !policy.username_extra.is_empty())
        && name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_' || extra(c))
        && name.chars().all(|c| usual(c) || extra(c))
}

/// The home that a name gets in a trial without root. A [`UserName`] holds no slash and starts with no dot.
fn trial_home(setup: &Setup, name: &UserName) -> PathBuf {
    let runtime = setup.runtime.to_string_lossy();
    setup.policy.home_template.replace("{runtime_dir}", &runtime).replace("{user}", name.as_str()).into()
}

/// Whether people log in with this shell: listed in shells(5), and not one that turns them away.
fn shell_is_allowed(shell: &Path) -> bool {
    let turns_away = shell.file_name().is_none_or(|name| {
        matches!(name.as_bytes(), b"nologin" | b"false" | b"sync" | b"shutdown" | b"halt")
    });
    let listed = fs::read_to_string("/etc/shells").unwrap_or_else(|_| "/bin/sh\n/bin/bash\n".into());
    let listed = listed.lines().any(|line| Path::new(line.trim()) == shell && line.starts_with('/'));
    !turns_away && (listed || shell == Path::new("/bin/sh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_useradd_makes_unless_root_allows_more() {
        let mut policy = Policy::default();
        for good in ["alice", "_x", "a-b.c_9", &"a".repeat(32)] {
            assert!(takes(&policy, good), "{good}");
        }
        for bad in ["", "Alice", "9a", "-a", "a b", "a@b", "a\n", "jürgen", "root\0", &"a".repeat(33)] {
            assert!(!takes(&policy, bad), "{bad:?}");
        }
        policy.username_extra = r"A-Z@\".into();
        assert!(takes(&policy, r"EXAMPLE\bob") && takes(&policy, "Carol@example.org"));
        assert!(!takes(&policy, "-x") && !takes(&policy, "a b"));
    }

    #[test]
    fn only_login_shells_are_allowed() {
        assert!(shell_is_allowed(Path::new("/bin/sh")));
        for bad in ["/usr/sbin/nologin", "/bin/false", "/bin/sync", "/tmp/sh", "", "/"] {
            assert!(!shell_is_allowed(Path::new(bad)), "{bad}");
        }
    }
}
