//! Signed cookie values as Tornado makes them.
//!
//! Format 2 is `2|1:0|<length>:<unix seconds>|<length>:<name>|<length>:<base64 value>|<hex HMAC-SHA256>`, the
//! HMAC over everything up to and including the last `|`. Format 1, `base64|seconds|hex HMAC-SHA1`, is read
//! only: cookies of an installation that is taken over may still have it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How far in the future, in seconds, a format 1 value may be dated: Tornado's limit.
const FORMAT_1_FUTURE_SECONDS_MAX: i64 = 31 * 86400;

/// Which formats are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formats {
    /// Format 2 alone.
    Two,
    /// Also the old one.
    OneAndTwo,
}

/// How a value is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check<'a> {
    /// The key.
    pub secret: &'a [u8],
    /// The cookie's name.
    pub name: &'a str,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// How old a value may be, in seconds.
    pub age_seconds_max: f64,
    /// Which formats are accepted.
    pub formats: Formats,
}

/// Signs `value` in format 2.
pub(crate) fn sign(secret: &[u8], name: &str, value: &[u8], now: i64) -> String {
    let (seconds, value) = (now.to_string(), STANDARD.encode(value));
    let mut text =
        format!("2|1:0|{}:{seconds}|{}:{name}|{}:{value}|", seconds.len(), name.len(), value.len());
    let signature = mac(hmac::HMAC_SHA256, secret, &[text.as_bytes()]);
    text.push_str(&signature);
    text
}

/// The value, if the signature is right and not too old.
pub(crate) fn verify(check: Check<'_>, signed: &str) -> Option<Vec<u8>> {
    verify_dated(check, signed).map(|(value, _)| value)
}

/// The same with the time of the signature, in seconds since 1970.
pub(crate) fn verify_dated(check: Check<'_>, signed: &str) -> Option<(Vec<u8>, i64)> {
    let version = signed.split_once('|').and_then(|(version, _)| version.parse::<u32>().ok());
    match version {
        Some(2) => verify_format_2(check, signed),
        None | Some(1 | 1000..) if check.formats == Formats::OneAndTwo => verify_format_1(check, signed),
        _ => None,
    }
}

fn verify_format_2(check: Check<'_>, signed: &str) -> Option<(Vec<u8>, i64)> {
    let (version, rest) = field(signed.strip_prefix("2|")?)?;
    let (seconds, rest) = field(rest)?;
    let (name, rest) = field(rest)?;
    let (value, signature) = field(rest)?;
    let covered = signed.len().checked_sub(signature.len())?;
    let expected = mac(hmac::HMAC_SHA256, check.secret, &[signed.get(..covered)?.as_bytes()]);
    verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).ok()?;
    let time: i64 = seconds.parse().ok()?;
    if version != "0" || name != check.name || is_too_old(check, time) {
        return None;
    }
    Some((STANDARD.decode(value).ok()?, time))
}

fn verify_format_1(check: Check<'_>, signed: &str) -> Option<(Vec<u8>, i64)> {
    let mut parts = signed.split('|');
    let (value, seconds, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let expected = mac(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        check.secret,
        &[check.name.as_bytes(), value.as_bytes(), seconds.as_bytes()],
    );
    verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).ok()?;
    let time: i64 = seconds.parse().ok()?;
    // Without a separator under the signature, digits could be moved between value and time.
    if is_too_old(check, time) || time > check.now + FORMAT_1_FUTURE_SECONDS_MAX || seconds.starts_with('0') {
        return None;
    }
    Some((STANDARD.decode(value).ok()?, time))
}

/// Takes `<length>:<text>|` off the front.
fn field(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    let length: usize = length.parse().ok()?;
    let value = rest.get(..length)?;
    Some((value, rest.get(length..)?.strip_prefix('|')?))
}

fn is_too_old(check: Check<'_>, time: i64) -> bool {
    (time as f64) < check.now as f64 - check.age_seconds_max
}

fn mac(algorithm: hmac::Algorithm, secret: &[u8], parts: &[&[u8]]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, secret));
    for part in parts {
        context.update(part);
    }
    super::cookies::hex(context.sign().as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("testdata/tornado_cookie.json")).unwrap()
    }

    fn secret(vectors: &Value) -> Vec<u8> {
        let text = vectors["cookie_secret_hex"].as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn values_are_signed_as_tornado_signs_them() {
        let vectors = vectors();
        for case in vectors["encode"].as_array().unwrap() {
            let (name, value) = (case["name"].as_str().unwrap(), case["value"].as_str().unwrap());
            let signed = sign(&secret(&vectors), name, value.as_bytes(), case["timestamp"].as_i64().unwrap());
            assert_eq!(signed, case["signed"].as_str().unwrap());
            assert_eq!(super::super::cookies::quoted(&signed), case["cookie_header_value"].as_str().unwrap());
        }
    }

    #[test]
    fn values_are_accepted_and_refused_as_tornado_does() {
        let vectors = vectors();
        for case in vectors["decode"].as_array().unwrap() {
            let secret = secret(&vectors);
            let check = Check {
                secret: &secret,
                name: case["name"].as_str().unwrap(),
                now: case["now"].as_i64().unwrap(),
                age_seconds_max: case["max_age_days"].as_f64().unwrap() * 86400.0,
                formats: if case["min_version"] == 2 { Formats::Two } else { Formats::OneAndTwo },
            };
            let value = verify(check, case["signed"].as_str().unwrap());
            let expected = case["result"].as_str().map(|text| text.as_bytes().to_vec());
            assert_eq!(value, expected, "{}", case["case"]);
        }
    }

    #[test]
    fn broken_lengths_are_refused_without_a_panic() {
        let check =
            Check { secret: b"k", name: "x", now: 0, age_seconds_max: 1.0, formats: Formats::OneAndTwo };
        for text in [
            "2|",
            "2|1:",
            "2|9:0|",
            "2|1:0|99999999999999999999:1|",
            "2|1:0|1:ü|",
            "2|-1:0|",
            "||",
            "|",
            "é|é|é",
        ] {
            assert_eq!(verify(check, text), None, "{text}");
        }
    }
}
