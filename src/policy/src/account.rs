//! Who may use hubd at all: an account as NSS knows it, held against root's policy.

use std::path::{Path, PathBuf};

use hubd_proto::{UserName, message::Account as AccountReply};

use crate::policy::Policy;

/// uids that are never anybody's, beside root: nobody, and -1 as 16 and as 32 bits.
const NOBODY_UIDS: [u32; 3] = [65534, 65535, u32::MAX];
/// uids that systemd hands out to services for a while (`DynamicUser=`).
const SYSTEMD_DYNAMIC_UIDS: std::ops::RangeInclusive<u32> = 61184..=65519;
/// Longest name unless root allows further characters, in bytes, as useradd(8).
const NAME_BYTES_MAX: usize = 32;
/// Login shells where there is no shells(5).
pub const SHELLS: &str = "/bin/sh\n/bin/bash\n";

/// An account that exists. What it may do, [`Account::bar`] says.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name, as NSS spells it.
    pub name: UserName,
    /// Its uid.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
}

impl Account {
    /// What the daemon is told of it.
    pub fn told(self, ticket_expires_at: Option<u64>) -> AccountReply {
        AccountReply { user: self.name, uid: self.uid, ticket_expires_at }
    }

    /// Why the policy bars this account from being a person's, if it does. `shells` is the text of shells(5); the
    /// groups that bar it are asked for beside this.
    pub fn bar(&self, policy: &Policy, daemon_uid: u32, shells: &str) -> Option<String> {
        let uid = self.uid;
        if let Some(why) = self.bar_from_everything(policy, daemon_uid) {
            return Some(why);
        }
        if uid < policy.min_uid || uid > policy.max_uid {
            return Some(format!("uid {uid} is not between {} and {}", policy.min_uid, policy.max_uid));
        }
        if !shell_is_allowed(&self.shell, shells) {
            return Some(format!("its shell {} is not a login shell of /etc/shells", self.shell.display()));
        }
        (!self.home.is_absolute()).then(|| "its home directory is not an absolute path".into())
    }

    /// Why nothing is started as this account, not even a service that root gave it to.
    pub fn bar_from_everything(&self, policy: &Policy, daemon_uid: u32) -> Option<String> {
        let uid = self.uid;
        if uid == 0 || NOBODY_UIDS.contains(&uid) || SYSTEMD_DYNAMIC_UIDS.contains(&uid) {
            return Some(format!("uid {uid} never gets a server"));
        }
        if uid == daemon_uid {
            return Some("hubd itself gets no server".into());
        }
        let denied = policy.denied_users.iter().any(|name| same_name(name, self.name.as_str()));
        denied.then(|| "denied_users names it".into())
    }

    /// Whether this text of shadow(5) has the account locked, as `usermod -L` does.
    pub fn is_locked_in(&self, shadow: &[u8]) -> bool {
        let begin = format!("{}:!", self.name);
        shadow.split(|&byte| byte == b'\n').any(|line| line.starts_with(begin.as_bytes()))
    }
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

/// Why nobody logs in with this name, which no account has.
pub fn unknown(policy: &Policy, name: &UserName) -> &'static str {
    if takes(policy, name.as_str()) {
        return "no such account";
    }
    "the name has characters that username_extra would have to allow"
}

/// Whether people log in with this shell: listed in shells(5), and not one that turns them away.
fn shell_is_allowed(shell: &Path, shells: &str) -> bool {
    let turns_away = shell.file_name().is_none_or(|name| {
        matches!(name.as_encoded_bytes(), b"nologin" | b"false" | b"sync" | b"shutdown" | b"halt")
    });
    let listed = shells.lines().any(|line| Path::new(line.trim()) == shell && line.starts_with('/'));
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
        let shells = "# /bin/dash\n/bin/bash\n/bin/false\n/\n";
        for good in ["/bin/sh", "/bin/bash"] {
            assert!(shell_is_allowed(Path::new(good), shells), "{good}");
        }
        for bad in ["/usr/sbin/nologin", "/bin/false", "/bin/sync", "/tmp/sh", "/bin/dash", "", "/"] {
            assert!(!shell_is_allowed(Path::new(bad), shells), "{bad}");
        }
    }

    #[test]
    fn root_system_accounts_the_daemon_and_denied_names_are_barred() {
        let policy = Policy { denied_users: vec!["Mallory".into()], ..Policy::default() };
        let barred = |name: &str, uid: u32, home: &str| {
            let name = UserName::new(name).expect("a good name");
            let account = Account { name, uid, gid: 1, home: home.into(), shell: "/bin/sh".into() };
            (
                account.bar(&policy, 2000, SHELLS).is_some(),
                account.bar_from_everything(&policy, 2000).is_some(),
            )
        };
        assert_eq!(barred("alice", 1000, "/home/alice"), (false, false));
        assert_eq!(barred("alice", 1000, "home"), (true, false));
        for system in [1, 999, 60001] {
            assert_eq!(barred("alice", system, "/"), (true, false), "{system}");
        }
        for never in [0, 2000, 61184, 65519, 65534, 65535, u32::MAX] {
            assert_eq!(barred("alice", never, "/"), (true, true), "{never}");
        }
        assert_eq!(barred("mallory", 1000, "/"), (true, true));
    }
}
