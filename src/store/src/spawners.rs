//! The table `spawners`: one row per server that a person has or had.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use crate::encoding::{column_dict, column_time, dict_column};
use crate::life::ServerAddress;
use crate::shares::reapply_filters;
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// A row of `spawners` with its `servers` row.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawner {
    /// Primary key.
    pub id: i64,
    /// Owner's name.
    pub user: String,
    /// Server name, empty for the default one.
    pub name: String,
    /// Display name.
    pub display_name: Option<String>,
    /// Spawner state, `{"pid": …}`.
    pub state: Option<Value>,
    /// When started; `None` when stopped.
    pub started: Option<SystemTime>,
    /// Last activity.
    pub last_activity: Option<SystemTime>,
    /// Last used `user_options`.
    pub user_options: Option<Value>,
    /// Whether a `servers` row exists: JupyterHub's "active".
    pub active: bool,
}

/// The columns of [`Spawner`], in the order of `from_row`, and their tables.
const SELECT: &str = "SELECT s.id, u.name, s.name, s.display_name, s.state, s.started, s.last_activity,
    s.user_options, s.server_id IS NOT NULL FROM spawners s JOIN users u ON u.id = s.user_id";

impl Spawner {
    /// A default server that has no row yet: everybody has one.
    pub fn never_started(user: &str) -> Self {
        Self {
            id: 0,
            user: user.to_owned(),
            name: String::new(),
            display_name: Some(String::new()),
            state: None,
            started: None,
            last_activity: None,
            user_options: None,
            active: false,
        }
    }
}

impl Store {
    /// A user's spawner row.
    pub fn spawner(&self, user: &str, server: &str) -> Result<Option<Spawner>, StoreError> {
        self.read(|connection| {
            let sql = format!("{SELECT} WHERE u.name = ?1 AND s.name = ?2");
            Ok(connection.prepare_cached(&sql)?.query_row([user, server], from_row).optional()?)
        })
    }

    /// Where a server is, if it has a `servers` row.
    pub fn server_address(&self, user: &str, server: &str) -> Result<Option<ServerAddress>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT a.ip, a.port, a.base_url FROM spawners s JOIN users u ON u.id = s.user_id
                 JOIN servers a ON a.id = s.server_id WHERE u.name = ?1 AND s.name = ?2",
            )?;
            let address = |row: &Row<'_>| {
                Ok(ServerAddress {
                    ip: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
                    port: row.get::<_, Option<i64>>(1)?.unwrap_or(0),
                    base_url: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                })
            };
            Ok(select.query_row([user, server], address).optional()?)
        })
    }

    /// All of a user's spawner rows.
    pub fn spawners_of(&self, user: &str) -> Result<Vec<Spawner>, StoreError> {
        self.read(|connection| {
            select(connection, &format!("{SELECT} WHERE u.name = ?1 ORDER BY s.id"), [user])
        })
    }

    /// All of a user's spawner rows; what others wrote counts once [`Store::notice_changes`] was called.
    pub fn recent_spawners_of(&self, user: &str) -> Result<Arc<[Spawner]>, StoreError> {
        let moment = match self.recent.spawners.recall(self.generation(), user) {
            Ok(spawners) => return Ok(spawners),
            Err(moment) => moment,
        };
        let spawners: Arc<[Spawner]> = self.spawners_of(user)?.into();
        self.recent.spawners.keep(moment, user.to_owned(), Arc::clone(&spawners));
        Ok(spawners)
    }

    /// All spawner rows with a `servers` row.
    pub fn active_spawners(&self) -> Result<Vec<Spawner>, StoreError> {
        self.read(|connection| {
            select(connection, &format!("{SELECT} WHERE s.server_id IS NOT NULL ORDER BY s.id"), [])
        })
    }

    /// All rows of named servers.
    pub fn named_spawners(&self) -> Result<Vec<Spawner>, StoreError> {
        self.read(|connection| select(connection, &format!("{SELECT} WHERE s.name <> '' ORDER BY s.id"), []))
    }

    /// Makes a spawner row if there is none; says whether one was made. With `display_name` given it is set.
    pub fn ensure_spawner(
        &self,
        user: &str,
        server: &str,
        display_name: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let user_id = user_id(transaction, user)?;
            let (id, made) = ensure(transaction, user_id, server)?;
            if let Some(display_name) = display_name {
                transaction
                    .prepare_cached("UPDATE spawners SET display_name = ?2 WHERE id = ?1")?
                    .execute(params![id, display_name])?;
            }
            Ok(made)
        })
    }

    /// Gives a named server that is stopped another name, which must be free.
    pub fn rename_spawner(&self, user: &str, server: &str, name: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE spawners SET name = ?3
                     WHERE name = ?2 AND user_id = (SELECT id FROM users WHERE name = ?1) AND server_id IS NULL",
                )?
                .execute(params![user, server, name])?;
            reapply_filters(transaction, user_id(transaction, user)?)
        })
    }

    /// Replaces the stored `user_options`.
    pub fn set_user_options(&self, user: &str, server: &str, options: &Value) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE spawners SET user_options = ?3
                     WHERE name = ?2 AND user_id = (SELECT id FROM users WHERE name = ?1)",
                )?
                .execute(params![user, server, dict_column(options)])?;
            Ok(())
        })
    }

    /// Deletes the row of a server that is stopped.
    pub fn delete_spawner(&self, user: &str, server: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let user_id = user_id(transaction, user)?;
            let deleted = transaction
                .prepare_cached(
                    "DELETE FROM spawners WHERE user_id = ?1 AND name = ?2 AND server_id IS NULL",
                )?
                .execute(params![user_id, server])?;
            Ok(deleted > 0)
        })
    }
}

/// Primary key of a user that must exist.
pub(crate) fn user_id(connection: &Connection, user: &str) -> Result<i64, StoreError> {
    connection
        .prepare_cached("SELECT id FROM users WHERE name = ?1")?
        .query_row([user], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::Missing("user", user.to_owned()))
}

/// Primary key of a server's row, which is made if need be; `true` if it was.
pub(crate) fn ensure(
    transaction: &Transaction<'_>,
    user_id: i64,
    server: &str,
) -> Result<(i64, bool), StoreError> {
    let found = transaction
        .prepare_cached("SELECT id FROM spawners WHERE user_id = ?1 AND name = ?2")?
        .query_row(params![user_id, server], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok((id, false));
    }
    transaction
        .prepare_cached(
            "INSERT INTO spawners (user_id, name, display_name, state) VALUES (?1, ?2, '', '{}')",
        )?
        .execute(params![user_id, server])?;
    Ok((transaction.last_insert_rowid(), true))
}

fn select(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Spawner>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(values, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Spawner> {
    Ok(Spawner {
        id: row.get(0)?,
        user: row.get(1)?,
        name: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        display_name: row.get(3)?,
        state: column_dict(row.get(4)?),
        started: column_time(row.get(5)?),
        last_activity: column_time(row.get(6)?),
        user_options: column_dict(row.get(7)?),
        active: row.get(8)?,
    })
}
