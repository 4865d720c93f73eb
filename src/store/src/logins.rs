//! In which browsers people are logged in: a table of hubd's own, which JupyterHub leaves alone.
//!
//! JupyterHub's login cookie is the same in all browsers of a person but for the second in which it was signed. So a
//! login is known by its user and that second, no two logins of a user have the same, and each can be ended alone. A
//! cookie of which the table knows nothing, because JupyterHub set it, holds until it is ended here.

use rusqlite::{OptionalExtension, Row, params};

use crate::{Store, StoreError};

/// The table. Times are seconds since 1970.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS hubd_logins (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    began INTEGER NOT NULL,
    session_id TEXT,
    address TEXT NOT NULL DEFAULT '',
    browser TEXT NOT NULL DEFAULT '',
    last_seen INTEGER NOT NULL,
    ended BOOLEAN NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, began)
)";
/// Its columns, in the order of [`login`].
const COLUMNS: &str = "began, session_id, address, browser, last_seen, ended";

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// When the cookie was signed; names the login among those of its user.
    pub began: i64,
    /// `jupyterhub-session-id` of the browser, by which tokens of servers are tied to it.
    pub session_id: Option<String>,
    /// From where it was made.
    pub address: String,
    /// What the browser said it was.
    pub browser: String,
    /// When it was used last.
    pub last_seen: i64,
    /// Whether its cookie counts no more.
    pub ended: bool,
}

/// A login that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewLogin<'a> {
    /// Who logs in.
    pub user_id: i64,
    /// The new session id.
    pub session_id: &'a str,
    /// From where.
    pub address: &'a str,
    /// What the browser says it is.
    pub browser: &'a str,
}

impl Store {
    /// Notes a login at `now` and returns the second that its cookie has to be signed with. Logins that began before
    /// `forgotten` are no longer kept: their cookies are too old to count.
    pub fn begin_login(&self, new: &NewLogin<'_>, now: i64, forgotten: i64) -> Result<i64, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM hubd_logins WHERE user_id = ?1 AND began < ?2")?
                .execute(params![new.user_id, forgotten])?;
            let began: i64 = transaction
                .prepare_cached(
                    "SELECT max(?2, coalesce(max(began) + 1, 0)) FROM hubd_logins WHERE user_id = ?1",
                )?
                .query_row(params![new.user_id, now], |row| row.get(0))?;
            transaction
                .prepare_cached(
                    "INSERT INTO hubd_logins (user_id, began, session_id, address, browser, last_seen)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![new.user_id, began, new.session_id, new.address, new.browser, now])?;
            Ok(began)
        })
    }

    /// What is known of a login.
    pub fn login(&self, user_id: i64, began: i64) -> Result<Option<Login>, StoreError> {
        let moment = match self.recent.logins.recall(self.generation(), &(user_id, began)) {
            Ok(known) => return Ok(known),
            Err(moment) => moment,
        };
        let found = self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM hubd_logins WHERE user_id = ?1 AND began = ?2");
            Ok(connection.prepare_cached(&sql)?.query_row([user_id, began], login).optional()?)
        })?;
        self.recent.logins.keep(moment, (user_id, began), found.clone());
        Ok(found)
    }

    /// The logins of a user that began at `since` or later and have not ended, the one used last first.
    pub fn logins(&self, user_id: i64, since: i64) -> Result<Vec<Login>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM hubd_logins WHERE user_id = ?1 AND began >= ?2 AND NOT ended
                 ORDER BY last_seen DESC, began DESC"
            );
            let mut select = connection.prepare_cached(&sql)?;
            let found = select.query_map([user_id, since], login)?.collect::<Result<_, _>>()?;
            Ok(found)
        })
    }

    /// Ends a login, and with it the tokens and codes that were given to its session. `session_id` is the session of a
    /// login that is not known.
    pub fn end_login(&self, user_id: i64, began: i64, session_id: Option<&str>) -> Result<(), StoreError> {
        self.write(|transaction| {
            let known: Option<String> = transaction
                .prepare_cached("SELECT session_id FROM hubd_logins WHERE user_id = ?1 AND began = ?2")?
                .query_row([user_id, began], |row| row.get(0))
                .optional()?
                .flatten();
            let session_id = known.as_deref().or(session_id);
            for sql in [
                "DELETE FROM api_tokens WHERE user_id = ?1 AND session_id = ?2",
                "DELETE FROM oauth_codes WHERE user_id = ?1 AND session_id = ?2",
            ] {
                transaction.prepare_cached(sql)?.execute(params![user_id, session_id])?;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO hubd_logins (user_id, began, session_id, last_seen, ended) VALUES (?1, ?2, ?3, ?2, 1)
                     ON CONFLICT (user_id, began) DO UPDATE SET ended = 1",
                )?
                .execute(params![user_id, began, session_id])?;
            Ok(())
        })
    }

    /// Ends all logins of a user: a new `cookie_id` makes every login cookie worthless, those of JupyterHub too.
    /// Tokens that were given to sessions in browsers go with them.
    pub fn end_logins(&self, user_id: i64, cookie_id: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            for sql in [
                "DELETE FROM api_tokens WHERE user_id = ?1 AND session_id IS NOT NULL",
                "DELETE FROM oauth_codes WHERE user_id = ?1 AND session_id IS NOT NULL",
                "DELETE FROM hubd_logins WHERE user_id = ?1",
            ] {
                transaction.prepare_cached(sql)?.execute([user_id])?;
            }
            transaction
                .prepare_cached("UPDATE users SET cookie_id = ?2 WHERE id = ?1")?
                .execute(params![user_id, cookie_id])?;
            Ok(())
        })
    }
}

fn login(row: &Row<'_>) -> Result<Login, rusqlite::Error> {
    Ok(Login {
        began: row.get(0)?,
        session_id: row.get(1)?,
        address: row.get(2)?,
        browser: row.get(3)?,
        last_seen: row.get(4)?,
        ended: row.get(5)?,
    })
}
