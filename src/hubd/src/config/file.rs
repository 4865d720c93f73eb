//! Reading hubd.toml and conf.d/*.toml: every assignment with its file, line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::{Zeroize as _, Zeroizing};

use super::problem::{Origin, Problem};

/// Largest configuration file, in bytes: a thousand times a usual one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most messages about the syntax of one file: the later ones are mostly consequences of the first.
const SYNTAX_PROBLEMS_MAX: usize = 3;

/// One `key = value` in a `[Class]`.
#[derive(Clone, PartialEq)]
pub struct Assignment {
    /// The table.
    pub class: String,
    /// The key.
    pub key: String,
    /// The value as TOML.
    pub value: toml::Value,
    /// Where it stands.
    pub origin: Origin,
    /// Where the parts of a list or table stand, by JSON pointer: `/0/scopes/1`.
    pub parts: BTreeMap<String, Origin>,
}

impl fmt::Debug for Assignment {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} at {}", self.class, self.key, self.origin)
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        wipe(std::mem::replace(&mut self.value, toml::Value::Boolean(false)));
    }
}

/// Overwrites the texts of a value, any of which may be a secret.
fn wipe(value: toml::Value) {
    match value {
        toml::Value::String(mut text) => text.zeroize(),
        toml::Value::Array(items) => items.into_iter().for_each(wipe),
        toml::Value::Table(table) => {
            for (mut key, value) in table {
                key.zeroize();
                wipe(value);
            }
        }
        _ => {}
    }
}

/// The files to read for a main file, in order: the file itself, then `conf.d/*.toml` beside it by name.
pub fn files(main: &Path) -> std::io::Result<Vec<PathBuf>> {
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let mut extra = match std::fs::read_dir(&directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(std::io::Error::new(error.kind(), format!("{}: {error}", directory.display())));
        }
    };
    extra.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    extra.sort();
    let mut files = vec![main.to_path_buf()];
    files.append(&mut extra);
    Ok(files)
}

/// Reads a file into assignments; problems are added to `problems`.
pub fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let whole = Origin::WholeFile(path.to_path_buf());
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(&whole, format!("cannot be read: {error}"), read_cure(path, &error)));
            return Vec::new();
        }
    };
    if path.extension().is_some_and(|extension| extension == "py") {
        let cure = format!("turn it into TOML: hubd import-config {} -o hubd.toml", path.display());
        problems.push(Problem::new(&whole, "is a Python file, and hubd runs no Python", cure));
        return Vec::new();
    }
    parse(path, &text, problems)
}

fn read_text(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // As large as the file, so that it does not move and leave copies behind.
    let file_bytes = std::fs::metadata(path).map_or(0, |file| file.len().min(FILE_BYTES_MAX));
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(file_bytes).unwrap_or(0) + 1));
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn read_cure(path: &Path, error: &std::io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "run this as root, or let the daemon's user read it: chgrp hubd {shown}; chmod 640 {shown}"
            )
        }
        std::io::ErrorKind::NotFound => {
            format!("check the name, or make the file: hubd --generate-config -f {shown}")
        }
        std::io::ErrorKind::InvalidData => "save it as UTF-8".to_owned(),
        _ => "check the name".to_owned(),
    }
}

/// What to do about a mistake of TOML's own, by the parser's words.
fn syntax_cure(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "delete one of both: an option stands once in a table, and a [Class] once in a file"
    } else {
        "finish this line: a text needs both quotes, a list ends with ], a table name stands in [ ]"
    }
}

fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let at = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        Origin::File(path.to_path_buf(), before.matches('\n').count() + 1, column)
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors.iter().take(SYNTAX_PROBLEMS_MAX) {
            let origin = error.span().map_or(Origin::WholeFile(path.to_path_buf()), |span| at(span.start));
            let (text, cure) = (error.message().trim(), syntax_cure(error.message()));
            problems.push(Problem::new(&origin, format!("not valid TOML: {text}"), cure));
        }
        return Vec::new();
    }
    let mut assignments = Vec::new();
    for (class, content) in table.get_ref() {
        let DeValue::Table(keys) = content.get_ref() else {
            problems.push(outside(&at(class.span().start), class.get_ref()));
            continue;
        };
        if class.get_ref() == "c" {
            let cure = "leave out the c.: [JupyterHub] on a line of its own, then port = 8000";
            problems.push(Problem::new(&at(class.span().start), "this is how Python writes it", cure));
            continue;
        }
        for (key, value) in keys {
            let mut parts = BTreeMap::new();
            place(value, "", &at, &mut parts);
            assignments.push(Assignment {
                class: class.get_ref().to_string(),
                key: key.get_ref().to_string(),
                value: owned(value.get_ref()),
                origin: at(key.span().start),
                parts,
            });
        }
    }
    // Tables come sorted by name; problems should come as they stand in the file.
    assignments.sort_by(|a, b| a.origin.cmp(&b.origin));
    assignments
}

