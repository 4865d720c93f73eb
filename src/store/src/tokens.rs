//! The table `api_tokens`. Tokens themselves are not stored, only their hashes.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use crate::encoding::{column_list, column_time, list_column, time_column};
use crate::hash::{TOKEN_BYTES_MAX, token_matches, token_prefix};
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// A row of `api_tokens`; the token itself is not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiToken {
    /// Primary key; `a<id>` in the API.
    pub id: i64,
    /// Owner, if a user.
    pub user_id: Option<i64>,
    /// Owner, if a service.
    pub service_id: Option<i64>,
    /// Issuing OAuth client.
    pub client_id: Option<String>,
    /// That client's description.
    pub client_description: Option<String>,
    /// Browser session it belongs to.
    pub session_id: Option<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it ends; `None` never.
    pub expires_at: Option<SystemTime>,
    /// Last use.
    pub last_activity: Option<SystemTime>,
    /// Note.
    pub note: String,
    /// Raw scopes.
    pub scopes: Vec<String>,
}

impl ApiToken {
    fn holds(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at >= now)
    }
}

/// Whose token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOwner {
    /// A user, by primary key.
    User(i64),
    /// A service, by primary key.
    Service(i64),
}

/// A token to be stored.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose.
    pub owner: TokenOwner,
    /// See [`crate::hash_token`].
    pub hashed: String,
    /// See [`crate::token_prefix`].
    pub prefix: String,
    /// `jupyterhub`, or the OAuth client that it is issued to.
    pub client_id: String,
    /// Browser session it belongs to.
    pub session_id: Option<String>,
    /// Note.
    pub note: String,
    /// Raw scopes.
    pub scopes: Vec<String>,
    /// Now.
    pub created: SystemTime,
    /// When it ends; `None` never.
    pub expires_at: Option<SystemTime>,
}

/// The columns of [`ApiToken`], in the order of `from_row`; the hash last.
const SELECT: &str =
    "SELECT t.id, t.user_id, t.service_id, t.client_id, c.description, t.session_id, t.created,
    t.expires_at, t.last_activity, t.note, t.scopes, t.hashed
    FROM api_tokens t LEFT JOIN oauth_clients c ON c.identifier = t.client_id";

impl Store {
    /// The row of a token that has not expired. A row without a client is stale and does not count. What others wrote
    /// counts once [`Store::notice_changes`] was called.
    pub fn token(&self, token: &str, now: SystemTime) -> Result<Option<Arc<ApiToken>>, StoreError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        // What a person chose is hashed 16,384 times in the database; each token is only checked against that once.
        let tag = self.recent.tag(token);
        let moment = match self.recent.tokens.recall(self.generation(), &tag) {
            Ok(known) => return Ok(Some(known).filter(|known| known.holds(now))),
            Err(moment) => moment,
        };
        let found = self.stored_token(token, now)?.map(Arc::new);
        // Guesses are not worth remembering.
        if let Some(found) = &found {
            self.recent.tokens.keep(moment, tag, Arc::clone(found));
        }
        Ok(found)
    }

    /// The same from the database.
    fn stored_token(&self, token: &str, now: SystemTime) -> Result<Option<ApiToken>, StoreError> {
        let rows = self.read(|connection| {
            let sql = format!(
                "{SELECT} WHERE t.prefix = ?1 AND t.client_id IS NOT NULL AND t.hashed IS NOT NULL
                 AND (t.expires_at IS NULL OR t.expires_at >= ?2)"
            );
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_map(params![token_prefix(token), time_column(now)], |row| {
                Ok((from_row(row)?, row.get::<_, String>(11)?))
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        Ok(rows.into_iter().find(|(_, hashed)| token_matches(token, hashed)).map(|(found, _)| found))
    }

    /// An owner's token by its primary key.
    pub fn token_of(
        &self,
        owner: TokenOwner,
        id: i64,
        now: SystemTime,
    ) -> Result<Option<ApiToken>, StoreError> {
        let tokens = self.tokens_of(owner, now)?;
        Ok(tokens.into_iter().find(|token| token.id == id))
    }

    /// An owner's tokens that have not expired, last used first.
    pub fn tokens_of(&self, owner: TokenOwner, now: SystemTime) -> Result<Vec<ApiToken>, StoreError> {
        let (user, service) = keys(owner);
        self.read(|connection| {
            let sql = format!(
                "{SELECT} WHERE (t.user_id = ?1 OR t.service_id = ?2)
                 AND (t.expires_at IS NULL OR t.expires_at >= ?3)
                 ORDER BY coalesce(t.last_activity, t.created) DESC, t.id DESC"
            );
            select(connection, &sql, params![user, service, time_column(now)])
        })
    }

    /// Whether there is a token with this hash.
    pub fn has_token(&self, hashed: &str) -> Result<bool, StoreError> {
        self.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM api_tokens WHERE hashed = ?1)")?;
            Ok(select.query_row([hashed], |row| row.get(0))?)
        })
    }

    /// Stores a token and returns its primary key.
    pub fn create_token(&self, token: &NewToken) -> Result<i64, StoreError> {
        self.write(|transaction| insert(transaction, token))
    }

    /// Deletes a token; says whether there was one.
    pub fn delete_token(&self, id: i64) -> Result<bool, StoreError> {
        self.write(|transaction| {
            Ok(transaction.prepare_cached("DELETE FROM api_tokens WHERE id = ?1")?.execute([id])? > 0)
        })
    }

    /// Deletes all of a user's tokens of one OAuth client.
    pub fn delete_tokens_of_client(&self, user_id: i64, client_id: &str) -> Result<usize, StoreError> {
        self.write(|transaction| {
            Ok(transaction
                .prepare_cached("DELETE FROM api_tokens WHERE user_id = ?1 AND client_id = ?2")?
                .execute(params![user_id, client_id])?)
        })
    }
}

/// Stores a token inside a transaction.
pub(crate) fn insert(transaction: &Transaction<'_>, token: &NewToken) -> Result<i64, StoreError> {
    let (user, service) = keys(token.owner);
    transaction
        .prepare_cached(
            "INSERT INTO api_tokens
                 (user_id, service_id, hashed, prefix, client_id, session_id, created, expires_at, note, scopes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            user,
            service,
            token.hashed,
            token.prefix,
            token.client_id,
            token.session_id,
            time_column(token.created),
            token.expires_at.map(time_column),
            token.note,
            list_column(token.scopes.iter().map(String::as_str)),
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// The values of the columns `user_id` and `service_id`.
fn keys(owner: TokenOwner) -> (Option<i64>, Option<i64>) {
    match owner {
        TokenOwner::User(id) => (Some(id), None),
        TokenOwner::Service(id) => (None, Some(id)),
    }
}

fn select(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<ApiToken>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(values, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        id: row.get(0)?,
        user_id: row.get(1)?,
        service_id: row.get(2)?,
        client_id: row.get(3)?,
        client_description: row.get(4)?,
        session_id: row.get(5)?,
        created: column_time(row.get(6)?),
        expires_at: column_time(row.get(7)?),
        last_activity: column_time(row.get(8)?),
        note: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
        scopes: column_list(row.get(10)?),
    })
}
