//! The part of a host's name that stands for a person or service.

use aws_lc_rs::digest::{SHA256, digest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::hex;

/// Longest label of a host's name, in bytes (RFC 1035 section 2.3.4).
pub(super) const LABEL_BYTES_MAX: usize = 63;
/// How many characters of a name that makes no label are kept in the label made for it, as in JupyterHub.
const STUB_CHARACTERS: usize = 8;
/// How many digits of its hash follow, as in JupyterHub.
const HASH_DIGITS: usize = 7;
/// What Python's `quote(name, safe="")` leaves alone.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// JupyterHub's `_strict_dns_safe_encode`.
pub(super) fn label(name: &str) -> String {
    // Two dashes are in all that is made here, so that no name is taken for another's label.
    if name.contains("--") {
        return stub_and_hash(name);
    }
    if is_label(name) {
        return name.to_owned();
    }
    let international = punycode(name).map(|code| format!("xn--{code}"));
    international.filter(|label| is_label(label)).unwrap_or_else(|| stub_and_hash(name))
}

fn is_label(label: &str) -> bool {
    let numeric = label.bytes().all(|byte| byte.is_ascii_digit());
    let dashed = label.starts_with('-') || label.ends_with('-');
    let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && !numeric && !dashed && allowed
}

/// What is always a label of its own: some characters of the name, and its hash.
fn stub_and_hash(name: &str) -> String {
    let stub = name.chars().flat_map(char::to_lowercase);
    let stub: String = stub.filter(char::is_ascii_alphanumeric).take(STUB_CHARACTERS).collect();
    // Without it the dashes would be where those of an international label are (RFC 5891 section 4.2.3.1).
    let stub = if stub.is_empty() { "x" } else { &stub };
    let hash = hex(digest(&SHA256, name.as_bytes()).as_ref());
    format!("u-{stub}--{}", hash.get(..HASH_DIGITS).unwrap_or(&hash))
}

/// JupyterHub's `_dns_quote`.
pub(super) fn legacy_label(name: &str) -> String {
    let quoted = utf8_percent_encode(name, QUOTED).to_string().to_lowercase();
    quoted.replace('_', "%5f").replace('~', "%7e").replace('%', "_")
}

/// The Punycode of a name in one of the scripts that are the same in every version of IDNA (RFC 3492, 5892);
/// nothing for others, and for names in ASCII. Names in further scripts get a hash.
fn punycode(name: &str) -> Option<String> {
    const BASE: u32 = 36;
    const T_MIN: u32 = 1;
    const T_MAX: u32 = 26;
    const INITIAL_BIAS: u32 = 72;
    const INITIAL_N: u32 = 128;

    if name.starts_with('-') || name.ends_with('-') || !name.chars().all(is_international) {
        return None;
    }
    let mut output: String = name.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(output.len()).ok()?;
    let total = u32::try_from(name.chars().count()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while handled < total {
        let next = name.chars().map(u32::from).filter(|code| *code >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for code in name.chars().map(u32::from) {
            if code < n {
                delta = delta.checked_add(1)?;
            }
            if code == n {
                let mut rest = delta;
                let mut k = BASE;
                loop {
                    let t = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                    if rest < t {
                        break;
                    }
                    output.push(code_digit(t + (rest - t) % (BASE - t))?);
                    rest = (rest - t) / (BASE - t);
                    k += BASE;
                }
                output.push(code_digit(rest)?);
                bias = adapted(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    (basic < total).then_some(output)
}

/// RFC 3492 section 6.1.
fn adapted(delta: u32, points: u32, first: bool) -> u32 {
    const DAMP: u32 = 700;
    const SKEW: u32 = 38;
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 35 * 26 / 2 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + SKEW)
}

/// `a` to `z`, then `0` to `9`.
fn code_digit(value: u32) -> Option<char> {
    if value < 26 { char::from_u32(u32::from('a') + value) } else { char::from_digit(value - 26, 10) }
}

/// Small letters of Latin, Greek and Cyrillic, Kana, Hangul and Han, all of one code point.
fn is_international(c: char) -> bool {
    const COMPATIBILITY: [char; 5] = ['\u{133}', '\u{140}', '\u{149}', '\u{17f}', '\u{c7}'];
    match c {
        'a'..='z' | '0'..='9' | '-' => true,
        'ß'..='ö' | 'ø'..='\u{17f}' => c.is_lowercase() && !COMPATIBILITY.contains(&c),
        'ά'..='ώ' | 'а'..='џ' => c.is_lowercase(),
        '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{4e00}'..='\u{9fff}' => true,
        _ => false,
    }
}
