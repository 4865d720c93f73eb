//! The examples of JupyterHub's documents "Getting started" and "Configuration": a table of all of them, with the test
//! that shows the same effect here, or the reason why there is none to show.
//!
//! What a row says of itself is tested here: `python` imports to `toml`, `arguments` set the same, and the named tests
//! exist. Values are this table's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::CommandLine;
use crate::config::{self, Values};

const TABLE: &str = include_str!("testdata/documents.toml");

/// The documents, and how many examples each has: code blocks in JupyterHub's sources of August 2026.
const DOCUMENTS: &[(&str, usize)] = &[
    ("config-basics", 6),
    ("networking-basics", 6),
    ("security-basics", 9),
    ("authenticators-users-basics", 11),
    ("services-basics", 6),
    ("spawners-basics", 3),
    ("config-proxy", 9),
    ("config-user-env", 14),
    ("config-sudo", 20),
    ("config-ghoauth", 2),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    example: Vec<Example>,
}

/// One example.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// The document, without its folder.
    document: String,
    /// What it is about.
    about: String,
    /// Code blocks of the document that this row stands for.
    #[serde(default = "one")]
    blocks: usize,
    /// Lines for a `jupyterhub_config.py`.
    #[serde(default)]
    python: String,
    /// What is said of lines that are not imported.
    #[serde(default)]
    remarks: Vec<String>,
    /// The same for a hubd.toml.
    #[serde(default)]
    toml: String,
    /// The same on the command line.
    #[serde(default)]
    arguments: Vec<String>,
    /// Tests that show the effect.
    #[serde(default)]
    tests: Vec<String>,
    /// Why there is no effect to show.
    #[serde(default)]
    reason: String,
}

fn one() -> usize {
    1
}

fn examples() -> Vec<Example> {
    toml::from_str::<Table>(TABLE).unwrap().example
}

/// What a hubd.toml and a command line set, as `Class.key = value`; mistakes end the test.
fn set(toml: &str, arguments: &[String], about: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hubd.toml");
    std::fs::write(&path, toml).unwrap();
    let all = ["hubd".to_owned()].into_iter().chain(arguments.iter().cloned());
    let command_line = CommandLine::read(all).unwrap_or_else(|error| panic!("{about}: {error}"));
    let mut problems = Vec::new();
    let values = config::load(Some(&path), command_line.arguments(), &mut problems);
    assert_eq!(problems, [], "{about}");
    lines(&values)
}

fn lines(values: &Values) -> Vec<String> {
    let shown = config::generate::shown(values);
    // The place of a value is not part of it.
    shown.lines().map(|line| line.rsplit_once("  # ").unwrap().0.to_owned()).collect()
}

#[test]
fn every_example_of_the_documents_has_a_test_or_a_reason() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for example in examples() {
        assert!(
            example.tests.is_empty() != example.reason.is_empty(),
            "{}: either tests or a reason",
            example.about
        );
        *counts.entry(example.document).or_default() += example.blocks;
    }
    let wanted: BTreeMap<String, usize> =
        DOCUMENTS.iter().map(|(name, blocks)| ((*name).to_owned(), *blocks)).collect();
    assert_eq!(counts, wanted);
}

#[test]
fn the_tests_that_examples_name_exist() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        read_all(&root.join(folder), &mut sources);
    }
    for example in examples() {
        for test in example.tests {
            let is_script = test.starts_with("tests/") && root.join(&test).is_file();
            let found =
                sources.contains(&format!("fn {test}(")) || sources.contains(&format!("(\"{test}\", "));
            assert!(found || is_script, "{}: there is no test {test}", example.about);
        }
    }
}

/// Adds the text of all Rust sources below a folder.
fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn what_the_documents_write_in_python_means_the_same_in_toml() {
    for example in examples().into_iter().filter(|example| !example.python.is_empty()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jupyterhub_config.py");
        std::fs::write(&path, &example.python).unwrap();
        let environment =
            |name: &str| (name == "OAUTH_CALLBACK_URL").then(|| "https://hub.example.org/x".into());
        let import = super::file(&path, &environment).unwrap();
        let mut imported = set(&import.toml, &[], &example.about);
        // The stricter defaults of JupyterHub 5 are written out; they are tested elsewhere.
        let defaults = ["Authenticator.allow_all = false", "JupyterHub.cleanup_servers = true"];
        let wanted = set(&example.toml, &[], &example.about);
        imported.retain(|line| wanted.contains(line) || !defaults.contains(&line.as_str()));
        assert_eq!(imported, wanted, "{}", example.about);
        assert_eq!(import.remarks.len(), example.remarks.len(), "{}: {:?}", example.about, import.remarks);
        for (remark, wanted) in import.remarks.iter().zip(&example.remarks) {
            let text = format!("{}: {}", remark.what, remark.how);
            assert!(text.contains(wanted), "{}: {wanted} is not in {text}", example.about);
        }
    }
}

#[test]
fn what_the_documents_write_on_the_command_line_means_the_same_in_toml() {
    for example in examples().into_iter().filter(|example| !example.arguments.is_empty()) {
        let of_file = set(&example.toml, &[], &example.about);
        assert_eq!(set("", &example.arguments, &example.about), of_file, "{}", example.about);
    }
}
