//! Reading a body, within limits.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::python;
use crate::error::HttpError;

/// Longest JSON body, in bytes: a list of ten thousand user names fits.
pub const JSON_BYTES_MAX: usize = 1 << 20;
/// Longest form, in bytes: OAuth's token requests are below 1 KiB.
pub const FORM_BYTES_MAX: usize = 64 << 10;
/// Longest wait for a whole body; a slower sender holds a connection for nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The JSON of a body; an empty one is `null`. The Content-Type does not matter.
pub async fn json(body: Body) -> Result<Value, HttpError> {
    let bytes = read(body, JSON_BYTES_MAX).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    match serde_json::from_slice::<Once>(&bytes) {
        Ok(Once(value)) => Ok(value),
        Err(error) => {
            // Of all errors only this one is of a field.
            let text = error.to_string();
            let repeated = text.strip_prefix(REPEATED).and_then(|rest| rest.rsplit_once(" at line "));
            Err(HttpError::bad_request(match repeated {
                Some((key, _)) => format!("Invalid JSON in body of request: the key {key} is repeated"),
                None => "Invalid JSON in body of request".to_owned(),
            }))
        }
    }
}

/// How the error of a repeated key begins.
const REPEATED: &str = "repeated key ";

/// Any JSON in which no object has a key twice: who checks the first would not see the second.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Once(value))) = entries.next_entry::<String, Once>()? {
            if map.contains_key(&key) {
                let shown: String = key.chars().take(KEY_CHARACTERS_SHOWN).collect();
                return Err(A::Error::custom(format!("{REPEATED}\"{}\"", shown.escape_debug())));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// How much of a key an error shows, in characters.
const KEY_CHARACTERS_SHOWN: usize = 100;

/// The JSON object of a body; an empty body is an empty object.
pub async fn object(body: Body, otherwise: &str) -> Result<Map<String, Value>, HttpError> {
    match json(body).await? {
        Value::Object(map) => Ok(map),
        // Old clients send an empty list.
        nothing if is_falsy(&nothing) => Ok(Map::new()),
        _ => Err(HttpError::bad_request(otherwise)),
    }
}

/// What a body about one kind of thing may hold, and the Python type that JupyterHub names in its errors.
pub struct Model {
    /// What it is about, as errors name it.
    pub kind: &'static str,
    /// Keys and types.
    pub keys: &'static [(&'static str, &'static str)],
}

impl Model {
    /// The object of a body: only keys that exist, each of its type.
    pub fn check(&self, data: Value) -> Result<Map<String, Value>, HttpError> {
        let data = match data {
            Value::Object(data) => data,
            other => {
                return Err(HttpError::bad_request(format!("Invalid JSON data: {}", python::repr(&other))));
            }
        };
        let wanted = |key: &str| self.keys.iter().find(|(known, _)| *known == key).map(|(_, kind)| *kind);
        if data.keys().any(|key| wanted(key).is_none()) {
            let shown = python::repr(&Value::Object(data));
            return Err(HttpError::bad_request(format!("Invalid JSON keys: {shown}")));
        }
        for (key, value) in &data {
            let (wanted, found) = (wanted(key).unwrap_or_default(), python::type_name(value));
            // JupyterHub has no way to take auth_state away again; here it is null.
            if wanted != found && !(key == "auth_state" && value.is_null()) {
                let text = format!("{}.{key} must be <class '{wanted}'>, not: <class '{found}'>", self.kind);
                return Err(HttpError::bad_request(text));
            }
        }
        Ok(data)
    }
}

/// Whether Python counts a value as nothing.
pub fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// A list of strings in a body; an empty one counts as none.
pub fn strings(data: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>, HttpError> {
    let wrong = || HttpError::bad_request(format!("{key} must be a list of strings"));
    let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(wrong);
    match data.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) if list.is_empty() => Ok(None),
        Some(Value::Array(list)) => list.iter().map(text).collect::<Result<_, _>>().map(Some),
        Some(_) => Err(wrong()),
    }
}

/// The fields of an urlencoded body, whatever its Content-Type.
pub async fn form(body: Body) -> Result<Vec<(String, String)>, HttpError> {
    let bytes = read(body, FORM_BYTES_MAX).await?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| HttpError::bad_request("The form is not UTF-8 text."))?;
    Ok(crate::pages::urls::pairs(text))
}

/// The whole body, which may hold secrets.
async fn read(body: Body, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, HttpError> {
    let collect = async {
        let mut body = Limited::new(body, bytes_max);
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    let text = format!("The body is larger than {} KiB.", bytes_max >> 10);
                    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
                } else {
                    HttpError::bad_request("The body broke off.")
                }
            })?;
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
        }
        Ok(bytes)
    };
    let late = |_| HttpError::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.");
    tokio::time::timeout(READ_TIMEOUT, collect).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    async fn read_text(text: impl Into<Body>) -> Result<Value, String> {
        json(text.into()).await.map_err(|error| {
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
            error.message.unwrap_or_default()
        })
    }

    #[tokio::test]
    async fn what_is_no_json_is_refused_and_a_repeated_key_is_named() {
        assert_eq!(read_text("").await, Ok(Value::Null));
        assert_eq!(
            read_text(r#"{"a": [1, -2, 1.5, "x", true, null, {}]}"#).await,
            Ok(json!({"a": [1, -2, 1.5, "x", true, null, {}]}))
        );
        let bad = "Invalid JSON in body of request";
        let deep = "[".repeat(100_000);
        for text in ["{", "nan", "1e999", "'a'", "[1,]", "{\"a\" 1}", "\u{feff}{}", "{} {}", deep.as_str()] {
            assert_eq!(read_text(text.to_owned()).await, Err(bad.to_owned()), "{:.20}", text);
        }
        assert_eq!(read_text(vec![b'"', 0xff, b'"']).await, Err(bad.to_owned()));
        let named = format!("{bad}: the key \"admin\" is repeated");
        assert_eq!(read_text(r#"{"admin": false, "b": 1, "admin": true}"#).await, Err(named.clone()));
        assert_eq!(read_text(r#"[{"x": {"admin": 1, "\u0061dmin": 2}}]"#).await, Err(named));
    }

    proptest! {
        #[test]
        fn any_bytes_are_json_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let ours = runtime.block_on(read_text(bytes.clone()));
            let plain = serde_json::from_slice::<Value>(&bytes);
            if bytes.trim_ascii().is_empty() {
                prop_assert_eq!(ours, Ok(Value::Null));
            } else {
                prop_assert_eq!(ours.is_ok(), plain.is_ok());
            }
        }
    }
}
