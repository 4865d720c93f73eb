//! The connection that writes. Those who want to write at the same time share one commit: waiting for the disk is what
//! a write costs, and it costs the same for one and for hundreds.
//!
//! Whoever gets the connection runs their work in a savepoint of the transaction that is open, and leaves the commit to
//! the next one who waits; the last one commits. Everybody returns when their work is on the disk, or knows that it is
//! not.

use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rusqlite::{Connection, ffi};

use crate::StoreError;
use crate::database::lock;
use crate::memory::{Changed, Recent, data_version};

/// Most works in one commit, so that the first one of them does not wait for long: some milliseconds.
const WORKS_MAX: usize = 256;

/// A transaction in which work is done. Only the writer ends it.
pub(crate) struct Transaction<'a>(&'a Connection);

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

/// Everybody's way to the writing connection.
pub(crate) struct Writer {
    state: Mutex<State>,
    /// How many wait for the connection. Whoever has it commits when nobody does.
    waiting: AtomicUsize,
}

struct State {
    connection: Connection,
    /// The transaction that is open, if one is.
    batch: Option<Batch>,
    /// What hears of every end of a transaction.
    recent: Arc<Recent>,
    /// The connection's `data_version` then: other programs' commits change it.
    others: Option<i64>,
}

#[derive(Default)]
struct Batch {
    works: usize,
    changed: Changed,
    outcome: Arc<Outcome>,
}

/// How a commit ended, for all who wait for it.
#[derive(Default)]
struct Outcome {
    ended: Mutex<Option<Result<(), Failure>>>,
    changed: Condvar,
}

/// SQLite's error, as all who waited for the same commit get it.
#[derive(Clone)]
struct Failure {
    code: ffi::Error,
    text: Option<String>,
}

impl Writer {
    /// Takes over a connection without an open transaction. `recent` is told when one ends, before anybody else hears
    /// of it.
    pub fn new(connection: Connection, recent: Arc<Recent>) -> Self {
        let others = data_version(&connection).ok();
        let state = State { connection, batch: None, recent, others };
        Self { state: Mutex::new(state), waiting: AtomicUsize::new(0) }
    }

    /// Runs `work`, which changes `changed`; all of it is on the disk when this returns, or nothing.
    pub fn write<T>(
        &self,
        changed: Changed,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut state = lock(&self.state);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let outcome = state.begin()?;
        let result = state.run(changed, work);
        let full = state.batch.as_ref().is_some_and(|batch| batch.works >= WORKS_MAX);
        if full || self.waiting.load(Ordering::SeqCst) == 0 {
            state.commit();
        }
        drop(state);
        match result {
            Ok(Ok(value)) => outcome.wait().map(|()| value),
            Ok(Err(error)) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The connection itself, between transactions.
    pub fn with_connection<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        let mut state = lock(&self.state);
        state.commit();
        let result = work(&mut state.connection);
        state.recent.forget_all();
        result
    }
}

impl State {
    /// Begins a transaction unless one is open.
    fn begin(&mut self) -> Result<Arc<Outcome>, StoreError> {
        if self.batch.is_none() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        Ok(Arc::clone(&self.batch.get_or_insert_default().outcome))
    }

    /// Runs work in a savepoint: when it fails or panics, nothing of it is left.
    fn run<T>(
        &mut self,
        changed: Changed,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<Result<T, StoreError>, Box<dyn Any + Send>> {
        let connection = &self.connection;
        let done = catch_unwind(AssertUnwindSafe(|| {
            connection.execute_batch("SAVEPOINT work")?;
            work(&Transaction(connection))
        }));
        if let Some(batch) = &mut self.batch {
            batch.works += 1;
            batch.changed.add(changed);
        }
        if self.connection.is_autocommit() {
            // A full disk and the like end the whole transaction, and with it the work of others.
            let failure = match &done {
                Ok(Err(error)) => Failure::of(error),
                _ => Failure::unknown(),
            };
            self.end(Err(failure));
            return done;
        }
        let undo = if matches!(done, Ok(Ok(_))) { "" } else { "ROLLBACK TO work; " };
        match self.connection.execute_batch(&format!("{undo}RELEASE work")) {
            Ok(()) => done,
            Err(error) => done.map(|result| result.and(Err(error.into()))),
        }
    }

    /// Ends the transaction, if one is open, and tells everybody how.
    fn commit(&mut self) {
        if self.batch.is_none() {
            return;
        }
        let committed = self.connection.execute_batch("COMMIT");
        if committed.is_err() && !self.connection.is_autocommit() {
            // Nothing can be done about an error here: the next BEGIN tells.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.end(committed.map_err(|error| Failure::of(&error.into())));
    }

    fn end(&mut self, result: Result<(), Failure>) {
        let Some(batch) = self.batch.take() else { return };
        let changed = if result.is_ok() { batch.changed } else { Changed::Anything };
        self.recent.committed(&self.connection, &mut self.others, &changed);
        *lock(&batch.outcome.ended) = Some(result);
        batch.outcome.changed.notify_all();
    }
}

impl Outcome {
    fn wait(&self) -> Result<(), StoreError> {
        let ended = lock(&self.ended);
        let ended =
            self.changed.wait_while(ended, |ended| ended.is_none()).unwrap_or_else(PoisonError::into_inner);
        match ended.clone() {
            Some(Err(failure)) => Err(failure.into()),
            _ => Ok(()),
        }
    }
}

impl Failure {
    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Sqlite { source: rusqlite::Error::SqliteFailure(code, text), .. } => {
                Self { code: *code, text: text.clone() }
            }
            StoreError::Sqlite { source, .. } => Self { text: Some(source.to_string()), ..Self::unknown() },
            error => Self { text: Some(error.to_string()), ..Self::unknown() },
        }
    }

