//! The configuration: files, then the command line, checked as a whole before anything is opened.
//!
//! [`load`] reads and checks; [`plan::Plan`] is what the rest of the program works with. Problems are collected,
//! so that one run shows all of them.

pub mod access;
pub mod address;
mod culler;
pub mod file;
pub mod generate;
mod hub;
mod keys;
#[cfg(test)]
mod manual;
mod names;
mod nearest;
pub mod option;
pub mod options;
mod places;
pub mod plan;
pub mod problem;
pub mod proxy;
#[cfg(test)]
mod reference;
mod refused;
mod roles;
mod services;
mod spawn_options;
mod units;
pub mod value;
mod values;

use std::path::{Path, PathBuf};

pub use names::find;
use names::parent;
use option::Opt;
use problem::{Origin, Problem};
pub use values::{Reach, Values};

/// The main file when none is named.
pub const DEFAULT_FILE: &str = "/etc/jupyterhub/hubd.toml";

/// The working directory of the service, where relative paths start.
pub const SERVICE_DIRECTORY: &str = "/srv/jupyterhub";

/// A path of the configuration for who looks from elsewhere: what is not here is the service's.
pub fn of_service(path: &Path) -> PathBuf {
    if path.exists() { path.to_path_buf() } else { Path::new(SERVICE_DIRECTORY).join(path) }
}

/// An option given on the command line: class, key and the text after `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Class.
    pub class: String,
    /// Key.
    pub key: String,
    /// Text.
    pub text: String,
}

/// Reads the files and the arguments. `main` is the file named with `-f`, which then has to exist.
pub fn load(main: Option<&Path>, arguments: &[Argument], problems: &mut Vec<Problem>) -> Values {
    let mut values = Values::default();
    let path = main.unwrap_or(Path::new(DEFAULT_FILE));
    let files = file::files(path).unwrap_or_else(|error| {
        let cure = "let the daemon's user read it";
        problems.push(Problem::new(&Origin::WholeFile(path.to_path_buf()), error.to_string(), cure));
        Vec::new()
    });
    for file in files {
        let missing = !file.try_exists().unwrap_or(true);
        if missing && file == path && main.is_none() {
            continue;
        }
        for assignment in file::read(&file, problems) {
            values.assign(&assignment, problems);
        }
        values.files.push(file);
    }
    let mut seen = Vec::new();
    for argument in arguments {
        values.argument(argument, &mut seen, problems);
    }
    values
}

/// The option that a name means now, old names included, and the class that it belongs to.
pub fn current(class: &str, key: &str) -> Option<(String, &'static Opt)> {
    match names::OLD_NAMES.iter().find(|old| old.class == class && old.key == key) {
        Some(old) => Some((old.new_class.to_owned(), find(old.new_class, old.new_key)?)),
        None => Some((class.to_owned(), find(class, key)?)),
    }
}

/// Why JupyterHub's option is none here, and what to do instead; nothing for names that JupyterHub does not know.
pub fn refusal(class: &str, key: &str) -> Option<String> {
    refused::reason(class, key).map(str::to_owned)
}

/// A value in one line of TOML.
pub fn in_toml(value: &toml::Value) -> String {
    serde_json::to_value(value).map(|value| units::toml(&value)).unwrap_or_default()
}

fn wrong_value(origin: &Origin, class: &str, option: &Opt, text: &str) -> Problem {
    let nothing = ["", "\"\"", "[]", "{}", "0"].contains(&option.default);
    let example = if nothing { option.kind.example() } else { option.default.to_owned() };
    let cure = format!("write {} = {example}, for instance; hubd.toml(5) says what it means", option.key);
    Problem::new(origin, format!("{class}.{}: {text}", option.key), cure)
}

