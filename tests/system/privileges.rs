//! What the daemon may do, and may not.

use std::fs;
use std::process::Command;

use crate::Case;
use crate::suite::Suite;

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("the daemon has no capability and no way to get one", no_capability),
    ("the daemon has room for its descriptors before it has threads", room_for_descriptors),
    ("the daemon refuses to run as root", not_as_root),
    ("secrets and database are for the daemon alone", file_modes),
];

/// What the kernel says of the daemon.
fn status(suite: &mut Suite) -> String {
    let id = suite.installation().hubd().id();
    fs::read_to_string(format!("/proc/{id}/status")).unwrap()
}

/// One line of that.
fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().collect()
}

fn room_for_descriptors(suite: &mut Suite) {
    let (status, id) = (status(suite), suite.installation().hubd().id());
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let allowed: usize = field(&limits, "Max open files").first().unwrap().parse().unwrap();
    let room: usize = field(&status, "FDSize:").first().unwrap().parse().unwrap();
    assert!(room >= allowed.min(16 * 1024), "room for {room}, {allowed} allowed");
}

fn no_capability(suite: &mut Suite) {
    let status = status(suite);
    let field = |name: &str| field(&status, name);
    assert!(status.starts_with("Name:\thubd"), "setpriv did not become hubd: {status}");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(field("Seccomp:"), ["2"], "it has not locked itself in");
    let uids = field("Uid:");
    assert!(uids.iter().all(|uid| *uid != "0" && *uid == uids[0]), "{uids:?}");
}

fn not_as_root(suite: &mut Suite) {
    let installation = suite.installation();
    let output = Command::new(installation.path("bin/hubd"))
        .arg("-f")
        .arg(installation.configuration())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.status.code().is_some(), "{:?}", output.status);
    assert!(said.contains("root"), "{said}");
}

fn file_modes(suite: &mut Suite) {
    use std::os::unix::fs::MetadataExt as _;
    let folder = suite.installation().path("srv");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 2, "neither database nor cookie secret was made");
}
