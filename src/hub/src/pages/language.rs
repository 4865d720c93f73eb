//! The languages of the pages: one catalogue of English texts, and what each is called in other languages.
//!
//! A template writes `{{ _("Start My Server") }}`, and a table of texts in a program marks each with
//! `text!`. The catalogue, `locale/hubd.pot`, lists them all; `locale/de.po` and its like translate them.
//! What a language does not have stays English. The files are gettext's, so that translators' tools read them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, header};
use minijinja::Error;
use minijinja::value::{Kwargs, Value};

/// Marks a text of a table for the catalogue; it is translated where it is shown.
macro_rules! text {
    ($text:literal) => {
        $text
    };
}
pub(crate) use text;

/// Most entries of an `Accept-Language` header that are looked at; browsers send a handful.
const ENTRIES_MAX: usize = 16;

/// Every translation: language tag and file.
const FILES: &[(&str, &str)] = &[
    ("de", include_str!("../../locale/de.po")),
    ("es", include_str!("../../locale/es.po")),
    ("fr", include_str!("../../locale/fr.po")),
    ("ja", include_str!("../../locale/ja.po")),
    ("zh", include_str!("../../locale/zh.po")),
];

/// Texts that scripts show; a page in another language carries their translations.
const SCRIPT_TEXTS: &[&str] = &[
    text!("API request failed ({status}): {message}"),
    text!("Copied"),
    text!("Opening a session"),
    text!("Server requested"),
    text!("Spawning server..."),
    text!("Delete the server {name}?"),
    text!("Done"),
    text!("Starting {name} …"),
    text!("Stopping {name} …"),
    text!("Stopping your server …"),
    text!("The connection to the hub is lost. Trying again …"),
    text!("The hub does not answer. Check your connection and try again."),
    text!("just now"),
    text!("{done} of {total} done, {failed} failed"),
];

/// A language that the pages are in.
pub struct Language {
    /// Its tag, for `lang`: `de`.
    pub tag: &'static str,
    messages: HashMap<String, String>,
    /// The scripts' texts, as JSON; nothing for English.
    pub for_scripts: serde_json::Value,
    /// The function `_` of the templates.
    pub function: Value,
}

static ENGLISH: LazyLock<&'static Language> = LazyLock::new(|| Language::load("en", ""));
static OTHERS: LazyLock<Vec<&'static Language>> =
    LazyLock::new(|| FILES.iter().map(|(tag, file)| Language::load(tag, file)).collect());

impl Language {
    /// English, in which every text is written.
    pub fn english() -> &'static Self {
        *ENGLISH
    }

    /// The first language of `Accept-Language` that there is, else English.
    pub fn of(headers: &HeaderMap) -> &'static Self {
        let Some(wanted) = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()) else {
            return Self::english();
        };
        let mut best: (f32, &'static Self) = (0.0, Self::english());
        for entry in wanted.split(',').take(ENTRIES_MAX) {
            let (tag, weight) = entry.split_once(";q=").unwrap_or((entry, "1"));
            let weight: f32 = weight.trim().parse().unwrap_or(0.0);
            if weight > best.0
                && let Some(language) = Self::find(tag.trim())
            {
                best = (weight, language);
            }
        }
        best.1
    }

    /// The language of a tag; `de-AT` is `de`.
    pub(crate) fn find(tag: &str) -> Option<&'static Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("en") {
            return Some(Self::english());
        }
        OTHERS.iter().find(|language| language.tag.eq_ignore_ascii_case(primary)).copied()
    }

    /// `english` in this language.
    pub fn text<'a>(&'a self, english: &'a str) -> &'a str {
        self.messages.get(english).map_or(english, String::as_str)
    }

    /// Reads a translation. It stays for the life of the program, as there is one of each.
    fn load(tag: &'static str, file: &str) -> &'static Self {
        let messages: Arc<HashMap<String, String>> =
            Arc::new(entries(file).into_iter().filter(|(_, text)| !text.is_empty()).collect());
        let for_scripts: serde_json::Map<String, serde_json::Value> = SCRIPT_TEXTS
            .iter()
            .filter_map(|text| Some(((*text).to_owned(), messages.get(*text)?.as_str().into())))
            .collect();
        let of_function = Arc::clone(&messages);
        let function = Value::from_function(move |text: Value, values: Kwargs| {
            let text = text.as_str().unwrap_or_default();
            filled_by_template(of_function.get(text).map_or(text, String::as_str), &values)
        });
        Box::leak(Box::new(Self {
            tag,
            messages: (*messages).clone(),
            for_scripts: for_scripts.into(),
            function,
        }))
    }
}

/// The same with values from a template.
fn filled_by_template(text: &str, values: &Kwargs) -> Result<String, Error> {
    let mut all = Vec::new();
    for name in values.args() {
        all.push((name, values.get::<Value>(name)?.to_string()));
    }
    Ok(filled(text, &all))
}

/// A text with its `{name}`s replaced.
pub(crate) fn filled(text: &str, values: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // In one pass: what a value brings is no place of another one.
    while let Some((before, inside)) = rest.split_once('{') {
        let value = inside.split_once('}').and_then(|(name, after)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, after))
        });
        out.push_str(before);
        match value {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The pairs of `msgid` and `msgstr` of a gettext file.
fn entries(file: &str) -> Vec<(String, String)> {
    let (mut all, mut key, mut text, mut in_text) = (Vec::new(), String::new(), String::new(), false);
    for line in file.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix("msgid ") {
            if !key.is_empty() {
                all.push((std::mem::take(&mut key), std::mem::take(&mut text)));
            }
            (key, in_text) = (unquoted(rest), false);
            text.clear();
        } else if let Some(rest) = line.strip_prefix("msgstr ") {
            (text, in_text) = (unquoted(rest), true);
        } else if line.starts_with('"') {
            if in_text { &mut text } else { &mut key }.push_str(&unquoted(line));
        }
    }
    if !key.is_empty() {
        all.push((key, text));
    }
    all
}

/// The text of a quoted string.
fn unquoted(quoted: &str) -> String {
    let inner = quoted.trim().trim_start_matches('"');
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    inner.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests;
