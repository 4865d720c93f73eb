//! Rates that outlive a connection: failed logins, starts and new accounts.
//!
//! Each key has one number, the time at which it is free again (the "generic cell rate algorithm"): a
//! charge pushes it on by one interval, and a charge that would push it more than a minute ahead has to
//! wait. So a key slows down and is never locked, and a key that is free again needs no record.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use hubd_proto::{UserName, message::Authenticate};

use crate::{policy::Policy, refusal::Refusal};

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

/// What one attempt to log in costs; given back when it succeeds, so only failures count.
pub fn of_login(policy: &Policy, request: &Authenticate) -> [Charge; 3] {
    let source = request.source.map_or("none".to_owned(), |source| source.to_string());
    let user = format!("login user {}", request.user.as_str().to_lowercase());
    [
        Charge::new("login", policy.failures_per_minute),
        Charge::new(format!("login source {source}"), policy.failures_per_source_per_minute),
        Charge::new(user, policy.failures_per_user_per_minute),
    ]
}

/// What one start costs.
pub fn of_start(policy: &Policy, user: &UserName) -> [Charge; 2] {
    [
        Charge::new("start", policy.starts_per_minute),
        Charge::new(format!("start user {user}"), policy.starts_per_user_per_minute),
    ]
}

/// How long to wait for one's turn, after having `waited`; both in milliseconds, `waited` is carried on.
///
/// # Errors
/// `rate-limited`, with the time to wait.
pub fn patience(waited: &mut u64, wait: u64) -> Result<Duration, Refusal> {
    *waited += wait;
    if *waited <= WAIT_MILLISECONDS_MAX {
        return Ok(Duration::from_millis(wait));
    }
    Err(Refusal::too_fast(u32::try_from(wait.div_ceil(1000)).unwrap_or(60)))
}

/// Until when each key is taken, in milliseconds of a clock that only a reboot sets back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(BTreeMap<String, u64>);

impl Times {
    /// What was kept. A text that was cut short by a full disk counts as empty.
    pub fn from_text(text: &[u8]) -> Self {
        Self(serde_json::from_slice(text).unwrap_or_default())
    }

    /// What is to be kept: the keys that are not free at `now`.
    pub fn to_text(&self, now: u64) -> String {
        let taken: BTreeMap<_, _> = self.0.iter().filter(|(_, time)| **time > now).collect();
        let surplus = taken.len().saturating_sub(KEYS_MAX);
        let kept: BTreeMap<_, _> = taken.into_iter().skip(surplus).collect();
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Pushes every key on, or none and says how many milliseconds to wait.
    pub fn take(&mut self, charges: &[Charge], now: u64) -> u64 {
        let mut wait = 0;
        for charge in charges {
            // A time further ahead than possible is from before a reboot.
            let free_at =
                self.0.get(&charge.key).map_or(now, |&time| time.clamp(now, now + WINDOW_MILLISECONDS));
            wait = wait.max((free_at + charge.interval).saturating_sub(now + WINDOW_MILLISECONDS));
        }
        if wait == 0 {
            for charge in charges {
                let free_at = self.0.entry(charge.key.clone()).or_insert(now);
                *free_at = (*free_at).clamp(now, now + WINDOW_MILLISECONDS) + charge.interval;
            }
        }
        wait
    }

    /// Undoes the charges of something that does not count after all.
    pub fn give_back(&mut self, charges: &[Charge]) {
        for charge in charges {
            if let Some(time) = self.0.get_mut(&charge.key) {
                *time = time.saturating_sub(charge.interval);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(key: &str, per_minute: u16) -> Charge {
        Charge::new(key, NonZeroU16::new(per_minute).expect("not zero"))
    }

    #[test]
    fn a_minute_holds_its_number_then_slows_and_never_locks() {
        let (mut times, charge) = (Times::default(), [charge("k", 12)]);
        for _ in 0..12 {
            assert_eq!(times.take(&charge, 1_000_000), 0);
        }
        assert_eq!(times.take(&charge, 1_000_000), 5_000);
        assert_eq!(times.take(&charge, 1_000_000), 5_000);
        assert_eq!(times.take(&charge, 1_005_000), 0);
        assert_eq!(times.take(&charge, 1_005_000), 5_000);
        times.give_back(&charge);
        assert_eq!(times.take(&charge, 1_005_000), 0);
    }

    #[test]
    fn a_refused_charge_pushes_no_key_on() {
        let mut times = Times::default();
        let both = [charge("all", 100), charge("one", 1)];
        assert_eq!(times.take(&both, 5_000), 0);
        let before = times.clone();
        assert!(times.take(&both, 5_000) > 0);
        assert_eq!(times, before);
    }

    #[test]
    fn a_time_from_before_a_reboot_does_not_lock() {
        let mut times = Times::from_text(format!("{{\"k\":{}}}", u64::MAX / 2).as_bytes());
        assert!(times.take(&[charge("k", 12)], 1_000) <= 5_000);
    }

    #[test]
    fn free_keys_are_forgotten_and_a_broken_text_is_empty() {
        let mut times = Times::from_text(b"{\"k\":");
        times.take(&[charge("k", 12)], 1_000);
        assert_eq!(Times::from_text(times.to_text(1_000).as_bytes()), times);
        assert_eq!(times.to_text(60_000), "{}");
        let many = Times((0..KEYS_MAX as u64 + 5).map(|key| (key.to_string(), 9)).collect());
        assert_eq!(Times::from_text(many.to_text(1).as_bytes()).0.len(), KEYS_MAX);
    }

    #[test]
    fn a_turn_is_waited_for_ten_seconds_in_all() {
        let mut waited = 0;
        assert!(patience(&mut waited, 6_000).is_ok());
        let refused = patience(&mut waited, 5_001).expect_err("too long").refused;
        assert_eq!(refused.retry_after_seconds, Some(6));
    }
}
