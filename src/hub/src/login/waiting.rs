//! Logins that wait: for the person's next answer, or for the first start. Bounded in number and time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hubd_proto::UserName;

use super::Attempt;
use crate::helper::{Conversation, HeldLogin};

/// Most logins in progress; each is a process of the helper.
const ATTEMPTS_MAX: usize = 1000;
/// Most logins in progress from one address: a classroom behind one address fits, one person cannot take all places.
const ATTEMPTS_PER_SOURCE_MAX: usize = 100;
/// How long a conversation waits for the person, as the helper's `conversation_seconds`.
const CONVERSATION_LIMIT: Duration = Duration::from_secs(180);
/// How long a PAM handle is held after the login, as the helper's `login_hold_seconds`.
const HOLD_LIMIT: Duration = Duration::from_secs(300);
/// Most PAM handles held; each is a process of the helper. Who finds none held starts by ticket.
const HELD_MAX: usize = 1000;

/// Conversations in progress and PAM handles still held. Both are bounded in number and time.
#[derive(Default)]
pub struct Logins {
    attempts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    suspended: Mutex<HashMap<String, (Instant, Suspended)>>,
    held: Mutex<HashMap<String, Held>>,
}

/// A conversation that waits for the person.
pub(super) struct Suspended {
    pub(super) conversation: Conversation,
    pub(super) attempt: Attempt,
}

struct Held {
    until: Instant,
    user: UserName,
    login: HeldLogin,
}

/// A place among the logins in progress, given back when dropped.
pub(super) struct Slot {
    attempts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    source: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut attempts = lock(&self.attempts);
        if let Some(count) = attempts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                attempts.remove(&self.source);
            }
        }
    }
}

impl Logins {
    /// A place for one more login from `source`, or nothing when there are too many.
    pub(super) fn slot(&self, source: IpAddr) -> Option<Slot> {
        let source = network(source);
        let mut attempts = lock(&self.attempts);
        let all: usize = attempts.values().sum();
        let here = attempts.entry(source).or_insert(0);
        if all >= ATTEMPTS_MAX || *here >= ATTEMPTS_PER_SOURCE_MAX {
            if *here == 0 {
                attempts.remove(&source);
            }
            return None;
        }
        *here += 1;
        Some(Slot { attempts: Arc::clone(&self.attempts), source })
    }

    /// Keeps a conversation until its answer comes. Their number is bounded by that of slots.
    pub(super) fn suspend(&self, id: String, suspended: Suspended) {
        lock(&self.suspended).insert(id, (Instant::now() + CONVERSATION_LIMIT, suspended));
    }

    /// Takes a conversation out, if it is still there and not too old.
    pub(super) fn resume(&self, id: &str) -> Option<Suspended> {
        let (until, suspended) = lock(&self.suspended).remove(id)?;
        (until > Instant::now()).then_some(suspended)
    }

    /// Keeps a PAM handle; an older one of the same browser session is dropped.
    pub(super) fn hold(&self, session_id: &str, user: UserName, login: HeldLogin) {
        let mut held = lock(&self.held);
        if held.len() >= HELD_MAX && !held.contains_key(session_id) {
            let oldest = held.iter().min_by_key(|(_, entry)| entry.until).map(|(id, _)| id.clone());
            oldest.and_then(|id| held.remove(&id));
        }
        let until = Instant::now() + HOLD_LIMIT;
        held.insert(session_id.to_owned(), Held { until, user, login });
    }

    /// The PAM handle held for `user` in this browser session; it can be used once.
    pub(crate) fn take_held(&self, session_id: &str, user: &UserName) -> Option<HeldLogin> {
        let mut held = lock(&self.held);
        if held.get(session_id).is_none_or(|entry| entry.user != *user) {
            return None;
        }
        let entry = held.remove(session_id)?;
        (entry.until > Instant::now()).then_some(entry.login)
    }

    /// Forgets the PAM handle of a browser session.
    pub(super) fn release(&self, session_id: &str) {
        lock(&self.held).remove(session_id);
    }

    /// Drops what has waited too long; called every few seconds.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        lock(&self.suspended).retain(|_, (until, _)| *until > now);
        lock(&self.held).retain(|_, entry| entry.until > now);
    }
}

/// Whose place a source takes: an IPv6 host has a whole /64 to itself.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The table, also after a panic elsewhere: each entry stands for itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_all_places() {
        let logins = Logins::default();
        let one: IpAddr = "2001:db8::1".parse().expect("an address");
        let neighbour: IpAddr = "2001:db8::2".parse().expect("an address");
        let other: IpAddr = "192.0.2.1".parse().expect("an address");
        let mut slots: Vec<_> = (0..ATTEMPTS_PER_SOURCE_MAX).map(|_| logins.slot(one)).collect();
        assert!(slots.iter().all(Option::is_some));
        assert!(logins.slot(neighbour).is_none());
        assert!(logins.slot(other).is_some());
        slots.pop();
        assert!(logins.slot(neighbour).is_some());
    }

    #[test]
    fn all_sources_together_have_a_limit() {
        let logins = Logins::default();
        let source = |n: usize| IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]);
        let slots: Vec<_> = (0..ATTEMPTS_MAX).map(|n| logins.slot(source(n))).collect();
        assert!(slots.iter().all(Option::is_some));
        assert!(logins.slot(source(ATTEMPTS_MAX)).is_none());
        drop(slots);
        assert!(lock(&logins.attempts).is_empty());
    }
}
