//! Tickets: what lets a person's server start later without their password.
//!
//! A ticket is 32 random bytes as text. Only its SHA-256 is kept, as a file's name in
//! `tickets/u<uid>/`, in a directory that only root may enter; what is in the file stands here.

use hubd_proto::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::account::{Account, same_name};
use crate::policy::Policy;

/// Bytes of randomness in a ticket; its text has two digits for each.
pub const TICKET_BYTES: usize = 32;
/// Most tickets of one person: one for each browser. A new one pushes the oldest out.
pub const TICKETS_PER_USER_MAX: usize = 32;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What is kept about a ticket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Whose it is.
    pub uid: u32,
    name: String,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    boot_id: String,
    /// Whether the account was locked in the shadow file already then, as it is with other PAM modules.
    pub was_locked: bool,
}

impl Ticket {
    /// For somebody whom PAM has accepted just now.
    pub fn new(policy: &Policy, account: &Account, (now, boot_id): (u64, String), was_locked: bool) -> Self {
        let expires_at = now + u64::from(policy.ticket_days.get()) * DAY_SECONDS;
        let (uid, name) = (account.uid, account.name.to_string());
        Self { uid, name, created_at: now, expires_at, boot_id, was_locked }
    }

    /// Why it is not this account's, or does not hold now.
    pub fn refuses(&self, account: &Account, now: u64, boot_id: &str) -> Option<&'static str> {
        if self.uid != account.uid || self.name != account.name.as_str() {
            return Some("made for another account with this uid");
        }
        if self.boot_id != boot_id {
            return Some("from before the last boot");
        }
        (self.expires_at <= now).then_some("expired")
    }

    /// Whether it still holds when `new` is made.
    pub fn lives_beside(&self, new: &Self) -> bool {
        self.expires_at > new.created_at && self.boot_id == new.boot_id
    }

    /// Whether it was made for this name.
    pub fn is_of(&self, name: &str) -> bool {
        same_name(&self.name, name)
    }
}

/// The text that goes into the person's cookie.
pub fn secret(random: &[u8]) -> Secret {
    Secret::new(hexadecimal(random))
}

/// The name of a ticket's file.
pub fn file_name(secret: &Secret) -> String {
    hexadecimal(&Sha256::digest(secret.expose()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, uid: u32) -> Account {
        let name = hubd_proto::UserName::new(name).expect("a good name");
        Account { name, uid, gid: 1, home: "/".into(), shell: "/bin/sh".into() }
    }

    #[test]
    fn a_ticket_is_two_digits_for_each_byte() {
        assert_eq!(hexadecimal(&[0, 15, 16, 255]), "000f10ff");
        assert_eq!(file_name(&Secret::new("abc".into())).get(..8), Some("ba7816bf"));
    }

    #[test]
    fn a_ticket_holds_for_its_account_its_boot_and_its_days() {
        let (policy, alice) = (Policy::default(), account("alice", 1000));
        let ticket = Ticket::new(&policy, &alice, (100, "boot".into()), false);
        assert_eq!(ticket.expires_at, 100 + 14 * DAY_SECONDS);
        assert_eq!(ticket.refuses(&alice, 100, "boot"), None);
        assert_eq!(ticket.refuses(&alice, ticket.expires_at, "boot"), Some("expired"));
        assert!(ticket.refuses(&alice, 100, "another").is_some());
        assert!(ticket.refuses(&account("bob", 1000), 100, "boot").is_some());
        assert!(ticket.refuses(&account("alice", 1001), 100, "boot").is_some());
        let later = Ticket::new(&policy, &alice, (ticket.expires_at, "boot".into()), false);
        let rebooted = Ticket::new(&policy, &alice, (101, "another".into()), false);
        assert!(
            !ticket.lives_beside(&later) && !ticket.lives_beside(&rebooted) && later.lives_beside(&ticket)
        );
    }
}
