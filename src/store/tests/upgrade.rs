//! Databases of older JupyterHubs. The files in `data` are dumps of what the real 3.0.0, 4.1.6 and 5.4.3 made.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubd_store::{Progress, SCHEMA_REVISION, STEPS, Schema, Store, StoreError, inspect, upgrade};
use rusqlite::Connection;

const DUMPS: [(&str, &str, usize); 3] = [
    ("651f5419b74d", include_str!("data/jupyterhub-3.0.0.sql"), 7),
    ("0eee8c825d24", include_str!("data/jupyterhub-4.1.6.sql"), 6),
    ("4621fec11365", include_str!("data/jupyterhub-5.4.3.sql"), 4),
];
const ALICES_TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn of(dump: &str) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        Connection::open(place.file()).unwrap().execute_batch(dump).unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("jupyterhub.sqlite")
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn stamp(&self, revision: &str) {
        let raw = Connection::open(self.file()).unwrap();
        raw.execute("UPDATE alembic_version SET version_num = ?1", [revision]).unwrap();
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_293_723)
}

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Every row and every table's definition.
fn content(path: &Path) -> Vec<String> {
    let raw = Connection::open(path).unwrap();
    let mut select =
        raw.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").unwrap();
    let tables: Vec<(String, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut all = Vec::new();
    for (name, sql) in tables {
        all.push(sql.split_whitespace().collect::<Vec<_>>().join(" "));
        if !sql.starts_with("CREATE TABLE") {
            continue;
        }
        let mut select = raw.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns)
                .map(|column| format!("{:?}", row.get::<_, rusqlite::types::Value>(column).unwrap()));
            found.push(format!("{name}: {}", values.collect::<Vec<_>>().join(" ")));
        }
        found.sort();
        all.extend(found);
    }
    all
}

#[test]
fn databases_since_3_0_are_upgraded_after_a_copy_and_everything_is_there() {
    for (revision, dump, steps) in DUMPS {
        let place = Place::of(dump);
        let before = content(&place.file());
        let Schema::Older { found, steps: needed } = inspect(&place.file()).unwrap() else {
            panic!("{revision}")
        };
        assert_eq!((found.as_str(), needed.len()), (revision, steps));
        assert!(matches!(Store::open(&place.file()).err(), Some(StoreError::OlderSchema { .. })));
        let mut done = Vec::new();
        let copy = upgrade(&place.file(), now(), &mut |progress| {
            if let Progress::Stepped(step) = progress {
                done.push(step.revision);
            }
            ControlFlow::Continue(())
        });
        let copy = copy.unwrap().unwrap();
        assert_eq!(done.last(), Some(&SCHEMA_REVISION));
        assert_eq!(done.len(), steps);
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(copy.to_string_lossy().contains("jupyterhub.sqlite.2026-11-2"), "{}", copy.display());
        assert_eq!(content(&copy), before, "the copy is not what was there");
        assert_eq!(place.files().len(), 2, "{:?}", place.files());
        assert_eq!(inspect(&place.file()).unwrap(), Schema::Current);

        let store = Store::open(&place.file()).unwrap();
        let alice = store.user("alice").unwrap().unwrap();
        assert_eq!((alice.cookie_id, alice.groups), ("a".repeat(32), vec!["physics".to_owned()]));
        assert!(store.user("root1").unwrap().unwrap().admin);
        assert!(store.token(ALICES_TOKEN, SystemTime::now()).unwrap().is_some());
        assert_eq!(store.active_spawners().unwrap().len(), 1);
        assert_eq!(store.group("physics").unwrap().unwrap().roles, ["teacher"]);
        assert!(store.service("cull").unwrap().is_some());
        assert!(upgrade(&place.file(), now(), &mut go_on).unwrap().is_none(), "a second one does nothing");
    }
}

