//! When people and servers last did something.

use std::time::SystemTime;

use rusqlite::params;

use crate::encoding::time_column;
use crate::{Store, StoreError};

impl Store {
    /// Raises `last_activity` of users and spawners; (user, server, time). Never lowers it.
    pub fn record_activity(&self, activity: &[(String, String, SystemTime)]) -> Result<(), StoreError> {
        if activity.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            for (user, server, time) in activity {
                let time = time_column(*time);
                transaction.prepare_cached(RAISE_USER)?.execute(params![user, time])?;
                transaction
                    .prepare_cached(
                        "UPDATE spawners SET last_activity = ?3
                         WHERE name = ?2 AND user_id = (SELECT id FROM users WHERE name = ?1)
                             AND (last_activity IS NULL OR last_activity < ?3)",
                    )?
                    .execute(params![user, server, time])?;
            }
            Ok(())
        })
    }

    /// Raises `last_activity` of a user.
    pub fn record_user_activity(&self, user: &str, time: SystemTime) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.prepare_cached(RAISE_USER)?.execute(params![user, time_column(time)])?;
            Ok(())
        })
    }
}

const RAISE_USER: &str =
    "UPDATE users SET last_activity = ?2 WHERE name = ?1 AND (last_activity IS NULL OR last_activity < ?2)";
