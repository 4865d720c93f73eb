//! Values of Python expressions that are nothing but data: literals, concatenation, the environment, files.

mod names;
mod texts;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::operations::{add, arithmetic, call_on, is_prefixed_string, union};

/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 50;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Py {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text, or bytes that are text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, tuple or set.
    List(Vec<Py>),
    /// A dict.
    Dict(Vec<(Py, Py)>),
}

/// What expressions may ask for.
pub struct World<'a> {
    /// Variables that were assigned before.
    pub variables: BTreeMap<String, Py>,
    /// Other names of functions and modules: `pjoin` for `os.path.join`.
    pub aliases: BTreeMap<String, String>,
    /// The environment.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Where relative paths start.
    pub directory: PathBuf,
    /// The configuration file, `__file__`.
    pub file: PathBuf,
}

/// Evaluates an expression; the error says what it cannot.
pub fn evaluate(text: &str, world: &World<'_>) -> Result<Py, String> {
    let mut reader = Reader { text, at: 0, world, depth: 0 };
    let value = reader.expression()?;
    reader.space();
    if reader.rest().is_empty() { Ok(value) } else { Err(format!("{} is code", short(text))) }
}

/// Functions that only make data of data.
const FUNCTIONS: &[&str] = &[
    "open",
    "os.environ.get",
    "os.getenv",
    "os.path.abspath",
    "os.path.dirname",
    "os.path.join",
    "os.path.realpath",
];

