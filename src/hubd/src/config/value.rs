//! Kinds of options, and how their values are read from TOML and from the command line.

use std::collections::BTreeMap;

use hubd_proto::Secret;
use toml::Value as Toml;

use super::units;

/// The field of a table that is never shown.
const TOKEN: &str = "api_token";

/// What an option holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A number, at least this.
    Number(f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts, in order.
    List,
    /// A list of texts without order or repetition.
    Set,
    /// The path of a file or directory.
    Path,
    /// Text that is never shown.
    Secret,
    /// A time within these bounds, in seconds: a whole number, or text such as "90s", "10m", "1h 30m", "14d".
    Seconds(i64, i64),
    /// A number of bytes within these bounds: a number, or text such as "512M" or "1.5G", in powers of 1024.
    Bytes(i64, i64),
    /// A list of tables of anything that JSON can hold.
    Tables,
    /// A table of texts.
    TextTable,
    /// A table of tokens and whose they are; the tokens are never shown.
    Tokens,
    /// A table of anything that JSON can hold.
    Table,
}

/// The value of an option, of the kind the table of options says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// [`Kind::Text`], [`Kind::Path`] or [`Kind::Choice`].
    Text(String),
    /// [`Kind::Secret`].
    Secret(Hidden),
    /// [`Kind::Bool`].
    Bool(bool),
    /// [`Kind::Integer`], [`Kind::Seconds`] or [`Kind::Bytes`].
    Integer(i64),
    /// [`Kind::Number`].
    Number(f64),
    /// [`Kind::List`] or [`Kind::Set`].
    List(Vec<String>),
    /// [`Kind::Table`] or [`Kind::TextTable`].
    Table(BTreeMap<String, serde_json::Value>),
    /// [`Kind::Tokens`].
    Tokens(Vec<(Hidden, String)>),
    /// [`Kind::Tables`].
    Tables(Vec<Fields>),
}

/// One table of a list. The token that a service may have is apart from the rest: never shown, and wiped in the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// All others.
    pub rest: BTreeMap<String, serde_json::Value>,
    /// `api_token`, if it is a text.
    pub api_token: Option<Hidden>,
}

/// A secret that can stand in a [`Value`]: it is compared in constant time and shown as nothing.
#[derive(Clone)]
pub struct Hidden(pub Secret);

impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_as(&other.0)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Kind {
    /// What has to be written, for messages and help.
    pub fn wanted(self) -> String {
        match self {
            Self::Text => "text in quotes".into(),
            Self::Bool => "true or false".into(),
            Self::Integer(low, i64::MAX) => format!("a whole number, at least {low}"),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Number(low) => format!("a number, at least {low}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List | Self::Set => "a list of texts, such as [\"a\", \"b\"]".into(),
            Self::Path => "a path in quotes".into(),
            Self::Secret => "text in quotes, which is never shown".into(),
            Self::Seconds(low, high) => {
                format!(
                    "seconds from {low} to {high}, or text such as \"90s\", \"10m\", \"1h 30m\" or \"14d\""
                )
            }
            Self::Bytes(low, i64::MAX) => {
                format!("bytes, at least {low}, or text such as \"512M\" or \"1.5G\"")
            }
            Self::Bytes(low, high) => {
                format!("bytes from {low} to {high}, or text such as \"512M\" or \"1.5G\"")
            }
            Self::Tables => "a list of tables, such as [{ name = \"value\" }]".into(),
            Self::TextTable => "a table of texts, such as { NAME = \"value\" }".into(),
            Self::Tokens => "a table, such as { \"TOKEN\" = \"NAME\" }".into(),
            Self::Table => "a table, such as { name = \"value\" }".into(),
        }
    }

    /// Reads a value from TOML; the error says what was wanted instead.
    pub fn read_toml(self, toml: &Toml) -> Result<Value, String> {
        let read = match (self, toml) {
            (Self::Text | Self::Path, Toml::String(text)) => Some(Value::Text(text.clone())),
            (Self::Secret, Toml::String(text)) => Some(Value::Secret(Hidden(Secret::new(text.clone())))),
            (Self::Seconds(low, high), toml) => within(units::seconds(toml), low, high),
            (Self::Bytes(low, high), toml) => within(units::bytes(toml), low, high),
            (Self::Choice(words), Toml::String(text)) => choice(words, text),
            // JupyterHub takes its log level as a number too.
            (Self::Choice(words), Toml::Integer(number)) => choice(words, &number.to_string()),
            (Self::Bool, Toml::Boolean(yes)) => Some(Value::Bool(*yes)),
            (Self::Integer(low, high), Toml::Integer(number)) => {
                (low..=high).contains(number).then_some(Value::Integer(*number))
            }
            (Self::Number(low), Toml::Float(number)) => {
                (number.is_finite() && *number >= low).then_some(Value::Number(*number))
            }
            (Self::Number(low), Toml::Integer(number)) => {
                let number = *number as f64;
                (number >= low).then_some(Value::Number(number))
            }
            (Self::List, Toml::Array(items)) => texts(items).map(Value::List),
            (Self::Set, Toml::Array(items)) => texts(items).map(|mut items| {
                let mut seen = std::collections::BTreeSet::new();
                items.retain(|item| seen.insert(item.clone()));
                Value::List(items)
            }),
            (Self::Tables, Toml::Array(items)) => items
                .iter()
                .map(|item| item.as_table().map(Fields::new))
                .collect::<Option<_>>()
                .map(Value::Tables),
            (Self::TextTable, Toml::Table(table)) => table
                .iter()
                .map(|(key, value)| Some((key.clone(), value.as_str()?.into())))
                .collect::<Option<BTreeMap<_, _>>>()
                .map(Value::Table),
            (Self::Tokens, Toml::Table(table)) => table
                .iter()
                .map(|(token, name)| Some((Hidden(Secret::new(token.clone())), name.as_str()?.to_owned())))
                .collect::<Option<_>>()
                .map(Value::Tokens),
            (Self::Table, Toml::Table(table)) => Some(Value::Table(json_table(table))),
            _ => None,
        };
        let found = match (self, toml) {
            (Self::Choice(_), Toml::String(text)) => format!("{text:?}"),
            _ => found(toml),
        };
        read.ok_or_else(|| format!("expected {}, found {found}", self.wanted()))
    }

    /// A value as it could stand in a file.
    pub fn example(self) -> String {
        match self {
            Self::Text => "\"text\"".into(),
            Self::Bool => "true".into(),
            Self::Integer(low, _) => low.to_string(),
            Self::Number(low) => format!("{}", low + 1.0),
            Self::Choice(words) => format!("{:?}", words.first().copied().unwrap_or_default()),
            Self::List | Self::Set => "[\"a\", \"b\"]".into(),
            Self::Path => "\"/path/of/file\"".into(),
            Self::Secret => "\"secret\"".into(),
            Self::Seconds(..) => "\"10m\"".into(),
            Self::Bytes(low, _) => low.to_string(),
            Self::Tables => "[{ name = \"value\" }]".into(),
            Self::TextTable | Self::Table => "{ name = \"value\" }".into(),
            Self::Tokens => "{ \"TOKEN\" = \"NAME\" }".into(),
        }
    }

    /// Reads what was written after `=` on the command line, as JupyterHub does: text needs no
    /// quotes; a list or table may be TOML, or one element of it.
    pub fn read_argument(self, text: &str) -> Result<Value, String> {
        let as_toml = || format!("v = {text}").parse::<toml::Table>().ok()?.remove("v");
        let toml = match self {
            Self::Text | Self::Choice(_) | Self::Path | Self::Secret => Toml::String(text.to_owned()),
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Toml::Boolean(true),
                "false" | "0" => Toml::Boolean(false),
                _ => Toml::String(text.to_owned()),
            },
            Self::Integer(..) | Self::Number(_) | Self::Seconds(..) | Self::Bytes(..) => {
                as_toml().unwrap_or_else(|| Toml::String(text.to_owned()))
            }
            Self::Tables => match as_toml() {
                Some(Toml::Table(one)) => Toml::Array(vec![Toml::Table(one)]),
                other => other.unwrap_or_else(|| Toml::String(text.to_owned())),
            },
            Self::List | Self::Set => match as_toml() {
                Some(Toml::Array(items)) => Toml::Array(items),
                _ => Toml::Array(vec![Toml::String(text.to_owned())]),
            },
            Self::TextTable | Self::Table | Self::Tokens => match (as_toml(), text.split_once('=')) {
                (Some(Toml::Table(table)), _) => Toml::Table(table),
                (_, Some((key, value))) => {
                    let value = format!("v = {value}")
                        .parse::<toml::Table>()
                        .ok()
                        .and_then(|mut table| table.remove("v"))
                        .filter(|_| self == Self::Table)
                        .unwrap_or_else(|| Toml::String(value.to_owned()));
                    Toml::Table([(key.to_owned(), value)].into_iter().collect())
                }
                _ => Toml::String(text.to_owned()),
            },
        };
        self.read_toml(&toml)
    }
}

impl Value {
    /// The value as it would stand in a file.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Bool(yes) => yes.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::List(items) => serde_json::Value::from(items.as_slice()).to_string(),
            Self::Secret(_) | Self::Tokens(_) => "(hidden)".to_owned(),
            Self::Table(table) => units::toml_table(table),
            Self::Tables(tables) => {
                let tables: Vec<String> =
                    tables.iter().map(|table| units::toml_table(&table.masked())).collect();
                format!("[{}]", tables.join(", "))
            }
        }
    }

    /// The value as JSON; nothing for a secret.
    pub fn json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::Text(text) => text.as_str().into(),
            Self::Bool(yes) => (*yes).into(),
            Self::Integer(number) => (*number).into(),
            Self::Number(number) => (*number).into(),
            Self::List(items) => items.as_slice().into(),
            Self::Table(table) => table.clone().into_iter().collect(),
            Self::Tables(tables) => {
                tables.iter().map(|table| table.masked().into_iter().collect::<serde_json::Value>()).collect()
            }
            Self::Secret(_) | Self::Tokens(_) => return None,
        })
    }

    /// Adds what a repeated command line option says: lists and tables grow, others are replaced.
    pub fn extend(&mut self, more: Value) {
        match (self, more) {
            (Self::List(items), Self::List(more)) => items.extend(more),
            (Self::Table(table), Self::Table(more)) => table.extend(more),
            (Self::Tokens(tokens), Self::Tokens(more)) => tokens.extend(more),
            (Self::Tables(tables), Self::Tables(more)) => tables.extend(more),
            (this, more) => *this = more,
        }
    }
}

