//! Reading a body, within limits.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

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
        Value::Null => Ok(Map::new()),
        // Python counts an empty list as nothing, and old clients send one.
        Value::Array(list) if list.is_empty() => Ok(Map::new()),
        Value::Object(map) => Ok(map),
        _ => Err(HttpError::bad_request(otherwise)),
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
