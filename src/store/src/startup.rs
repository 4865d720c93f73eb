//! What is done to the rows when the hub starts, after the schema check.

use std::time::SystemTime;

use rusqlite::params;

use crate::encoding::{list_column, time_column};
use crate::users::{NewUser, find, insert, set_admin};
use crate::{Store, StoreError};

/// Users that the configuration names.
pub struct ConfiguredUsers<'a> {
    /// `Authenticator.admin_users`.
    pub admins: Vec<&'a str>,
    /// `Authenticator.allowed_users`.
    pub allowed: Vec<&'a str>,
    /// `Authenticator.blocked_users`: no admin flag, no roles, no groups.
    pub blocked: Vec<&'a str>,
}

impl Store {
    /// Makes the rows of configured users, flags admins, and takes from blocked users what they had.
    /// `new_cookie_id` makes 32 hex digits that nobody can guess.
    pub fn configure_users(
        &self,
        users: &ConfiguredUsers<'_>,
        new_cookie_id: &mut dyn FnMut() -> String,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            for name in users.admins.iter().chain(&users.allowed) {
                let admin = users.admins.contains(name);
                let new = NewUser { name: (*name).to_owned(), admin, cookie_id: new_cookie_id() };
                if !insert(transaction, &new, now)?
                    && admin
                    && let Some(user) = find(transaction, name)?
                {
                    set_admin(transaction, user.id, true)?;
                }
            }
            let blocked = list_column(users.blocked.iter().copied());
            for sql in [
                "UPDATE users SET admin = 0 WHERE name IN (SELECT value FROM json_each(?1))",
                "DELETE FROM user_role_map WHERE user_id IN
                     (SELECT id FROM users WHERE name IN (SELECT value FROM json_each(?1)))",
                "DELETE FROM user_group_map WHERE user_id IN
                     (SELECT id FROM users WHERE name IN (SELECT value FROM json_each(?1)))",
            ] {
                transaction.prepare_cached(sql)?.execute([&blocked])?;
            }
            transaction
                .prepare_cached(
                    "UPDATE users SET created = coalesce(last_activity, ?1) WHERE created IS NULL",
                )?
                .execute([time_column(now)])?;
            Ok(())
        })
    }

    /// Deletes what has expired: tokens, OAuth codes, shares and share codes. For the start and every hour.
    pub fn purge_expired(&self, now: SystemTime) -> Result<usize, StoreError> {
        let text = time_column(now);
        let seconds = crate::oauth::unix_seconds(now);
        self.write(|transaction| {
            let mut deleted = 0;
            for table in ["api_tokens", "shares", "share_codes"] {
                let sql = format!("DELETE FROM {table} WHERE expires_at < ?1");
                deleted += transaction.prepare_cached(&sql)?.execute([&text])?;
            }
            deleted += transaction
                .prepare_cached("DELETE FROM oauth_codes WHERE abs(expires_at) < ?1")?
                .execute(params![seconds])?;
            Ok(deleted)
        })
    }
}
