//! Rates that outlive a connection: failed logins and starts.
//!
//! Each key has one number, the time at which it is free again (the "generic cell rate algorithm"): a
//! charge pushes it on by one interval, and a charge that would push it more than a minute ahead has to
//! wait. So a key slows down and is never locked, and a key that is free again needs no record.

use std::io::{self, Read, Seek, Write};
use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use hubd_proto::message::RefusalCode;
use nix::time::{ClockId, clock_gettime};

use crate::refusal::Refusal;
use crate::setup::{Setup, locked, open_own};

/// How far ahead a key may be pushed, in milliseconds: the rates are per minute.
const WINDOW_MILLISECONDS: u64 = 60_000;
/// Longest time that a login waits for its turn before it is refused, in milliseconds.
const WAIT_MILLISECONDS_MAX: u64 = 10_000;
/// Most keys kept. The rate in all bounds them far lower; beyond it some are forgotten.
const KEYS_MAX: usize = 10_000;

/// One thing that is counted.
pub struct Charge {
    key: String,
    interval: u64,
}

impl Charge {
    /// At most `per_minute` of `key`.
    pub fn new(key: impl Into<String>, per_minute: NonZeroU16) -> Self {
        Self { key: key.into(), interval: WINDOW_MILLISECONDS.div_ceil(per_minute.get().into()) }
    }
}

/// What is kept: until when each key is taken.
type Times = BTreeMap<String, u64>;

/// Takes all charges or none; after waiting, if that is short.
///
/// # Errors
/// `rate-limited` with the time to wait, or the file could not be used.
pub fn take_or_wait(setup: &Setup, charges: &[Charge]) -> Result<(), Refusal> {
    let mut waited = 0;
    loop {
        let wait = change(setup, |times, now| take(times, charges, now))
            .map_err(|error| Refusal::system("counting attempts", error))?;
        if wait == 0 {
            return Ok(());
        }
        waited += wait;
        if waited > WAIT_MILLISECONDS_MAX {
            let seconds = u32::try_from(wait.div_ceil(1000)).unwrap_or(60);
            let message = format!("Too many attempts. Try again in {seconds} seconds.");
            return Err(Refusal::new(RefusalCode::RateLimited, message).retry_after(seconds));
        }
        std::thread::sleep(Duration::from_millis(wait));
    }
}

/// Undoes the charges of something that does not count after all.
pub fn give_back(setup: &Setup, charges: &[Charge]) {
    // If this fails, the person has one attempt less in this minute.
    let _ = change(setup, |times, _| {
        for charge in charges {
            if let Some(time) = times.get_mut(&charge.key) {
                *time = time.saturating_sub(charge.interval);
            }
        }
    });
}

/// Changes the file under its lock, and forgets the keys that are free.
fn change<T>(setup: &Setup, change: impl FnOnce(&mut Times, u64) -> T) -> io::Result<T> {
    let mut file = locked(open_own(&setup.state.join("rates"))?)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    // A file that was cut short by a full disk counts as empty.
    let mut times: Times = serde_json::from_slice(&text).unwrap_or_default();
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let now = u64::try_from(Duration::from(time).as_millis()).unwrap_or(0);
    let result = change(&mut times, now);
    times.retain(|_, time| *time > now);
    while times.len() > KEYS_MAX {
        times.pop_first();
    }
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&serde_json::to_vec(&times)?)?;
    Ok(result)
}

/// Pushes every key on, or says how many milliseconds to wait.
fn take(times: &mut Times, charges: &[Charge], now: u64) -> u64 {
    let mut wait = 0;
    for charge in charges {
        // A time further ahead than possible is from before a reboot.
        let free_at = times.get(&charge.key).map_or(now, |&time| time.clamp(now, now + WINDOW_MILLISECONDS));
        wait = wait.max((free_at + charge.interval).saturating_sub(now + WINDOW_MILLISECONDS));
    }
    if wait == 0 {
        for charge in charges {
            let free_at = times.entry(charge.key.clone()).or_insert(now);
            *free_at = (*free_at).clamp(now, now + WINDOW_MILLISECONDS) + charge.interval;
        }
    }
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(key: &str, per_minute: u16) -> Charge {
        Charge::new(key, NonZeroU16::new(per_minute).expect("not zero"))
    }

    #[test]
    fn a_minute_holds_its_number_then_slows_and_never_locks() {
        let (mut times, charge) = (Times::new(), [charge("k", 12)]);
        for _ in 0..12 {
            assert_eq!(take(&mut times, &charge, 1_000_000), 0);
        }
        assert_eq!(take(&mut times, &charge, 1_000_000), 5_000);
        assert_eq!(take(&mut times, &charge, 1_000_000), 5_000);
        assert_eq!(take(&mut times, &charge, 1_005_000), 0);
        assert_eq!(take(&mut times, &charge, 1_005_000), 5_000);
    }

    #[test]
    fn a_refused_charge_pushes_no_key_on() {
        let mut times = Times::new();
        let both = [charge("all", 100), charge("one", 1)];
        assert_eq!(take(&mut times, &both, 5_000), 0);
        let before = times.clone();
        assert!(take(&mut times, &both, 5_000) > 0);
        assert_eq!(times, before);
    }

    #[test]
    fn a_time_from_before_a_reboot_does_not_lock() {
        let mut times = Times::from([("k".to_owned(), u64::MAX / 2)]);
        assert!(take(&mut times, &[charge("k", 12)], 1_000) <= 5_000);
    }
}
