//! Runs a browser script and lets it ask for deeds.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hubd_tests::{Person, test_python};
use serde_json::{Value, json};

use crate::suite::out;

/// A script of `tests/system/browser`, about to run.
pub struct Script<'a> {
    name: &'a str,
    arguments: Vec<&'a str>,
    people: Value,
    environment: Vec<(&'a str, String)>,
}

/// Ends the script when a test fails in between.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl<'a> Script<'a> {
    /// The script `name`, in which `people` appear under the given keys.
    pub fn new(name: &'a str, people: &[(&str, &Person)]) -> Self {
        let people = people
            .iter()
            .map(|(key, person)| {
                let facts = json!({
                    "name": person.name,
                    "password": person.password,
                    "uid": person.uid,
                    "home": person.home,
                });
                ((*key).to_owned(), facts)
            })
            .collect();
        Self { name, arguments: Vec::new(), people: Value::Object(people), environment: Vec::new() }
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: &'a str) -> Self {
        self.arguments.push(argument);
        self
    }

    /// Adds a variable.
    pub fn variable(mut self, name: &'a str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Runs the script against `url`; `act` does what it asks for.
    ///
    /// # Panics
    /// When a step fails; the script's own words are on standard error, its pictures in `tests/out`.
    pub fn run(self, url: &str, mut act: impl FnMut(&str)) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("system/browser");
        std::fs::create_dir_all(out()).unwrap();
        let errors = out().join(format!("{}.stderr", self.name));
        let child = Command::new(test_python())
            .arg("-B")
            .arg(folder.join(self.name).with_extension("py"))
            .args(&self.arguments)
            .env("HUBD_TEST_URL", url)
            .env("HUBD_TEST_OUT", out())
            .env("HUBD_TEST_PEOPLE", self.people.to_string())
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .expect("the test environment's Python can be run");
        let mut running = Running(child);
        let mut input = running.0.stdin.take().unwrap();
        for line in BufReader::new(running.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            println!("    {line}");
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(wish) = message["ask"].as_str() {
                act(wish);
                input.write_all(b"done\n").unwrap();
            }
        }
        let status = running.0.wait().unwrap();
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        assert!(status.success(), "{}.py failed; pictures are in {}:\n{said}", self.name, out().display());
    }
}
