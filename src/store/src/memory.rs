//! What the database said a moment ago, for as long as nobody wrote to it.
//!
//! Reading one row costs more than all else that a short request does. So what requests ask again and again is kept,
//! each with the generation of the database that it was read from. Every commit makes a new generation before its
//! writer hears of it, and with it everything kept is worthless: nobody sees a token that was revoked or a role that
//! was taken. Commits of other programs are noticed by [`Store::notice_changes`].

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::database::{lock, reader};
use crate::{Store, StoreError};

/// Most answers in one memory, each about a kilobyte: as many people as may ask between two writes.
const ANSWERS_MAX: usize = 4096;

/// Counts the commits of this program and notices those of others.
#[derive(Default)]
pub(crate) struct Changes {
    generation: Arc<AtomicU64>,
    /// A connection that never writes, so that its `data_version` changes with every commit of anybody.
    watcher: Mutex<Option<Watcher>>,
}

struct Watcher {
    connection: Connection,
    version: i64,
}

impl Changes {
    /// What the writer counts up after each commit.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.generation)
    }
}

/// Answers of the database by what was asked, all from one generation.
pub struct Memory<K, V>(Mutex<Kept<K, V>>);

struct Kept<K, V> {
    generation: u64,
    answers: HashMap<K, V>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Kept { generation: 0, answers: HashMap::new() }))
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// The answer, if it is from this generation.
    pub fn recall<Q: Hash + Eq + ?Sized>(&self, generation: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let kept = lock(&self.0);
        if kept.generation == generation { kept.answers.get(key).cloned() } else { None }
    }

    /// Keeps an answer. `generation` is what [`Store::generation`] was before the database was asked.
    pub fn keep(&self, generation: u64, key: K, value: V) {
        let mut kept = lock(&self.0);
        if kept.generation > generation {
            return;
        }
        if kept.generation < generation || kept.answers.len() >= ANSWERS_MAX {
            kept.answers.clear();
            kept.generation = generation;
        }
        kept.answers.insert(key, value);
    }
}

impl Store {
    /// Another number after every commit of this program, and after every one of others that was noticed.
    pub fn generation(&self) -> u64 {
        self.changes.generation.load(Ordering::SeqCst)
    }

    /// Looks whether another program, for instance `sqlite3` in a shell, wrote to the database: at the start of every
    /// request that will be answered from memory.
    ///
    /// # Errors
    /// The database cannot be opened or read.
    pub fn notice_changes(&self) -> Result<(), StoreError> {
        let looked = || {
            let mut watcher = lock(&self.changes.watcher);
            match watcher.as_mut() {
                Some(Watcher { connection, version }) => {
                    let now = data_version(connection)?;
                    if now != *version {
                        *version = now;
                        self.changes.generation.fetch_add(1, Ordering::SeqCst);
                    }
                }
                None => {
                    let connection = reader(self.path())?;
                    let version = data_version(&connection)?;
                    *watcher = Some(Watcher { connection, version });
                    self.changes.generation.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(())
        };
        looked().map_err(|error: StoreError| error.at(self.path()))
    }
}

fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{NewToken, TokenOwner, hash_token};

    #[test]
    fn answers_of_another_generation_are_forgotten_and_never_kept() {
        let memory = Memory::<String, u8>::default();
        memory.keep(3, "a".into(), 1);
        assert_eq!(memory.recall(3, "a"), Some(1));
        assert_eq!(memory.recall(4, "a"), None);
        memory.keep(4, "b".into(), 2);
        memory.keep(3, "c".into(), 3);
        assert_eq!(
            [memory.recall(4, "a"), memory.recall(4, "b"), memory.recall(4, "c")],
            [None, Some(2), None]
        );
        assert_eq!(memory.recall(3, "b"), None);
    }

    #[test]
    fn a_memory_does_not_grow_without_end() {
        let memory = Memory::<usize, ()>::default();
        for number in 0..3 * ANSWERS_MAX {
            memory.keep(1, number, ());
        }
        assert!(lock(&memory.0).answers.len() <= ANSWERS_MAX);
        assert_eq!(memory.recall(1, &(3 * ANSWERS_MAX - 1)), Some(()));
    }

    #[test]
    fn every_commit_makes_a_generation_also_that_of_another_program() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.sqlite");
        let store = Store::open(&path).unwrap();
        store.notice_changes().unwrap();
        let first = store.generation();
        store.define_role("r", "", &["self"]).unwrap();
        let second = store.generation();
        assert_ne!(first, second);
        store.notice_changes().unwrap();
        let third = store.generation();
        store.notice_changes().unwrap();
        assert_eq!(store.generation(), third, "nobody wrote");
        let other = Connection::open(&path).unwrap();
        other.execute("UPDATE roles SET scopes = '[]' WHERE name = 'r'", []).unwrap();
        store.notice_changes().unwrap();
        assert_ne!(store.generation(), third);
    }

    #[test]
    fn a_remembered_token_expires_and_ends_when_another_program_deletes_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.sqlite");
        let store = Store::open(&path).unwrap();
        let now = SystemTime::now();
        let owner = TokenOwner::User(store.ensure_user("alice", "c", now).unwrap().id);
        let mut token = NewToken {
            owner,
            hashed: hash_token("abcd-1", 1, [1; 8]),
            prefix: "abcd".into(),
            client_id: "jupyterhub".into(),
            session_id: None,
            note: String::new(),
            scopes: vec!["inherit".into()],
            created: now,
            expires_at: Some(now + Duration::from_secs(60)),
        };
        store.create_token(&token).unwrap();
        (token.hashed, token.expires_at) = (hash_token("abcd-2", 1, [2; 8]), None);
        let lasting = store.create_token(&token).unwrap();
        let holds = |text: &str, seconds| {
            store.notice_changes().unwrap();
            store.token(text, now + Duration::from_secs(seconds)).unwrap().map(|token| token.id)
        };
        for _ in 0..2 {
            assert!(holds("abcd-1", 59).is_some() && holds("abcd-2", 1000) == Some(lasting));
            assert!(holds("abcd-1", 61).is_none() && holds("abcd-3", 0).is_none());
        }
        let other = Connection::open(&path).unwrap();
        other.execute("UPDATE api_tokens SET scopes = '[]' WHERE id = ?1", [lasting]).unwrap();
        store.notice_changes().unwrap();
        assert!(store.token("abcd-2", now).unwrap().unwrap().scopes.is_empty());
        other.execute("DELETE FROM api_tokens WHERE id = ?1", [lasting]).unwrap();
        assert!(holds("abcd-2", 0).is_none() && holds("abcd-1", 0).is_some());
    }
}
