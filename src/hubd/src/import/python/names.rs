//! Names: constants, variables, and the calls that are only data.

use std::path::{Path, PathBuf};

use super::super::operations::{as_text, read};
use super::{Py, Reader, short};

impl Reader<'_> {
    /// A name: a constant, a variable, or one of the calls that are only data.
    pub(super) fn named(&mut self) -> Result<Py, String> {
        let mut name = self.name().ok_or_else(|| self.code())?;
        while !self.world.variables.contains_key(&name) && self.rest().starts_with('.') {
            let before = self.at;
            self.at += 1;
            let Some(part) = self.name() else {
                self.at = before;
                break;
            };
            name = format!("{name}.{part}");
        }
        if let Some(known) =
            self.world.aliases.get(&name).or_else(|| self.world.aliases.get(name.split('.').next()?))
        {
            let below = name.split_once('.').filter(|_| !self.world.aliases.contains_key(&name));
            name = below.map_or_else(|| known.clone(), |(_, below)| format!("{known}.{below}"));
        }
        let constant = match name.as_str() {
            "True" => Some(Py::Bool(true)),
            "False" => Some(Py::Bool(false)),
            "None" => Some(Py::None),
            "__file__" => Some(Py::Str(self.world.file.display().to_string())),
            other => self.world.variables.get(other).cloned(),
        };
        if let Some(value) = constant {
            return Ok(value);
        }
        if name == "os.environ" && self.take("[") {
            let key = self.list("]")?;
            return self.variable(&key);
        }
        if !self.take("(") {
            return Err(format!("{name} is not known here"));
        }
        if name == "dict" {
            return self.keywords();
        }
        let arguments = self.list(")").map_err(|_| format!("{name}() is code"))?;
        self.call(&name, &arguments)
    }

    fn keywords(&mut self) -> Result<Py, String> {
        let mut entries = Vec::new();
        while !self.take(")") {
            let name = self.name().filter(|_| self.take("=")).ok_or_else(|| "dict() is code".to_owned())?;
            entries.push((Py::Str(name), self.expression()?));
            self.take(",");
        }
        Ok(Py::Dict(entries))
    }

    fn variable(&self, key: &[Py]) -> Result<Py, String> {
        let name = key.first().and_then(as_text).ok_or_else(|| self.code())?;
        let value = (self.world.environment)(&name);
        match (value, key.get(1)) {
            (Some(value), _) => Ok(Py::Str(value)),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => {
                Err(format!("the environment variable {name} is not set now: run this where it is"))
            }
        }
    }

    fn call(&self, name: &str, arguments: &[Py]) -> Result<Py, String> {
        let texts: Option<Vec<String>> = arguments.iter().map(as_text).collect();
        let first = arguments.first();
        match (name, first) {
            ("os.environ.get" | "os.getenv", Some(_)) => {
                let default = arguments.get(1).cloned().unwrap_or(Py::None);
                self.variable(&[arguments.first().cloned().unwrap_or(Py::None), default])
            }
            ("open", Some(Py::Str(path))) => read(&self.world.directory.join(path)),
            ("set" | "list" | "tuple" | "frozenset", None) => Ok(Py::List(Vec::new())),
            ("set" | "list" | "tuple" | "frozenset" | "sorted", Some(Py::List(items))) => {
                Ok(Py::List(items.clone()))
            }
            ("int", Some(Py::Str(text))) => {
                text.trim().parse().map(Py::Int).map_err(|_| format!("{} is no number", short(text)))
            }
            ("float", Some(Py::Str(text))) => {
                text.trim().parse().map(Py::Float).map_err(|_| format!("{} is no number", short(text)))
            }
            ("int" | "float", Some(number @ (Py::Int(_) | Py::Float(_)))) => Ok(number.clone()),
            ("str", Some(value)) => as_text(value).map(Py::Str).ok_or_else(|| self.code()),
            ("bytes.fromhex", Some(Py::Str(text))) => {
                let digits: String = text.split_whitespace().collect();
                let bytes =
                    crate::secrets::from_hex(&digits).ok_or_else(|| format!("{} is no hex", short(text)))?;
                Ok(Py::Bytes(bytes.to_vec()))
            }
            ("os.path.join", Some(_)) => {
                let parts = texts.ok_or_else(|| self.code())?;
                Ok(Py::Str(parts.iter().collect::<PathBuf>().display().to_string()))
            }
            ("os.path.dirname", Some(Py::Str(path))) => {
                let parent = Path::new(path).parent().unwrap_or(Path::new(""));
                Ok(Py::Str(parent.display().to_string()))
            }
            ("os.path.abspath" | "os.path.realpath", Some(path @ Py::Str(_))) => Ok(path.clone()),
            _ => Err(format!("{name}() is code")),
        }
    }
}
