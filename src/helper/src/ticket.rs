//! Tickets: what lets a person's server start later without their password.
//!
//! A ticket is 32 random bytes as text. Only its SHA-256 is kept, as a file's name in
//! `tickets/u<uid>/`, in a directory that only root may enter.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hubd_proto::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::account::Account;
use crate::setup::{Setup, now, own_directory};

/// Bytes of randomness in a ticket.
const TICKET_BYTES: usize = 32;
/// Length of a ticket as base64url text.
const TICKET_TEXT_BYTES: usize = 43;
/// Most tickets of one person: one for each browser. A new one pushes the oldest out.
const TICKETS_PER_USER_MAX: usize = 32;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What is kept about a ticket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    uid: u32,
    name: String,
    created_at: u64,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    boot_id: String,
    /// Whether the account was locked in the shadow file already then, as it is with other PAM modules.
    pub was_locked: bool,
}

/// The directory of tickets.
pub struct Tickets {
    dir: PathBuf,
    boot_id: String,
}

impl Tickets {
    /// The tickets of this boot.
    pub fn new(setup: &Setup) -> io::Result<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { dir: setup.places.state.join("tickets"), boot_id })
    }

    /// Makes a ticket for somebody whom PAM has accepted just now.
    pub fn create(&self, account: &Account, days: u32) -> io::Result<(Secret, u64)> {
        let mut bytes = Zeroizing::new([0; TICKET_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
        let secret = Secret::new(base64url(bytes.as_slice()));
        let created_at = now();
        let expires_at = created_at + u64::from(days) * DAY_SECONDS;
        let (uid, name, boot_id) = (account.uid.as_raw(), account.name.to_string(), self.boot_id.clone());
        let ticket = Ticket { uid, name, created_at, expires_at, boot_id, was_locked: account.is_locked() };
        let dir = self.of(uid);
        own_directory(&dir, 0o700, None)?;
        self.make_room(&dir, created_at)?;
        let mut file =
            fs::File::options().write(true).create_new(true).mode(0o600).open(dir.join(hash(&secret)))?;
        file.write_all(&serde_json::to_vec(&ticket)?)?;
        Ok((secret, expires_at))
    }

    /// The ticket, if it is this account's and holds now.
    pub fn find(&self, account: &Account, secret: &Secret) -> Result<Ticket, &'static str> {
        if secret.len() != TICKET_TEXT_BYTES {
            return Err("not a ticket");
        }
        let path = self.of(account.uid.as_raw()).join(hash(secret));
        let ticket = read(&path).ok_or("unknown, revoked, or somebody else's")?;
        if ticket.uid != account.uid.as_raw() || ticket.name != account.name.as_str() {
            return Err("made for another account with this uid");
        }
        if ticket.boot_id != self.boot_id {
            return Err("from before the last boot");
        }
        if ticket.expires_at <= now() { Err("expired") } else { Ok(ticket) }
    }

    /// Makes one ticket worthless.
    pub fn revoke(&self, uid: u32, secret: &Secret) -> io::Result<()> {
        fs::remove_file(self.of(uid).join(hash(secret)))
    }

    /// Makes all of a uid's tickets worthless.
    pub fn revoke_all_of(&self, uid: u32) -> io::Result<()> {
        fs::remove_dir_all(self.of(uid))
    }

    /// Makes the tickets of `name`, or of everybody, worthless; says how many there were.
    pub fn revoke_by_name(&self, name: Option<&str>) -> io::Result<usize> {
        let mut count = 0;
        for user in fs::read_dir(&self.dir)? {
            for file in fs::read_dir(user?.path())? {
                let path = file?.path();
                if name.is_none_or(|name| read(&path).is_none_or(|ticket| ticket.name == name)) {
                    fs::remove_file(path)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn of(&self, uid: u32) -> PathBuf {
        self.dir.join(format!("u{uid}"))
    }

    /// Removes what has ended, and the oldest if there are too many.
    fn make_room(&self, dir: &Path, now: u64) -> io::Result<()> {
        let mut living = Vec::new();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            match read(&path).filter(|ticket| ticket.expires_at > now && ticket.boot_id == self.boot_id) {
                Some(ticket) => living.push((ticket.created_at, path)),
                None => fs::remove_file(path)?,
            }
        }
        living.sort();
        let surplus = (living.len() + 1).saturating_sub(TICKETS_PER_USER_MAX);
        living.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn read(path: &Path) -> Option<Ticket> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The name of a ticket's file: SHA-256 as hexadecimal digits.
fn hash(secret: &Secret) -> String {
    Sha256::digest(secret.expose()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(TICKET_TEXT_BYTES);
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.extend(DIGITS.get(number >> (18 - 6 * place) & 63).map(|&digit| char::from(digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_agrees_with_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(base64url(&[7; TICKET_BYTES]).len(), TICKET_TEXT_BYTES);
    }
}
