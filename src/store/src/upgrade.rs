//! Brings databases of older JupyterHubs, from 3.0 on, to the schema of 6.1: what `jupyterhub upgrade-db` does.
//!
//! Each step is one of JupyterHub's own revisions, with the same statements in the same order, so that the tables come
//! out the same.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::backup::{CopyProgress, backup_beside};
use crate::schema::{self, SCHEMA, SCHEMA_REVISION};
use crate::{StoreError, database};

/// The oldest revision that can be upgraded: that of JupyterHub 3.0.
pub const OLDEST_UPGRADED: &str = "651f5419b74d";

/// One step from a revision to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The revision after it.
    pub revision: &'static str,
    /// The release that introduced it.
    pub release: &'static str,
    /// What it adds.
    pub what: &'static str,
    /// For each statement the table that it needs: one that is not there is made whole in the end.
    statements: &'static [(&'static str, &'static str)],
}

/// All steps from [`OLDEST_UPGRADED`] on, in order.
#[rustfmt::skip]
pub const STEPS: &[Step] = &[
    Step { revision: "0eee8c825d24", release: "4.0", what: "properties of groups", statements: &[
        ("groups", "ALTER TABLE groups ADD COLUMN properties TEXT"),
    ] },
    Step { revision: "3c2384c5aae1", release: "5.0", what: "what the configuration says of services", statements: &[
        ("services", "ALTER TABLE services ADD COLUMN from_config BOOLEAN"),
        ("services", "UPDATE services SET from_config = true"),
        ("services", "ALTER TABLE services ADD COLUMN url VARCHAR(2047)"),
        ("services", "ALTER TABLE services ADD COLUMN oauth_client_allowed_scopes TEXT"),
        ("services", "ALTER TABLE services ADD COLUMN info TEXT"),
        ("services", "ALTER TABLE services ADD COLUMN display BOOLEAN"),
        ("services", "ALTER TABLE services ADD COLUMN oauth_no_confirm BOOLEAN"),
        ("services", "ALTER TABLE services ADD COLUMN command TEXT"),
        ("services", "ALTER TABLE services ADD COLUMN cwd VARCHAR(2047)"),
        ("services", "ALTER TABLE services ADD COLUMN environment TEXT"),
        ("services", "ALTER TABLE services ADD COLUMN user VARCHAR(255)"),
    ] },
    Step { revision: "4621fec11365", release: "5.0", what: "which roles the authenticator gave", statements: &[
        ("group_role_map", "ALTER TABLE group_role_map ADD COLUMN managed_by_auth BOOLEAN DEFAULT 0 NOT NULL"),
        ("roles", "ALTER TABLE roles ADD COLUMN managed_by_auth BOOLEAN DEFAULT 0 NOT NULL"),
        ("service_role_map", "ALTER TABLE service_role_map ADD COLUMN managed_by_auth BOOLEAN DEFAULT 0 NOT NULL"),
        ("user_role_map", "ALTER TABLE user_role_map ADD COLUMN managed_by_auth BOOLEAN DEFAULT 0 NOT NULL"),
    ] },
    Step { revision: "be8ecf03ddac", release: "6.0", what: "time limits of services", statements: &[
        ("services", "ALTER TABLE services ADD COLUMN timeout INTEGER DEFAULT '30' NOT NULL"),
    ] },
    Step { revision: "afd65840b69e", release: "6.0", what: "PKCE of OAuth codes", statements: &[
        ("oauth_codes", "ALTER TABLE oauth_codes ADD COLUMN code_challenge VARCHAR(255)"),
        ("oauth_codes", "ALTER TABLE oauth_codes ADD COLUMN code_challenge_method VARCHAR(64)"),
    ] },
    Step { revision: "ff1860e38070", release: "6.0", what: "what the authenticator tells of people", statements: &[
        ("users", "ALTER TABLE users ADD COLUMN user_info TEXT"),
    ] },
    Step { revision: SCHEMA_REVISION, release: "6.0", what: "names of servers for people", statements: &[
        ("spawners", "ALTER TABLE spawners ADD COLUMN display_name VARCHAR(255)"),
    ] },
];

/// What has to be done to a database.
#[derive(Debug, PartialEq, Eq)]
pub enum Schema {
    /// There is no file, or one without tables: the first start makes them.
    New,
    /// Nothing.
    Current,
    /// These steps.
    Older {
        /// The revision now.
        found: String,
        /// The steps, in order.
        steps: &'static [Step],
    },
}