    fn unknown() -> Self {
        Self { code: ffi::Error::new(ffi::SQLITE_ABORT), text: None }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        rusqlite::Error::SqliteFailure(failure.code, failure.text).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn writer(directory: &tempfile::TempDir) -> Writer {
        let connection = Connection::open(directory.path().join("x.sqlite")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n UNIQUE)")
            .unwrap();
        Writer::new(connection, Arc::new(Recent::new(directory.path()).unwrap()))
    }

    fn count(directory: &tempfile::TempDir) -> i64 {
        let connection = Connection::open(directory.path().join("x.sqlite")).unwrap();
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    fn insert(number: usize) -> impl FnOnce(&Transaction<'_>) -> Result<(), StoreError> {
        move |transaction| {
            transaction.execute("INSERT INTO t VALUES (?1)", [i64::try_from(number).unwrap()])?;
            Ok(())
        }
    }

    #[test]
    fn what_is_acknowledged_is_committed_and_hundreds_share_commits() {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory);
        let commits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&commits);
        let hook = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            // A commit that takes its time, as on a disk: the others come meanwhile.
            std::thread::sleep(std::time::Duration::from_millis(5));
            false
        };
        writer.with_connection(|connection| connection.commit_hook(Some(hook))).unwrap();
        let barrier = Barrier::new(64);
        std::thread::scope(|scope| {
            for thread in 0..64 {
                let (writer, barrier, directory) = (&writer, &barrier, &directory);
                scope.spawn(move || {
                    barrier.wait();
                    for round in 0..4 {
                        let before = count(directory);
                        writer.write(Changed::Anything, insert(round * 64 + thread)).unwrap();
                        assert!(count(directory) > before, "acknowledged before it was there");
                    }
                });
            }
        });
        assert_eq!(count(&directory), 256);
        let commits = commits.load(Ordering::SeqCst);
        assert!(commits < 128, "{commits} commits for 256 writes");
    }

    #[test]
    fn work_that_fails_or_panics_leaves_nothing_and_harms_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory);
        let barrier = Barrier::new(30);
        std::thread::scope(|scope| {
            for thread in 0..30 {
                let (writer, barrier) = (&writer, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let work = |transaction: &Transaction<'_>| {
                        insert(thread)(transaction)?;
                        match thread % 3 {
                            0 => Ok(()),
                            1 => Err(StoreError::Missing("test", "x".into())),
                            _ => panic!("a panic in a test"),
                        }
                    };
                    let done = catch_unwind(AssertUnwindSafe(|| writer.write(Changed::Anything, work)));
                    assert_eq!(matches!(done, Ok(Ok(()))), thread % 3 == 0);
                });
            }
        });
        assert_eq!(count(&directory), 10);
        writer.write(Changed::Anything, insert(1)).unwrap();
        assert!(writer.write(Changed::Anything, insert(1)).is_err(), "the same number twice");
        assert_eq!(count(&directory), 11);
    }

    #[test]
    fn when_a_commit_fails_everybody_in_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory);
        writer.with_connection(|connection| connection.commit_hook(Some(|| true))).unwrap();
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (writer, barrier) = (&writer, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    assert!(writer.write(Changed::Anything, insert(thread)).is_err());
                });
            }
        });
        assert_eq!(count(&directory), 0);
        writer.with_connection(|connection| connection.commit_hook(None::<fn() -> bool>)).unwrap();
        writer.write(Changed::Anything, insert(0)).unwrap();
        assert_eq!(count(&directory), 1);
    }
}
