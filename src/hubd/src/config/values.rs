//! The values that were set, and how the rest of the program asks for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hubd_proto::Secret;

use super::file::Assignment;
use super::names::{self, find};
use super::option::Opt;
use super::problem::{Origin, Problem};
use super::value::{self, Value};
use super::{Argument, unknown, wrong_value};

/// An option whose value another configuration changes.
pub struct Change {
    /// `Class.key`.
    pub name: String,
    /// Whether a reload applies it.
    pub live: bool,
}

/// How far a reload gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It applies every option that is live.
    All,
    /// Only how much is logged: who may log in is said for another authenticator than the one in use.
    Logs,
}

impl Reach {
    fn applies(self, class: &str, key: &str) -> bool {
        find(class, key)
            .is_some_and(|option| option.live && (self == Self::All || option.class == "JupyterHub"))
    }
}

/// Every value that was set, with its origin, by class and key.
#[derive(Debug, Default)]
pub struct Values {
    pub(super) set: BTreeMap<(String, &'static str), (Value, Origin)>,
    /// Where the parts of lists and tables stand, by JSON pointer.
    parts: BTreeMap<(String, &'static str), BTreeMap<String, Origin>>,
    /// What works but should be written differently.
    pub warnings: Vec<Problem>,
    /// What a later file or the command line says otherwise: name, the later place, the earlier one.
    pub replaced: Vec<(String, Origin, Origin)>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

impl Values {
    pub(super) fn assign(&mut self, assignment: &Assignment, problems: &mut Vec<Problem>) {
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
        self.put(name, value, assignment.origin.clone());
    }

    pub(super) fn argument(
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
                self.put(name.clone(), value, origin);
                seen.push(name);
            }
        }
    }

    /// Notes whom a value takes the place of, if somebody decided that one.
    fn put(&mut self, name: (String, &'static str), value: Value, origin: Origin) {
        let shown = format!("{}.{}", name.0, name.1);
        if let Some((_, earlier)) = self.set.insert(name, (value, origin.clone())) {
            self.replaced.push((shown, origin, earlier));
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
    pub fn changes(&self, new: &Values, reach: Reach) -> Vec<Change> {
        let mut names: Vec<&(String, &'static str)> = self.set.keys().chain(new.set.keys()).collect();
        names.sort();
        names.dedup();
        let changed =
            names.into_iter().filter(|(class, key)| self.get(&[class], key) != new.get(&[class], key));
        changed
            .map(|(class, key)| Change { name: format!("{class}.{key}"), live: reach.applies(class, key) })
            .collect()
    }

    /// Takes over what a reload applies; the rest stays, so that the next reload tells it again.
    pub fn take_live(&mut self, new: Values, reach: Reach) {
        self.set.retain(|(class, key), _| !reach.applies(class, key));
        self.set.extend(new.set.into_iter().filter(|((class, key), _)| reach.applies(class, key)));
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
        self.fields(classes, key).iter().map(value::Fields::masked).collect()
    }

    /// The same with tokens.
    pub fn fields(&self, classes: &[&str], key: &str) -> Vec<value::Fields> {
        match self.get(classes, key) {
            Some(Value::Tables(tables)) => tables,
            _ => Vec::new(),
        }
    }
}
