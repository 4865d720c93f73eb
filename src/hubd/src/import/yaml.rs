//! As much of YAML as `tljh-config` writes: nested tables, lists of single values, and values on one line.
//!
//! Whatever else a file has is a remark with its line, so that nothing is lost unseen.

use super::convert::Remark;
use super::python::{Py, short};

/// Deepest nesting of a file.
const DEPTH_MAX: usize = 20;

/// A value with the keys above it, outermost first.
#[derive(Debug, PartialEq)]
pub struct Leaf {
    /// The keys.
    pub path: Vec<String>,
    /// The line that it begins on, counted from 1.
    pub line: usize,
    /// The value; a list is a list of single values.
    pub value: Py,
}

/// A line that says something.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a file; what cannot be read becomes a remark.
pub fn read(source: &str, remarks: &mut Vec<Remark>) -> Vec<Leaf> {
    let lines: Vec<Line<'_>> = source
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let text = without_comment(line).trim_end();
            Line { number: index + 1, indent: text.len() - text.trim_start().len(), text: text.trim_start() }
        })
        .filter(|line| !line.text.is_empty() && !["---", "...", "{}"].contains(&line.text))
        .collect();
    let mut reader = Reader { lines: &lines, at: 0, leaves: Vec::new(), remarks };
    while reader.at < lines.len() {
        reader.table(&mut Vec::new());
    }
    reader.leaves
}

struct Reader<'a, 'b> {
    lines: &'a [Line<'a>],
    at: usize,
    leaves: Vec<Leaf>,
    remarks: &'b mut Vec<Remark>,
}

impl Reader<'_, '_> {
    /// Lines of one indentation, each `key: value`, and what belongs to them.
    fn table(&mut self, path: &mut Vec<String>) {
        let Some(indent) = self.lines.get(self.at).map(|line| line.indent) else { return };
        while let Some(line) = self.lines.get(self.at).filter(|line| line.indent >= indent) {
            let pair = line.text.split_once(':').filter(|(key, rest)| {
                line.indent == indent && !key.starts_with('-') && (rest.is_empty() || rest.starts_with(' '))
            });
            let Some((key, rest)) = pair else {
                self.strange();
                continue;
            };
            self.at += 1;
            path.push(unquoted(key.trim()));
            self.value(rest.trim(), line.number, indent, path);
            path.pop();
        }
    }

    /// What stands after a key, or below it.
    fn value(&mut self, rest: &str, number: usize, indent: usize, path: &mut Vec<String>) {
        let below = self.lines.get(self.at).filter(|_| rest.is_empty());
        let value = match below {
            Some(next) if next.indent >= indent && next.text.starts_with('-') => self.list(next.indent),
            Some(next) if next.indent > indent && path.len() < DEPTH_MAX => return self.table(path),
            _ => scalar(rest),
        };
        match value {
            Some(value) => self.leaves.push(Leaf { path: path.clone(), line: number, value }),
            None => {
                self.remark(number, rest);
                // What is below belongs to it.
                while self.lines.get(self.at).is_some_and(|line| line.indent > indent) {
                    self.at += 1;
                }
            }
        }
    }

    /// Lines `- value`.
    fn list(&mut self, indent: usize) -> Option<Py> {
        let mut items = Vec::new();
        while let Some(line) = self.lines.get(self.at).filter(|line| line.indent == indent) {
            let Some(item) = line.text.strip_prefix('-') else { break };
            match scalar(item.trim()).filter(|item| *item != Py::None && !is_pair(line.text)) {
                Some(item) => items.push(item),
                None => self.remark(line.number, line.text),
            }
            self.at += 1;
        }
        Some(Py::List(items))
    }

    fn strange(&mut self) {
        if let Some(line) = self.lines.get(self.at) {
            self.remark(line.number, line.text);
        }
        self.at += 1;
    }

    fn remark(&mut self, line: usize, text: &str) {
        let what = format!("{} is not what tljh-config writes", short(text));
        self.remarks.push(Remark {
            line,
            what,
            how: "write it into hubd.toml by hand, see hubd.toml(5)".to_owned(),
        });
    }
}

/// Whether an item of a list is a table of its own.
fn is_pair(text: &str) -> bool {
    !text.contains(['"', '\'']) && text.contains(": ")
}

