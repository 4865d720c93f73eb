//! The tables `oauth_clients` and `oauth_codes`.
//!
//! A code that was used stays until it would have expired, with its `expires_at` negated (JupyterHub sees
//! an expired code) and the hash of the token it gave in `code_challenge`: so a second use is noticed, also
//! after a restart, and the token can be revoked. (Ids are reused, hashes are not.)

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension, params};

use crate::encoding::{column_list, list_column};
use crate::tokens::{NewToken, insert};
use crate::{Store, StoreError};

/// `code_challenge_method` of a code that was used.
const USED: &str = "used";

/// A row of `oauth_clients`, and whose client it is.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuthClient {
    /// `jupyterhub-user-alice`, …
    pub identifier: String,
    /// For the person: `Server at /user/alice/`.
    pub description: String,
    /// The hashed secret; empty for a client that cannot authorize.
    pub secret_hash: String,
    /// The only redirect URI.
    pub redirect_uri: String,
    /// What it may ask for beside identify and access.
    pub allowed_scopes: Vec<String>,
    /// Owner and name of the server whose client it is.
    pub server: Option<(String, String)>,
    /// Name of the service whose client it is.
    pub service: Option<String>,
    /// Whether the service was configured to need no confirmation.
    pub no_confirm: bool,
}

/// A row of `oauth_codes`.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuthCode {
    /// Primary key; ignored when a code is stored.
    pub id: i64,
    /// The code.
    pub code: String,
    /// The client it was given to.
    pub client_id: String,
    /// Who authorized it.
    pub user_id: i64,
    /// That browser's session.
    pub session_id: Option<String>,
    /// The redirect URI of the request; empty if it had none.
    pub redirect_uri: String,
    /// Granted raw scopes.
    pub scopes: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
    /// PKCE challenge (S256).
    pub code_challenge: Option<String>,
    /// PKCE method.
    pub code_challenge_method: Option<String>,
}

/// How the use of a code ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeUse {
    /// It gave the token with this primary key.
    Token(i64),
    /// It had been used before; the token it gave then is deleted.
    UsedBefore,
}

impl Store {
    /// The client with this identifier.
    pub fn oauth_client(&self, identifier: &str) -> Result<Option<OAuthClient>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT c.identifier, c.description, c.secret, c.redirect_uri, c.allowed_scopes,
                     u.name, s.name, v.name, v.oauth_no_confirm
                 FROM oauth_clients c
                 LEFT JOIN spawners s ON s.oauth_client_id = c.identifier
                 LEFT JOIN users u ON u.id = s.user_id
                 LEFT JOIN services v ON v.oauth_client_id = c.identifier
                 WHERE c.identifier = ?1",
            )?;
            let client = select.query_row([identifier], |row| {
                let text = |column| row.get::<_, Option<String>>(column);
                Ok(OAuthClient {
                    identifier: row.get(0)?,
                    description: text(1)?.unwrap_or_default(),
                    secret_hash: text(2)?.unwrap_or_default(),
                    redirect_uri: text(3)?.unwrap_or_default(),
                    allowed_scopes: column_list(text(4)?),
                    server: text(5)?.zip(text(6)?),
                    service: text(7)?,
                    no_confirm: row.get::<_, Option<bool>>(8)?.unwrap_or(false),
                })
            });
            Ok(client.optional()?)
        })
    }

    /// Stores a code.
    pub fn create_code(&self, code: &OAuthCode) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO oauth_codes (client_id, code, expires_at, redirect_uri, session_id, user_id,
                         scopes, code_challenge, code_challenge_method)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    code.client_id,
                    code.code,
                    code.expires_at,
                    code.redirect_uri,
                    code.session_id,
                    code.user_id,
                    list_column(code.scopes.iter().map(String::as_str)),
                    code.code_challenge,
                    code.code_challenge_method,
                ])?;
            Ok(())
        })
    }

    /// A client's code that has not expired. One that was used is found too: give it to
    /// [`Store::redeem_code`], which ends what it gave.
    pub fn oauth_code(
        &self,
        client_id: &str,
        code: &str,
        now: SystemTime,
    ) -> Result<Option<OAuthCode>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, code, client_id, user_id, session_id, redirect_uri, scopes, expires_at,
                     code_challenge, code_challenge_method
                 FROM oauth_codes WHERE code = ?1 AND client_id = ?2 AND abs(expires_at) >= ?3",
            )?;
            let code = select.query_row(params![code, client_id, unix_seconds(now)], |row| {
                Ok(OAuthCode {
                    id: row.get(0)?,
                    code: row.get(1)?,
                    client_id: row.get(2)?,
                    user_id: row.get(3)?,
                    session_id: row.get(4)?,
                    redirect_uri: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                    scopes: column_list(row.get(6)?),
                    expires_at: row.get(7)?,
                    code_challenge: row.get(8)?,
                    code_challenge_method: row.get(9)?,
                })
            });
            Ok(code.optional()?)
        })
    }

    /// Uses a code up and stores the token it gives, in one transaction: of two requests with the same
    /// code one gets a token, and the other takes it away.
    pub fn redeem_code(&self, code_id: i64, token: &NewToken) -> Result<CodeUse, StoreError> {
        self.write(|transaction| {
            let used_for: Option<Option<String>> = transaction
                .prepare_cached(
                    "SELECT CASE WHEN code_challenge_method = ?2 THEN code_challenge END
                     FROM oauth_codes WHERE id = ?1",
                )?
                .query_row(params![code_id, USED], |row| row.get(0))
                .optional()?;
            match used_for {
                Some(None) => {}
                Some(Some(hashed)) => {
                    transaction.prepare_cached("DELETE FROM api_tokens WHERE hashed = ?1")?.execute([hashed])?;
                    return Ok(CodeUse::UsedBefore);
                }
                None => return Ok(CodeUse::UsedBefore),
            }
            let token_id = insert(transaction, token)?;
            transaction
                .prepare_cached(
                    "UPDATE oauth_codes SET expires_at = -expires_at, code_challenge = ?2, code_challenge_method = ?3
                     WHERE id = ?1",
                )?
                .execute(params![code_id, token.hashed, USED])?;
            Ok(CodeUse::Token(token_id))
        })
    }
}

impl OAuthCode {
    /// Whether the code was used already.
    pub fn is_used(&self) -> bool {
        self.code_challenge_method.as_deref() == Some(USED)
    }
}

/// Whole seconds since 1970.
pub(crate) fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
