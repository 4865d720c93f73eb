//! What opening refuses, and that it leaves alone what it refuses.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hubd_store::{Store, StoreError};
use rusqlite::Connection;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("jupyterhub.sqlite")
    }
}

#[test]
fn a_schema_of_another_version_is_refused_with_its_cure() {
    let place = Place::new();
    drop(Store::open(&place.file()).unwrap());
    let stamp = |revision: &str| {
        let raw = Connection::open(place.file()).unwrap();
        raw.execute("UPDATE alembic_version SET version_num = ?1", [revision]).unwrap();
    };
    stamp("ffffffffffff");
    let newer = Store::open(&place.file()).err().unwrap();
    assert!(matches!(newer, StoreError::NewerSchema { .. }));
    assert!(newer.to_string().contains("ffffffffffff") && newer.to_string().contains("newer version"));
    stamp("651f5419b74d");
    let older = Store::open(&place.file()).err().unwrap();
    assert!(matches!(older, StoreError::OlderSchema { .. }));
    assert!(older.to_string().contains("upgrade-db"));
}

#[test]
fn a_refused_database_is_not_touched() {
    let place = Place::new();
    let raw = Connection::open(place.file()).unwrap();
    raw.execute_batch(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
         INSERT INTO alembic_version VALUES ('ffffffffffff');",
    )
    .unwrap();
    drop(raw);
    let before = std::fs::read(place.file()).unwrap();
    assert!(Store::open(&place.file()).is_err());
    assert!(std::fs::read(place.file()).unwrap() == before, "the file was changed");
    assert_eq!(std::fs::read_dir(place.directory.path()).unwrap().count(), 1);
}

#[test]
fn files_that_are_something_else_are_refused_by_name() {
    let place = Place::new();
    std::fs::write(
        place.file(),
        "this is not a database, but it is long enough to be read as one\n".repeat(99),
    )
    .unwrap();
    assert!(
        matches!(Store::open(&place.file()).err(), Some(StoreError::NotADatabase(path)) if path == place.file())
    );
    std::fs::remove_file(place.file()).unwrap();
    Connection::open(place.file()).unwrap().execute_batch("CREATE TABLE recipes (id INTEGER)").unwrap();
    assert!(matches!(Store::open(&place.file()).err(), Some(StoreError::ForeignTables(_))));
    assert!(matches!(Store::open(place.directory.path()).err(), Some(StoreError::NotADatabase(_))));
    assert!(matches!(Store::open(Path::new("/nonexistent/x.sqlite")).err(), Some(StoreError::Open(..))));
}

#[test]
fn a_truncated_file_is_called_damaged_and_left_as_it_is() {
    let place = Place::new();
    let store = Store::open(&place.file()).unwrap();
    for number in 0..200 {
        store.ensure_user(&format!("user{number}"), &format!("{number}"), SystemTime::now()).unwrap();
    }
    drop(store);
    let whole = std::fs::read(place.file()).unwrap();
    for kept in [whole.len() / 2, 5000, 150] {
        std::fs::write(place.file(), &whole[..kept]).unwrap();
        let error = Store::open(&place.file()).err().unwrap();
        assert!(matches!(error, StoreError::Corrupt(..) | StoreError::NotADatabase(_)), "{kept}: {error}");
        assert!(std::fs::read(place.file()).unwrap() == whole[..kept], "{kept}: the file was changed");
        assert!(error.to_string().contains(&place.file().display().to_string()));
    }
}

#[test]
fn a_database_of_jupyterhubs_is_copied_beside_itself_the_first_time_only() {
    let place = Place::new();
    drop(Store::open(&place.file()).unwrap());
    let raw = Connection::open(place.file()).unwrap();
    // As JupyterHub's SQLite leaves it.
    raw.pragma_update(None, "journal_mode", "DELETE").unwrap();
    drop(raw);
    let before = std::fs::read(place.file()).unwrap();
    for _ in 0..2 {
        drop(Store::open(&place.file()).unwrap());
        let copies = std::fs::read_dir(place.directory.path()).unwrap().flatten().map(|entry| entry.path());
        let copies: Vec<PathBuf> =
            copies.filter(|path| path.to_string_lossy().contains("sqlite.2")).collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
        // All but the counters in the first page's header.
        let copy = std::fs::read(&copies[0]).unwrap();
        assert!(copy[100..] == before[100..], "the copy is not what was there");
    }
}