/// A value on one line; nothing for blocks of text, anchors and tables in braces.
fn scalar(text: &str) -> Option<Py> {
    let first = text.chars().next();
    Some(match (text, first) {
        ("" | "~" | "null" | "Null" | "None", _) => Py::None,
        ("true" | "True" | "yes" | "on", _) => Py::Bool(true),
        ("false" | "False" | "no" | "off", _) => Py::Bool(false),
        ("{}", _) => Py::Dict(Vec::new()),
        (_, Some('[')) => {
            let inside = text.strip_prefix('[')?.strip_suffix(']')?.trim();
            let items = inside.split(',').map(str::trim).filter(|item| !item.is_empty());
            Py::List(items.map(scalar).collect::<Option<_>>()?)
        }
        (_, Some('\'' | '"')) if text.len() > 1 && text.ends_with(first?) => Py::Str(unquoted(text)),
        (_, Some('|' | '>' | '&' | '*' | '!' | '{' | '%' | '@' | '`' | '\'' | '"')) => return None,
        _ => match (text.parse(), text.parse::<f64>()) {
            (Ok(number), _) => Py::Int(number),
            (_, Ok(number)) if number.is_finite() => Py::Float(number),
            _ => Py::Str(text.to_owned()),
        },
    })
}

/// A text without its quotes.
fn unquoted(text: &str) -> String {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    match (inside('\''), inside('"')) {
        (Some(inside), _) => inside.replace("''", "'"),
        (_, Some(inside)) => inside.replace("\\\"", "\"").replace("\\\\", "\\"),
        _ => text.to_owned(),
    }
}

/// A line up to its comment, which begins after a space and outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match quote {
            None if c == '#' && before.is_whitespace() => return line.get(..at).unwrap_or(line),
            None if (c == '"' || c == '\'') && !before.is_alphanumeric() => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(source: &str) -> (Vec<String>, Vec<usize>) {
        let mut remarks = Vec::new();
        let leaves = read(source, &mut remarks);
        let shown = |leaf: &Leaf| format!("{} {} {:?}", leaf.line, leaf.path.join("."), leaf.value);
        (leaves.iter().map(shown).collect(), remarks.iter().map(|remark| remark.line).collect())
    }

    #[test]
    fn what_tljh_config_writes_is_read_with_its_lines() {
        let (leaves, remarks) = leaves(
            "# by hand\n---\nusers:\n  admin:\n  - ann   # the boss\n  - 'ben#2'\n  allowed: [carl, \"dora\"]\nlimits:\n    memory: 4G\n    cpu: 1.5\n\
             https:\n  enabled: true\n  port: 8443\n  letsencrypt:\n    email:\n    domains: []\nextra: {}\n",
        );
        assert_eq!(
            leaves,
            [
                "4 users.admin List([Str(\"ann\"), Str(\"ben#2\")])",
                "7 users.allowed List([Str(\"carl\"), Str(\"dora\")])",
                "9 limits.memory Str(\"4G\")",
                "10 limits.cpu Float(1.5)",
                "12 https.enabled Bool(true)",
                "13 https.port Int(8443)",
                "15 https.letsencrypt.email None",
                "16 https.letsencrypt.domains List([])",
                "17 extra Dict([])",
            ]
        );
        assert_eq!(remarks.len(), 0);
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line_and_the_rest_is_read() {
        let (leaves, remarks) = leaves(
            "a: |\n  text: of\n  many lines\nb: &anchor 1\nc:\n- x: 1\n- y\n- [1\nd: {e: 1}\njust words\n  deeper: 1\nf: 'open\ng: 2\n",
        );
        assert_eq!(leaves, ["5 c List([Str(\"y\")])", "13 g Int(2)"]);
        assert_eq!(remarks, [1, 4, 6, 8, 9, 10, 11, 12]);
        assert_eq!(self::leaves(&"a:\n".repeat(3)).0.len(), 3);
        assert_eq!(self::leaves("").0.len(), 0);
        let deep: String = (0..100).map(|level| format!("{}k:\n", " ".repeat(level))).collect();
        assert!(!self::leaves(&deep).1.is_empty());
    }
}