/// Whether a text is the name of a function that can be called here.
pub fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// An expression for a message, in one short line.
pub fn short(text: &str) -> String {
    const SHOWN: usize = 40;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    if text.chars().count() > SHOWN { format!("{line}…") } else { line }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    world: &'a World<'a>,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn name(&mut self) -> Option<String> {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name =
            rest.get(..end).filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))?;
        let name = name.to_owned();
        self.at += end;
        Some(name)
    }

    fn expression(&mut self) -> Result<Py, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        let mut value = self.product()?;
        loop {
            value = if self.take("+") {
                add(value, self.product()?)?
            } else if self.take("|") {
                union(value, self.product()?)?
            } else if self.take("-") {
                arithmetic(value, self.product()?, |a, b| a - b)?
            } else {
                break;
            };
        }
        self.depth -= 1;
        Ok(value)
    }

    fn product(&mut self) -> Result<Py, String> {
        let mut value = self.operand()?;
        while self.take("*") {
            value = arithmetic(value, self.operand()?, |a, b| a * b)?;
        }
        Ok(value)
    }

    /// A value with what is called on it.
    fn operand(&mut self) -> Result<Py, String> {
        let mut value = self.atom()?;
        while self.take(".") {
            let method = self.name().ok_or_else(|| self.code())?;
            if !self.take("(") {
                return Err(self.code());
            }
            let arguments = self.list(")")?;
            value = call_on(value, &method, &arguments).ok_or_else(|| format!(".{method}() is code"))?;
        }
        Ok(value)
    }

    fn code(&self) -> String {
        format!("{} is code", short(self.text))
    }

    fn atom(&mut self) -> Result<Py, String> {
        self.space();
        let rest = self.rest();
        let first = rest.chars().next().ok_or_else(|| self.code())?;
        match first {
            '[' => {
                self.take("[");
                self.list("]").map(Py::List)
            }
            '(' => self.parentheses(),
            '{' => self.braces(),
            '-' => {
                self.take("-");
                arithmetic(Py::Int(0), self.atom()?, |a, b| a - b)
            }
            '0'..='9' => self.number(),
            '"' | '\'' => self.strings(),
            _ if is_prefixed_string(rest) => self.strings(),
            _ => self.named(),
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Py>, String> {
        let mut items = Vec::new();
        loop {
            if self.take(end) {
                return Ok(items);
            }
            items.push(self.expression()?);
            if !self.take(",") {
                return if self.take(end) { Ok(items) } else { Err(self.code()) };
            }
        }
    }

    fn parentheses(&mut self) -> Result<Py, String> {
        self.take("(");
        if self.take(")") {
            return Ok(Py::List(Vec::new()));
        }
        let first = self.expression()?;
        if self.take(")") {
            return Ok(first);
        }
        if !self.take(",") {
            return Err(self.code());
        }
        let mut items = vec![first];
        items.extend(self.list(")")?);
        Ok(Py::List(items))
    }

    fn braces(&mut self) -> Result<Py, String> {
        self.take("{");
        if self.take("}") {
            return Ok(Py::Dict(Vec::new()));
        }
        let first = self.expression()?;
        if !self.take(":") {
            let mut items = vec![first];
            if self.take(",") {
                items.extend(self.list("}")?);
            } else if !self.take("}") {
                return Err(self.code());
            }
            return Ok(Py::List(items));
        }
        let mut entries = vec![(first, self.expression()?)];
        while self.take(",") {
            if self.take("}") {
                return Ok(Py::Dict(entries));
            }
            let key = self.expression()?;
            if !self.take(":") {
                return Err(self.code());
            }
            entries.push((key, self.expression()?));
        }
        if self.take("}") { Ok(Py::Dict(entries)) } else { Err(self.code()) }
    }

    fn number(&mut self) -> Result<Py, String> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default().replace('_', "");
        self.at += end;
        let radix =
            [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(prefix, _)| text.starts_with(prefix));
        let whole = match radix {
            Some((prefix, radix)) => i64::from_str_radix(text.trim_start_matches(prefix), radix).ok(),
            None => text.parse().ok(),
        };
        let number = whole.map(Py::Int).or_else(|| text.parse().ok().map(Py::Float));
        number.ok_or_else(|| format!("{text} is no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Py, String> {
        let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let variables = [("base".to_owned(), Py::Str("/srv".into()))].into();
        let directory = std::env::temp_dir();
        let aliases = [("pjoin".to_owned(), "os.path.join".to_owned())].into();
        let file = "/etc/x/c.py".into();
        evaluate(text, &World { variables, aliases, environment: &environment, directory, file })
    }

    fn text(text: &str) -> Py {
        Py::Str(text.to_owned())
    }

    #[test]
    fn data_is_read() {
        for (source, wanted) in [
            ("'a' \"b\" r'\\n'", text("ab\\n")),
            ("'''x\ny'''", text("x\ny")),
            ("0o600", Py::Int(384)),
            ("60 * 60 * 24", Py::Int(86_400)),
            ("1.5", Py::Float(1.5)),
            ("-1", Py::Int(-1)),
            ("{'a', 'b'}", Py::List(vec![text("a"), text("b")])),
            ("set()", Py::List(vec![])),
            ("('a',)", Py::List(vec![text("a")])),
            ("(\n'a'\n)", text("a")),
            ("{'a': [1, True], }", Py::Dict(vec![(text("a"), Py::List(vec![Py::Int(1), Py::Bool(true)]))])),
            ("dict(a=1)", Py::Dict(vec![(text("a"), Py::Int(1))])),
            ("os.environ['HOME'] + '/x'", text("/root/x")),
            ("os.environ.get('NONE', 'y')", text("y")),
            ("os.getenv('NONE')", Py::None),
            ("os.path.join(base, 'db')", text("/srv/db")),
            ("pjoin(base, 'db')", text("/srv/db")),
            ("bytes.fromhex('00 fF')", Py::Bytes(vec![0, 255])),
            ("os.path.dirname(__file__)", text("/etc/x")),
            ("f'{base}/{{x}}'", text("/srv/{x}")),
            ("'a b'.split()", Py::List(vec![text("a"), text("b")])),
            ("b'\\xff'", Py::Bytes(vec![255])),
        ] {
            assert_eq!(value(source), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn code_is_named_and_not_run() {
        for source in [
            "my_hook",
            "bytes.fromhex('0')",
            "bytes.fromhex('no hex')",
            "sys.executable",
            "lambda s: 1",
            "subprocess.check_output(['x'])",
            "[x for x in y]",
            "a if b else c",
            "'a",
            "{'a': }",
            "1 +",
        ] {
            assert!(value(source).is_err(), "{source}");
        }
        assert!(value("os.environ['NONE']").unwrap_err().contains("NONE is not set"));
        assert!(value(&"[".repeat(10_000)).is_err());
    }
}