#[test]
fn an_upgrade_that_is_interrupted_leaves_everything_as_it_was() {
    for stop_at in 0..9 {
        let place = Place::of(DUMPS[0].1);
        let before = std::fs::read(place.file()).unwrap();
        let mut count = 0;
        let result = upgrade(&place.file(), now(), &mut |progress| {
            count += 1;
            let stop = count > stop_at && !matches!(progress, Progress::Copied(_));
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if matches!(result, Ok(Some(_))) {
            assert!(stop_at > 7);
            return;
        }
        assert!(matches!(result, Err(StoreError::Interrupted(_))), "{result:?}");
        assert!(std::fs::read(place.file()).unwrap() == before, "stopped at {stop_at}: the file was changed");
        assert!(!place.files().iter().any(|name| name.contains("part")), "{:?}", place.files());
    }
}

#[test]
fn newer_and_too_old_schemas_and_other_files_are_refused_and_left_alone() {
    let place = Place::of(DUMPS[0].1);
    let refused = || {
        let before = std::fs::read(place.file()).unwrap();
        let error = upgrade(&place.file(), now(), &mut go_on).unwrap_err();
        assert!(std::fs::read(place.file()).unwrap() == before);
        assert_eq!(place.files().len(), 1, "no copy is made");
        error
    };
    place.stamp("ffffffffffff");
    let newer = refused();
    assert!(matches!(newer, StoreError::NewerSchema { .. }) && newer.to_string().contains("ffffffffffff"));
    place.stamp("833da8570507");
    let old = refused();
    assert!(
        matches!(old, StoreError::TooOldSchema { .. }) && old.to_string().contains("jupyterhub==6.1.1"),
        "{old}"
    );
    let raw = Connection::open(place.file()).unwrap();
    raw.execute_batch("DROP TABLE alembic_version").unwrap();
    drop(raw);
    assert!(matches!(refused(), StoreError::ForeignTables(_)));
    std::fs::write(place.file(), "no database\n".repeat(999)).unwrap();
    assert!(matches!(refused(), StoreError::NotADatabase(_)));
    assert_eq!(inspect(Path::new("/nonexistent/x.sqlite")).unwrap(), Schema::New);
}

#[test]
fn a_database_that_another_program_writes_to_is_not_upgraded() {
    let place = Place::of(DUMPS[0].1);
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = upgrade(&place.file(), now(), &mut go_on).unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(inspect(&place.file()).unwrap(), Schema::Older { .. }));
}

/// What `jupyterhub upgrade-db` does, up to a revision, and then what a start does.
const SCRIPT: &str = "
import sys
from jupyterhub import dbutil, orm
url = 'sqlite:///' + sys.argv[1]
dbutil.upgrade(url, sys.argv[2])
if sys.argv[2] == 'head':
    orm.new_session_factory(url)
";

fn alembic(path: &Path, revision: &str) -> Option<()> {
    let Some(named) = std::env::var_os("HUBD_TEST_JUPYTERHUB").map(PathBuf::from) else {
        println!("skipped: HUBD_TEST_JUPYTERHUB does not name an environment with jupyterhub");
        return None;
    };
    let folder = if named.is_dir() { named.join("bin") } else { named.parent().unwrap().to_owned() };
    let search = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let output = std::process::Command::new(folder.join("python3"))
        .env("PATH", search)
        .args(["-c", SCRIPT])
        .arg(path)
        .arg(revision)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

#[test]
fn tables_and_rows_come_out_as_the_real_upgrade_makes_them() {
    // The first one is what the next test begins with.
    for (_, dump, _) in &DUMPS[1..] {
        let (ours, theirs) = (Place::of(dump), Place::of(dump));
        if alembic(&theirs.file(), "head").is_none() {
            return;
        }
        upgrade(&ours.file(), now(), &mut go_on).unwrap();
        assert_eq!(content(&ours.file()), content(&theirs.file()));
    }
}

#[test]
fn every_revision_between_is_upgraded_as_the_real_upgrade_does_it() {
    let theirs = Place::of(DUMPS[0].1);
    let mut between = Vec::new();
    for step in &STEPS[..STEPS.len() - 1] {
        if alembic(&theirs.file(), step.revision).is_none() {
            return;
        }
        let ours = Place::of("");
        std::fs::copy(theirs.file(), ours.file()).unwrap();
        between.push(ours);
    }
    alembic(&theirs.file(), "head").unwrap();
    for ours in between {
        upgrade(&ours.file(), now(), &mut go_on).unwrap();
        assert_eq!(content(&ours.file()), content(&theirs.file()));
    }
}
