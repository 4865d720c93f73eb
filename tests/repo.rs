//! The rules of the repository. They need nothing but the tree, Cargo and the manual reader.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hubd_tests::{programs, repository, run, try_run};

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 500;
/// Source files longer than this are listed, in lines.
const FILE_LINES_LISTED: usize = 300;
/// Most lines of code in each part of the root programs, without tests and comments: the helper with what the programs
/// share, 1,500 at most, what one person audits in an hour; the decisions, which touch nothing; the program that
/// makes accounts, the one for root's own command line, and the one without root that answers for running servers. These
/// limits only fall, so that nothing grows unseen.
const ROOT_LINES_MAX: [(&str, usize); 5] = [
    ("src/helper/src", 1496),
    ("src/policy/src", 1160),
    ("src/helper/accounts", 70),
    ("src/helper/listen", 163),
    ("src/helper/session", 274),
];
/// The only files of the helper that may hold `unsafe`: of root's programs, and of the one without root.
const UNSAFE_FILES: [&str; 2] = ["src/helper/src/unix.rs", "src/helper/session/receive.rs"];
/// What a crate that only decides must not do: ask or change the system. Words of the standard library, and of paths.
const NOT_FOR_DECISIONS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "std::io::{",
    "File::",
    "TcpStream",
    "UnixStream",
    "SystemTime",
    "Instant::now",
    ".exists()",
    ".is_file()",
    ".is_dir()",
    ".metadata()",
    ".canonicalize()",
    ".read_dir()",
    ".read_link()",
];
/// What must never be linked into the root helper.
const NOT_FOR_ROOT: &[&str] = &[
    "tokio",
    "hyper",
    "rusqlite",
    "libsqlite3-sys",
    "rustls",
    "h2",
    "axum",
    "mio",
    "regex",
    "minijinja",
    "clap",
    "aws-lc-rs",
    "async-trait",
    "futures-util",
];

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files that git knows or would add, relative to the root.
fn files() -> Vec<PathBuf> {
    let root = repository().to_string_lossy();
    let listed =
        run("git", &["-C", &root, "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]);
    listed.lines().map(PathBuf::from).filter(|path| repository().join(path).is_file()).collect()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| path.starts_with(folder) && path.extension().is_some_and(|e| e == "rs");
    files().into_iter().filter(is_source).collect()
}

/// The crates that the helper links, by name.
fn helper_crates() -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "--locked",
        "-p",
        "hubd-helper",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "hubd-helper").map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let manifest = repository().join("Cargo.toml");
    let mut all = arguments.to_vec();
    let manifest = manifest.to_string_lossy();
    all.extend(["--manifest-path", &manifest]);
    run(env!("CARGO"), &all)
}

/// The part of a source file before its tests.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]").map_or(text, |end| text.get(..end).unwrap())
}

#[test]
fn helper_links_exactly_the_crates_on_its_list() {
    let list = read("src/helper/dependencies.txt");
    let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    let listed: BTreeSet<String> =
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert_eq!(helper_crates(), listed, "src/helper/dependencies.txt and `cargo tree -p hubd-helper` differ");
}

#[test]
fn helper_links_nothing_async_networked_or_sql() {
    let crates = helper_crates();
    for name in NOT_FOR_ROOT {
        assert!(!crates.contains(*name), "the root helper depends on {name}");
    }
}

#[test]
fn proto_has_no_features_that_another_crate_could_switch_on() {
    assert!(!read("src/proto/Cargo.toml").contains("[features]"));
    let tree = cargo(&["tree", "--locked", "-p", "hubd-helper", "-e", "features", "--prefix", "none"]);
    let asked = tree.lines().filter(|line| line.starts_with("hubd-proto feature"));
    let others: Vec<&str> = asked.filter(|line| !line.contains("feature \"default\"")).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn helper_binary_holds_no_trace_of_tokio_hyper_or_sqlite() {
    let bytes = fs::read(&programs().helper).unwrap();
    for word in ["tokio", "hyper", "sqlite", "rustls"] {
        let found = bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()));
        assert!(!found, "{word} is in the helper's binary");
    }
}

#[test]
fn source_files_are_short() {
    for path in [sources("src"), sources("tests")].concat() {
        let lines = read(path.to_str().unwrap()).lines().count();
        if lines > FILE_LINES_LISTED {
            println!("{} has {lines} lines", path.display());
        }
        assert!(
            lines <= FILE_LINES_MAX,
            "{} has {lines} lines; {FILE_LINES_MAX} are allowed",
            path.display()
        );
    }
}

