//! The database: JupyterHub's SQLite schema, its hashes and encodings.
//!
//! The only crate that knows SQL. [`Store`] is synchronous and safe to share between threads: reads take
//! microseconds and never wait for a write, writes are durable when they return, and those that come together share one
//! wait for the disk (`writer.rs`). Only activity may be a second late. One file per table family;
//! start reading at [`Store::open`] in `database.rs`.

mod database;
mod error;
mod schema;
mod writer;

mod activity;
mod auth_state;
mod backup;
mod groups;
mod life;
mod load_roles;
mod logins;
mod memory;
mod oauth;
mod roles;
mod services;
mod share_codes;
mod shares;
mod spawners;
mod startup;
mod tokens;
mod upgrade;
mod user_lists;
mod users;

mod encoding;
mod hash;

pub use auth_state::{AuthState, BadKey, CryptKeys};
pub use backup::{CopyProgress, Existing, backup, backup_beside};
pub use database::Store;
pub use encoding::{JsonError, from_json, to_json};
pub use error::StoreError;
pub use groups::{ConfiguredGroup, Group};
pub use hash::{
    CLIENT_SECRET_ROUNDS, GENERATED_ROUNDS, TOKEN_BYTES_MAX, hash_token, token_matches, token_prefix,
};
pub use life::{AdoptedServer, ServerAddress, ServerStart};
pub use load_roles::{MustHaveUserRole, RoleDefinition, RoleMembers};
pub use logins::{Login, NewLogin};
pub use memory::{Memory, Moment};
pub use oauth::{CodeUse, OAuthClient, OAuthCode};
pub use roles::{DEFAULT_ROLES, DefaultRole};
pub use schema::SCHEMA_REVISION;
pub use services::{NewService, STARTUP_NOTE, Service, ServiceClient, ServiceServer, ServiceWritten};
pub use share_codes::{NewShareCode, ShareCode};
pub use shares::{Share, ShareOf, ShareWith};
pub use spawners::Spawner;
pub use startup::ConfiguredUsers;
pub use tokens::{ApiToken, NewToken, TokenOwner};
pub use upgrade::{OLDEST_UPGRADED, Progress, STEPS, Schema, Step, inspect, upgrade};
pub use user_lists::{Page, UserFilter, UserOrder, UserState, UserSubset};
pub use users::{NewUser, User};
