//! What is kept with a route besides its target: a JSON object of whoever added it, given back as it came.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object whose members keep their order and spelling.
#[derive(Debug, Clone, Default)]
pub struct RouteData(Vec<(String, Box<RawValue>)>);

/// The names that have a meaning to the proxy.
pub(crate) const TARGET: &str = "target";
pub(crate) const LAST_ACTIVITY: &str = "last_activity";
pub(crate) const HOST: &str = "host";

impl RouteData {
    /// Reads a JSON text. One that is not an object has no members.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let value: &RawValue = serde_json::from_slice(text)?;
        if value.get().starts_with('{') { serde_json::from_str(value.get()) } else { Ok(Self::default()) }
    }

    /// The same with one more member, or with another value in its place. A value that has no form in JSON is
    /// left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::value::to_raw_value(&value) {
            self.set(name, value);
        }
        self
    }

    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(present, _)| present == name) {
            Some((_, present)) => *present = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// A member that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(present, _)| present == name)?;
        serde_json::from_str(value.get()).ok()
    }

    /// The object as JSON text.
    pub(crate) fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&json_text(name));
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }
}

impl PartialEq for RouteData {
    fn eq(&self, other: &Self) -> bool {
        let pairs = |data: &Self| data.0.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        pairs(self) == pairs(other) && self.0.iter().zip(&other.0).all(|(a, b)| a.1.get() == b.1.get())
    }
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> String {
    // A text always has a form in JSON.
    serde_json::to_string(text).unwrap_or_default()
}

impl<'de> Deserialize<'de> for RouteData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = RouteData;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RouteData, A::Error> {
        let mut data = RouteData::default();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            data.set(&name, value);
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in any::<Vec<u8>>()) {
            let _ = RouteData::parse(&text);
        }

        #[test]
        fn what_was_read_is_given_back_and_read_again(
            name in any::<String>(), value in any::<String>(), number in any::<f64>().prop_filter("JSON has it", |n| n.is_finite()),
        ) {
            let text = format!("{{{}:{},\"n\":[{number},{{}}]}}", json_text(&name), json_text(&value));
            let data = RouteData::parse(text.as_bytes()).unwrap();
            let again = RouteData::parse(data.to_json().as_bytes()).unwrap();
            prop_assert_eq!(&again, &data);
            if name != "n" {
                prop_assert_eq!(data.text(&name), Some(value));
                prop_assert_eq!(data.to_json(), text);
            }
        }
    }

    fn json(text: &str) -> Option<String> {
        RouteData::parse(text.as_bytes()).ok().map(|data| data.to_json())
    }

    #[test]
    fn members_keep_order_and_spelling() {
        let text = r#"{"target":"http://x","z":1.0e3,"a":[1,{"b":"\u00fc"}],"big":12345678901234567890123}"#;
        assert_eq!(json(text).as_deref(), Some(text));
        assert_eq!(json(r#" {"a": 1, "b": 2, "a": 3} "#).as_deref(), Some(r#"{"a":3,"b":2}"#));
    }

    #[test]
    fn what_is_no_object_has_no_members_and_what_is_no_json_is_refused() {
        for text in ["null", "1", "[1]", "\"x\"", "{}"] {
            assert_eq!(json(text).as_deref(), Some("{}"), "{text}");
        }
        for text in ["", "{", "{\"a\":}", "{} {}", "nul"] {
            assert_eq!(json(text), None, "{text}");
        }
        assert!(RouteData::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn members_are_added_at_the_end_and_replaced_in_their_place() {
        let data = RouteData::parse(br#"{"last_activity":"x","target":"t"}"#).unwrap();
        assert_eq!(data.text(TARGET).as_deref(), Some("t"));
        let data = data.with(LAST_ACTIVITY, "now").with("user", 1);
        assert_eq!(data.to_json(), r#"{"last_activity":"now","target":"t","user":1}"#);
        assert_eq!(data.text("user"), None);
    }
}
