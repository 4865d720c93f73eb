//! `hubd import-config`: a `jupyterhub_config.py` as hubd.toml, without Python.
//!
//! What is data becomes an option; what is code, or has no counterpart, is listed with its line and the way to do it
//! here. `statements.rs` takes the file apart, `python/` reads values, `convert.rs` finds the options. The
//! `config.yaml` of The Littlest JupyterHub is read by `yaml.rs` and `tljh.rs`.

mod convert;
#[cfg(test)]
mod documents;
mod operations;
mod python;
mod statements;
mod tljh;
mod yaml;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use convert::{Imported, Remark};
use python::{Py, World};
use statements::{Statement, statements};

/// Largest configuration that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Text of a hubd.toml, and what did not get into it.
pub struct Import {
    /// The file.
    pub toml: String,
    /// The rest, with lines.
    pub remarks: Vec<Remark>,
}

/// Reads a `jupyterhub_config.py`, or the `config.yaml` of The Littlest JupyterHub.
pub fn file(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Import> {
    use std::io::Read;
    let mut source = String::new();
    let open = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    open.take(FILE_BYTES_MAX).read_to_string(&mut source).with_context(|| path.display().to_string())?;
    let mut remarks = Vec::new();
    if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let leaves = yaml::read(&source, &mut remarks);
        let settings = tljh::settings(leaves, &mut remarks);
        return Ok(import(path, settings, remarks));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let world = World {
        variables: BTreeMap::new(),
        aliases: BTreeMap::new(),
        environment,
        directory: directory.to_path_buf(),
        file: path.to_path_buf(),
    };
    let settings = assignments(&source, world, &mut remarks);
    Ok(import(path, settings, remarks))
}

/// Settings as a file, with what did not get into it.
fn import(path: &Path, settings: Settings, mut remarks: Vec<Remark>) -> Import {
    let imported = convert::convert(settings, &mut remarks);
    remarks.sort_by_key(|remark| remark.line);
    Import { toml: written(&path.display().to_string(), &imported, &remarks), remarks }
}

/// What the file sets, by class and trait, with the line.
pub type Settings = BTreeMap<(String, String), (usize, Py)>;

fn assignments(source: &str, mut world: World<'_>, remarks: &mut Vec<Remark>) -> Settings {
    let mut settings = Settings::new();
    for statement in statements(source) {
        if let Err(remark) = one(&statement, &mut world, &mut settings) {
            remarks.push(remark);
        }
    }
    settings
}

/// Takes one statement; the error is what it is instead of data.
fn one(statement: &Statement, world: &mut World<'_>, settings: &mut Settings) -> Result<(), Remark> {
    let (text, line) = (statement.text.as_str(), statement.line);
    let remark = |what: String, how: &str| Remark { line, what, how: how.to_owned() };
    let first = text.split_whitespace().next().unwrap_or_default();
    if first == "from" {
        names_of_modules(text, world);
    }
    let harmless = ["import", "from", "pass", "global", "@"].contains(&first)
        || text.starts_with(['"', '\'', '@'])
        || ["def", "class", "async"].contains(&first)
        || text.contains("get_config()");
    if harmless {
        return Ok(());
    }
    if !statement.block.is_empty() || ["if", "for", "while", "with", "try:"].contains(&first) {
        let inside: Vec<String> = statement
            .block
            .iter()
            .filter(|(_, text)| text.starts_with("c."))
            .map(|(line, text)| format!("line {line}: {}", python::short(text)))
            .collect();
        let how = match inside.as_slice() {
            [] => "nothing in it sets an option: check whether it matters".to_owned(),
            inside => format!(
                "write what holds on this machine as [Class] option = value; it sets {}",
                inside.join("; ")
            ),
        };
        return Err(Remark { line, what: format!("{} is code", python::short(text)), how });
    }
    if text.starts_with("load_subconfig(") {
        return Err(remark(
            python::short(text),
            "run hubd import-config on that file too, and put the result into /etc/jupyterhub/conf.d/",
        ));
    }
    match text.strip_prefix("c.") {
        Some(rest) => setting(rest, line, world, settings),
        None => {
            variable(text, world);
            Ok(())
        }
    }
}

/// `from os.path import join, dirname as up`: other names for what is known.
fn names_of_modules(text: &str, world: &mut World<'_>) {
    let words = text.strip_prefix("from ").and_then(|text| text.split_once(" import "));
    let Some((module, names)) = words else { return };
    for name in names.trim_matches(['(', ')', ' ']).split(',') {
        let (name, alias) = name.split_once(" as ").unwrap_or((name, name));
        world.aliases.insert(alias.trim().to_owned(), format!("{}.{}", module.trim(), name.trim()));
    }
}

/// `name = expression`: a variable for later. What is code stays unknown, and is told where it is used.
fn variable(text: &str, world: &mut World<'_>) {
    let Some((name, expression)) = text.split_once('=') else { return };
    let (name, expression) = (name.trim(), expression.trim());
    // `pjoin = os.path.join` is another name for a function.
    if python::is_function(expression) {
        world.aliases.insert(name.to_owned(), expression.to_owned());
        return;
    }
    if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        match python::evaluate(expression, world) {
            Ok(value) => world.variables.insert(name.to_owned(), value),
            Err(_) => world.variables.remove(name),
        };
    }
}

