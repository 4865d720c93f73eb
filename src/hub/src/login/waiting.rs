//! Logins that wait: for the person's next answer, or for the first start. Bounded in number and time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hubd_proto::UserName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Attempt;
use crate::helper::{Conversation, HeldLogin};

/// Most logins that wait for their turn or are in progress.
const ATTEMPTS_MAX: usize = 1000;
/// Most of them from one address: hundreds may sit behind one, but not all places are for them.
const ATTEMPTS_PER_SOURCE_MAX: usize = 500;
/// Most logins in progress; each is a process of the helper. With [`HELD_MAX`] they take the 256
/// places that `hubd-helper.socket` leaves beside running servers (`MaxConnections=`).
const CONVERSATIONS_MAX: usize = 128;
/// The longest wait for one's turn: five hundred logins at once take five seconds of two processors, and forty on a
/// machine with much else to do. Front proxies give up after a minute.
const TURN_LIMIT: Duration = Duration::from_secs(50);
/// How long a conversation waits for the person, as the helper's `conversation_seconds`.
const CONVERSATION_LIMIT: Duration = Duration::from_secs(180);
/// How long a PAM handle is held after the login, as the helper's `login_hold_seconds`.
const HOLD_LIMIT: Duration = Duration::from_secs(300);
/// Most PAM handles held; each is a process of the helper. Who finds none held starts by ticket.
const HELD_MAX: usize = 128;

/// Conversations in progress and PAM handles still held. Both are bounded in number and time.
pub struct Logins {
    attempts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    conversations: Arc<Semaphore>,
    suspended: Mutex<HashMap<String, (Instant, Suspended)>>,
    held: Mutex<HashMap<String, Held>>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            attempts: Arc::default(),
            conversations: Arc::new(Semaphore::new(CONVERSATIONS_MAX)),
            suspended: Mutex::default(),
            held: Mutex::default(),
        }
    }
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
    _place: Place,
    _turn: OwnedSemaphorePermit,
}

/// A place among those who wait or are in progress, given back when dropped.
struct Place {
    attempts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    source: IpAddr,
}

impl Drop for Place {
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
    /// A place for one more login from `source`, after waiting for its turn; nothing when there are
    /// too many.
    pub(super) async fn slot(&self, source: IpAddr) -> Option<Slot> {
        let place = self.place(source)?;
        if self.conversations.available_permits() == 0 {
            self.make_room();
        }
        let turn = timeout(TURN_LIMIT, Arc::clone(&self.conversations).acquire_owned()).await.ok()?.ok()?;
        Some(Slot { _place: place, _turn: turn })
    }

    fn place(&self, source: IpAddr) -> Option<Place> {
        let source = network(source);
        let mut attempts = lock(&self.attempts);
        let all: usize = attempts.values().sum();
        let here = attempts.get(&source).copied().unwrap_or_default();
        if all >= ATTEMPTS_MAX || here >= ATTEMPTS_PER_SOURCE_MAX {
            return None;
        }
        attempts.insert(source, here + 1);
        Some(Place { attempts: Arc::clone(&self.attempts), source })
    }

    /// Gives up the oldest conversation of the address that has most of them waiting: a login that can
    /// go on now is worth more than a question that nobody may ever answer.
    fn make_room(&self) {
        let mut suspended = lock(&self.suspended);
        let mut sources: HashMap<IpAddr, usize> = HashMap::new();
        for (_, waiting) in suspended.values() {
            *sources.entry(network(waiting.attempt.source)).or_default() += 1;
        }
        let Some(most) = sources.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source) else {
            return;
        };
        let of_most = suspended.iter().filter(|(_, (_, waiting))| network(waiting.attempt.source) == most);
        let oldest = of_most.min_by_key(|(_, (until, _))| *until).map(|(id, _)| id.clone());
        oldest.and_then(|id| suspended.remove(&id));
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
    pub(crate) fn release(&self, session_id: &str) {
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
        let mut places: Vec<_> = (0..ATTEMPTS_PER_SOURCE_MAX).map(|_| logins.place(one)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(logins.place(neighbour).is_none());
        assert!(logins.place(other).is_some());
        places.pop();
        assert!(logins.place(neighbour).is_some());
    }

    #[test]
    fn all_sources_together_have_a_limit() {
        let logins = Logins::default();
        let source = |n: usize| IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]);
        let places: Vec<_> = (0..ATTEMPTS_MAX).map(|n| logins.place(source(n))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(logins.place(source(ATTEMPTS_MAX)).is_none());
        drop(places);
        assert!(lock(&logins.attempts).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_places_taken_waits_for_a_turn_but_not_for_ever() {
        let logins = Logins::default();
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut slots = Vec::new();
        for _ in 0..CONVERSATIONS_MAX {
            slots.push(logins.slot(here).await.expect("a slot"));
        }
        assert!(logins.slot(here).await.is_none());
        let waiting = logins.slot(here);
        slots.pop();
        assert!(waiting.await.is_some());
    }
}
