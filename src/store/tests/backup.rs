//! Copies of a database that is in use.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use hubd_store::{CopyProgress, Existing, NewUser, Page, Store, StoreError, UserFilter, backup};
use rusqlite::Connection;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn with_people(count: usize) -> (Self, Store) {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let store = Store::open(&place.file("hub.sqlite")).unwrap();
        store.create_users(&people("first", count), SystemTime::now()).unwrap();
        (place, store)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

fn people(prefix: &str, count: usize) -> Vec<NewUser> {
    let person = |number| NewUser {
        name: format!("{prefix}{number}"),
        admin: false,
        cookie_id: format!("{prefix}-cookie-{number}"),
    };
    (0..count).map(person).collect()
}

fn count(store: &Store) -> i64 {
    store.users(&UserFilter::default(), Page { offset: 0, limit: 1 }).unwrap().1
}

fn go_on(_: CopyProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_copy_of_a_busy_database_is_whole_and_private() {
    let (place, store) = Place::with_people(5000);
    let store = Arc::new(store);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        move || {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                // Always ten at once: a copy with another number is torn.
                store.create_users(&people(&format!("more{round}-"), 10), SystemTime::now()).unwrap();
                round += 1;
            }
            round
        }
    });
    let mut steps = Vec::new();
    for number in 0..5 {
        let to = place.file(&format!("copy{number}"));
        backup(&place.file("hub.sqlite"), &to, Existing::Keep, &mut |progress| {
            steps.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let raw = Connection::open(&to).unwrap();
        assert_eq!(raw.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
        let mode: String = raw.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete", "a copy is one file");
        drop(raw);
        assert_eq!(count(&Store::open(&to).unwrap()) % 10, 0, "the copy is torn");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join().unwrap() > 0, "nobody wrote meanwhile");
    assert!(steps.iter().all(|step| step.done <= step.total) && steps.last().unwrap().done > 100);
    assert!(!place.files().iter().any(|name| name.contains("part")), "{:?}", place.files());
}

#[test]
fn an_existing_file_is_replaced_only_on_demand() {
    let (place, _store) = Place::with_people(1);
    let to = place.file("copy");
    std::fs::write(&to, "precious").unwrap();
    let error = backup(&place.file("hub.sqlite"), &to, Existing::Keep, &mut go_on).unwrap_err();
    assert!(matches!(error, StoreError::Exists(_)));
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    backup(&place.file("hub.sqlite"), &to, Existing::Replace, &mut go_on).unwrap();
    assert_eq!(count(&Store::open(&to).unwrap()), 1);
    // A link to nowhere is a file that exists, too.
    std::os::unix::fs::symlink("/nonexistent/x", place.file("link")).unwrap();
    let error =
        backup(&place.file("hub.sqlite"), &place.file("link"), Existing::Keep, &mut go_on).unwrap_err();
    assert!(matches!(error, StoreError::Exists(_)));
}

#[test]
fn nothing_is_left_of_a_copy_that_is_interrupted_or_fails() {
    let (place, _store) = Place::with_people(2000);
    let before = place.files().len();
    let stop = &mut |_| ControlFlow::Break(());
    let to = place.file("copy");
    let error = backup(&place.file("hub.sqlite"), &to, Existing::Keep, stop).unwrap_err();
    assert!(matches!(error, StoreError::Interrupted(_)));
    let missing = backup(&place.file("none.sqlite"), &to, Existing::Keep, &mut go_on).unwrap_err();
    assert!(matches!(missing, StoreError::Open(..)), "{missing}");
    std::fs::write(place.file("bad.sqlite"), "no database\n".repeat(999)).unwrap();
    let bad = backup(&place.file("bad.sqlite"), &to, Existing::Keep, &mut go_on).unwrap_err();
    assert!(matches!(bad, StoreError::NotADatabase(_)), "{bad}");
    assert_eq!(place.files().len(), before + 1, "{:?}", place.files());
    let nowhere = backup(&place.file("hub.sqlite"), &place.file("no/such/copy"), Existing::Keep, &mut go_on);
    assert!(matches!(nowhere.unwrap_err(), StoreError::Open(..)));
}

#[test]
fn a_damaged_database_is_not_copied_as_if_it_were_well() {
    let (place, store) = Place::with_people(500);
    drop(store);
    let file = place.file("hub.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end / 2..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let error = backup(&file, &place.file("copy"), Existing::Keep, &mut go_on).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(..)), "{error}");
    assert!(!place.file("copy").exists());
}
