//! The part of hubd.toml(5) that is made from the table of options, in mdoc(7).

use std::fmt::Write;

use super::names::CLASSES;
use super::option::Opt;
use super::options::OPTIONS;
use super::value::Kind;

/// What stands before and after the part that is made.
#[cfg(test)]
const MARKS: (&str, &str) = (".\\\" made from the table of options:\n", ".\\\" until here\n");

/// All sections of options.
pub fn sections() -> String {
    let mut page = String::new();
    for class in CLASSES {
        let mut options = OPTIONS.iter().filter(|option| option.class == class.name).peekable();
        if options.peek().is_none() {
            continue;
        }
        write!(page, ".Sh {}\nThese stand in the table\n.Cm [{}] .\n", class.heading, class.name).ok();
        page.push_str(".Bl -tag -width Ds\n");
        for option in options {
            writeln!(page, ".It Cm {}", option.key).ok();
            for sentence in sentences(option.help) {
                writeln!(page, "{}", escaped(sentence)).ok();
            }
            writeln!(page, "{}", escaped(&remark(option))).ok();
        }
        page.push_str(".El\n");
    }
    page
}

/// What kind, which default, whether a reload applies it, and the short name.
fn remark(option: &Opt) -> String {
    let wanted = match option.kind {
        Kind::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
        Kind::Integer(0, 65535) => "a port".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Secret => "text, which is never shown".to_owned(),
        Kind::List | Kind::Set => "a list of texts".to_owned(),
        Kind::Seconds(low, high) => format!("a time, {low} to {high} seconds"),
        Kind::Bytes(..) => "a number of bytes".to_owned(),
        kind => kind.wanted(),
    };
    let mut letters = wanted.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
    let mut text: String = std::iter::once('(').chain(first).chain(letters).collect();
    if !option.default.is_empty() {
        write!(text, "; default {}", option.default).ok();
    }
    if let Some((flag, _)) = option.flag {
        write!(text, "; on the command line also --{flag}").ok();
    }
    if option.live {
        text.push_str("; a reload applies it");
    }
    text.push(')');
    text
}

/// Sentences, each for a line of its own, as mdoc wants them.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (end, _) in text.match_indices(". ") {
        if text.get(end + 2..).is_some_and(|rest| rest.starts_with(char::is_uppercase)) {
            sentences.extend(text.get(start..=end));
            start = end + 2;
        }
    }
    sentences.extend(text.get(start..));
    sentences
}

/// A line that mdoc takes for nothing but text.
pub fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace("--", "\\-\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_hubd_toml_holds_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/hubd.toml.5");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(MARKS.0).unwrap();
        let (_, after) = rest.split_once(MARKS.1).unwrap();
        let wanted = [before, MARKS.0, &sections(), MARKS.1, after].concat();
        if std::env::var_os("HUBD_WRITE_PAGES").is_some() {
            std::fs::write(path, &wanted).unwrap();
        } else {
            assert!(page == wanted, "man/hubd.toml.5 is old: HUBD_WRITE_PAGES=1 cargo test -p hubd page");
        }
    }

    #[test]
    fn text_cannot_become_a_macro() {
        assert_eq!(escaped(".Sh x"), "\\&.Sh x");
        assert_eq!(escaped("a\\b --c"), "a\\eb \\-\\-c");
        assert_eq!(sentences("One, e.g. this. Two."), ["One, e.g. this.", "Two."]);
    }
}
