//! The open database: one connection that writes, a few that read beside it.

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::activity::Pending;
use crate::backup::backup_beside;
use crate::memory::{Changed, Recent, Seen};
use crate::writer::{Transaction, Writer};
use crate::{StoreError, schema};

/// Reading connections kept open: more threads than this read at once only on larger machines, and each
/// connection holds up to 2 MB of page cache.
const READERS_KEPT_MAX: usize = 4;

/// The longest wait for another program that holds the database, for instance `sqlite3` in a shell: shorter
/// than any client's time-out, longer than a manual query takes.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept per connection: the crate has about a hundred.
const STATEMENTS_CACHED_MAX: usize = 128;

/// Size in bytes to which the write-ahead log is cut after a checkpoint, so that one large write does not
/// occupy the disk for good.
const WAL_BYTES_KEPT: i64 = 4 << 20;

/// An open database.
pub struct Store {
    path: PathBuf,
    writer: Writer,
    /// Activity that is not written yet.
    pub(crate) pending: Mutex<Pending>,
    /// Held by whoever writes that.
    pub(crate) flushing: Mutex<()>,
    /// What was read a moment ago.
    pub(crate) recent: Arc<Recent>,
    blocking: OnceLock<fn(&mut dyn FnMut())>,
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens or creates the database, mode 0600; refuses newer and unknown schemas.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        make_file(path)?;
        let mut writer = connect(path).map_err(|error| error.at(path))?;
        prepare_writer(&mut writer, path).map_err(|error| error.at(path))?;
        let recent = Arc::new(Recent::new(path)?);
        Ok(Self {
            path: path.to_path_buf(),
            writer: Writer::new(writer, Arc::clone(&recent)),
            pending: Mutex::default(),
            flushing: Mutex::default(),
            recent,
            blocking: OnceLock::new(),
            readers: Mutex::default(),
        })
    }

    /// Has every write go through `run`, which must run what it is given at once: a thread that serves others can
    /// have them served elsewhere while it waits for the disk.
    pub fn block_with(&self, run: fn(&mut dyn FnMut())) {
        let _ = self.blocking.set(run);
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Limits the database to its present size plus `pages` pages of 4 KiB, as a full disk would, so that
    /// tests can see what happens then.
    #[doc(hidden)]
    pub fn set_page_limit_for_tests(&self, pages: i64) -> Result<(), StoreError> {
        self.writer.with_connection(|writer| {
            let used: i64 = writer.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            writer.query_row(&format!("PRAGMA max_page_count = {}", used + pages), [], |_| Ok(()))?;
            Ok(())
        })
    }

    /// Runs `work` on a reading connection; it sees the last committed state and waits for nobody.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let kept = lock(&self.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => reader(&self.path).map_err(|error| error.at(&self.path))?,
        };
        let result = work(&connection).map_err(|error| error.at(&self.path));
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_KEPT_MAX {
            readers.push(connection);
        }
        result
    }

    /// Runs `work`: all of it is on the disk when this returns, or nothing.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write_changing(Changed::Anything, work)
    }

    /// The same for `work` that writes nothing but times of activity of those who were `seen`: what else was read
    /// lately stays true.
    pub(crate) fn write_activity(
        &self,
        seen: Seen,
        work: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.write_changing(Changed::Activity(seen), work)
    }

    fn write_changing<T>(
        &self,
        changed: Changed,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut work = Some((changed, work));
        let mut result = None;
        let mut run = || result = work.take().map(|(changed, work)| self.writer.write(changed, work));
        match self.blocking.get() {
            Some(blocking) => blocking(&mut run),
            None => run(),
        }
        // `block_with` asks for a function that runs the work.
        let result = result.unwrap_or_else(|| Err(StoreError::Missing("result of", "a write".to_owned())));
        result.map_err(|error| error.at(&self.path))
    }
}

/// A connection whose transaction panicked was rolled back by its `Drop`, so it can be used again.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the file with mode 0600 before SQLite sees it (its -wal and -shm get the same mode), and takes
/// the rights of others from an existing one: it holds what logs people in.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let open_error = |error| StoreError::Open(path.to_path_buf(), error);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(open_error(error)),
    }
    let metadata = std::fs::metadata(path).map_err(open_error)?;
    if !metadata.is_file() {
        return Err(StoreError::NotADatabase(path.to_path_buf()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(open_error)?;
    }
    Ok(())
}

/// A connection with what all of them need. Temporary tables stay in memory, so that reading needs no disk.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

pub(crate) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The first time that hubd opens a database of JupyterHub's, it is copied beside itself as it was. Later the journal
/// mode, which stays in the file, says that hubd has had it.
fn keep_original(writer: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = writer.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode == "wal" || schema::revision(writer, path)?.is_none() {
        return Ok(());
    }
    let copy = backup_beside(path, SystemTime::now(), &mut |_| ControlFlow::Continue(()))?;
    tracing::info!("Backing up {} => {}", path.display(), copy.display());
    Ok(())
}

fn prepare_writer(writer: &mut Connection, path: &Path) -> Result<(), StoreError> {
    // The journal mode is written into the file, so it comes after the look at whose file it is.
    schema::check(writer, path)?;
    keep_original(writer, path)?;
    writer.pragma_update(None, "journal_mode", "WAL")?;
    writer.pragma_update(None, "synchronous", "FULL")?;
    writer.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::prepare(&transaction, path)?;
    transaction.commit()?;
    Ok(())
}
