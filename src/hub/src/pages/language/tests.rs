//! The catalogue is complete: every text of a template, a table or a script is in it, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

/// Words that are names, not text.
const NAMES: [&str; 2] = ["JupyterHub", "URL"];
/// Attributes that people read or hear.
const READ_ATTRIBUTES: [&str; 4] = ["title", "aria-label", "placeholder", "alt"];

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file below a folder, with its text.
fn files(path: &str) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut folders = vec![folder(path)];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match std::fs::read_to_string(&path) {
                _ if path.is_dir() => folders.push(path),
                Ok(text) => all.push((path, text)),
                Err(_) => {}
            }
        }
    }
    all
}

/// The strings that follow a mark such as `_(`, unescaped.
fn marked<'a>(source: &'a str, mark: &'a str) -> impl Iterator<Item = String> + 'a {
    source.match_indices(mark).filter_map(move |(at, _)| {
        let rest = source[at + mark.len()..].trim_start().strip_prefix('"')?;
        let mut end = rest.find('"')?;
        while rest[..end].ends_with('\\') {
            end += 1 + rest[end + 1..].find('"')?;
        }
        Some(unquoted(&format!("\"{}\"", &rest[..end])))
    })
}

/// All texts that are shown, as the sources have them.
fn used() -> BTreeSet<String> {
    used_by(Group::People).into_iter().chain(used_by(Group::Admins)).chain(used_by(Group::Rights)).collect()
}

/// Whom a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Everybody who logs in: a student meets these.
    People,
    /// Who runs the hub.
    Admins,
    /// Names of scopes, on the pages of tokens, sharing and OAuth.
    Rights,
}

/// The texts of a group; one that people and admins meet is people's.
fn used_by(group: Group) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    let wanted = |path: &Path| {
        let is_admins = path.to_string_lossy().contains("/admin");
        (group == Group::Admins) == is_admins && group != Group::Rights
    };
    for (_, source) in files("templates").into_iter().filter(|(path, _)| wanted(path)) {
        texts.extend(marked(&source, "_("));
        texts.extend(marked(&source, " or "));
        texts.extend(marked(&source, "call modal("));
    }
    let sources = files("src").into_iter().filter(|(path, _)| wanted(path) && !path.ends_with("tests.rs"));
    for (_, source) in sources {
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        texts.extend(marked(source, "text!("));
    }
    if group == Group::Rights {
        texts.extend(crate::auth::scopes::SCOPES.iter().map(|scope| scope.meaning.to_owned()));
    }
    texts.retain(|text| text.chars().any(char::is_alphabetic));
    if group == Group::Admins {
        texts = texts.difference(&used_by(Group::People)).cloned().collect();
    }
    texts
}

#[test]
fn every_language_has_every_text() {
    // Who adds a text adds its translations, too.
    for group in [Group::People, Group::Rights, Group::Admins] {
        let texts = used_by(group);
        for (tag, file) in FILES {
            let have: BTreeSet<String> = entries(file)
                .into_iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(text, _)| text)
                .collect();
            let missing: Vec<_> = texts.difference(&have).collect();
            assert!(missing.is_empty(), "{tag} {group:?}: {missing:#?}");
        }
    }
}

fn catalogue(name: &str) -> Vec<(String, String)> {
    entries(&std::fs::read_to_string(folder("locale").join(name)).unwrap())
}

#[test]
fn the_catalogue_has_every_text_and_no_other() {
    let used = used();
    if std::env::var_os("HUBD_WRITE_CATALOGUE").is_some() {
        let head = "# Every text of hubd's pages. Made by: HUBD_WRITE_CATALOGUE=1 cargo test -p hubd-hub catalogue\n";
        let quoted = |text: &String| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let body: String =
            used.iter().map(|text| format!("\nmsgid \"{}\"\nmsgstr \"\"\n", quoted(text))).collect();
        std::fs::write(folder("locale/hubd.pot"), format!("{head}{body}")).unwrap();
    }
    let listed: BTreeSet<String> = catalogue("hubd.pot").into_iter().map(|(text, _)| text).collect();
    let missing: Vec<_> = used.difference(&listed).collect();
    let unused: Vec<_> = listed.difference(&used).collect();
    assert!(missing.is_empty() && unused.is_empty(), "not in hubd.pot: {missing:#?}\nnot used: {unused:#?}");
}

#[test]
fn translations_translate_texts_that_exist_and_keep_their_places() {
    let used = used();
    for (tag, file) in FILES {
        for (text, translated) in entries(file) {
            assert!(used.contains(&text), "{tag}: {text:?} is not a text of the pages");
            let places = |text: &str| -> BTreeSet<String> {
                text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
            };
            assert!(translated.is_empty() || places(&text) == places(&translated), "{tag}: {text:?}");
        }
    }
}

#[test]
fn no_template_shows_a_text_outside_the_catalogue() {
    for (path, source) in files("templates") {
        for text in shown(&without_code(&source)) {
            let words = NAMES.iter().fold(text.clone(), |text, name| text.replace(name, ""));
            let letters = words.chars().filter(|c| c.is_alphabetic()).count();
            assert!(letters < 2, "{}: {text:?}", path.display());
        }
    }
}

/// A template without its statements, expressions, comments, scripts and styles.
fn without_code(source: &str) -> String {
    let mut text = source.to_owned();
    for (open, close) in [
        ("{#", "#}"),
        ("{%", "%}"),
        ("{{", "}}"),
        ("<script", "</script>"),
        ("<style", "</style>"),
        ("&", ";"),
    ] {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(open) {
            out.push_str(&rest[..at]);
            rest = rest[at..].find(close).map_or("", |end| &rest[at + end + close.len()..]);
        }
        out.push_str(rest);
        text = out;
    }
    text
}

/// What people read of HTML: text between tags, and some attributes.
fn shown(html: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for part in html.split('<') {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        texts.push(text.trim().to_owned());
        for name in READ_ATTRIBUTES {
            let mark = format!(" {name}=\"");
            texts
                .extend(tag.split(&mark).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    texts
}

#[test]
fn scripts_show_texts_of_the_catalogue_only() {
    for (path, source) in files("static/js") {
        for text in marked(&source, " t(").chain(marked(&source, "(t(")).chain(marked(&source, "? ")) {
            let is_text = text.contains(' ') && !text.contains('=');
            assert!(!is_text || SCRIPT_TEXTS.contains(&text.as_str()), "{}: {text:?}", path.display());
        }
    }
}

#[test]
fn a_browser_gets_its_first_language_that_there_is() {
    let of = |wanted: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, http::HeaderValue::from_static(wanted));
        Language::of(&headers).tag
    };
    assert_eq!(of("de-AT,de;q=0.9,en;q=0.8"), "de");
    assert_eq!(of("pt,fr;q=0.5,en;q=0.4"), "fr");
    assert_eq!(of("en-GB,en;q=0.9,de;q=0.8"), "en");
    assert_eq!(of("zh-CN"), "zh");
    for odd in ["", "*", "xx", ";;;", "de;q=x", "q=1"] {
        assert_eq!(of(odd), "en", "{odd}");
    }
    assert_eq!(Language::of(&HeaderMap::new()).tag, "en");
}

#[test]
fn gettext_files_are_read() {
    let file = "# c\nmsgid \"\"\nmsgstr \"head\"\n\nmsgid \"a \\\"b\\\"\"\nmsgstr \"\"\n\"c\\n\"\n\"d\"\n";
    assert_eq!(entries(file), [("a \"b\"".to_owned(), "c\nd".to_owned())]);
}
