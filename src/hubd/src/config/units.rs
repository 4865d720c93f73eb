//! Times, sizes and tables as text.

use std::collections::BTreeMap;

use toml::Value as Toml;

/// Seconds of a whole number or of text such as `1h 30m`; nothing for anything else.
pub fn seconds(toml: &Toml) -> Option<i64> {
    let text = match toml {
        Toml::Integer(number) => return Some(*number),
        // JupyterHub takes a float where it wants seconds.
        Toml::Float(number) if number.fract() == 0.0 => return whole(*number),
        Toml::String(text) => text.trim(),
        _ => return None,
    };
    if text.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let length = match unit {
            "s" => 1,
            // Digits alone are seconds, if nothing else is said.
            "" if number.len() == text.len() => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(length)?)?;
        rest = after.trim_start();
    }
    Some(total)
}

/// Bytes as JupyterHub reads a size: a number, or a number and one of K, M, G, T.
pub fn bytes(toml: &Toml) -> Option<i64> {
    let text = match toml {
        Toml::Integer(number) => return Some(*number),
        Toml::Float(number) => return whole(*number),
        Toml::String(text) => text,
        _ => return None,
    };
    let suffix = text.chars().last()?;
    let factor: i64 = match suffix {
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1 << 40,
        _ => return None,
    };
    let number: f64 = text.strip_suffix(suffix)?.trim().parse().ok()?;
    whole(number * factor as f64)
}

/// The whole part of a number that is small enough to have one.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// A table in one line of TOML.
pub fn toml_table(table: &BTreeMap<String, serde_json::Value>) -> String {
    let entries: Vec<String> =
        table.iter().map(|(key, value)| format!("{} = {}", toml_key(key), toml(value))).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A key as TOML wants it: bare where it may be.
pub fn toml_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { serde_json::Value::from(key).to_string() }
}

/// A value in one line of TOML. TOML has no null; it becomes an empty text.
pub fn toml(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(map) => {
            toml_table(&map.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        serde_json::Value::Null => "\"\"".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_units() {
        let read = |text: &str| seconds(&Toml::String(text.to_owned()));
        assert_eq!(read("90s"), Some(90));
        assert_eq!(read("1h 30m"), Some(5400));
        assert_eq!(read("14d"), Some(1_209_600));
        assert_eq!(read("600"), Some(600));
        assert_eq!(seconds(&Toml::Float(30.0)), Some(30));
        for bad in ["", "m", "1x", "1h 30", "-5s", "99999999999999999999d"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_as_jupyterhub_reads_them() {
        let read = |text: &str| bytes(&Toml::String(text.to_owned()));
        assert_eq!(bytes(&Toml::Integer(1024)), Some(1024));
        assert_eq!(bytes(&Toml::Float(1.9)), Some(1));
        assert_eq!(read("1K"), Some(1024));
        assert_eq!(read("1.5G"), Some(1_610_612_736));
        assert_eq!(read("1T"), Some(1_099_511_627_776));
        for bad in ["10", "1k", "1KB", "G", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_table_in_one_line_is_toml_again() {
        let text = "v = { a = [1, { b = \"x\\\"y\" }], \"c d\" = true }";
        let table: toml::Table = text.parse().unwrap();
        let json = serde_json::to_value(&table["v"]).unwrap();
        assert_eq!(format!("v = {}", toml(&json)).parse::<toml::Table>().unwrap(), table);
    }
}
