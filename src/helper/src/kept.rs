//! What root keeps between connections, in a directory that nobody else may enter: tickets, each a file whose name is
//! the hash of what the person has, and rates.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::{path::Path, path::PathBuf, time::Duration};

use hubd_policy::rates::{Charge, Times, patience};
use hubd_policy::ticket::{TICKET_BYTES, TICKETS_PER_USER_MAX, Ticket, file_name, secret};
use hubd_policy::{Account, OrRefuse, Refusal};
use hubd_proto::{Secret, message::Revocation, message::Revoke};
use nix::time::{ClockId, clock_gettime};
use zeroize::Zeroizing;

use crate::account::is_locked;
use crate::setup::{Setup, locked, now, open_directory, open_own, own_directory};

/// Makes a ticket for somebody whom PAM has accepted just now; and when it ends.
pub fn create_ticket(setup: &Setup, account: &Account) -> io::Result<(Secret, u64)> {
    let mut bytes = Zeroizing::new([0; TICKET_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
    let secret = secret(bytes.as_slice());
    let ticket = Ticket::new(&setup.policy, account, (now(), boot_id()?), is_locked(account));
    let directory = of(setup, ticket.uid);
    own_directory(&directory, 0o700, None)?;
    // Two logins at once must not take each other's unfinished file for a broken one.
    let _lock = locked(open_directory(&directory)?)?;
    make_room(&directory, &ticket)?;
    let path = directory.join(file_name(&secret));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    // Half a ticket is none, and does not stay behind on a full disk.
    file.write_all(&serde_json::to_vec(&ticket)?).inspect_err(|_| drop(fs::remove_file(&path)))?;
    Ok((secret, ticket.expires_at))
}

/// The ticket, if it is this account's and holds now.
pub fn find_ticket(setup: &Setup, account: &Account, secret: &Secret) -> Result<Ticket, &'static str> {
    let ticket = read_ticket(&of(setup, account.uid).join(file_name(secret)));
    let ticket = ticket.ok_or("unknown, revoked, or somebody else's")?;
    let boot_id = boot_id().map_err(|_| "from before the last boot")?;
    ticket.refuses(account, now(), &boot_id).map_or(Ok(ticket), Err)
}

/// Makes one ticket of a uid worthless, or all.
pub fn revoke(setup: &Setup, uid: u32, request: &Revoke) -> io::Result<()> {
    match request.which {
        Revocation::This => fs::remove_file(of(setup, uid).join(file_name(&request.ticket))),
        Revocation::All => fs::remove_dir_all(of(setup, uid)),
    }
}

fn of(setup: &Setup, uid: u32) -> PathBuf {
    setup.paths.state.join(format!("tickets/u{uid}"))
}

/// Removes what has ended, and the oldest if there are too many beside `new`.
fn make_room(directory: &Path, new: &Ticket) -> io::Result<()> {
    let mut living = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        match read_ticket(&path).filter(|old| old.lives_beside(new)) {
            Some(ticket) => living.push((ticket.created_at, path)),
            None => fs::remove_file(path)?,
        }
    }
    living.sort();
    let surplus = (living.len() + 1).saturating_sub(TICKETS_PER_USER_MAX);
    living.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// What is kept of a ticket; nothing where that was cut short.
pub fn read_ticket(path: &Path) -> Option<Ticket> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// What a reboot changes.
fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// Takes all charges or none; after waiting, if that is short.
///
/// # Errors
/// `rate-limited` with the time to wait, or the file could not be used.
pub fn take_or_wait(setup: &Setup, charges: &[Charge]) -> Result<(), Refusal> {
    let mut waited = 0;
    loop {
        let wait = change(setup, |times, now| times.take(charges, now)).or_refuse("counting attempts")?;
        if wait == 0 {
            return Ok(());
        }
        std::thread::sleep(patience(&mut waited, wait)?);
    }
}

/// Undoes the charges of something that does not count after all.
pub fn give_back(setup: &Setup, charges: &[Charge]) {
    // If this fails, the person has one attempt less in this minute.
    let _ = change(setup, |times, _| times.give_back(charges));
}

/// Changes the file under its lock.
fn change<T>(setup: &Setup, change: impl FnOnce(&mut Times, u64) -> T) -> io::Result<T> {
    let mut file = locked(open_own(&setup.paths.state.join("rates"))?)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let mut times = Times::from_text(&text);
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let now = u64::try_from(Duration::from(time).as_millis()).unwrap_or(0);
    let result = change(&mut times, now);
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(times.to_text(now).as_bytes())?;
    Ok(result)
}