fn outside(origin: &Origin, key: &str) -> Problem {
    let class = super::options::OPTIONS.iter().find(|option| option.key == key).map(|option| option.class);
    let cure = format!("write it below a line [{}]", class.unwrap_or("CLASS"));
    Problem::new(origin, format!("{key} stands outside of a table"), cure)
}

/// Notes where the parts of a list or table stand, each under its JSON pointer below `pointer`.
fn place(
    value: &Spanned<DeValue<'_>>,
    pointer: &str,
    at: &impl Fn(usize) -> Origin,
    parts: &mut BTreeMap<String, Origin>,
) {
    match value.get_ref() {
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{pointer}/{index}");
                parts.insert(pointer.clone(), at(item.span().start));
                place(item, &pointer, at, parts);
            }
        }
        DeValue::Table(table) => {
            for (key, item) in table {
                let pointer = format!("{pointer}/{}", key.get_ref());
                parts.insert(pointer.clone(), at(key.span().start));
                place(item, &pointer, at, parts);
            }
        }
        _ => {}
    }
}

/// The same value without positions.
fn owned(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or_else(|_| toml::Value::String(number.as_str().to_owned()), toml::Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .replace('_', "")
            .parse()
            .map_or_else(|_| toml::Value::String(number.as_str().to_owned()), toml::Value::Float),
        DeValue::Boolean(yes) => toml::Value::Boolean(*yes),
        DeValue::Datetime(date) => toml::Value::Datetime(*date),
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|item| owned(item.get_ref())).collect()),
        DeValue::Table(table) => toml::Value::Table(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), owned(value.get_ref()))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        parse(Path::new("hubd.toml"), text, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_assignment_knows_its_line_and_column() {
        let mut problems = Vec::new();
        let text = "# a comment\n[JupyterHub]\nport = 8_000\n  ip = \"::1\"\n";
        let assignments = parse(Path::new("hubd.toml"), text, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(assignments[0].value, toml::Value::Integer(8000));
        assert_eq!(assignments[0].origin.to_string(), "hubd.toml:3:1");
        assert_eq!(assignments[1].origin.to_string(), "hubd.toml:4:3");
    }

    #[test]
    fn the_parts_of_lists_of_tables_know_their_lines() {
        let mut problems = Vec::new();
        let text = "[[JupyterHub.load_roles]]\nname = \"a\"\n\n[[JupyterHub.load_roles]]\nname = \"b\"\n\
                    scopes = [\n  \"x\",\n  \"y\",\n]\n[JupyterHub.load_groups.g]\nusers = []\n";
        let assignments = parse(Path::new("hubd.toml"), text, &mut problems);
        assert_eq!(problems, []);
        let line = |assignment: usize, part: &str| assignments[assignment].parts[part].to_string();
        assert_eq!(assignments[0].origin.to_string(), "hubd.toml:1:14");
        assert_eq!(line(0, "/0"), "hubd.toml:1:1");
        assert_eq!(line(0, "/1"), "hubd.toml:4:1");
        assert_eq!(line(0, "/1/scopes/1"), "hubd.toml:8:3");
        assert_eq!(line(1, "/g/users"), "hubd.toml:11:1");
    }

    #[test]
    fn half_written_toml_names_line_and_cure() {
        let problems = problems_of("[JupyterHub]\nport = 8000\nip = \"127.0.0.1\n");
        assert!(problems[0].starts_with("hubd.toml:3:"), "{problems:?}");
        assert!(problems[0].contains("not valid TOML"));
        assert!(problems[0].contains("cure: finish this line"));
        assert!(problems_of("[JupyterHub\nport = 8000\n")[0].starts_with("hubd.toml:1:"));
    }

    #[test]
    fn an_option_outside_of_a_table_is_told_where_it_belongs() {
        let problem = problems_of("port = 8000\n").remove(0);
        assert!(problem.contains("hubd.toml:1:1: port stands outside"));
        assert!(problem.contains("[JupyterHub]"));
    }

    #[test]
    fn a_line_of_python_is_recognised() {
        assert!(problems_of("c.JupyterHub.port = 8000\n")[0].contains("leave out the c."));
    }

    #[test]
    fn a_missing_unreadable_or_python_file_is_a_problem() {
        let mut problems = Vec::new();
        assert_eq!(read(Path::new("/nonexistent/hubd.toml"), &mut problems), []);
        assert!(problems[0].to_string().contains("/nonexistent/hubd.toml: cannot be read"));
        let directory = tempfile::tempdir().unwrap();
        let python = directory.path().join("jupyterhub_config.py");
        std::fs::write(&python, "c.JupyterHub.port = 8000").unwrap();
        read(&python, &mut problems);
        assert!(problems[1].text.contains("Python"));
        std::fs::write(&python, [0xff, 0xfe]).unwrap();
        read(&python, &mut problems);
        assert!(problems[2].cure.contains("UTF-8"));
    }
}
