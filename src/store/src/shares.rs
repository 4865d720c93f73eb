//! The table `shares`: scopes on one server, given to a user or a group.

use std::time::SystemTime;

use rusqlite::params;

use crate::encoding::{column_list, time_column};
use crate::{Store, StoreError};

impl Store {
    /// Scopes of the shares given to a user.
    pub fn shared_with_user(&self, user_id: i64, now: SystemTime) -> Result<Vec<String>, StoreError> {
        self.shared(
            "SELECT scopes FROM shares WHERE user_id = ?1 AND (expires_at IS NULL OR expires_at >= ?2)",
            user_id,
            now,
        )
    }

    /// Scopes of the shares given to a user's groups.
    pub fn shared_with_groups_of(&self, user_id: i64, now: SystemTime) -> Result<Vec<String>, StoreError> {
        self.shared(
            "SELECT s.scopes FROM user_group_map m JOIN shares s ON s.group_id = m.group_id
             WHERE m.user_id = ?1 AND (s.expires_at IS NULL OR s.expires_at >= ?2)",
            user_id,
            now,
        )
    }

    fn shared(&self, sql: &str, user_id: i64, now: SystemTime) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let lists = select
                .query_map(params![user_id, time_column(now)], |row| row.get::<_, Option<String>>(0))?;
            let mut all = Vec::new();
            for list in lists {
                all.extend(column_list(list?));
            }
            Ok(all)
        })
    }
}
