//! What the hub is handed of the machine: its clock, its randomness, its accounts.

use std::time::SystemTime;

use hubd_hub::accounts::Accounts;
use hubd_hub::clock::{Clock, Random};

/// The clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The kernel's randomness.
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(
        clippy::expect_used,
        reason = "without randomness every secret would be known: the process must not go on"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes)
            .expect("aws-lc reads getrandom(2), which does not fail once the machine is up");
    }
}

/// Accounts and groups as nsswitch.conf(5) finds them.
pub struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn groups(&self, account: &str) -> Option<Vec<String>> {
        let user = users::get_user_by_name(account)?;
        let groups = users::get_user_groups(account, user.primary_group_id())?;
        Some(groups.iter().map(|group| group.name().to_string_lossy().into_owned()).collect())
    }

    fn exists(&self, account: &str) -> std::io::Result<bool> {
        Ok(nix::unistd::User::from_name(account)?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_groups_are_those_of_the_machine() {
        assert!(SystemAccounts.exists("root").unwrap());
        assert!(!SystemAccounts.exists("hubt-nobody-has-this-name").unwrap());
        assert!(SystemAccounts.groups("root").unwrap().contains(&"root".to_owned()));
        assert_eq!(SystemAccounts.groups("hubt-nobody-has-this-name"), None);
    }
}
