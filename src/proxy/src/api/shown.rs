//! What the REST API shows of a route, and how it writes paths and times.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use crate::data::{LAST_ACTIVITY, TARGET};
use crate::destination;
use crate::routes::{Route, Routes};

/// The key of a path in the API's table: decoded, and without a slash at its end.
pub(super) fn table_key(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    match decoded.strip_suffix('/').unwrap_or(&decoded) {
        "" => "/".to_owned(),
        key => key.to_owned(),
    }
}

impl Routes {
    /// All routes with what the REST API shows of them, a JSON object; in no order.
    pub fn shown(&self) -> Vec<(String, String)> {
        self.all().iter().map(|route| (route.prefix.clone(), shown(route))).collect()
    }
}

pub(super) fn route_key(route: &Route) -> String {
    table_key(&route.canonical)
}

/// What the API shows of a route.
pub(super) fn shown(route: &Route) -> String {
    let data = route.data.clone();
    let data = match data.text(TARGET) {
        Some(_) => data,
        None => data.with(TARGET, destination::url(&route.destination.target)),
    };
    data.with(LAST_ACTIVITY, iso(route.seen_millis())).to_json()
}

/// Milliseconds since 1970 as JavaScript writes a date.
pub(super) fn iso(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    let mut text = String::new();
    if let Some(time) = time {
        // Writing to a String does not fail.
        write!(text, "{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")).ok();
    }
    text
}

/// The time in a query's `inactiveSince` or `inactive_since`, in milliseconds since 1970; the text if it is none.
pub(super) fn inactive_since(query: &str) -> Result<Option<i128>, String> {
    let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
    let value = |wanted: &str| {
        let (_, value) = pairs().find(|(name, value)| *name == wanted && !value.is_empty())?;
        Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    };
    let Some(text) = value("inactiveSince").or_else(|| value("inactive_since")) else { return Ok(None) };
    // What names no zone is taken as UTC, like all times that JupyterHub writes.
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let time = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    time.map(|time| Some(i128::from(time.as_millisecond()))).ok_or(text)
}