#[test]
fn root_programs_do_not_grow() {
    for (folder, lines_max) in ROOT_LINES_MAX {
        let mut count = 0;
        for path in sources(folder) {
            let text = read(path.to_str().unwrap());
            let code = without_tests(&text).lines().map(str::trim);
            let code = code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
            println!("{code:5} {}", path.display());
            count += code;
        }
        println!("{count:5} in {folder}");
        assert!(count <= lines_max, "{folder} has {count} lines of code; {lines_max} are allowed");
    }
}

/// The crate of decisions can be read and tested without root because it has no way to the system.
#[test]
fn the_crate_of_decisions_touches_nothing() {
    for path in sources("src/policy") {
        let text = read(path.to_str().unwrap());
        let code: Vec<&str> =
            without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in NOT_FOR_DECISIONS {
            let found = code.iter().find(|line| line.contains(word));
            assert!(found.is_none(), "{} has {word}: {found:?}", path.display());
        }
    }
    let manifest = read("src/policy/Cargo.toml");
    let dependencies = manifest.split_once("[dependencies]").unwrap().1.split_once("[dev-").unwrap().0;
    let names: Vec<&str> =
        dependencies.lines().filter_map(|line| line.split_once('.')).map(|(n, _)| n).collect();
    assert_eq!(names, ["hubd-proto", "serde", "serde_json", "toml", "zeroize", "thiserror", "sha2"]);
}

