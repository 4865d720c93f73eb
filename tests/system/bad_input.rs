//! Configurations and surroundings that cannot work: one clear error, a failure status, nothing half-started.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hubd_tests::{Installation, Process, free_port, run, test_python};

use crate::Case;
use crate::suite::Suite;

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("half written configuration is refused with file and line", half_written),
    ("unknown key is refused with the nearest known one", unknown_key),
    ("missing configuration file is named", missing_configuration),
    ("missing certificate is named", missing_certificate),
    ("port in use is named", port_in_use),
    ("database of a newer version is refused and not touched", newer_database),
    ("cookie secret that others can read is refused", readable_secret),
    ("login without a helper says so", no_helper),
];

/// How long the daemon may take to give up.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(10);

/// Runs the daemon with `text` as its configuration and returns what it says while it fails.
fn failure(installation: &Installation, name: &str, text: &str) -> String {
    let path = installation.path(&format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    run("chown", &["root:hubd", &path.to_string_lossy()]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    failure_of(installation, name, &path)
}

fn failure_of(installation: &Installation, name: &str, path: &Path) -> String {
    let log = installation.path(&format!("log/{name}.log"));
    let mut command: Command = installation.hubd_command(&["-f", &path.to_string_lossy()]);
    let mut process = Process::start("hubd", command.stdin(Stdio::null()), &log);
    let status = process.wait(GIVE_UP_LIMIT);
    let said = process.log();
    assert!(status.code().is_some_and(|code| code != 0 && code != 101), "{status}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    println!("    {}", said.trim().replace('\n', "\n    "));
    said
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// A configuration that would work, with `change` in its `[JupyterHub]` table.
fn with(installation: &Installation, port: u16, change: &str) -> String {
    format!(
        "[JupyterHub]\nbind_url = \"http://127.0.0.1:{port}/\"\nhub_port = {inner}\nhelper_socket = \"{}\"\n{change}\n",
        installation.helper_socket().display(),
        inner = free_port(),
    )
}

fn half_written(suite: &mut Suite) {
    let said = failure(suite.installation(), "half", "[JupyterHub]\nport = 9600\nssl_cert = \"/etc/ssl/ce");
    assert_says(&said, &["half.toml", "3"]);
}

fn unknown_key(suite: &mut Suite) {
    let said = failure(suite.installation(), "unknown", "[JupyterHub]\n\ncokie_secret_file = \"x\"\n");
    assert_says(&said, &["unknown.toml", "3", "cokie_secret_file", "cookie_secret_file"]);
}

fn missing_configuration(suite: &mut Suite) {
    let installation = suite.installation();
    let path = installation.path("nowhere.toml");
    let said = failure_of(installation, "nowhere", &path);
    assert_says(&said, &["nowhere.toml"]);
}

fn missing_certificate(suite: &mut Suite) {
    let installation = suite.installation();
    let change = "ssl_cert = \"/nonexistent/cert.pem\"\nssl_key = \"/nonexistent/key.pem\"";
    let said = failure(installation, "certificate", &with(installation, free_port(), change));
    assert_says(&said, &["/nonexistent/cert.pem"]);
}

fn port_in_use(suite: &mut Suite) {
    let installation = suite.installation();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = failure(installation, "port", &with(installation, port, ""));
    assert_says(&said, &[&port.to_string()]);
}

fn newer_database(suite: &mut Suite) {
    let installation = suite.installation();
    let path = installation.path("srv/newer.sqlite");
    let program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                   c.execute('create table alembic_version (version_num varchar(32) not null)'); \
                   c.execute('create table users (id integer primary key, name varchar(255))'); \
                   c.execute(\"insert into alembic_version values ('fedcba987654')\"); c.commit()";
    run(&test_python().to_string_lossy(), &["-c", program, &path.to_string_lossy()]);
    run("chown", &["hubd:hubd", &path.to_string_lossy()]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let before = fs::read(&path).unwrap();
    let change = format!("db_url = \"sqlite:///{}\"", path.display());
    let said = failure(installation, "newer", &with(installation, free_port(), &change));
    assert_says(&said, &["newer.sqlite", "fedcba987654"]);
    assert!(fs::read(&path).unwrap() == before, "the database was changed");
}

fn readable_secret(suite: &mut Suite) {
    let installation = suite.installation();
    let path = installation.path("srv/readable_secret");
    fs::write(&path, "00".repeat(32)).unwrap();
    run("chown", &["hubd:hubd", &path.to_string_lossy()]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let change = format!("cookie_secret_file = \"{}\"", path.display());
    let said = failure(installation, "secret", &with(installation, free_port(), &change));
    fs::remove_file(&path).unwrap();
    assert_says(&said, &["readable_secret"]);
}

fn no_helper(suite: &mut Suite) {
    let (name, password) = (suite.alice().name.clone(), suite.alice().password.clone());
    let mut installation = Installation::running(&crate::suite::standard());
    installation.helper().end();
    let answer = installation.web().log_in(&name, &password);
    assert_eq!(answer.status, 503, "{}", answer.words());
    assert!(answer.words().contains("administrator"), "{}", answer.words());
    let log = installation.hubd().log();
    assert_says(&log, &["helper.sock"]);
}
