//! `hubd upgrade-db` and `hubd backup` as an administrator runs them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hubd_tests::{programs, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A dump of what the real JupyterHub 3.0.0 made.
const OLD: &str = include_str!("../../src/store/tests/data/jupyterhub-3.0.0.sql");

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().expect("a directory") };
        std::fs::write(place.file("hubd.toml"), "[JupyterHub]\nauthenticator_class = \"dummy\"\n")
            .expect("a configuration");
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sql(&self, sql: &str) {
        let raw = rusqlite::Connection::open(self.file("jupyterhub.sqlite")).expect("a database");
        raw.execute_batch(sql).expect("SQL");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&programs().hubd);
        command.current_dir(self.directory.path()).args(["-f", "hubd.toml"]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("hubd runs")
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).expect("a directory");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn an_old_database_is_listed_and_upgraded_and_a_newer_one_refused() {
    let place = Place::new();
    place.sql(OLD);
    let before = std::fs::read(place.file("jupyterhub.sqlite")).expect("a file");
    let listed = text(&place.run(&["upgrade-db", "--dry-run"]));
    assert!(
        listed.contains("schema 651f5419b74d") && listed.contains("f460b0348206 (JupyterHub 6.0)"),
        "{listed}"
    );
    assert!(
        std::fs::read(place.file("jupyterhub.sqlite")).expect("a file") == before,
        "a list changes nothing"
    );

    let upgraded = place.run(&["upgrade-db"]);
    assert!(upgraded.status.success(), "{}", text(&upgraded));
    let copy = place.files().into_iter().find(|name| name.starts_with("jupyterhub.sqlite.2"));
    let copy = place.file(&copy.expect("a copy beside it"));
    assert_eq!(mode(&copy), 0o600);
    assert!(text(&upgraded).contains("copied to jupyterhub.sqlite.2"), "{}", text(&upgraded));
    assert!(text(&place.run(&["upgrade-db"])).contains("nothing to upgrade"));

    place.sql("UPDATE alembic_version SET version_num = 'abcdefabcdef'");
    let newer = place.run(&["upgrade-db"]);
    assert_eq!(newer.status.code(), Some(1));
    assert!(
        text(&newer).contains("abcdefabcdef") && text(&newer).contains("newer version"),
        "{}",
        text(&newer)
    );
}

#[test]
fn a_backup_is_private_and_replaces_nothing_unasked() {
    let place = Place::new();
    place.sql(OLD);
    let made = place.run(&["backup", "copy.sqlite"]);
    assert!(made.status.success(), "{}", text(&made));
    assert_eq!(mode(&place.file("copy.sqlite")), 0o600);
    let refused = place.run(&["backup", "copy.sqlite"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("--force"), "{}", text(&refused));
    assert!(place.run(&["backup", "--force", "copy.sqlite"]).status.success());
    let nowhere = text(&place.run(&["backup", "no/such/place"]));
    assert!(nowhere.contains("no/such/place"), "{nowhere}");
}

#[test]
fn nothing_is_left_of_a_backup_that_control_c_ends() {
    let place = Place::new();
    place.sql("CREATE TABLE large (bytes BLOB); INSERT INTO large VALUES (zeroblob(400000000));");
    let before = place.files();
    let mut child = place
        .command(&["backup", "copy.sqlite"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("hubd runs");
    let begun = || place.files().iter().any(|name| name.contains("part")).then_some(());
    until("a copy that is begun", Duration::from_secs(20), begun);
    let id = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(id), Signal::SIGINT).expect("a signal");
    assert_eq!(child.wait().expect("an end").code(), Some(1));
    assert_eq!(place.files(), before);
}
