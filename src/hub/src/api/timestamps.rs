//! Times as the API writes and reads them.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use serde_json::Value;

/// To the second, and to the microsecond.
static WHOLE: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
static EXACT: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// ISO 8601 in UTC with a `Z`; microseconds only when there are some. Nothing is `null`.
pub fn write(time: Option<SystemTime>) -> Value {
    let Some(time) = time.and_then(|time| Timestamp::try_from(time).ok()) else { return Value::Null };
    let printer = if time.subsec_microsecond() == 0 { &WHOLE } else { &EXACT };
    Value::String(printer.timestamp_to_string(&time))
}

/// A time in one of the usual forms; one without an offset is UTC, and `now` fills in what it does not say.
pub fn read(text: &str, now: SystemTime) -> Option<SystemTime> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.into());
    }
    if let Ok(time) = jiff::fmt::rfc2822::parse(text) {
        return Some(time.timestamp().into());
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)));
    if let Some(time) = civil.ok().and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()) {
        return Some(time.timestamp().into());
    }
    super::dates::parse(text, Timestamp::try_from(now).ok()?).map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_jupyterhub_writes_them() {
        for (text, written) in [
            ("2026-11-21T20:42:03.881Z", "2026-11-21T20:42:03.881000Z"),
            ("2026-11-21T20:50:00Z", "2026-11-21T20:50:00Z"),
            ("2026-01-02T03:04:05.000001Z", "2026-01-02T03:04:05.000001Z"),
            ("2026-11-21 20:50:00+01:00", "2026-11-21T19:50:00Z"),
            ("2026-11-21T20:42:01.341123", "2026-11-21T20:42:01.341123Z"),
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("Sat, 21 Nov 2026 20:50:00 GMT", "2026-11-21T20:50:00Z"),
        ] {
            assert_eq!(write(read(text, SystemTime::UNIX_EPOCH)), Value::String(written.into()), "{text}");
        }
        assert_eq!(write(None), Value::Null);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["garbage", "", "2026-13-01", "1200000"] {
            assert_eq!(read(text, SystemTime::UNIX_EPOCH), None, "{text}");
        }
    }
}