impl Fields {
    fn new(table: &toml::Table) -> Self {
        let api_token = table.get(TOKEN).and_then(Toml::as_str);
        let rest = table.iter().filter(|(key, _)| api_token.is_none() || *key != TOKEN);
        Self {
            rest: rest.map(|(key, value)| (key.clone(), json(value))).collect(),
            api_token: api_token.map(|token| Hidden(Secret::new(token.to_owned()))),
        }
    }

    /// As it may be shown.
    pub fn masked(&self) -> BTreeMap<String, serde_json::Value> {
        let mut table = self.rest.clone();
        if self.api_token.is_some() || table.contains_key(TOKEN) {
            table.insert(TOKEN.to_owned(), "(hidden)".into());
        }
        table
    }
}

fn texts(items: &[Toml]) -> Option<Vec<String>> {
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn within(number: Option<i64>, low: i64, high: i64) -> Option<Value> {
    number.filter(|number| (low..=high).contains(number)).map(Value::Integer)
}

fn json_table(table: &toml::Table) -> BTreeMap<String, serde_json::Value> {
    table.iter().map(|(key, value)| (key.clone(), json(value))).collect()
}

/// A word of the list, whatever its case.
fn choice(words: &[&str], text: &str) -> Option<Value> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| Value::Text((*word).to_owned()))
}

