//! Why the database could not be used; every variant names the file, most of them the cure.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the database {0}: {1}")]
    Open(PathBuf, std::io::Error),
    /// The file is something else.
    #[error("{0} is not an SQLite database: move it away, or set JupyterHub.db_url to another file")]
    NotADatabase(PathBuf),
    /// The file is damaged.
    #[error(
        "the database {0} is damaged ({1}): stop the hub and restore a backup, or save what is left with \
         `sqlite3 {0} .recover`"
    )]
    Corrupt(PathBuf, String),
    /// The schema is one that this version does not know.
    #[error(
        "the database {path} has schema {found}, which this version does not know ({known} is JupyterHub 6.1's): \
         it was made by a newer version; install that one, or restore the backup made before the upgrade"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its `alembic_version`.
        found: String,
        /// Ours.
        known: &'static str,
    },
    /// The schema is one of an older JupyterHub.
    #[error(
        "the database {path} has schema {found} of an older JupyterHub: stop everything that uses it, then bring it to \
         {known} with `hubd upgrade-db`, which makes a copy first"
    )]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Its `alembic_version`.
        found: String,
        /// Ours.
        known: &'static str,
    },
    /// The schema is older than what can be upgraded.
    #[error(
        "the database {path} has schema {found} of a JupyterHub before 3.0, which hubd cannot upgrade: bring it to \
         {known} with `jupyterhub upgrade-db` of JupyterHub 6.1 (pip install jupyterhub==6.1.1 in an environment of \
         its own), then come back"
    )]
    TooOldSchema {
        /// The file.
        path: PathBuf,
        /// Its `alembic_version`.
        found: String,
        /// Ours.
        known: &'static str,
    },
    /// A copy must not replace what is there.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// Somebody ended it.
    #[error("interrupted; nothing is left of {0}")]
    Interrupted(PathBuf),
    /// An SQLite file of some other program.
    #[error(
        "the database {0} has tables but no schema version: it is not a JupyterHub database, or one older than 0.8; \
         set JupyterHub.db_url to another file"
    )]
    ForeignTables(PathBuf),
    /// The file, or its directory, cannot be written.
    #[error(
        "the database {0} cannot be written: the file, its -wal and -shm and their directory must belong to the \
         hub's user and lie on a file system mounted read-write"
    )]
    Unwritable(PathBuf),
    /// Another program holds the database.
    #[error("the database {0} is locked by another program: is a second hub running on it?")]
    Locked(PathBuf),
    /// No space for a write. Reading goes on, and writing as soon as there is space.
    #[error("no space left to write the database {0}")]
    Full(PathBuf),
    /// A row that must exist does not.
    #[error("no such {0}: {1}")]
    Missing(&'static str, String),
    /// The configuration gives a role to a service that there is not.
    #[error("Found undefined service {service} in role {role}. Define it first in JupyterHub.services.")]
    UndefinedService {
        /// The role.
        role: String,
        /// The service.
        service: String,
    },
    /// Anything else that SQLite said.
    #[error("the database {path} cannot be used: {source}")]
    Sqlite {
        /// The file; empty inside the crate, before it is known.
        path: PathBuf,
        /// SQLite's own error.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Names the file in an error that came from inside a transaction, and finds the variant that helps.
    pub(crate) fn at(self, path: &Path) -> Self {
        let Self::Sqlite { source, .. } = self else { return self };
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase(path),
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(path, source.to_string()),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Unwritable(path)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            _ => Self::Sqlite { path, source },
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite { path: PathBuf::new(), source }
    }
}
