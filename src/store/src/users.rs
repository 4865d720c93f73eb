//! The table `users`.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use crate::encoding::{column_dict, column_list, column_time, time_column};
use crate::shares::reapply_filters;
use crate::writer::Transaction;
use crate::{Store, StoreError, roles};

/// A row of `users`.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Primary key.
    pub id: i64,
    /// Normalised name.
    pub name: String,
    /// Whether the user is an admin.
    pub admin: bool,
    /// What the login cookie carries.
    pub cookie_id: String,
    /// When the row was made.
    pub created: Option<SystemTime>,
    /// Last activity.
    pub last_activity: Option<SystemTime>,
    /// What the authenticator told about the user.
    pub user_info: Option<Value>,
    /// Names of directly assigned roles.
    pub roles: Vec<String>,
    /// Names of the user's groups.
    pub groups: Vec<String>,
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Normalised name.
    pub name: String,
    /// Whether the user shall be an admin.
    pub admin: bool,
    /// 32 hex digits that nobody can guess.
    pub cookie_id: String,
}

/// The columns of [`User`], in the order of `from_row`.
pub(crate) const COLUMNS: &str = "u.id, u.name, u.admin, u.cookie_id, u.created, u.last_activity, u.user_info,
    (SELECT json_group_array(r.name) FROM user_role_map m JOIN roles r ON r.id = m.role_id WHERE m.user_id = u.id),
    (SELECT json_group_array(g.name) FROM user_group_map m JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id)";

impl Store {
    /// The user of this name.
    pub fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        self.read(|connection| find(connection, name))
    }

    /// The user of this name, as [`Store::user`] tells it; what others wrote counts once [`Store::notice_changes`] was
    /// called.
    pub fn recent_user(&self, name: &str) -> Result<Option<Arc<User>>, StoreError> {
        let moment = match self.recent.users.recall(self.generation(), name) {
            Ok(user) => return Ok(Some(user)),
            Err(moment) => moment,
        };
        let user = self.user(name)?.map(Arc::new);
        if let Some(user) = &user {
            self.recent.users.keep(moment, name.to_owned(), Arc::clone(user));
        }
        Ok(user)
    }

    /// The user with this primary key.
    pub fn user_by_id(&self, id: i64) -> Result<Option<User>, StoreError> {
        self.read(|connection| find_by(connection, "u.id = ?1", id))
    }

    /// The user whose login cookie carries `cookie_id`.
    pub fn user_by_cookie_id(&self, cookie_id: &str) -> Result<Option<User>, StoreError> {
        self.read(|connection| find_by(connection, "u.cookie_id = ?1", cookie_id))
    }

    /// The user of this name, made with the role `user` if there is none. `cookie_id` is used for a new row.
    pub fn ensure_user(&self, name: &str, cookie_id: &str, now: SystemTime) -> Result<User, StoreError> {
        if let Some(user) = self.user(name)? {
            return Ok(user);
        }
        let new = NewUser { name: name.to_owned(), admin: false, cookie_id: cookie_id.to_owned() };
        self.write(|transaction| {
            insert(transaction, &new, now)?;
            must_find(transaction, name)
        })
    }

    /// The primary key of the user of this name, made without a role if there is none: somebody whom only a
    /// token of the configuration names.
    pub fn ensure_user_without_roles(
        &self,
        name: &str,
        cookie_id: &str,
        now: SystemTime,
    ) -> Result<i64, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO users (name, admin, created, last_activity, cookie_id)
                     VALUES (?1, 0, ?2, NULL, ?3) ON CONFLICT (name) DO NOTHING",
                )?
                .execute(params![name, time_column(now), cookie_id])?;
            Ok(must_find(transaction, name)?.id)
        })
    }

    /// Makes those of `users` that do not exist, in one transaction, and returns them.
    pub fn create_users(&self, users: &[NewUser], now: SystemTime) -> Result<Vec<User>, StoreError> {
        self.write(|transaction| {
            let mut created = Vec::new();
            for user in users {
                if insert(transaction, user, now)? {
                    created.push(must_find(transaction, &user.name)?);
                }
            }
            Ok(created)
        })
    }

    /// What a login does to the rows: the user is made if need be, has the role `user` in any case, and
    /// with `admin` given becomes an admin or stops being one. Activity is now. What an earlier authenticator kept in
    /// `auth_state` is gone, as in JupyterHub: PAM keeps nothing.
    pub fn login_user(
        &self,
        new: &NewUser,
        admin: Option<bool>,
        now: SystemTime,
    ) -> Result<User, StoreError> {
        self.write(|transaction| {
            insert(transaction, new, now)?;
            let user = must_find(transaction, &new.name)?;
            roles::grant_to_user(transaction, user.id, "user")?;
            if let Some(admin) = admin {
                set_admin(transaction, user.id, admin)?;
            }
            transaction
                .prepare_cached(
                    "UPDATE users SET last_activity = ?2, encrypted_auth_state = NULL WHERE id = ?1",
                )?
                .execute(params![user.id, time_column(now)])?;
            must_find(transaction, &new.name)
        })
    }

    /// Makes a user an admin or an ordinary user, role included.
    pub fn set_admin(&self, user_id: i64, admin: bool) -> Result<(), StoreError> {
        self.write(|transaction| set_admin(transaction, user_id, admin))
    }

    /// Gives a user another name, and the scopes of shares of their servers with it. The name must be free.
    pub fn rename_user(&self, user_id: i64, name: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE users SET name = ?2 WHERE id = ?1")?
                .execute(params![user_id, name])?;
            reapply_filters(transaction, user_id)
        })
    }

    /// Gives a user another `cookie_id`: every login cookie made before is worthless.
    pub fn set_cookie_id(&self, user_id: i64, cookie_id: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE users SET cookie_id = ?2 WHERE id = ?1")?
                .execute(params![user_id, cookie_id])?;
            Ok(())
        })
    }

    /// Deletes a user with all that belongs to them; says whether there was one.
    pub fn delete_user(&self, user_id: i64) -> Result<bool, StoreError> {
        self.write(|transaction| {
            for sql in [
                "DELETE FROM servers WHERE id IN (SELECT server_id FROM spawners WHERE user_id = ?1)",
                "DELETE FROM oauth_clients WHERE identifier IN
                     (SELECT oauth_client_id FROM spawners WHERE user_id = ?1)",
            ] {
                transaction.prepare_cached(sql)?.execute([user_id])?;
            }
            let deleted =
                transaction.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([user_id])?;
            Ok(deleted > 0)
        })
    }
}

