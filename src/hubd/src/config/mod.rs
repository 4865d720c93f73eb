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
#[cfg(test)]
mod manual;
mod names;
mod nearest;
pub mod option;
pub mod options;
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use file::Assignment;
use hubd_proto::Secret;
pub use names::find;
use names::parent;
use option::Opt;
use problem::{Origin, Problem};
use value::Value;

/// The main file when none is named.
pub const DEFAULT_FILE: &str = "/etc/jupyterhub/hubd.toml";

/// The working directory of the service, where relative paths start.
pub const SERVICE_DIRECTORY: &str = "/srv/jupyterhub";

/// An option whose value another configuration changes.
pub struct Change {
    /// `Class.key`.
    pub name: String,
    /// Whether a reload applies it.
    pub live: bool,
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

/// Every value that was set, with its origin, by class and key.
#[derive(Debug, Default)]
pub struct Values {
    set: BTreeMap<(String, &'static str), (Value, Origin)>,
    /// Where the parts of lists and tables stand, by JSON pointer.
    parts: BTreeMap<(String, &'static str), BTreeMap<String, Origin>>,
    /// What works but should be written differently.
    pub warnings: Vec<Problem>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
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

impl Values {
    fn assign(&mut self, assignment: &Assignment, problems: &mut Vec<Problem>) {
        let origin = &assignment.origin;
        let Some((class, option)) = self.resolve(&assignment.class, &assignment.key, origin, problems) else {
            return;
        };
        match option.kind.read_toml(&assignment.value) {
            Ok(value) => self.keep((class, option.key), value, assignment),
            Err(text) => problems.push(wrong_value(origin, &assignment.class, option, &text)),
        }
    }

    /// A later file replaces what an earlier one said, except that `[[Class.key]]` adds one more.
    fn keep(&mut self, name: (String, &'static str), value: Value, assignment: &Assignment) {
        let mut parts = assignment.parts.clone();
        if let (Some((Value::Tables(tables), _)), Value::Tables(more)) = (self.set.get_mut(&name), &value) {
            let shifted = |(pointer, origin): (String, Origin)| {
                let (index, rest) = pointer.get(1..)?.split_once('/').unwrap_or((pointer.get(1..)?, ""));
                let index = index.parse::<usize>().ok()? + tables.len();
                let pointer = if rest.is_empty() { format!("/{index}") } else { format!("/{index}/{rest}") };
                Some((pointer, origin))
            };
            parts = parts.into_iter().filter_map(shifted).collect();
            tables.extend(more.iter().cloned());
            self.parts.entry(name).or_default().extend(parts);
            return;
        }
        self.parts.insert(name.clone(), parts);
        self.set.insert(name, (value, assignment.origin.clone()));
    }

    fn argument(
        &mut self,
        argument: &Argument,
        seen: &mut Vec<(String, &'static str)>,
        problems: &mut Vec<Problem>,
    ) {
        let origin = Origin::CommandLine;
        let Some((class, option)) = self.resolve(&argument.class, &argument.key, &origin, problems) else {
            return;
        };
        let value = match option.kind.read_argument(&argument.text) {
            Ok(value) => value,
            Err(text) => return problems.push(wrong_value(&origin, &argument.class, option, &text)),
        };
        let name = (class, option.key);
        match self.set.get_mut(&name) {
            Some((present, _)) if seen.contains(&name) => present.extend(value),
            _ => {
                self.parts.remove(&name);
                self.set.insert(name.clone(), (value, origin));
                seen.push(name);
            }
        }
    }

    /// The option that a written name means, under the class it was written for.
    fn resolve(
        &mut self,
        class: &str,
        key: &str,
        origin: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Option<(String, &'static Opt)> {
        // JupyterHub's own name before 0.6, still merged by it.
        let class = if class == "JupyterHubApp" { "JupyterHub" } else { class };
        if let Some(old) = names::OLD_NAMES.iter().find(|old| old.class == class && old.key == key) {
            let text = format!("{class}.{key} is an old name");
            let cure = format!("write [{}] {}", old.new_class, old.new_key);
            self.warnings.push(Problem::new(origin, text, cure));
            return find(old.new_class, old.new_key).map(|option| (old.new_class.to_owned(), option));
        }
        if let Some(option) = find(class, key) {
            return Some((class.to_owned(), option));
        }
        problems.push(unknown(class, key, origin));
        None
    }

    /// The value of an option as the most specific of `classes` has it, or its default.
    fn get(&self, classes: &[&str], key: &str) -> Option<Value> {
        let set = classes.iter().find_map(|class| self.lookup(class, key));
        set.map(|(value, _)| value.clone()).or_else(|| {
            let option = classes.iter().find_map(|class| find(class, key))?;
            let mut table: toml::Table = format!("v = {}", option.default).parse().ok()?;
            option.kind.read_toml(&table.remove("v")?).ok()
        })
    }

    /// What changes with `new`.
    pub fn changes(&self, new: &Values) -> Vec<Change> {
        let mut names: Vec<&(String, &'static str)> = self.set.keys().chain(new.set.keys()).collect();
        names.sort();
        names.dedup();
        let changed =
            names.into_iter().filter(|(class, key)| self.get(&[class], key) != new.get(&[class], key));
        changed
            .map(|(class, key)| Change {
                name: format!("{class}.{key}"),
                live: find(class, key).is_some_and(|option| option.live),
            })
            .collect()
    }

    /// Takes over what a reload applies; the rest stays, so that the next reload tells it again.
    pub fn take_live(&mut self, new: Values) {
        let live = |class: &str, key: &str| find(class, key).is_some_and(|option| option.live);
        self.set.retain(|(class, key), _| !live(class, key));
        self.set.extend(new.set.into_iter().filter(|((class, key), _)| live(class, key)));
    }

    fn lookup(&self, class: &str, key: &str) -> Option<&(Value, Origin)> {
        let (_, entry) = self.set.iter().find(|((c, k), _)| c == class && *k == key)?;
        Some(entry)
    }

    /// Where an option was set; [`Origin::Default`] if nowhere.
    pub fn origin(&self, classes: &[&str], key: &str) -> Origin {
        let set = classes.iter().find_map(|class| self.lookup(class, key));
        set.map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Where a part of a list or table was written, by JSON pointer (`/0/scopes/1`), or what holds it.
    pub fn part_origin(&self, class: &str, key: &'static str, pointer: &str) -> Origin {
        let parts = self.parts.get(&(class.to_owned(), key));
        let mut pointer = Some(pointer);
        while let Some(tried) = pointer {
            if let Some(origin) = parts.and_then(|parts| parts.get(tried)) {
                return origin.clone();
            }
            pointer = tried.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty());
        }
        self.origin(&[class], key)
    }

    /// Whether an option was set to anything.
    pub fn is_set(&self, classes: &[&str], key: &str) -> bool {
        self.origin(classes, key) != Origin::Default
    }

    /// An option of [`value::Kind::Text`], a path or a choice.
    pub fn text(&self, classes: &[&str], key: &str) -> String {
        match self.get(classes, key) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// An option of [`value::Kind::Secret`], if it is set to anything.
    pub fn secret(&self, classes: &[&str], key: &str) -> Option<Secret> {
        match self.get(classes, key) {
            Some(Value::Secret(value::Hidden(secret))) => Some(secret).filter(|secret| !secret.is_empty()),
            _ => None,
        }
    }

    /// An option of [`value::Kind::Tokens`].
    pub fn tokens(&self, classes: &[&str], key: &str) -> Vec<(Secret, String)> {
        match self.get(classes, key) {
            Some(Value::Tokens(tokens)) => {
                tokens.into_iter().map(|(value::Hidden(token), name)| (token, name)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An option of [`value::Kind::Bool`]; false if it has no default.
    pub fn yes(&self, classes: &[&str], key: &str) -> bool {
        matches!(self.get(classes, key), Some(Value::Bool(true)))
    }

    /// An option of [`value::Kind::Integer`], seconds or bytes.
    pub fn integer(&self, classes: &[&str], key: &str) -> i64 {
        match self.get(classes, key) {
            Some(Value::Integer(number)) => number,
            _ => 0,
        }
    }

    /// An option of [`value::Kind::Number`].
    pub fn number(&self, classes: &[&str], key: &str) -> f64 {
        match self.get(classes, key) {
            Some(Value::Number(number)) => number,
            _ => 0.0,
        }
    }

    /// An option of [`value::Kind::List`] or a set.
    pub fn list(&self, classes: &[&str], key: &str) -> Vec<String> {
        match self.get(classes, key) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    /// An option of [`value::Kind::Table`] or of texts.
    pub fn table(&self, classes: &[&str], key: &str) -> BTreeMap<String, serde_json::Value> {
        match self.get(classes, key) {
            Some(Value::Table(table)) => table,
            _ => BTreeMap::new(),
        }
    }

    /// An option of [`value::Kind::Tables`].
    pub fn tables(&self, classes: &[&str], key: &str) -> Vec<BTreeMap<String, serde_json::Value>> {
        match self.get(classes, key) {
            Some(Value::Tables(tables)) => tables,
            _ => Vec::new(),
        }
    }
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
    Problem::new(origin, format!("{class}.{}: {text}", option.key), option.help)
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
    let elsewhere = options::OPTIONS.iter().find(|option| option.key == key);
    let cure = match (elsewhere, nearest::nearest(key, keys)) {
        (Some(option), _) => format!("it belongs to [{}]", option.class),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => "see hubd --help-all for all options".to_owned(),
    };
    Problem::new(origin, format!("there is no option {class}.{key}"), cure)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(names(old.changes(&new())), [("JupyterHub.log_level".to_owned(), true), port.clone()]);
        old.take_live(new());
        assert_eq!(names(old.changes(&new())), [port]);
    }

    #[test]
    fn a_missing_named_file_is_a_problem_and_a_missing_default_file_is_not() {
        let mut problems = Vec::new();
        load(Some(Path::new("/nonexistent/hubd.toml")), &[], &mut problems);
        assert_eq!(problems.len(), 1);
    }
}
