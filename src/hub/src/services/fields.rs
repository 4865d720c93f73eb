//! The fields of a service, each of its type.

use std::collections::BTreeMap;

use hubd_proto::UserName;
use serde_json::{Map, Value};

use super::spec::SpecError;

/// Longest wait for a service's URL, in seconds: a day.
const TIMEOUT_SECONDS_MAX: i64 = 86_400;

/// As they were said.
pub(super) type Fields = BTreeMap<String, Value>;

pub(super) fn text(fields: &Fields, key: &'static str) -> Result<Option<String>, SpecError> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(SpecError::Type(key, "a text")),
    }
}

pub(super) fn flag(fields: &Fields, key: &'static str) -> Result<Option<bool>, SpecError> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(yes)) => Ok(Some(*yes)),
        Some(_) => Err(SpecError::Type(key, "true or false")),
    }
}

pub(super) fn list(fields: &Fields, key: &'static str) -> Result<Option<Vec<String>>, SpecError> {
    let wrong = SpecError::Type(key, "a list of texts");
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Some)
            .ok_or(wrong),
        Some(_) => Err(wrong),
    }
}

pub(super) fn table(fields: &Fields, key: &'static str) -> Result<Option<Map<String, Value>>, SpecError> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(table)) => Ok(Some(table.clone())),
        Some(_) => Err(SpecError::Type(key, "a table")),
    }
}

/// A list, or one word as JupyterHub takes it too.
pub(super) fn command(fields: &Fields) -> Result<Option<Vec<String>>, SpecError> {
    match fields.get("command") {
        Some(Value::String(word)) => Ok(Some(vec![word.clone()])),
        _ => list(fields, "command"),
    }
}

pub(super) fn environment(fields: &Fields) -> Result<Option<BTreeMap<String, String>>, SpecError> {
    let Some(table) = table(fields, "environment")? else { return Ok(None) };
    let value = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let pairs = table.into_iter().map(|(name, found)| Some((name, value(found)?)));
    let wrong = SpecError::Type("environment", "a table of texts");
    pairs.collect::<Option<_>>().map(Some).ok_or(wrong)
}

pub(super) fn user(fields: &Fields) -> Result<Option<UserName>, SpecError> {
    let name = text(fields, "user")?.map(UserName::new).transpose();
    name.map_err(|_| SpecError::Type("user", "the name of an account"))
}

pub(super) fn seconds(fields: &Fields) -> Result<i64, SpecError> {
    /// JupyterHub's default.
    const DEFAULT: i64 = 30;
    match fields.get("timeout") {
        None | Some(Value::Null) => Ok(DEFAULT),
        Some(value) => value
            .as_i64()
            .filter(|seconds| (0..=TIMEOUT_SECONDS_MAX).contains(seconds))
            .ok_or(SpecError::Type("timeout", "a whole number of seconds, at most a day")),
    }
}