/// The user of this name, seen by `connection`.
pub(crate) fn find(connection: &Connection, name: &str) -> Result<Option<User>, StoreError> {
    find_by(connection, "u.name = ?1", name)
}

/// Makes a user with the roles that everybody has; `false` if the name is taken.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    user: &NewUser,
    now: SystemTime,
) -> Result<bool, StoreError> {
    let now = time_column(now);
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO users (name, admin, created, last_activity, cookie_id) VALUES (?1, ?2, ?3, NULL, ?4)
             ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![user.name, user.admin, now, user.cookie_id])?;
    if inserted == 0 {
        return Ok(false);
    }
    let id = transaction.last_insert_rowid();
    roles::grant_to_user(transaction, id, "user")?;
    if user.admin {
        roles::grant_to_user(transaction, id, "admin")?;
    }
    Ok(true)
}

/// Sets the flag and the role, which say the same.
pub(crate) fn set_admin(transaction: &Transaction<'_>, user_id: i64, admin: bool) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE users SET admin = ?2 WHERE id = ?1")?
        .execute(params![user_id, admin])?;
    if admin {
        roles::grant_to_user(transaction, user_id, "admin")
    } else {
        roles::strip_from_user(transaction, user_id, "admin")
    }
}

fn must_find(connection: &Connection, name: &str) -> Result<User, StoreError> {
    find(connection, name)?.ok_or_else(|| StoreError::Missing("user", name.to_owned()))
}

fn find_by(
    connection: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> Result<Option<User>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM users u WHERE {condition} AND u.name IS NOT NULL");
    Ok(connection.prepare_cached(&sql)?.query_row([value], from_row).optional()?)
}

pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        admin: row.get::<_, Option<bool>>(2)?.unwrap_or(false),
        cookie_id: row.get(3)?,
        created: column_time(row.get(4)?),
        last_activity: column_time(row.get(5)?),
        user_info: column_dict(row.get(6)?),
        roles: column_list(row.get(7)?),
        groups: column_list(row.get(8)?),
    })
}
