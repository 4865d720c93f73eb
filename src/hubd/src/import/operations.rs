//! What Python's operators and methods do to values.

use std::path::Path;

use super::python::Py;

/// Largest file that `open(…).read()` reads, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Whether a text such as `r'…'` begins here.
pub fn is_prefixed_string(text: &str) -> bool {
    let letters = text.find(['"', '\'']).unwrap_or(usize::MAX);
    let is_letter = |c: char| "rbufRBUF".contains(c);
    (1..=2).contains(&letters) && text.get(..letters).is_some_and(|prefix| prefix.chars().all(is_letter))
}

/// `open(path).read()`.
pub fn read(path: &Path) -> Result<Py, String> {
    use std::io::Read;
    let problem = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(problem)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(problem)?;
    Ok(Py::Str(text))
}

/// What methods of texts do that configurations use; nothing for others.
pub fn call_on(value: Py, method: &str, arguments: &[Py]) -> Option<Py> {
    let Py::Str(text) = &value else { return None };
    let argument = arguments.first().and_then(as_text);
    let list = |items: Vec<&str>| Py::List(items.into_iter().map(|item| Py::Str(item.to_owned())).collect());
    Some(match (method, argument) {
        // open(…).read() has been read already.
        ("read" | "encode" | "decode", _) => value,
        ("strip" | "rstrip" | "lstrip", None) => Py::Str(text.trim().to_owned()),
        ("lower", None) => Py::Str(text.to_lowercase()),
        ("split", None) => list(text.split_whitespace().collect()),
        ("split", Some(separator)) if !separator.is_empty() => list(text.split(separator.as_str()).collect()),
        ("splitlines" | "readlines", None) => list(text.lines().collect()),
        _ => return None,
    })
}

/// `a + b`.
pub fn add(a: Py, b: Py) -> Result<Py, String> {
    match (a, b) {
        (Py::Str(a), Py::Str(b)) => Ok(Py::Str(a + &b)),
        (Py::List(mut a), Py::List(b)) => {
            a.extend(b);
            Ok(Py::List(a))
        }
        (a, b) => arithmetic(a, b, |a, b| a + b),
    }
}

/// `a | b`.
pub fn union(a: Py, b: Py) -> Result<Py, String> {
    match (a, b) {
        (a @ Py::List(_), b @ Py::List(_)) => add(a, b),
        (Py::Dict(mut a), Py::Dict(b)) => {
            a.extend(b);
            Ok(Py::Dict(a))
        }
        _ => Err("| is code".to_owned()),
    }
}

/// A number of two numbers.
pub fn arithmetic(a: Py, b: Py, of: impl Fn(f64, f64) -> f64) -> Result<Py, String> {
    let number = |value: &Py| match value {
        Py::Int(number) => Some(*number as f64),
        Py::Float(number) => Some(*number),
        _ => None,
    };
    let result =
        number(&a).zip(number(&b)).map(|(a, b)| of(a, b)).ok_or("it computes with something else")?;
    let whole = matches!((&a, &b), (Py::Int(_), Py::Int(_)));
    Ok(if whole { Py::Int(result as i64) } else { Py::Float(result) })
}

/// A value as `str()` has it; nothing for lists and dicts.
pub fn as_text(value: &Py) -> Option<String> {
    match value {
        Py::Str(text) => Some(text.clone()),
        Py::Int(number) => Some(number.to_string()),
        Py::Float(number) => Some(number.to_string()),
        _ => None,
    }
}
