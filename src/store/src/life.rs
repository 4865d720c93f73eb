//! What the start, life and end of a user server does to the rows.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::encoding::{dict_column, list_column, time_column};
use crate::spawners::{ensure, user_id};
use crate::users::{NewUser, insert};
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// What is written when a start begins: one transaction makes or updates the spawner row, the server's
/// API token and its OAuth client.
#[derive(Debug, Clone)]
pub struct ServerStart {
    /// Owner; the row must exist.
    pub user: String,
    /// Server name.
    pub server: String,
    /// The hashed token, see [`crate::hash_token`]; also known to the running session's note.
    pub token_hash: String,
    /// First four characters of the token.
    pub token_prefix: String,
    /// The hashed OAuth client secret (the same token).
    pub client_secret_hash: String,
    /// `jupyterhub-user-alice`, …
    pub client_id: String,
    /// `/user/alice/oauth_callback`.
    pub redirect_uri: String,
    /// `/user/alice/`.
    pub server_url: String,
    /// What the token may do.
    pub token_scopes: Vec<String>,
    /// What the OAuth client may ask for.
    pub client_scopes: Vec<String>,
    /// Options to store; `None` keeps the stored ones.
    pub user_options: Option<Value>,
    /// Now.
    pub now: SystemTime,
}

/// Where a running server is, for its `servers` row.
#[derive(Debug, Clone)]
pub struct ServerAddress {
    /// `127.0.0.1`, or the path of a Unix socket.
    pub ip: String,
    /// Port; 0 for a Unix socket.
    pub port: i64,
    /// `/user/alice/`.
    pub base_url: String,
}

/// A running server that was found.
#[derive(Debug, Clone)]
pub struct AdoptedServer {
    /// Owner; a missing row is made.
    pub user: String,
    /// Server name.
    pub server: String,
    /// 32 hex digits that nobody can guess, for a row of the owner that has to be made.
    pub new_cookie_id: String,
    /// How it was started, if its session knows: with it the token and the OAuth client get their rows back. Those that
    /// are there are left alone, so that OAuth tokens live on.
    pub start: Option<ServerStart>,
    /// Where it is.
    pub address: ServerAddress,
    /// Spawner state.
    pub state: Value,
    /// When it was started.
    pub started: SystemTime,
}

impl Store {
    /// See [`ServerStart`]. An older token `Server at …` of the same server is deleted.
    pub fn server_starting(&self, start: &ServerStart) -> Result<(), StoreError> {
        self.write(|transaction| {
            let (user_id, spawner_id) = write_start(transaction, start)?;
            insert_token(transaction, start, user_id)?;
            upsert_client(transaction, start, spawner_id)?;
            transaction
                .prepare_cached("UPDATE users SET last_activity = ?2 WHERE id = ?1")?
                .execute(params![user_id, time_column(start.now)])?;
            Ok(())
        })
    }

    /// The process runs: `servers` row, `started`, `state`.
    #[expect(clippy::too_many_arguments, reason = "the key of one row and its three new values")]
    pub fn server_running(
        &self,
        user: &str,
        server: &str,
        address: &ServerAddress,
        state: &Value,
        started: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let (spawner_id, _) = ensure(transaction, user_id(transaction, user)?, server)?;
            write_running(transaction, spawner_id, address, state, started)
        })
    }

    /// The server is gone: `servers` row, its token and OAuth client deleted, `started` NULL, `state` `{}`.
    pub fn server_stopped(&self, user: &str, server: &str, now: SystemTime) -> Result<(), StoreError> {
        self.write(|transaction| stop(transaction, user, server, now))
    }

    /// As `server_stopped` for many (user, server) at once, as after a reboot: one wait for the disk.
    pub fn servers_stopped(&self, servers: &[(String, String)], now: SystemTime) -> Result<(), StoreError> {
        self.write(|transaction| {
            servers.iter().try_for_each(|(user, server)| stop(transaction, user, server, now))
        })
    }

    /// Running servers that the database may have lost, in one wait for the disk.
    pub fn servers_adopted(&self, servers: &[AdoptedServer], now: SystemTime) -> Result<(), StoreError> {
        self.write(|transaction| servers.iter().try_for_each(|server| adopt(transaction, server, now)))
    }
}

fn adopt(transaction: &Transaction<'_>, found: &AdoptedServer, now: SystemTime) -> Result<(), StoreError> {
    let new = NewUser { name: found.user.clone(), admin: false, cookie_id: found.new_cookie_id.clone() };
    insert(transaction, &new, now)?;
    let Some(start) = &found.start else {
        let (spawner_id, _) = ensure(transaction, user_id(transaction, &found.user)?, &found.server)?;
        return write_running(transaction, spawner_id, &found.address, &found.state, found.started);
    };
    let known: bool = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM api_tokens WHERE prefix = ?1 AND hashed = ?2)")?
        .query_row([&start.token_prefix, &start.token_hash], |row| row.get(0))?;
    let spawner_id = if known {
        ensure(transaction, user_id(transaction, &start.user)?, &start.server)?.0
    } else {
        let (user_id, spawner_id) = write_start(transaction, start)?;
        insert_token(transaction, start, user_id)?;
        spawner_id
    };
    let linked: bool = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM spawners WHERE id = ?1 AND oauth_client_id = ?2)")?
        .query_row(params![spawner_id, start.client_id], |row| row.get(0))?;
    if !(known && linked) {
        upsert_client(transaction, start, spawner_id)?;
    }
    write_running(transaction, spawner_id, &found.address, &found.state, found.started)
}

