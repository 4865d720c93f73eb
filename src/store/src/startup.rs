//! What is done to the rows when the hub starts, after the schema check.

use std::time::SystemTime;

use rusqlite::params;

use crate::encoding::time_column;
use crate::users::{NewUser, find, insert, set_admin};
use crate::{Store, StoreError};

/// Users that the configuration names.
pub struct ConfiguredUsers<'a> {
    /// `Authenticator.admin_users`.
    pub admins: Vec<&'a str>,
    /// `Authenticator.allowed_users`.
    pub allowed: Vec<&'a str>,
}

impl Store {
    /// Makes the rows of configured users, and flags admins.
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
            transaction
                .prepare_cached(
                    "UPDATE users SET created = coalesce(last_activity, ?1) WHERE created IS NULL",
                )?
                .execute([time_column(now)])?;
            Ok(())
        })
    }

    /// Takes from blocked users (`Authenticator.blocked_users`) what they had: admin flag, roles and groups.
    pub fn strip_users(&self, blocked: &[&str]) -> Result<(), StoreError> {
        self.write(|transaction| {
            for name in blocked {
                let Some(user) = find(transaction, name)? else { continue };
                if user.admin {
                    tracing::warn!("Removing admin permissions from blocked user {name}");
                }
                if !user.roles.is_empty() {
                    tracing::warn!("Removing blocked user {name} from roles: {}", user.roles.join(", "));
                }
                if !user.groups.is_empty() {
                    tracing::warn!("Removing blocked user {name} from groups: {}", user.groups.join(", "));
                }
                for sql in [
                    "UPDATE users SET admin = 0 WHERE id = ?1 AND admin IS NOT 0",
                    "DELETE FROM user_role_map WHERE user_id = ?1",
                    "DELETE FROM user_group_map WHERE user_id = ?1",
                ] {
                    transaction.prepare_cached(sql)?.execute([user.id])?;
                }
            }
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
