//! What most cases share: one installation, alice and bob.

use std::fs;
use std::path::PathBuf;

use hubd_tests::{Installation, Person, PersonKind, Setup, notebook_program, repository, try_run};

/// The shared parts, made when a case first asks for them. Fields are dropped in this order: the
/// installation first, while the accounts of its servers still exist.
#[derive(Default)]
pub struct Suite {
    installation: Option<Installation>,
    alice: Option<Person>,
    bob: Option<Person>,
}

impl Suite {
    /// The shared installation, running.
    pub fn installation(&mut self) -> &mut Installation {
        self.installation.get_or_insert_with(|| Installation::running(&standard()))
    }

    /// Alice.
    pub fn alice(&mut self) -> &Person {
        self.alice.get_or_insert_with(|| Person::new("hubt-s-alice", PersonKind::Ordinary))
    }

    /// Bob.
    pub fn bob(&mut self) -> &Person {
        self.bob.get_or_insert_with(|| Person::new("hubt-s-bob", PersonKind::Ordinary))
    }

    /// Those who exist already, under the keys that the browser scripts use.
    pub fn people(&self) -> Vec<(&'static str, &Person)> {
        let pairs = [("alice", &self.alice), ("bob", &self.bob)];
        pairs.into_iter().filter_map(|(key, person)| Some((key, person.as_ref()?))).collect()
    }

    /// The installation to act on while a script has the people.
    pub fn installation_and_people(&mut self) -> (&mut Installation, Vec<(&'static str, &Person)>) {
        let pairs = [("alice", &self.alice), ("bob", &self.bob)];
        let people = pairs.into_iter().filter_map(|(key, person)| Some((key, person.as_ref()?))).collect();
        (self.installation.get_or_insert_with(|| Installation::running(&standard())), people)
    }

    /// Keeps the logs of a failed case and throws the shared installation away, so that the next
    /// case begins with a new one.
    pub fn after_failure(&mut self, case: &str) {
        if let Some(installation) = self.installation.take() {
            fs::create_dir_all(out()).unwrap();
            fs::write(out().join(format!("{}.log", case.replace(' ', "-"))), installation.logs()).unwrap();
            drop(installation);
        }
        for person in [&self.alice, &self.bob].into_iter().flatten() {
            person.kill_processes();
        }
    }

    /// Stops what runs and forgets where JupyterLab's tabs were, for a case that starts from nothing.
    pub fn fresh_homes(&mut self) {
        self.installation().stop_sessions();
        for person in [&self.alice, &self.bob].into_iter().flatten() {
            person.kill_processes();
            let home = person.home.to_string_lossy();
            let _ = try_run("rm", &["-rf", &format!("{home}/.jupyter/lab/workspaces")]);
        }
    }
}

/// Where pictures and logs of failures go.
pub fn out() -> PathBuf {
    repository().join("tests/out")
}

/// The usual setup: the default profile runs the notebook program of the test environment.
pub fn standard() -> Setup {
    with_program(&notebook_program().to_string_lossy())
}

/// A setup whose default profile runs `program`, which is taken to ask the hub who comes, as `jupyterhub-singleuser`.
pub fn with_program(program: &str) -> Setup {
    let profiles = format!("[profile.default]\nprogram = [\"{program}\"]\nauth = \"oauth\"\n");
    Setup { profiles, ..Setup::default() }
}

/// The same without a word on who asks.
pub fn with_program_only(program: &str) -> Setup {
    Setup { profiles: format!("[profile.default]\nprogram = [\"{program}\"]\n"), ..Setup::default() }
}
