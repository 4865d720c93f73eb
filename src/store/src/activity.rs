//! When people, servers and tokens last did something.
//!
//! Who was seen a moment ago matters little, and every request would cost a wait for the disk: such activity is kept in
//! memory and written by [`Store::flush_activity`] for everybody at once, as the hub does every second. A crash loses
//! that second. What somebody reports, and the first use of anything, is written at once.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::params;

use crate::database::lock;
use crate::encoding::time_column;
use crate::memory::Seen;
use crate::tokens::ApiToken;
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// Activity that is not written yet: of users by name, of tokens by key, of logins by user and second.
#[derive(Default)]
pub(crate) struct Pending {
    users: HashMap<String, SystemTime>,
    tokens: HashMap<i64, SystemTime>,
    logins: HashMap<(i64, i64), i64>,
}

impl Store {
    /// Raises `last_activity` of users and spawners; (user, server, time). Never lowers it.
    pub fn record_activity(&self, activity: &[(String, String, SystemTime)]) -> Result<(), StoreError> {
        if activity.is_empty() {
            return Ok(());
        }
        let users = activity.iter().map(|(user, ..)| user.clone()).collect();
        self.write_activity(Seen { users, ..Seen::default() }, |transaction| {
            for (user, server, time) in activity {
                raise_user(transaction, user, *time)?;
                transaction
                    .prepare_cached(
                        "UPDATE spawners SET last_activity = ?3
                         WHERE name = ?2 AND user_id = (SELECT id FROM users WHERE name = ?1)
                             AND (last_activity IS NULL OR last_activity < ?3)",
                    )?
                    .execute(params![user, server, time_column(*time)])?;
            }
            Ok(())
        })
    }

    /// Raises `last_activity` of a user.
    pub fn record_user_activity(&self, user: &str, time: SystemTime) -> Result<(), StoreError> {
        let seen = Seen { users: [user.to_owned()].into(), ..Seen::default() };
        self.write_activity(seen, |transaction| raise_user(transaction, user, time))
    }

    /// Remembers that a user was seen.
    pub fn note_user(&self, user: &str, time: SystemTime) {
        lock(&self.pending).users.insert(user.to_owned(), time);
    }

    /// Remembers the use of a token, and with `owner` that of the user.
    pub fn note_token(&self, token: &ApiToken, owner: Option<&str>, time: SystemTime) {
        let mut pending = lock(&self.pending);
        pending.tokens.insert(token.id, time);
        if let Some(owner) = owner {
            pending.users.insert(owner.to_owned(), time);
        }
    }

    /// Remembers the use of a login, at `now` in seconds since 1970.
    pub fn note_login(&self, user_id: i64, began: i64, now: i64) {
        lock(&self.pending).logins.insert((user_id, began), now);
    }

    /// Writes what was remembered before the call. What cannot be written is kept for the next time.
    pub fn flush_activity(&self) -> Result<(), StoreError> {
        // Who comes second waits for the commit that holds what he remembered, and writes for all who wait with him.
        let _flushing = lock(&self.flushing);
        let pending = std::mem::take(&mut *lock(&self.pending));
        if pending.users.is_empty() && pending.tokens.is_empty() && pending.logins.is_empty() {
            return Ok(());
        }
        let seen = Seen {
            users: pending.users.keys().cloned().collect(),
            tokens: pending.tokens.keys().copied().collect(),
            logins: pending.logins.keys().copied().collect(),
        };
        let written = self.write_activity(seen, |transaction| {
            for (user, time) in &pending.users {
                raise_user(transaction, user, *time)?;
            }
            for (token, time) in &pending.tokens {
                transaction
                    .prepare_cached("UPDATE api_tokens SET last_activity = ?2 WHERE id = ?1")?
                    .execute(params![token, time_column(*time)])?;
            }
            for ((user, began), seen) in &pending.logins {
                transaction
                    .prepare_cached(
                        "UPDATE hubd_logins SET last_seen = ?3 WHERE user_id = ?1 AND began = ?2",
                    )?
                    .execute([user, began, seen])?;
            }
            Ok(())
        });
        if written.is_err() {
            // Whoever was seen meanwhile was seen later.
            let mut kept = lock(&self.pending);
            let later = std::mem::replace(&mut *kept, pending);
            kept.users.extend(later.users);
            kept.tokens.extend(later.tokens);
            kept.logins.extend(later.logins);
        }
        written
    }
}

fn raise_user(transaction: &Transaction<'_>, user: &str, time: SystemTime) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE users SET last_activity = ?2
             WHERE name = ?1 AND (last_activity IS NULL OR last_activity < ?2)",
        )?
        .execute(params![user, time_column(time)])?;
    Ok(())
}
