//! Tickets: what lets a person's server start later without their password.
//!
//! A ticket is 32 random bytes as text. Only its SHA-256 is kept, as a file's name in
//! `tickets/u<uid>/`, in a directory that only root may enter.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hubd_proto::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::account::{Account, same_name};
use crate::setup::{Setup, locked, now, open_directory, own_directory};

/// Bytes of randomness in a ticket; its text has two digits for each.
const TICKET_BYTES: usize = 32;
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

/// Makes a ticket for somebody whom PAM has accepted just now.
pub fn create(setup: &Setup, account: &Account) -> io::Result<(Secret, u64)> {
    let mut bytes = Zeroizing::new([0; TICKET_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
    let secret = Secret::new(hexadecimal(bytes.as_slice()));
    let ticket = Ticket {
        uid: account.uid.as_raw(),
        name: account.name.to_string(),
        created_at: now(),
        expires_at: now() + u64::from(setup.policy.ticket_days.get()) * DAY_SECONDS,
        boot_id: boot_id()?,
        was_locked: account.is_locked(),
    };
    let directory = of(setup, ticket.uid);
    own_directory(&directory, 0o700, None)?;
    // Two logins at once must not take each other's unfinished file for a broken one.
    let _lock = locked(open_directory(&directory)?)?;
    make_room(&directory, &ticket)?;
    let path = directory.join(hash(&secret));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    // Half a ticket is none, and does not stay behind on a full disk.
    file.write_all(&serde_json::to_vec(&ticket)?).inspect_err(|_| drop(fs::remove_file(&path)))?;
    Ok((secret, ticket.expires_at))
}

/// The ticket, if it is this account's and holds now.
pub fn find(setup: &Setup, account: &Account, secret: &Secret) -> Result<Ticket, &'static str> {
    let ticket = read(&of(setup, account.uid.as_raw()).join(hash(secret)));
    let ticket = ticket.ok_or("unknown, revoked, or somebody else's")?;
    if ticket.uid != account.uid.as_raw() || ticket.name != account.name.as_str() {
        return Err("made for another account with this uid");
    }
    if !boot_id().is_ok_and(|boot_id| boot_id == ticket.boot_id) {
        return Err("from before the last boot");
    }
    if ticket.expires_at <= now() { Err("expired") } else { Ok(ticket) }
}

/// Makes one ticket worthless.
pub fn revoke(setup: &Setup, uid: u32, secret: &Secret) -> io::Result<()> {
    fs::remove_file(of(setup, uid).join(hash(secret)))
}

/// Makes all of a uid's tickets worthless.
pub fn revoke_all_of(setup: &Setup, uid: u32) -> io::Result<()> {
    fs::remove_dir_all(of(setup, uid))
}

/// Makes the tickets of `name`, or of everybody, worthless; says how many there were.
pub fn revoke_by_name(setup: &Setup, name: Option<&str>) -> io::Result<usize> {
    let mut count = 0;
    for user in fs::read_dir(setup.state.join("tickets"))? {
        for file in fs::read_dir(user?.path())? {
            let path = file?.path();
            if name.is_none_or(|name| read(&path).is_none_or(|ticket| same_name(&ticket.name, name))) {
                fs::remove_file(path)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn of(setup: &Setup, uid: u32) -> PathBuf {
    setup.state.join(format!("tickets/u{uid}"))
}

/// Removes what has ended, and the oldest if there are too many beside `new`.
fn make_room(directory: &Path, new: &Ticket) -> io::Result<()> {
    let mut living = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        match read(&path).filter(|old| old.expires_at > new.created_at && old.boot_id == new.boot_id) {
            Some(ticket) => living.push((ticket.created_at, path)),
            None => fs::remove_file(path)?,
        }
    }
    living.sort();
    let surplus = (living.len() + 1).saturating_sub(TICKETS_PER_USER_MAX);
    living.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

fn read(path: &Path) -> Option<Ticket> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// What a reboot changes.
fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The name of a ticket's file.
fn hash(secret: &Secret) -> String {
    hexadecimal(&Sha256::digest(secret.expose()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_two_digits_for_each_byte() {
        assert_eq!(hexadecimal(&[0, 15, 16, 255]), "000f10ff");
        assert_eq!(hash(&Secret::new("abc".into())).get(..8), Some("ba7816bf"));
    }
}
