//! The table `shares`: scopes on one server, given to a user or a group.

use std::time::SystemTime;

use rusqlite::{Transaction, params};

use crate::encoding::{column_list, list_column, time_column};
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

/// Gives all shares of a user's servers the names that user and servers have now. After a rename the old
/// names may become somebody else's, whose servers were never shared.
pub(crate) fn reapply_filters(transaction: &Transaction<'_>, user_id: i64) -> Result<(), StoreError> {
    for table in ["shares", "share_codes"] {
        let mut select = transaction.prepare_cached(&format!(
            "SELECT t.id, t.scopes, u.name || '/' || s.name FROM {table} t
             JOIN spawners s ON s.id = t.spawner_id JOIN users u ON u.id = s.user_id WHERE u.id = ?1"
        ))?;
        let rows = select.query_map([user_id], |row| {
            Ok((row.get::<_, i64>(0)?, column_list(row.get(1)?), row.get::<_, String>(2)?))
        })?;
        for row in rows {
            let (id, scopes, server) = row?;
            let renamed: Vec<String> = scopes
                .iter()
                .map(|scope| format!("{}!server={server}", scope.split('!').next().unwrap_or_default()))
                .collect();
            transaction
                .prepare_cached(&format!("UPDATE {table} SET scopes = ?2 WHERE id = ?1"))?
                .execute(params![id, list_column(renamed.iter().map(String::as_str))])?;
        }
    }
    Ok(())
}
