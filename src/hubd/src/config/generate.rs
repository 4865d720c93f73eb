//! Texts made from the table of options: the default configuration and the list of all options.

use std::fmt::Write;

use super::Values;
use super::names;
use super::option::Opt;
use super::options::OPTIONS;

/// Width of wrapped text, in characters.
const WIDTH: usize = 96;

/// A hubd.toml in which every option stands commented out with its default.
pub fn default_file() -> String {
    let mut text = String::from(
        "# Configuration of hubd, see hubd.toml(5). A table is a class of JupyterHub, a key is its option.\n\
         # Files in conf.d/ beside this one are read after it, then the command line.\n",
    );
    let mut class = "";
    for option in OPTIONS {
        if option.class != class {
            class = option.class;
            writeln!(text, "\n# {}\n[{class}]", names::heading(class)).ok();
        }
        text.push('\n');
        for line in wrap(option.help) {
            writeln!(text, "# {line}").ok();
        }
        match option.default {
            "" => writeln!(text, "# {} = …", option.key).ok(),
            default => writeln!(text, "# {} = {default}", option.key).ok(),
        };
    }
    text
}

/// All options for `--help-all`.
pub fn all_options() -> String {
    let mut text = String::new();
    let mut class = "";
    for option in OPTIONS {
        if option.class != class {
            class = option.class;
            writeln!(text, "{} [{class}]\n", names::heading(class)).ok();
        }
        writeln!(text, "--{}.{}={}", option.class, option.key, wanted(option)).ok();
        for line in wrap(option.help) {
            writeln!(text, "    {line}").ok();
        }
        if let Some((flag, _)) = option.flag {
            writeln!(text, "    Short: --{flag}").ok();
        }
        if !option.default.is_empty() {
            writeln!(text, "    Default: {}", option.default).ok();
        }
        text.push('\n');
    }
    text
}

/// Every option that is set, with its place; secrets are hidden.
pub fn shown(values: &Values) -> String {
    let mut text = String::new();
    for ((class, key), (value, origin)) in &values.set {
        writeln!(text, "{class}.{key} = {}  # {origin}", value.shown()).ok();
    }
    text
}

/// The same as a table of tables; secrets are left out.
pub fn shown_json(values: &Values) -> serde_json::Value {
    let mut classes = serde_json::Map::new();
    for ((class, key), (value, _)) in &values.set {
        let Some(value) = value.json() else { continue };
        let class =
            classes.entry(class.clone()).or_insert_with(|| serde_json::Value::Object(Default::default()));
        if let Some(class) = class.as_object_mut() {
            class.insert((*key).to_owned(), value);
        }
    }
    classes.into()
}

fn wanted(option: &Opt) -> String {
    format!("<{}>", option.kind.wanted())
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_assignment(line: &str) -> bool {
        line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_alphanumeric() || c == '_'))
    }

    #[test]
    fn the_default_file_is_toml_with_every_option() {
        let text = default_file();
        text.parse::<toml::Table>().unwrap();
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if is_assignment(rest) && !rest.contains('…') => rest,
                _ if line.starts_with('#') => "",
                _ => line,
            })
            .fold(String::new(), |all, line| all + line + "\n");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, uncommented).unwrap();
        let mut problems = Vec::new();
        let values = super::super::load(Some(&path), &[], &mut problems);
        assert_eq!(problems, []);
        assert_eq!(values.set.len(), OPTIONS.iter().filter(|option| !option.default.is_empty()).count());
    }

    #[test]
    fn secrets_are_not_shown() {
        let argument = super::super::Argument {
            class: "DummyAuthenticator".into(),
            key: "password".into(),
            text: "hunter2".into(),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, "[JupyterHub]\nport = 1\n").unwrap();
        let values = super::super::load(Some(&path), &[argument], &mut Vec::new());
        let text = shown(&values);
        assert!(text.contains("JupyterHub.port = 1  #") && !text.contains("hunter2"), "{text}");
        assert_eq!(shown_json(&values), serde_json::json!({ "JupyterHub": { "port": 1 } }));
    }
}
