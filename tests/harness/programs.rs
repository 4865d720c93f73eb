//! The two programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the two programs are.
pub struct Programs {
    /// The daemon.
    pub hubd: PathBuf,
    /// The root helper.
    pub helper: PathBuf,
}

impl Programs {
    /// Every program with its name: those of root are beside the helper, which looks for them there.
    pub fn all(&self) -> Vec<(&'static str, PathBuf)> {
        let of_root = ["hubd-helper", "hubd-accounts", "hubd-listen", "hubd-session"];
        let of_root = of_root.map(|name| (name, self.helper.with_file_name(name)));
        [("hubd", self.hubd.clone())].into_iter().chain(of_root).collect()
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie one folder below the root")
}

/// Builds both programs, once in a process, and says where they are.
///
/// Each is built alone (`-p`), so that none gets features that only the other one asked for. The
/// variables `HUBD_TEST_HUBD` and `HUBD_TEST_HELPER` name ready-made programs to test instead, for
/// instance those of a package.
pub fn programs() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| Programs {
        hubd: ready_made("HUBD_TEST_HUBD").unwrap_or_else(|| build("hubd", "hubd")),
        helper: ready_made("HUBD_TEST_HELPER").unwrap_or_else(|| build("hubd-helper", "hubd-helper")),
    })
}

fn ready_made(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    assert!(path.is_file(), "{variable} names no program: {}", path.display());
    Some(path)
}

fn build(package: &str, program: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "-p", package, "--message-format", "json"])
        .current_dir(repository())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "cargo build -p {package} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("cargo build -p {package} made no program {program}"))
}