#[test]
fn unsafe_code_is_in_one_file_of_each_side_of_the_helper() {
    for path in sources("src") {
        let text = read(path.to_str().unwrap());
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let forms = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe(", "(unsafe_code"];
        if !UNSAFE_FILES.iter().any(|file| path == Path::new(file)) {
            let found = code.find(|line| forms.iter().any(|form| line.contains(form)));
            assert!(found.is_none(), "{} holds unsafe code: {found:?}", path.display());
        }
    }
    let lints = read("Cargo.toml");
    assert!(lints.contains("unsafe_code = \"forbid\""));
}

/// The quoted word that stands at `position` of an `opt("Class", "key", …` line.
fn quoted(line: &str, position: usize) -> Option<&str> {
    line.split('"').nth(position * 2 + 1)
}

#[test]
fn every_option_is_in_the_manual() {
    let manual = read("man/hubd.toml.5");
    let table = read("src/hubd/src/config/options.rs");
    let lines: Vec<&str> = table.lines().map(str::trim).filter(|line| line.starts_with("opt(\"")).collect();
    assert!(lines.len() > 30, "the table of options was not found");
    for line in lines {
        let (class, key) = (quoted(line, 0).unwrap(), quoted(line, 1).unwrap());
        assert!(in_manual(&manual, key), "{class}.{key} is not in man/hubd.toml.5");
    }
}

#[test]
fn every_key_of_the_policy_is_in_the_manual() {
    let manual = read("man/helper.toml.5");
    let source = read("src/policy/src/policy.rs") + &read("src/policy/src/limits.rs");
    for of in ["pub struct Policy {", "pub struct Profile {", "pub struct Limits {", "pub struct Service {"] {
        let body = source.split_once(of).expect("the table is in policy.rs or limits.rs").1;
        let body = body.split_once("\n}").unwrap().0;
        let keys: Vec<&str> = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub "))
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        assert!(keys.len() >= 4, "no keys found after {of}");
        for key in keys {
            assert!(in_manual(&manual, key), "{key} is not in man/helper.toml.5");
        }
    }
}

#[test]
fn every_message_and_refusal_is_in_the_manual() {
    let manual = read("man/hubd-helper.8");
    let source = read("src/proto/src/message.rs");
    for (of, separator) in
        [("pub enum Request {", '_'), ("pub enum Reply {", '_'), ("pub enum RefusalCode {", '-')]
    {
        let body = source.split_once(of).expect("the enum is in message.rs").1;
        let body = body.split_once("\n}").unwrap().0;
        let variants = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
        for variant in variants {
            let name: String = variant.chars().take_while(char::is_ascii_alphanumeric).collect();
            let name = snake(&name, separator);
            assert!(in_manual(&manual, &name), "{name} of {of} is not in man/hubd-helper.8");
        }
    }
}

/// `CheckAccount` as `check_account` or `check-account`.
fn snake(name: &str, separator: char) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            text.push(separator);
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// Whether a word stands in a manual page's source, in which a hyphen may be written `\-`.
fn in_manual(manual: &str, word: &str) -> bool {
    let plain = manual.replace("\\-", "-").replace("\\_", "_");
    plain.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').any(|found| found == word)
}

#[test]
fn manual_pages_render_without_a_warning() {
    let pages: Vec<PathBuf> = files().into_iter().filter(|path| path.starts_with("man")).collect();
    assert!(pages.len() >= 4, "manual pages are missing: {pages:?}");
    if try_run("man", &["--version"]).is_err() {
        println!("man is not installed: skipped");
        return;
    }
    for page in pages {
        let path = repository().join(&page);
        let output = std::process::Command::new("man")
            .args(["--warnings", "-l", "-E", "UTF-8", "-Tutf8", "-Z"])
            .arg(&path)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.trim().is_empty(), "{}: {warnings}", page.display());
    }
}

#[test]
fn every_unit_is_packaged() {
    let all = files();
    let units: Vec<&PathBuf> = all.iter().filter(|path| path.starts_with("systemd")).collect();
    assert!(!units.is_empty(), "there are no units");
    let packaging: String = all
        .iter()
        .filter(|path| path.starts_with("packaging"))
        .filter_map(|path| fs::read_to_string(repository().join(path)).ok())
        .collect();
    for unit in units {
        let name = unit.file_name().unwrap().to_str().unwrap();
        assert!(packaging.contains(name), "nothing in packaging names {name}");
    }
}

#[test]
fn units_name_programs_and_files_that_exist() {
    let units = files().into_iter().filter(|path| path.starts_with("systemd"));
    for path in units.filter(|path| path.extension().is_some_and(|e| e == "service")) {
        let text = read(path.to_str().unwrap());
        let starts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
        assert_eq!(starts.len(), 1, "{} has {} ExecStart lines", path.display(), starts.len());
        let program = starts.first().unwrap().split_whitespace().next().unwrap().trim_start_matches('-');
        assert!(
            ["/usr/sbin/hubd", "/usr/libexec/hubd/hubd-helper", "/usr/libexec/hubd/hubd-accounts"]
                .contains(&program),
            "{} starts {program}",
            path.display()
        );
    }
}

#[test]
fn the_contract_of_the_helper_names_tests_that_exist() {
    let page = read("src/helper/README.md");
    let table =
        page.split_once("## What holds it").unwrap().1.split_once("## Where the lines are").unwrap().0;
    let all: String = [sources("tests"), sources("src/helper"), sources("src/policy")]
        .concat()
        .iter()
        .map(|path| read(path.to_str().unwrap()))
        .collect();
    let names: Vec<&str> =
        table.split('`').skip(1).step_by(2).filter(|name| !name.contains(['/', '.'])).collect();
    assert!(names.len() > 35, "{names:?}");
    for name in names {
        assert!(all.contains(&format!("fn {name}(")), "src/helper/README.md names the test {name}");
    }
}

#[test]
fn no_package_registry_is_named() {
    // Written in pieces, so that this file does not hold them.
    let hosts = [
        ["crates", ".io"],
        ["static.crates", ".io"],
        ["docs", ".rs/"],
        ["pypi", ".org"],
        ["files.python", "hosted.org"],
        ["registry.npm", "js.org"],
        ["deb.debian", ".org"],
    ]
    .map(|parts| parts.concat());
    for path in files().into_iter().filter(|path| !path.ends_with("Cargo.lock")) {
        let Ok(text) = fs::read_to_string(repository().join(&path)) else { continue };
        for host in &hosts {
            assert!(!text.contains(host.as_str()), "{} names {host}", path.display());
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    for path in [sources("src"), sources("tests")].concat() {
        for (number, line) in read(path.to_str().unwrap()).lines().enumerate() {
            let found =
                words.iter().any(|word| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == word));
            let stub =
                line.contains(&["todo", "!("].concat()) || line.contains(&["unimplemented", "!("].concat());
            assert!(!found && !stub, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn commands_in_the_readme_exist() {
    use std::os::unix::fs::PermissionsExt as _;
    let readme = read("README.md");
    let words = readme.split(|c: char| c.is_whitespace() || "`()[],;".contains(c));
    let commands: BTreeSet<&str> = words
        .map(|word| word.trim_start_matches("./").trim_end_matches('.'))
        .filter(|word| ["packaging/", "tests/", ".ci/"].iter().any(|folder| word.starts_with(folder)))
        .collect();
    assert!(commands.contains("packaging/quickstart") && commands.contains("tests/run"), "{commands:?}");
    for command in commands {
        assert!(repository().join(command).exists(), "README.md names {command}, which does not exist");
    }
    for program in ["packaging/quickstart", "tests/run", ".ci/run"] {
        let mode = fs::metadata(repository().join(program)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{program} cannot be run");
    }
}

#[test]
fn every_crate_uses_the_lints_of_the_workspace() {
    for path in
        files().into_iter().filter(|path| path.ends_with("Cargo.toml") && path.components().count() > 1)
    {
        // The fuzzers need another compiler, so they are workspaces of their own.
        if path.starts_with("tests/fuzz") {
            continue;
        }
        let text = read(path.to_str().unwrap());
        let own = path == Path::new("src/helper/Cargo.toml") && text.contains("unsafe_code = \"deny\"");
        assert!(own || text.contains("[lints]\nworkspace = true"), "{}", path.display());
    }
}
