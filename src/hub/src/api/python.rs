//! JSON values as Python shows them in JupyterHub's error texts.

use serde_json::Value;

/// Longest text shown, in characters: it repeats what a client sent.
const CHARACTERS_MAX: usize = 400;

/// The name of a value's type in Python.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// Python's `int()` of a text: a sign, digits, underscores between digits. What is too large is the largest.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let groups = digits.split('_');
    if !groups.clone().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let number = groups.flat_map(str::bytes).fold(0_i64, |number, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
    });
    Some(number.saturating_mul(sign))
}

/// Bytes as Python shows them: `b'\\xff'`.
pub fn bytes(bytes: &[u8]) -> String {
    format!("b'{}'", bytes.escape_ascii())
}

/// Python's `repr` of a value, cut if it is long.
pub fn repr(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => text.push_str(&quote(string)),
        Value::Array(list) => {
            text.push('[');
            for (index, item) in list.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                text.push_str(&quote(key));
                text.push_str(": ");
                write(item, text);
            }
            text.push('}');
        }
    }
}

fn quote(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\\' => quoted.push_str("\\\\"),
            character if character == quote => quoted.extend(['\\', character]),
            character if character.is_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(character)))
            }
            character => quoted.push(character),
        }
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_are_what_python_takes_for_them() {
        for (text, number) in
            [("12", 12), (" -3 ", -3), ("+1", 1), ("1_000", 1000), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        for text in ["", "-", "1.5", "x", "_1", "1__0", "1_", "--1", "0x1"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        for (value, shown) in [
            (json!(null), "None"),
            (json!([true, 1, 1.5]), "[True, 1, 1.5]"),
            (json!({"a": "x"}), "{'a': 'x'}"),
            (json!("it's"), "\"it's\""),
            (json!("a\n\u{1}"), "'a\\n\\x01'"),
        ] {
            assert_eq!(repr(&value), shown);
        }
        assert_eq!(repr(&json!("x".repeat(1000))).chars().count(), CHARACTERS_MAX + 3);
    }
}
