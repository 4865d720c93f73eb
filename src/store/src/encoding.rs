//! How JupyterHub writes times and JSON into columns (`DATETIME` and `TEXT`).

use std::io;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

/// Why a value is not JSON.
pub type JsonError = serde_json::Error;

/// JSON text as Python's `json.dumps` writes it: `", "` and `": "` between items, `\u` escapes beyond ASCII.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, JsonError> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonStyle))?;
    // The formatter writes ASCII only.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of JSON text.
pub fn from_json(text: &str) -> Result<Value, JsonError> {
    serde_json::from_str(text)
}

/// The text of a `DATETIME` column: UTC, always six digits of a second.
pub(crate) fn time_column(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// The time in a `DATETIME` column. What is no date counts as not set: a bad date must keep nobody out.
pub(crate) fn column_time(text: Option<String>) -> Option<SystemTime> {
    let civil: DateTime = text?.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().into())
}

/// The text of a JSON list column.
pub(crate) fn list_column<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<&str> = items.into_iter().collect();
    to_json(&items).unwrap_or_else(|_| "[]".to_owned())
}

/// The strings in a JSON list column; NULL reads as an empty list.
pub(crate) fn column_list(text: Option<String>) -> Vec<String> {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The text of a JSON dict column; `null` is NULL.
pub(crate) fn dict_column(value: &Value) -> Option<String> {
    if value.is_null() { None } else { to_json(value).ok() }
}

/// The value in a JSON dict column.
pub(crate) fn column_dict(text: Option<String>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(&text).ok())
}

/// Writes as Python's `json.dumps` with its defaults.
struct PythonStyle;

impl Formatter for PythonStyle {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        let mut units = [0; 2];
        for character in fragment.chars() {
            if character.is_ascii() {
                write!(writer, "{character}")?;
            } else {
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_as_python_writes_it() {
        assert_eq!(dict_column(&Value::Null), None);
        assert_eq!(dict_column(&json!({})).as_deref(), Some("{}"));
        assert_eq!(
            dict_column(&json!({"a": 1, "é": [true, null]})).as_deref(),
            Some("{\"a\": 1, \"\\u00e9\": [true, null]}")
        );
        assert_eq!(to_json("😀\u{7f}\n\"").ok().as_deref(), Some("\"\\ud83d\\ude00\u{7f}\\n\\\"\""));
    }

    #[test]
    fn lists_keep_their_order_and_null_reads_as_empty() {
        assert_eq!(list_column([]), "[]");
        assert_eq!(list_column(["b", "a"]), "[\"b\", \"a\"]");
        assert_eq!(column_list(Some("[\"b\", \"a\"]".into())), ["b", "a"]);
        assert!(column_list(None).is_empty());
    }

    #[test]
    fn times_have_six_digits_and_round_trip() {
        let time = UNIX_EPOCH + Duration::from_micros(1_795_293_723_881_000);
        assert_eq!(time_column(time), "2026-11-21 20:42:03.881000");
        assert_eq!(column_time(Some("2026-11-21 20:42:03.881000".into())), Some(time));
        let whole = UNIX_EPOCH + Duration::from_secs(1_795_294_200);
        assert_eq!(time_column(whole), "2026-11-21 20:50:00.000000");
        assert_eq!(column_time(Some("2026-11-21 20:50:00.000000".into())), Some(whole));
    }

    #[test]
    fn a_broken_date_counts_as_not_set() {
        assert_eq!(column_time(Some("yesterday".into())), None);
        assert_eq!(column_time(None), None);
    }
}