/// What an upgrade is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Copying the file beside itself.
    Copying(CopyProgress),
    /// The copy is complete.
    Copied(&'a Path),
    /// This step is done; it counts only when all are.
    Stepped(&'static Step),
}

/// Looks which steps a database needs. It only reads.
///
/// # Errors
/// The file is no database of JupyterHub's, its schema is newer, or older than that of 3.0.
pub fn inspect(path: &Path) -> Result<Schema, StoreError> {
    if !path.try_exists().unwrap_or(true) {
        return Ok(Schema::New);
    }
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    state(&connection, path).map_err(|error| error.at(path))
}

/// Upgrades a database if it needs it, after a copy beside it. All steps or none are done. Returns the copy's path.
///
/// # Errors
/// As [`inspect`]; the copy cannot be made, another program holds the database, or a step fails.
pub fn upgrade(
    path: &Path,
    now: SystemTime,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Option<PathBuf>, StoreError> {
    if !matches!(inspect(path)?, Schema::Older { .. }) {
        return Ok(None);
    }
    let copy = backup_beside(path, now, &mut |copied| progress(Progress::Copying(copied)))?;
    let _ = progress(Progress::Copied(&copy));
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    run(&mut connection, path, progress).map_err(|error| error.at(path))?;
    Ok(Some(copy))
}

fn run(
    connection: &mut Connection,
    path: &Path,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    // Another program may have upgraded it meanwhile.
    let Schema::Older { steps, .. } = state(&transaction, path)? else { return Ok(()) };
    for step in steps {
        for (table, statement) in step.statements {
            if schema::has_table(&transaction, table)? {
                transaction.execute_batch(statement)?;
            }
        }
        transaction.execute("UPDATE alembic_version SET version_num = ?1", [step.revision])?;
        if progress(Progress::Stepped(step)).is_break() {
            return Err(StoreError::Interrupted(path.to_path_buf()));
        }
    }
    make_missing_tables(&transaction)?;
    let broken: Option<String> =
        transaction.query_row("PRAGMA foreign_key_check", [], |row| row.get(0)).optional()?;
    if let Some(table) = broken {
        // JupyterHub wrote without foreign keys before 1.0: such rows lead nowhere, and stay.
        tracing::warn!("the database {} has rows in {table} that belong to nothing", path.display());
    }
    transaction.commit()?;
    Ok(())
}

/// Tables that came with a release and not with a revision, such as `shares`, are made as a new database has them.
fn make_missing_tables(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let statements = || SCHEMA.split(";\n").map(str::trim).filter(|statement| !statement.is_empty());
    let name = |statement: &str, kind: &str| {
        let rest = statement.strip_prefix(kind)?;
        rest.split(|c: char| c.is_whitespace() || c == '(').find(|word| !word.is_empty()).map(str::to_owned)
    };
    let mut made = Vec::new();
    for statement in statements() {
        if let Some(table) = name(statement, "CREATE TABLE ")
            && !schema::has_table(transaction, &table)?
        {
            transaction.execute_batch(statement)?;
            made.push(table);
        }
    }
    for statement in statements().filter(|statement| !statement.starts_with("CREATE TABLE ")) {
        if let Some((_, on)) = statement.split_once(" ON ")
            && name(on, "").is_some_and(|table| made.contains(&table))
        {
            transaction.execute_batch(statement)?;
        }
    }
    Ok(())
}

fn open(path: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    if !path.is_file() {
        return Err(StoreError::NotADatabase(path.to_path_buf()));
    }
    let open = || -> Result<Connection, StoreError> {
        let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(database::BUSY_TIMEOUT)?;
        Ok(connection)
    };
    open().map_err(|error| error.at(path))
}

fn state(connection: &Connection, path: &Path) -> Result<Schema, StoreError> {
    let Some(found) = schema::revision(connection, path)? else { return Ok(Schema::New) };
    if found == OLDEST_UPGRADED {
        return Ok(Schema::Older { found, steps: STEPS });
    }
    match STEPS.iter().position(|step| step.revision == found) {
        Some(position) => match STEPS.get(position + 1..).unwrap_or_default() {
            [] => Ok(Schema::Current),
            steps => Ok(Schema::Older { found, steps }),
        },
        None => Err(match schema::check_revision(found, path) {
            Err(StoreError::OlderSchema { path, found, known }) => {
                StoreError::TooOldSchema { path, found, known }
            }
            Err(error) => error,
            Ok(()) => StoreError::NotADatabase(path.to_path_buf()),
        }),
    }
}
