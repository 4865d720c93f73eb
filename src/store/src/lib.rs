//! The database: JupyterHub's SQLite schema, its hashes and encodings.
//!
//! The only crate that knows SQL. [`Store`] is synchronous and safe to share between threads: reads take
//! microseconds, writes are durable when they return. One file per table family.

use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

/// The revision of JupyterHub 6.1's schema, `alembic_version.version_num`.
pub const SCHEMA_REVISION: &str = "f460b0348206";

/// An open database.
pub struct Store {}

/// Why the database could not be used. Variants grow in `error.rs`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

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
    /// Names of directly assigned roles.
    pub roles: Vec<String>,
    /// Names of the user's groups.
    pub groups: Vec<String>,
}

/// A row of `services`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Primary key.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Whether the service is an admin.
    pub admin: bool,
}

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

/// What is written when a start begins: one transaction makes or updates the spawner row, the server's
/// API token and its OAuth client.
#[derive(Debug, Clone)]
pub struct ServerStart {
    /// Owner; the row must exist.
    pub user: String,
    /// Server name.
    pub server: String,
    /// The hashed token, see [`hash_token`]; also known to the running session's note.
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

/// `sha512:<rounds>:<salt>:<hex digest>` of a token, as JupyterHub stores it (`database.md` §4).
pub fn hash_token(token: &str, rounds: u32, salt: [u8; 8]) -> String {
    todo!()
}

/// Whether `token` has the hash `hashed`; constant time in the digest.
pub fn token_matches(token: &str, hashed: &str) -> bool {
    todo!()
}

impl Store {
    /// Opens or creates the database, mode 0600; refuses newer and unknown schemas.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        todo!()
    }

    /// The user of this name, made with the role `user` if there is none. `cookie_id` is used for a new row.
    pub fn ensure_user(&self, name: &str, cookie_id: &str, now: SystemTime) -> Result<User, StoreError> {
        todo!()
    }

    /// A user's spawner row.
    pub fn spawner(&self, user: &str, server: &str) -> Result<Option<Spawner>, StoreError> {
        todo!()
    }

    /// All of a user's spawner rows.
    pub fn spawners_of(&self, user: &str) -> Result<Vec<Spawner>, StoreError> {
        todo!()
    }

    /// All spawner rows with a `servers` row.
    pub fn active_spawners(&self) -> Result<Vec<Spawner>, StoreError> {
        todo!()
    }

    /// See [`ServerStart`]. An older token `Server at …` of the same server is deleted.
    pub fn server_starting(&self, start: &ServerStart) -> Result<(), StoreError> {
        todo!()
    }

    /// The process runs: `servers` row, `started`, `state`.
    pub fn server_running(
        &self,
        user: &str,
        server: &str,
        address: &ServerAddress,
        state: &Value,
        started: SystemTime,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// The server is gone: `servers` row, its token and OAuth client deleted, `started` NULL, `state` `{}`.
    pub fn server_stopped(&self, user: &str, server: &str, now: SystemTime) -> Result<(), StoreError> {
        todo!()
    }

    /// A running server that the database may have lost: as `server_starting` and `server_running`, but rows that
    /// exist with the same token are left alone (so OAuth tokens issued for it live on).
    pub fn server_adopted(
        &self,
        start: &ServerStart,
        address: &ServerAddress,
        state: &Value,
        started: SystemTime,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Raises `last_activity` of users and spawners; (user, server, time). Never lowers it.
    pub fn record_activity(&self, activity: &[(String, String, SystemTime)]) -> Result<(), StoreError> {
        todo!()
    }
}
