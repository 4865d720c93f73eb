//! The packages, as an administrator meets them: built, checked by the distributions' own tools, and installed on a
//! Debian with systemd as process 1, where a person works while they are upgraded. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod machine;
mod manual;
mod work;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use hubd_tests::{programs, repository, require_root, run, try_run};

/// The two Debian packages, the second one newer, and the rpm, in a folder of their own.
struct Packages {
    folder: tempfile::TempDir,
}

impl Packages {
    fn path(&self, begin: &str) -> PathBuf {
        let mut files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin))
            .unwrap_or_else(|| panic!("there is no {begin}"))
    }
}

/// Builds them once in a process.
fn packages() -> &'static Packages {
    static BUILT: OnceLock<Packages> = OnceLock::new();
    BUILT.get_or_init(|| {
        require_root();
        let folder = tempfile::tempdir().unwrap();
        build("build-deb", folder.path(), &["--suffix", "+1"]);
        build("build-deb", folder.path(), &["--suffix", "+2"]);
        build("build-rpm", folder.path(), &[]);
        Packages { folder }
    })
}

/// Builds one with the programs under test, stripped and hardly compressed, which is most of the time otherwise.
fn build(tool: &str, output: &Path, more: &[&str]) {
    let ready = tempfile::tempdir().unwrap();
    for (_, program) in programs().all() {
        let copy = ready.path().join(program.file_name().unwrap());
        run("strip", &["-o", copy.to_str().unwrap(), program.to_str().unwrap()]);
    }
    let tool = repository().join("packaging").join(tool);
    let (ready, output) = (ready.path().to_str().unwrap(), output.to_str().unwrap());
    let quick = ["DPKG_DEB_COMPRESSOR_TYPE=gzip", "DPKG_DEB_COMPRESSOR_LEVEL=1", tool.to_str().unwrap()];
    run("env", &[&quick[..], &["--programs", ready, "--output", output], more].concat());
}

#[test]
fn lintian_has_nothing_to_say_of_the_debian_package() {
    let package = packages().path("hubd_");
    let said =
        Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&package).output();
    let said = said.expect("lintian can be run");
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}");
}

#[test]
fn rpmlint_has_nothing_to_say_of_the_rpm() {
    let (package, rules) = (packages().path("hubd-"), repository().join("packaging/rpm/rpmlint.toml"));
    run("rpmlint", &["--config", rules.to_str().unwrap(), package.to_str().unwrap()]);
}

#[test]
fn the_same_sources_make_the_same_package() {
    let again = tempfile::tempdir().unwrap();
    build("build-deb", again.path(), &["--suffix", "+1"]);
    build("build-rpm", again.path(), &[]);
    for entry in std::fs::read_dir(again.path()).unwrap() {
        let path = entry.unwrap().path();
        let first = packages().folder.path().join(path.file_name().unwrap());
        assert!(std::fs::read(&path).unwrap() == std::fs::read(first).unwrap(), "{} differs", path.display());
    }
}

#[test]
fn both_packages_hold_the_same_files() {
    let listed = |text: &str| -> Vec<String> {
        let mut names: Vec<String> = text
            .lines()
            .map(|line| line.trim_start_matches('.').replace("/lib/systemd/", "/usr/lib/systemd/"))
            .map(|line| {
                line.replace("/usr/usr/", "/usr/").replace("zsh/vendor-completions", "zsh/site-functions")
            })
            .filter(|line| !line.ends_with('/') && !line.contains("/doc/") && !line.contains("lintian"))
            // The distributions of the rpm have SELinux.
            .filter(|line| !line.contains("/apparmor.d/"))
            .map(|line| line.trim_end_matches(".gz").to_owned())
            .collect();
        names.sort();
        names
    };
    let deb = run(
        "sh",
        &["-c", "dpkg-deb --fsys-tarfile \"$1\" | tar -t", "sh", packages().path("hubd_").to_str().unwrap()],
    );
    let rpm = run(
        "rpm",
        &["-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", packages().path("hubd-").to_str().unwrap()],
    );
    let rpm: String = rpm
        .lines()
        .filter(|line| !line.starts_with('d'))
        .map(|line| format!("{}\n", line.split_once(' ').unwrap().1))
        .collect();
    assert_eq!(listed(&deb), listed(&rpm));
}

#[test]
fn the_rpm_installs_into_a_root_of_its_own_and_goes_again() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().to_str().unwrap();
    let rpm = packages().path("hubd-");
    // The scripts want a shell and systemd's tools, which an empty root has not: they are looked at, not run.
    let rpm_in = |arguments: &[&str]| try_run("rpm", &[&["--root", at], arguments].concat());
    rpm_in(&["--initdb"]).unwrap();
    rpm_in(&["--install", "--nodeps", "--noscripts", rpm.to_str().unwrap()]).unwrap();
    let verified = rpm_in(&["--verify", "--nodeps", "hubd"]).unwrap_or_else(|differences| differences);
    // The group of hubd.toml is made by the script.
    assert!(!verified.lines().any(|line| line.contains('5')), "contents differ:\n{verified}");
    assert!(root.path().join("usr/sbin/hubd").is_file());
    rpm_in(&["--erase", "--noscripts", "hubd"]).unwrap();
    assert!(!root.path().join("usr/sbin/hubd").exists());
}

#[test]
fn a_person_works_while_hubd_is_installed_upgraded_removed_and_purged() {
    work::whole_story(packages());
}

#[test]
fn a_newcomer_gets_by_the_manual_alone_to_https_with_three_people_and_an_admin() {
    manual::newcomer(packages());
}
