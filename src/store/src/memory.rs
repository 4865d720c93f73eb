//! What the database said a moment ago, for as long as nobody wrote to it.
//!
//! Reading one row costs more than all else that a short request does. So what requests ask again and again is kept,
//! each with the generation of the database that it was read from. A commit makes a new generation before its writer
//! hears of it, and with it everything kept is worthless: nobody sees a token that was revoked or a role that was
//! taken. Activity is written all the time and changes nothing but times; a commit of activity alone makes no new
//! generation, it only takes those out of memory whose times it wrote. Commits of other programs are noticed by
//! [`Store::notice_changes`].

#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use rusqlite::Connection;
use zeroize::Zeroizing;

use crate::database::{lock, reader};
use crate::logins::Login;
use crate::spawners::Spawner;
use crate::tokens::ApiToken;
use crate::users::User;
use crate::{Store, StoreError};

/// Most answers in one memory, each about a kilobyte: as many people as may ask between two writes.
const ANSWERS_MAX: usize = 4096;

/// What a transaction changes, as far as memory has to know.
pub(crate) enum Changed {
    /// Whatever it may be.
    Anything,
    /// Times of activity.
    Activity(Seen),
}

/// Whose times of activity.
#[derive(Default)]
pub(crate) struct Seen {
    /// Names of users; their servers' times may be meant, too.
    pub users: HashSet<String>,
    /// Keys of tokens.
    pub tokens: HashSet<i64>,
    /// Logins by user and second.
    pub logins: HashSet<(i64, i64)>,
}

/// Counts the commits of this program, notices those of others, and remembers what was read since.
pub(crate) struct Recent {
    generation: AtomicU64,
    /// A connection that never writes, so that its `data_version` changes with every commit of anybody.
    watcher: Mutex<Option<Watcher>>,
    /// Makes of a token what it is remembered by. Without the key nobody can tell which tokens are remembered, neither
    /// from how long the look takes nor from the memory alone, and the token itself is not kept.
    token_key: hmac::Key,
    /// Tokens by [`Recent::tag`].
    pub tokens: Memory<Tag, Arc<ApiToken>>,
    /// Users by name.
    pub users: Memory<String, Arc<User>>,
    /// Logins by user and second; `None` is one that nothing is known of.
    pub logins: Memory<(i64, i64), Option<Login>>,
    /// Spawners by name of the user.
    pub spawners: Memory<String, Arc<[Spawner]>>,
}

/// What stands for a token in memory.
pub(crate) type Tag = [u8; 32];

struct Watcher {
    connection: Connection,
    version: i64,
}

impl Recent {
    /// Knows nothing yet.
    pub fn new(path: &Path) -> Result<Self, StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| {
            let error = std::io::Error::other("the system gives no random numbers");
            StoreError::Open(path.to_path_buf(), error)
        })?;
        Ok(Self {
            generation: AtomicU64::default(),
            watcher: Mutex::default(),
            token_key: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()),
            tokens: Memory::default(),
            users: Memory::default(),
            logins: Memory::default(),
            spawners: Memory::default(),
        })
    }

    /// What stands for a token here, and nowhere else.
    pub fn tag(&self, token: &str) -> Tag {
        let mut tag = Tag::default();
        for (byte, made) in tag.iter_mut().zip(hmac::sign(&self.token_key, token.as_bytes()).as_ref()) {
            *byte = *made;
        }
        tag
    }

    /// Everything that is remembered is worthless.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// After a transaction of this program and before anybody hears of it: forgets what it changed. `others` is the
    /// writing connection's `data_version`, which changes with the commits of other programs alone.
    pub fn committed(&self, writer: &Connection, others: &mut Option<i64>, changed: &Changed) {
        let mut watcher = lock(&self.watcher);
        // In this order: what somebody else commits in between is seen by the second look, or by the watcher's next.
        let seen = watcher.as_ref().map(|watcher| data_version(&watcher.connection)).transpose();
        let now = data_version(writer).ok();
        let alone = now.is_some() && now == *others;
        *others = now;
        match (seen, changed) {
            (Ok(seen), Changed::Activity(who)) if alone => {
                self.forget(who);
                if let (Some(watcher), Some(seen)) = (watcher.as_mut(), seen) {
                    watcher.version = seen;
                }
            }
            (seen, _) => {
                self.forget_all();
                if let (Some(watcher), Ok(Some(seen))) = (watcher.as_mut(), seen) {
                    watcher.version = seen;
                }
            }
        }
    }

    fn forget(&self, who: &Seen) {
        self.users.forget(who.users.iter());
        self.spawners.forget(who.users.iter());
        self.logins.forget(who.logins.iter());
        if !who.tokens.is_empty() {
            self.tokens.forget_where(|token| who.tokens.contains(&token.id));
        }
    }
}

