//! Reading a body, within limits.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
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
    serde_json::from_slice(&bytes).map_err(|_| HttpError::bad_request("Invalid JSON in body of request"))
}

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
