//! The table `share_codes`: secrets that whoever has one exchanges for a share.

use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use crate::encoding::{column_list, column_time, list_column, time_column};
use crate::hash::{TOKEN_BYTES_MAX, token_matches, token_prefix};
use crate::shares::{Share, ShareOf, ShareWith, grant, on_server};
use crate::{Page, Store, StoreError};

/// A row of `share_codes`; the code itself is not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareCode {
    /// Primary key; `sc_<id>` in the API.
    pub id: i64,
    /// Name of the server's owner.
    pub owner: String,
    /// Name of the server.
    pub server: String,
    /// What is granted; all on this server.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it ends.
    pub expires_at: Option<SystemTime>,
    /// How often it was exchanged.
    pub exchange_count: i64,
    /// When last.
    pub last_exchanged: Option<SystemTime>,
}

/// A code to be stored.
#[derive(Debug, Clone)]
pub struct NewShareCode {
    /// Primary key of the server's row.
    pub spawner_id: i64,
    /// What it grants, each with the server's filter.
    pub scopes: Vec<String>,
    /// See [`crate::hash_token`].
    pub hashed: String,
    /// See [`crate::token_prefix`].
    pub prefix: String,
    /// Now.
    pub created: SystemTime,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// The columns of [`ShareCode`], in the order of `from_row`; the hash last.
const SELECT: &str = "SELECT c.id, o.name, s.name, c.scopes, c.created_at, c.expires_at,
    coalesce(c.exchange_count, 0), c.last_exchanged_at, c.hashed
    FROM share_codes c JOIN spawners s ON s.id = c.spawner_id JOIN users o ON o.id = s.user_id
    WHERE (c.expires_at IS NULL OR c.expires_at >= ?1)";

impl Store {
    /// A part of the codes for one owner's servers or for one server, and the number of all of them.
    pub fn share_codes(
        &self,
        of: ShareOf,
        page: Page,
        now: SystemTime,
    ) -> Result<(Vec<ShareCode>, i64), StoreError> {
        let (condition, key) = match of {
            ShareOf::Owner(id) => ("s.user_id = ?2", id),
            ShareOf::Spawner(id) => ("s.id = ?2", id),
            // Codes are given to nobody yet.
            ShareOf::User(_) | ShareOf::Group(_) => return Ok((Vec::new(), 0)),
        };
        let now = time_column(now);
        self.read(|connection| {
            let count = format!("SELECT count(*) FROM ({SELECT} AND {condition})");
            let total = connection.prepare_cached(&count)?.query_row(params![now, key], |row| row.get(0))?;
            let sql = format!("{SELECT} AND {condition} ORDER BY c.id LIMIT ?3 OFFSET ?4");
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_map(params![now, key, page.limit, page.offset], from_row)?;
            Ok((rows.collect::<Result<_, _>>()?, total))
        })
    }

    /// The row of a code that has not expired.
    pub fn share_code(&self, code: &str, now: SystemTime) -> Result<Option<ShareCode>, StoreError> {
        self.read(|connection| find(connection, code, now))
    }

    /// Stores a code.
    pub fn create_share_code(&self, new: &NewShareCode) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO share_codes (hashed, prefix, exchange_count, created_at, scopes, expires_at,
                         owner_id, spawner_id)
                     SELECT ?2, ?3, 0, ?4, ?5, ?6, user_id, id FROM spawners WHERE id = ?1",
                )?
                .execute(params![
                    new.spawner_id,
                    new.hashed,
                    new.prefix,
                    time_column(new.created),
                    list_column(new.scopes.iter().map(String::as_str)),
                    time_column(new.expires_at),
                ])?;
            Ok(())
        })
    }

    /// Deletes one code of a server, or all; says how many there were.
    pub fn delete_share_codes(&self, spawner_id: i64, only: Option<i64>) -> Result<usize, StoreError> {
        self.write(|transaction| {
            let sql = "DELETE FROM share_codes WHERE spawner_id = ?1 AND (?2 IS NULL OR id = ?2)";
            Ok(transaction.prepare_cached(sql)?.execute(params![spawner_id, only])?)
        })
    }

    /// Gives a user what a code grants and counts it; nothing for a code that does not hold.
    pub fn exchange_share_code(
        &self,
        code: &str,
        user_id: i64,
        now: SystemTime,
    ) -> Result<Option<Share>, StoreError> {
        self.write(|transaction| {
            let Some(found) = find(transaction, code, now)? else { return Ok(None) };
            let spawner_id: i64 = transaction
                .prepare_cached("SELECT spawner_id FROM share_codes WHERE id = ?1")?
                .query_row([found.id], |row| row.get(0))?;
            transaction
                .prepare_cached(
                    "UPDATE share_codes SET exchange_count = coalesce(exchange_count, 0) + 1,
                         last_exchanged_at = ?2 WHERE id = ?1",
                )?
                .execute(params![found.id, time_column(now)])?;
            grant(transaction, spawner_id, ShareWith::User(user_id), &found.scopes, now)
        })
    }
}

fn find(connection: &Connection, code: &str, now: SystemTime) -> Result<Option<ShareCode>, StoreError> {
    if code.len() > TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let mut select = connection.prepare_cached(&format!("{SELECT} AND c.prefix = ?2"))?;
    let mut rows = select.query(params![time_column(now), token_prefix(code)])?;
    while let Some(row) = rows.next()? {
        let hashed: String = row.get(8)?;
        if token_matches(code, &hashed) {
            return Ok(Some(from_row(row)?));
        }
    }
    Ok(None)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ShareCode> {
    let (owner, server): (String, String) =
        (row.get(1)?, row.get::<_, Option<String>>(2)?.unwrap_or_default());
    Ok(ShareCode {
        id: row.get(0)?,
        scopes: on_server(&column_list(row.get(3)?), &owner, &server),
        owner,
        server,
        created: column_time(row.get(4)?),
        expires_at: column_time(row.get(5)?),
        exchange_count: row.get(6)?,
        last_exchanged: column_time(row.get(7)?),
    })
}