/// Why a name is not an option, and the nearest one that is.
fn unknown(class: &str, key: &str, origin: &Origin) -> Problem {
    if let Some(reason) = refused::reason(class, key) {
        return Problem::new(origin, format!("{class}.{key} cannot be used"), reason);
    }
    let classes = || names::CLASSES.iter().map(|known| known.name);
    let is_class = classes().any(|known| known == class);
    if !is_class && !refused::knows_class(class) {
        let cure = match nearest::nearest(class, classes()) {
            Some(near) => format!("did you mean [{near}]?"),
            None => "see hubd --help-all for all tables and options".to_owned(),
        };
        return Problem::new(origin, format!("there is no table [{class}]"), cure);
    }
    let mut chain = vec![class];
    while let Some(above) = chain.last().and_then(|class| parent(class)) {
        chain.push(above);
    }
    let keys =
        options::OPTIONS.iter().filter(|option| chain.contains(&option.class)).map(|option| option.key);
    let class_of =
        |key: &str| options::OPTIONS.iter().find(|option| option.key == key).map(|option| option.class);
    let near_elsewhere = || nearest::nearest(key, options::OPTIONS.iter().map(|option| option.key));
    let cure = match (class_of(key), nearest::nearest(key, keys)) {
        (Some(class), _) => format!("it belongs to [{class}]"),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => match near_elsewhere().and_then(|near| Some((near, class_of(near)?))) {
            Some((near, class)) => format!("did you mean {near}, which belongs to [{class}]?"),
            None => "see hubd --help-all for all options".to_owned(),
        },
    };
    Problem::new(origin, format!("there is no option {class}.{key}"), cure)
}

#[cfg(test)]
mod tests {
    use super::values::Change;
    use super::*;

    fn check(text: &str, arguments: &[(&str, &str, &str)]) -> (Values, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, text).unwrap();
        let arguments: Vec<_> = arguments
            .iter()
            .map(|(class, key, text)| Argument {
                class: (*class).into(),
                key: (*key).into(),
                text: (*text).into(),
            })
            .collect();
        let mut problems = Vec::new();
        let values = load(Some(&path), &arguments, &mut problems);
        let prefix = format!("{}/", directory.path().display());
        (values, problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let (_, problems) = check("[JupyterHub]\nprot = 8000\n", &[]);
        assert_eq!(
            problems,
            ["hubd.toml:2:1: there is no option JupyterHub.prot\n    cure: did you mean port?"]
        );
        let (_, problems) = check("[JupiterHub]\nport = 8000\n", &[]);
        assert!(problems[0].contains("no table [JupiterHub]") && problems[0].contains("[JupyterHub]?"));
        let (_, problems) = check("[JupyterHub]\nnotebook_dir = \"~\"\n", &[]);
        assert!(problems[0].contains("it belongs to [Spawner]"));
        let (_, problems) = check("[JupyterHub]\nallow_al = true\nabsolutely_nothing = 1\n", &[]);
        assert!(
            problems[0].contains("did you mean allow_all, which belongs to [Authenticator]?"),
            "{problems:?}"
        );
        assert!(problems[1].contains("see hubd --help-all"), "{problems:?}");
    }

    #[test]
    fn an_option_that_jupyterhub_has_and_hubd_not_is_refused_with_the_reason() {
        let (_, problems) = check("[Spawner]\ncmd = \"x\"\npre_spawn_hook = 1\nmem_limit = \"1G\"\n", &[]);
        assert_eq!(problems.len(), 3);
        assert!(problems[0].contains("hubd.toml:2:1") && problems[0].contains("helper.toml"));
        assert!(problems[1].contains("Python function"));
        assert!(problems[2].contains("helper.toml"));
    }

    #[test]
    fn all_problems_come_at_once() {
        let (_, problems) =
            check("[JupyterHub]\nport = 99999\nprot = 1\n", &[("JupyterHub", "hub_port", "x")]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[2].starts_with("command line: JupyterHub.hub_port: expected a whole number"));
    }

    #[test]
    fn the_command_line_wins_and_its_lists_grow() {
        let text = "[JupyterHub]\nport = 1\n[Authenticator]\nadmin_users = [\"root\"]\n";
        let (values, problems) = check(
            text,
            &[
                ("JupyterHub", "port", "9000"),
                ("Authenticator", "admin_users", "alice"),
                ("Authenticator", "admin_users", "bob"),
            ],
        );
        assert!(problems.is_empty());
        assert_eq!(values.integer(&["JupyterHub"], "port"), 9000);
        assert_eq!(values.list(&["Authenticator"], "admin_users"), ["alice", "bob"]);
    }

