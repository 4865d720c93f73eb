//! The machine that the tests run on: what they need of it, and small commands.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

/// Ends the test unless it runs as root.
///
/// # Panics
/// As an ordinary user, with the command to run instead.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests make real users and log in as them: run `sudo tests/run`"
    );
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
/// When it fails, with its error output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    try_run(program, arguments)
        .unwrap_or_else(|error| panic!("{program} {} failed: {error}", arguments.join(" ")))
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// Its error output, when it fails or cannot be run.
pub fn try_run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Ports for tests: below those that Linux gives to outgoing connections (32768 on), so that none of them
/// is taken between being chosen and being listened on.
const PORTS: &str = "20000-29999";

/// A port of 127.0.0.1 that nobody listens on, and that this process has not been given before.
///
/// The variable `HUBD_TEST_PORTS`, for instance `9600-9699`, keeps to a range.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let range = std::env::var("HUBD_TEST_PORTS").unwrap_or_else(|_| PORTS.to_owned());
    let (first, last) = range.split_once('-').expect("HUBD_TEST_PORTS is FIRST-LAST");
    let (first, last): (u32, u32) = (first.parse().unwrap(), last.parse().unwrap());
    let count = last - first + 1;
    // Processes that run at once begin at different places.
    let begin = std::process::id() % 1000 * 97;
    (0..count)
        .map(|_| first + (begin + GIVEN.fetch_add(1, Ordering::Relaxed)) % count)
        .map(|port| u16::try_from(port).expect("ports have 16 bits"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap_or_else(|| panic!("no port of {range} is free"))
}

/// The Python of a virtual environment with playwright, from `HUBD_TEST_PYTHON`.
///
/// # Panics
/// When the variable is not set or names nothing.
pub fn test_python() -> PathBuf {
    from_environment("HUBD_TEST_PYTHON", "the Python of a virtual environment with playwright")
}

/// `jupyterhub-singleuser` of the environment that `HUBD_TEST_JUPYTERHUB` names: its folder, or a
/// program in it.
///
/// # Panics
/// When the variable is not set or the program is not there.
pub fn notebook_program() -> PathBuf {
    let named =
        from_environment("HUBD_TEST_JUPYTERHUB", "a virtual environment with jupyterhub and jupyterlab");
    let folder = if named.is_dir() { named.join("bin") } else { named.parent().unwrap().to_owned() };
    let program = folder.join("jupyterhub-singleuser");
    assert!(program.is_file(), "{} is missing; run `sudo tests/run`, which installs it", program.display());
    program
}

fn from_environment(variable: &str, what: &str) -> PathBuf {
    let value = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: it names {what}; `sudo tests/run` installs one and sets it")
    });
    let path = PathBuf::from(value);
    assert!(path.exists(), "{variable} names nothing: {}; run `sudo tests/run`", path.display());
    path
}

/// The ids of all processes whose real uid is `uid`.
pub fn processes_of(uid: u32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| real_uid(*id) == Some(uid)).collect()
}

/// The real uid of a process that still runs; a zombie does not count.
fn real_uid(id: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("State:")?.starts_with('Z') {
        return None;
    }
    field("Uid:")?.split_whitespace().next()?.parse().ok()
}
