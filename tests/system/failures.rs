//! Starts that fail: the page names the step, the cause, the server's last lines, and what to do.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use hubd_tests::{
    Answer, Installation, Person, PersonKind, Setup, Web, processes_of, repository, run, try_run, until,
};

use crate::Case;
use crate::browser::Script;
use crate::suite::{Suite, standard, with_program};

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("missing notebook program is explained", no_program),
    ("server that exits at once is explained with its last lines", exits_at_once),
    ("home that cannot be written is explained", closed_home),
    ("home without room is told with its figures", full_home),
    ("server that never answers is explained and ended", never_answers),
];

/// How long a start may take to fail.
const FAILURE_LIMIT: Duration = Duration::from_secs(40);

/// A program of root's in a folder of root's, as the policy demands; removed when dropped.
pub struct RootProgram {
    folder: PathBuf,
}

impl RootProgram {
    /// Writes the program.
    pub fn new(name: &str, text: &str) -> Self {
        let folder = PathBuf::from(format!("/var/lib/hubd-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = Self { folder };
        fs::write(program.path(), text).unwrap();
        for path in [program.folder.clone(), program.path()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        program
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.join("program")
    }
}

impl Drop for RootProgram {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Logs in and waits for the page of the failed start.
fn failed_page(web: &Web, person: &Person) -> Answer {
    let answer = web.log_in(&person.name, &person.password);
    assert_eq!(answer.status, 302, "{}", answer.words());
    let mut answer = web.follow("/hub/spawn");
    let pending = format!("/hub/spawn-pending/{}", person.name);
    until("the page of the failed start", FAILURE_LIMIT, || {
        if answer.words().contains("Spawn failed") || answer.status >= 500 {
            return Some(answer.clone());
        }
        answer = web.follow(&pending);
        None
    })
}

fn assert_explains(answer: &Answer, words: &[&str]) {
    let text = answer.words();
    for word in words {
        assert!(text.to_lowercase().contains(&word.to_lowercase()), "{word:?} is not on the page:\n{text}");
    }
}

fn no_program(suite: &mut Suite) {
    let installation = Installation::running(&with_program("/nonexistent/jupyterhub-singleuser"));
    let answer = failed_page(&installation.web(), suite.alice());
    assert_explains(&answer, &["Spawn failed", "program", "helper.toml", "administrator"]);
    assert!(installation.sessions().is_empty());
}

fn exits_at_once(suite: &mut Suite) {
    let program = RootProgram::new(
        "exits",
        "#!/bin/sh\necho first line of many\necho 'No module named <widgets>' >&2\nexit 7\n",
    );
    let installation = Installation::running(&with_program(&program.path().to_string_lossy()));
    let wanted = r#"["Spawn failed", "first line of many", "No module named <widgets>", "7"]"#;
    let people = [("alice", suite.alice())];
    Script::new("failure", &people)
        .variable("HUBD_TEST_WANTED", wanted.to_owned())
        .run(&installation.url(), |_| {});
    assert!(installation.sessions().is_empty());
}

fn closed_home(_: &mut Suite) {
    let person = Person::new("hubt-s-closed", PersonKind::ClosedHome);
    let installation = Installation::running(&standard());
    let answer = failed_page(&installation.web(), &person);
    let home = person.home.to_string_lossy().into_owned();
    assert_explains(&answer, &["Spawn failed", "write in the home directory", &home]);
    assert!(installation.sessions().is_empty());
}

/// A file system of its own over a home; dropping it takes it away.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Ten megabytes, owned by the person, and full.
    fn full_over(person: &Person) -> Self {
        let options = format!("size=10m,mode=0700,uid={}", person.uid);
        run("mount", &["-t", "tmpfs", "-o", &options, "hubt", &person.home.to_string_lossy()]);
        let disk = Self(person.home.clone());
        let mut file = fs::File::create(person.home.join("data")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = try_run("umount", &["--lazy", &self.0.to_string_lossy()]);
    }
}

/// The profile that measures is the one that the packages bring.
fn full_home(_: &mut Suite) {
    let person = Person::new("hubt-s-full", PersonKind::Ordinary);
    let program = RootProgram::new("writes", "#!/bin/sh\ncp /bin/sh notes || exit 1\nexec sleep 600\n");
    let shipped = fs::read_to_string(repository().join("packaging/helper.toml")).unwrap();
    let room = &shipped[shipped.find("[profile.room]").unwrap()..];
    let mut setup = with_program(&program.path().to_string_lossy());
    setup.profiles.push_str(room);
    let installation = Installation::running(&setup);
    let disk = SmallDisk::full_over(&person);
    let answer = failed_page(&installation.web(), &person);
    let figures = "The disk of your home directory is full (10.0 of 10.0 MB).";
    assert_explains(
        &answer,
        &["Spawn failed", figures, "home-full", "No space left on device", "Delete files"],
    );
    assert!(installation.logs().contains(figures.trim_end_matches('.')), "the journal has them, too");
    assert!(installation.sessions().is_empty());
    drop(disk);
}

fn never_answers(suite: &mut Suite) {
    let program =
        RootProgram::new("sleeps", "#!/bin/sh\necho waiting for the licence server\nexec sleep 600\n");
    let tables = "[Spawner]\nhttp_timeout = 2\n".to_owned();
    let setup = Setup { tables, ..with_program(&program.path().to_string_lossy()) };
    let installation = Installation::running(&setup);
    let answer = failed_page(&installation.web(), suite.alice());
    assert_explains(
        &answer,
        &["Spawn failed", "2 seconds", "waiting for the licence server", "http_timeout"],
    );
    let uid = suite.alice().uid;
    until("the end of the server that never answered", FAILURE_LIMIT, || {
        processes_of(uid).is_empty().then_some(())
    });
    assert!(installation.sessions().is_empty());
}