    #[test]
    fn later_files_of_conf_d_win_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::create_dir(directory.path().join("conf.d")).unwrap();
        std::fs::write(&path, "[JupyterHub]\nport = 1\nhub_port = 1\n").unwrap();
        std::fs::write(directory.path().join("conf.d/20.toml"), "[JupyterHub]\nport = 3\n").unwrap();
        std::fs::write(directory.path().join("conf.d/10.toml"), "[JupyterHub]\nport = 2\n").unwrap();
        std::fs::write(directory.path().join("conf.d/30.toml.bak"), "[JupyterHub]\nport = 4\n").unwrap();
        let mut problems = Vec::new();
        let values = load(Some(&path), &[], &mut problems);
        assert_eq!(problems, []);
        assert_eq!(values.integer(&["JupyterHub"], "port"), 3);
        assert_eq!(values.integer(&["JupyterHub"], "hub_port"), 1);
    }

    #[test]
    fn the_most_specific_class_wins_and_old_names_warn() {
        let (values, problems) = check(
            "[Spawner]\nargs = [\"a\"]\n[SimpleLocalProcessSpawner]\nargs = [\"b\"]\n[JupyterHub]\nadmin_users = [\"eve\"]\n",
            &[],
        );
        assert!(problems.is_empty());
        assert_eq!(
            values.list(&["SimpleLocalProcessSpawner", "LocalProcessSpawner", "Spawner"], "args"),
            ["b"]
        );
        assert_eq!(values.list(&["LocalProcessSpawner", "Spawner"], "args"), ["a"]);
        assert_eq!(values.list(&["Authenticator"], "admin_users"), ["eve"]);
        assert!(values.warnings[0].to_string().contains("write [Authenticator] admin_users"));
    }

    #[test]
    fn a_reload_knows_what_changed_and_what_has_to_wait() {
        let (mut old, _) = check("[JupyterHub]\nport = 1\nlog_level = \"INFO\"\n", &[]);
        let new = || check("[JupyterHub]\nport = 2\nlog_level = \"DEBUG\"\n", &[]).0;
        let names = |changes: Vec<Change>| {
            changes.into_iter().map(|change| (change.name, change.live)).collect::<Vec<_>>()
        };
        let port = ("JupyterHub.port".to_owned(), false);
        assert_eq!(
            names(old.changes(&new(), Reach::All)),
            [("JupyterHub.log_level".to_owned(), true), port.clone()]
        );
        old.take_live(new(), Reach::All);
        assert_eq!(names(old.changes(&new(), Reach::All)), [port]);
    }

    #[test]
    fn a_reload_applies_who_may_log_in_and_how_much_is_logged_and_nothing_else() {
        let live: Vec<String> = options::OPTIONS
            .iter()
            .filter(|option| option.live)
            .map(|option| format!("{}.{}", option.class, option.key))
            .collect();
        // hubd(8) says so under SIGHUP, and hubd.toml(5) with each of them.
        assert_eq!(
            live,
            [
                "JupyterHub.log_level",
                "JupyterHub.log_levels",
                "Authenticator.admin_users",
                "Authenticator.allowed_users",
                "Authenticator.blocked_users",
                "Authenticator.allow_all",
                "Authenticator.allow_existing_users",
                "Authenticator.any_allow_config",
                "Authenticator.username_map",
                "Authenticator.username_pattern",
                "Authenticator.manage_groups",
                "Authenticator.auto_login",
                "LocalAuthenticator.allowed_groups",
                "LocalAuthenticator.create_system_users",
                "PAMAuthenticator.admin_groups",
            ]
        );
    }

    #[test]
    fn a_missing_named_file_is_a_problem_and_a_missing_default_file_is_not() {
        let mut problems = Vec::new();
        load(Some(Path::new("/nonexistent/hubd.toml")), &[], &mut problems);
        assert_eq!(problems.len(), 1);
    }
}