/// Keys of the rows of one server.
struct Rows {
    spawner: i64,
    user: i64,
    server: Option<i64>,
    client: Option<String>,
    /// The client's description, which is also the note of the server's token.
    note: Option<String>,
}

/// Note of the server's API token and description of its OAuth client.
fn note(start: &ServerStart) -> String {
    format!("Server at {}", start.server_url)
}

/// The spawner row as it is while a server starts; returns the keys of user and spawner.
fn write_start(transaction: &Transaction<'_>, start: &ServerStart) -> Result<(i64, i64), StoreError> {
    let user_id = user_id(transaction, &start.user)?;
    let (spawner_id, _) = ensure(transaction, user_id, &start.server)?;
    transaction
        .prepare_cached("DELETE FROM api_tokens WHERE user_id = ?1 AND note = ?2")?
        .execute(params![user_id, note(start)])?;
    transaction
        .prepare_cached("UPDATE spawners SET started = ?2, last_activity = ?2 WHERE id = ?1")?
        .execute(params![spawner_id, time_column(start.now)])?;
    if let Some(options) = &start.user_options {
        transaction
            .prepare_cached("UPDATE spawners SET user_options = ?2 WHERE id = ?1")?
            .execute(params![spawner_id, dict_column(options)])?;
    }
    Ok((user_id, spawner_id))
}

fn insert_token(transaction: &Transaction<'_>, start: &ServerStart, user_id: i64) -> Result<(), StoreError> {
    let scopes = list_column(start.token_scopes.iter().map(String::as_str));
    transaction
        .prepare_cached(
            "INSERT INTO api_tokens (user_id, hashed, prefix, client_id, created, note, scopes)
             VALUES (?1, ?2, ?3, 'jupyterhub', ?4, ?5, ?6)",
        )?
        .execute(params![
            user_id,
            start.token_hash,
            start.token_prefix,
            time_column(start.now),
            note(start),
            scopes
        ])?;
    Ok(())
}

/// A client that is there keeps its row, and with it the OAuth tokens issued for it.
fn upsert_client(
    transaction: &Transaction<'_>,
    start: &ServerStart,
    spawner_id: i64,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO oauth_clients (identifier, description, secret, redirect_uri, allowed_scopes)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (identifier) DO UPDATE SET description = excluded.description,
                 secret = excluded.secret, redirect_uri = excluded.redirect_uri,
                 allowed_scopes = excluded.allowed_scopes",
        )?
        .execute(params![
            start.client_id,
            note(start),
            start.client_secret_hash,
            start.redirect_uri,
            list_column(start.client_scopes.iter().map(String::as_str)),
        ])?;
    transaction
        .prepare_cached("UPDATE spawners SET oauth_client_id = ?2 WHERE id = ?1")?
        .execute(params![spawner_id, start.client_id])?;
    Ok(())
}

fn write_running(
    transaction: &Transaction<'_>,
    spawner_id: i64,
    address: &ServerAddress,
    state: &Value,
    started: SystemTime,
) -> Result<(), StoreError> {
    let server_id: Option<i64> = transaction
        .prepare_cached("SELECT server_id FROM spawners WHERE id = ?1")?
        .query_row([spawner_id], |row| row.get(0))?;
    let server_id = match server_id {
        Some(id) => {
            transaction
                .prepare_cached("UPDATE servers SET ip = ?2, port = ?3, base_url = ?4 WHERE id = ?1")?
                .execute(params![id, address.ip, address.port, address.base_url])?;
            id
        }
        None => {
            transaction
                .prepare_cached(
                    "INSERT INTO servers (proto, ip, port, base_url, cookie_name)
                     VALUES ('http', ?1, ?2, ?3, 'cookie')",
                )?
                .execute(params![address.ip, address.port, address.base_url])?;
            transaction.last_insert_rowid()
        }
    };
    let started = time_column(started);
    transaction
        .prepare_cached(
            "UPDATE spawners SET server_id = ?2, state = ?3, started = ?4,
                 last_activity = max(coalesce(last_activity, ?4), ?4) WHERE id = ?1",
        )?
        .execute(params![spawner_id, server_id, dict_column(state), started])?;
    Ok(())
}

fn stop(transaction: &Transaction<'_>, user: &str, server: &str, now: SystemTime) -> Result<(), StoreError> {
    let found = transaction
        .prepare_cached(
            "SELECT s.id, s.user_id, s.server_id, s.oauth_client_id, c.description
             FROM spawners s JOIN users u ON u.id = s.user_id
             LEFT JOIN oauth_clients c ON c.identifier = s.oauth_client_id
             WHERE u.name = ?1 AND s.name = ?2",
        )?
        .query_row([user, server], |row| {
            Ok(Rows {
                spawner: row.get(0)?,
                user: row.get(1)?,
                server: row.get(2)?,
                client: row.get(3)?,
                note: row.get(4)?,
            })
        })
        .optional()?;
    match found {
        Some(rows) => write_stopped(transaction, &rows, now),
        None => Ok(()),
    }
}

fn write_stopped(transaction: &Transaction<'_>, rows: &Rows, now: SystemTime) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE spawners SET server_id = NULL, started = NULL, state = '{}', last_activity = ?2 WHERE id = ?1",
        )?
        .execute(params![rows.spawner, time_column(now)])?;
    transaction.prepare_cached("DELETE FROM servers WHERE id = ?1")?.execute([rows.server])?;
    transaction
        .prepare_cached("DELETE FROM api_tokens WHERE user_id = ?1 AND note = ?2")?
        .execute(params![rows.user, rows.note])?;
    transaction.prepare_cached("DELETE FROM oauth_clients WHERE identifier = ?1")?.execute([&rows.client])?;
    Ok(())
}