impl Default for Changed {
    /// Nothing yet.
    fn default() -> Self {
        Self::Activity(Seen::default())
    }
}

impl Changed {
    /// Adds what another work of the same transaction changes.
    pub fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Activity(seen), Self::Activity(other)) => {
                seen.users.extend(other.users);
                seen.tokens.extend(other.tokens);
                seen.logins.extend(other.logins);
            }
            _ => *self = Self::Anything,
        }
    }
}

/// Answers of the database by what was asked, all from one generation.
pub struct Memory<K, V>(Mutex<Kept<K, V>>);

struct Kept<K, V> {
    generation: u64,
    /// How often single answers were taken out.
    forgotten: u64,
    answers: HashMap<K, V>,
}

/// When an answer was missing. What is read from the database afterwards may be kept, unless something was forgotten
/// meanwhile: then the reading may be older than that.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    generation: u64,
    forgotten: u64,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Kept { generation: 0, forgotten: 0, answers: HashMap::new() }))
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// The answer, if it is from this generation, which is [`Store::generation`] now.
    ///
    /// # Errors
    /// It is not there: the database has to be asked now, and its answer may be kept.
    pub fn recall<Q: Hash + Eq + ?Sized>(&self, generation: u64, key: &Q) -> Result<V, Moment>
    where
        K: Borrow<Q>,
    {
        let kept = lock(&self.0);
        let known = if kept.generation == generation { kept.answers.get(key) } else { None };
        known.cloned().ok_or(Moment { generation, forgotten: kept.forgotten })
    }

    /// The moment of a question whose answer is there and does not do any more.
    pub fn moment(&self, generation: u64) -> Moment {
        Moment { generation, forgotten: lock(&self.0).forgotten }
    }

    /// Keeps an answer that was read from the database after `moment`.
    pub fn keep(&self, moment: Moment, key: K, value: V) {
        let mut kept = lock(&self.0);
        if kept.generation > moment.generation || kept.forgotten != moment.forgotten {
            return;
        }
        if kept.generation < moment.generation || kept.answers.len() >= ANSWERS_MAX {
            kept.answers.clear();
            kept.generation = moment.generation;
        }
        kept.answers.insert(key, value);
    }

    /// Takes some answers out.
    fn forget<'a, Q: Hash + Eq + ?Sized + 'a>(&self, keys: impl Iterator<Item = &'a Q>)
    where
        K: Borrow<Q>,
    {
        let mut kept = lock(&self.0);
        kept.forgotten += 1;
        for key in keys {
            kept.answers.remove(key);
        }
    }

    /// Takes those out for which `wanted` holds.
    fn forget_where(&self, wanted: impl Fn(&V) -> bool) {
        let mut kept = lock(&self.0);
        kept.forgotten += 1;
        kept.answers.retain(|_, value| !wanted(value));
    }
}

impl Store {
    /// Another number after every commit of this program that changes more than times of activity, and after every one
    /// of others that was noticed.
    pub fn generation(&self) -> u64 {
        self.recent.generation.load(Ordering::SeqCst)
    }

    /// Looks whether another program, for instance `sqlite3` in a shell, wrote to the database: at the start of every
    /// request that will be answered from memory.
    ///
    /// # Errors
    /// The database cannot be opened or read.
    pub fn notice_changes(&self) -> Result<(), StoreError> {
        let looked = || {
            let mut watcher = lock(&self.recent.watcher);
            match watcher.as_mut() {
                Some(Watcher { connection, version }) => {
                    let now = data_version(connection)?;
                    if now != *version {
                        *version = now;
                        self.recent.forget_all();
                    }
                }
                None => {
                    let connection = reader(self.path())?;
                    let version = data_version(&connection)?;
                    *watcher = Some(Watcher { connection, version });
                    self.recent.forget_all();
                }
            }
            Ok(())
        };
        looked().map_err(|error: StoreError| error.at(self.path()))
    }
}

/// A number that changes when another connection commits; for the writer's own that is another program.
pub(crate) fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}
