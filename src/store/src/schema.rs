//! Makes the tables in an empty file, and refuses files whose schema is another one.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;
use crate::encoding::list_column;
use crate::roles::DEFAULT_ROLES;

/// The revision of JupyterHub 6.1's schema, `alembic_version.version_num`.
pub const SCHEMA_REVISION: &str = "f460b0348206";

/// Tables and indexes.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");

/// Revisions of earlier JupyterHubs, oldest first; any other one is newer.
const OLDER_REVISIONS: [&str; 18] = [
    "19c0846f6344",
    "eeb276e51423",
    "af4cbdb2d13c",
    "3ec6993fe20c",
    "1cebaf56856c",
    "56cc5a70207e",
    "99a28a4418e1",
    "d68c98b66cd4",
    "896818069c98",
    "4dc2d5a8c53c",
    "833da8570507",
    "651f5419b74d",
    "0eee8c825d24",
    "3c2384c5aae1",
    "4621fec11365",
    "be8ecf03ddac",
    "afd65840b69e",
    "ff1860e38070",
];

/// Refuses a database that this version must leave alone. It only reads: the file stays as it is.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    revision(connection, path)?.map_or(Ok(()), |found| check_revision(found, path))
}

/// Makes a new file's tables, or checks the stamp of an existing one; then sees that the OAuth client
/// `jupyterhub` and the default roles are there. Runs inside one transaction.
pub(crate) fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match revision(connection, path)? {
        Some(found) => check_revision(found, path)?,
        None => {
            connection.execute_batch(SCHEMA)?;
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (?1)", [SCHEMA_REVISION])?;
        }
    }
    connection.execute(crate::logins::TABLE, [])?;
    connection.execute(
        "INSERT INTO oauth_clients (identifier, description, secret, redirect_uri, allowed_scopes)
         SELECT 'jupyterhub', 'JupyterHub', '', '', '[]'
         WHERE NOT EXISTS (SELECT 1 FROM oauth_clients WHERE identifier = 'jupyterhub')",
        [],
    )?;
    make_default_roles(connection)
}

/// Makes the default roles that are missing. Users of a database without any role (before 2.0, or made by
/// hand) get theirs, as JupyterHub's upgrade does it.
fn make_default_roles(connection: &Connection) -> Result<(), StoreError> {
    let none: bool = connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM roles)", [], |row| row.get(0))?;
    for role in &DEFAULT_ROLES {
        let scopes = list_column(role.scopes.iter().copied());
        connection.execute(
            "INSERT INTO roles (name, description, scopes, managed_by_auth) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT (name) DO NOTHING",
            (role.name, role.description, scopes),
        )?;
    }
    if none {
        connection.execute(
            "INSERT INTO user_role_map (user_id, role_id, managed_by_auth)
             SELECT u.id, r.id, 0 FROM users u, roles r
             WHERE r.name = 'user' OR (r.name = 'admin' AND u.admin = 1)",
            [],
        )?;
    }
    Ok(())
}

/// The stamp of an existing database; `None` when the file has no tables yet.
pub(crate) fn revision(connection: &Connection, path: &Path) -> Result<Option<String>, StoreError> {
    let tables: i64 =
        connection
            .query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table'", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(None);
    }
    if !has_table(connection, "alembic_version")? {
        return Err(StoreError::ForeignTables(path.to_path_buf()));
    }
    let found: Option<String> =
        connection.query_row("SELECT version_num FROM alembic_version", [], |row| row.get(0)).optional()?;
    found.map(Some).ok_or_else(|| StoreError::ForeignTables(path.to_path_buf()))
}

/// Whether there is such a table.
pub(crate) fn has_table(connection: &Connection, name: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
    Ok(connection.query_row(sql, [name], |row| row.get(0))?)
}

pub(crate) fn check_revision(found: String, path: &Path) -> Result<(), StoreError> {
    let path = path.to_path_buf();
    if found == SCHEMA_REVISION {
        Ok(())
    } else if OLDER_REVISIONS.contains(&found.as_str()) {
        Err(StoreError::OlderSchema { path, found, known: SCHEMA_REVISION })
    } else {
        Err(StoreError::NewerSchema { path, found, known: SCHEMA_REVISION })
    }
}