/// What was found, short and without showing a value that may be a secret.
fn found(toml: &Toml) -> String {
    match toml {
        Toml::Integer(number) => number.to_string(),
        Toml::Float(number) => number.to_string(),
        Toml::Boolean(yes) => yes.to_string(),
        Toml::Array(_) => "a list with something else".into(),
        Toml::Table(_) => "a table with something else".into(),
        Toml::String(_) => "a text".into(),
        Toml::Datetime(_) => "a date".into(),
    }
}

fn json(toml: &Toml) -> serde_json::Value {
    match toml {
        Toml::String(text) => text.clone().into(),
        Toml::Integer(number) => (*number).into(),
        Toml::Float(number) => (*number).into(),
        Toml::Boolean(yes) => (*yes).into(),
        Toml::Datetime(date) => date.to_string().into(),
        Toml::Array(items) => items.iter().map(json).collect(),
        Toml::Table(table) => {
            serde_json::Value::Object(table.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_need_no_quotes_and_lists_take_single_elements() {
        assert_eq!(Kind::Text.read_argument("8000"), Ok(Value::Text("8000".into())));
        assert_eq!(Kind::Integer(0, 65535).read_argument("8000"), Ok(Value::Integer(8000)));
        assert_eq!(Kind::Number(0.0).read_argument("14"), Ok(Value::Number(14.0)));
        assert_eq!(Kind::Bool.read_argument("True"), Ok(Value::Bool(true)));
        assert_eq!(Kind::List.read_argument("alice"), Ok(Value::List(vec!["alice".into()])));
        assert_eq!(Kind::List.read_argument("['a', 'b']"), Ok(Value::List(vec!["a".into(), "b".into()])));
        let mut value = Kind::TextTable.read_argument("A=1").unwrap();
        value.extend(Kind::TextTable.read_argument("B=x=y").unwrap());
        let Value::Table(table) = value else { panic!() };
        assert_eq!(table["A"], "1");
        assert_eq!(table["B"], "x=y");
    }

    #[test]
    fn a_value_of_the_wrong_kind_or_out_of_bounds_is_refused() {
        assert!(Kind::Integer(0, 65535).read_argument("70000").unwrap_err().contains("0 to 65535"));
        assert!(Kind::Integer(0, 65535).read_argument("http").is_err());
        assert!(Kind::Bool.read_argument("maybe").unwrap_err().contains("true or false"));
        assert!(Kind::Choice(&["pam", "dummy"]).read_argument("ldap").unwrap_err().contains("pam, dummy"));
        assert!(Kind::List.read_toml(&Toml::Integer(1)).is_err());
        assert!(Kind::List.read_toml(&Toml::Array(vec![Toml::Integer(1)])).is_err());
        assert!(Kind::Number(0.0).read_toml(&Toml::Float(f64::NAN)).is_err());
    }

    #[test]
    fn every_example_is_of_its_kind() {
        for option in super::super::options::OPTIONS {
            let table: toml::Table = format!("v = {}", option.kind.example()).parse().unwrap();
            assert!(option.kind.read_toml(&table["v"]).is_ok(), "{}.{}", option.class, option.key);
        }
    }

    #[test]
    fn the_token_of_a_service_is_apart_and_never_shown() {
        let value = Kind::Tables.read_argument("{ name = \"cull\", api_token = \"hunter22\" }").unwrap();
        let Value::Tables(tables) = &value else { panic!() };
        assert!(tables[0].api_token.as_ref().is_some_and(|token| token.0.expose() == "hunter22"));
        let json = value.json().unwrap().to_string();
        for shown in [format!("{value:?}"), format!("{:?}", tables[0].rest), value.shown(), json] {
            assert!(shown.contains("cull") && !shown.contains("hunter22"), "{shown}");
        }
        let wrong = Kind::Tables.read_argument("{ api_token = 12345678 }").unwrap();
        assert!(!wrong.shown().contains("12345678"), "{}", wrong.shown());
    }

    #[test]
    fn a_refused_text_is_not_repeated_because_it_may_be_a_secret() {
        assert!(!Kind::Integer(0, 1).read_argument("hunter2").unwrap_err().contains("hunter2"));
    }
}