/// `Class.trait = value` and its relatives.
fn setting(rest: &str, line: usize, world: &World<'_>, settings: &mut Settings) -> Result<(), Remark> {
    let name_end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
    let (names, operation) = rest.split_at(name_end);
    let mut names = names.split('.');
    let (class, key) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    let method = names.next();
    let failed = |why: String| convert::code(line, class, key, &why);
    let value = |text: &str| python::evaluate(text.trim(), world).map_err(failed);
    let place = (class.to_owned(), key.to_owned());
    let operation = operation.trim();
    if let Some(method) = method {
        let argument = operation.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let argument = argument.ok_or_else(|| failed(format!(".{method} is code")))?;
        // insert(0, x) and prepend(x) put it first; the order of what hubd reads in lists does not matter there.
        let argument =
            if method == "insert" { argument.split_once(',').map_or(argument, |(_, x)| x) } else { argument };
        let keywords =
            method == "update" && argument.contains('=') && !argument.trim_start().starts_with(['{', '[']);
        let value = if keywords { value(&format!("dict({argument})"))? } else { value(argument)? };
        let one = ["append", "add", "insert"].contains(&method);
        let more = if one { Py::List(vec![value]) } else { value };
        return grow(settings, place, line, more).map_err(failed);
    }
    if let Some(rest) = operation.strip_prefix('[') {
        let (item, assigned) = rest.split_once(']').ok_or_else(|| failed("it is code".to_owned()))?;
        let assigned = assigned.trim().strip_prefix('=').ok_or_else(|| failed("it is code".to_owned()))?;
        return grow(settings, place, line, Py::Dict(vec![(value(item)?, value(assigned)?)])).map_err(failed);
    }
    if let Some(more) = operation.strip_prefix("+=").or_else(|| operation.strip_prefix("|=")) {
        return grow(settings, place, line, value(more)?).map_err(failed);
    }
    let assigned = operation.strip_prefix('=').ok_or_else(|| failed("it is code".to_owned()))?;
    let value = value(assigned)?;
    settings.insert(place, (line, value));
    Ok(())
}

fn grow(settings: &mut Settings, place: (String, String), line: usize, more: Py) -> Result<(), String> {
    let (_, present) = settings.entry(place).or_insert((line, Py::None));
    match (present, more) {
        (present @ Py::None, more) => *present = more,
        (Py::List(items), Py::List(more)) => items.extend(more),
        (Py::Dict(entries), Py::Dict(more)) => {
            entries.retain(|(key, _)| !more.iter().any(|(new, _)| new == key));
            entries.extend(more);
        }
        (Py::Str(text), Py::Str(more)) => text.push_str(&more),
        _ => return Err("it adds something of another kind".to_owned()),
    }
    Ok(())
}

/// The file, with what is missing as comments at its end.
fn written(source: &str, imported: &Imported, remarks: &[Remark]) -> String {
    let mut text =
        format!("# Made by hubd import-config from {source}; see hubd.toml(5) and hubd-import-config(1).\n");
    for (class, entries) in &imported.options {
        writeln!(text, "\n[{class}]").ok();
        for (comment, line) in entries {
            for comment in comment.lines() {
                writeln!(text, "# {comment}").ok();
            }
            writeln!(text, "{line}").ok();
        }
    }
    if !remarks.is_empty() {
        text.push_str("\n# Not imported:\n");
    }
    for remark in remarks {
        writeln!(text, "#   line {}: {}\n#     {}", remark.line, remark.what, remark.how).ok();
    }
    text
}

#[cfg(test)]
mod tests;
