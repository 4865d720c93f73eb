//! Which user names the policy takes: `[FIRST][REST]{0,N}`, without a regular expression engine.

use serde::{Deserialize, Deserializer};

/// A pattern of the form `[a-z_][a-z0-9_.-]{0,31}`: a set for the first character, one for the rest,
/// and the most characters of the rest. `^` and `$` around it may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    first: Vec<(char, char)>,
    rest: Vec<(char, char)>,
    rest_max: usize,
}

const DEFAULT: &str = "[a-z_][a-z0-9_.-]{0,31}";

impl Default for Pattern {
    fn default() -> Self {
        Self::parse(DEFAULT).expect("the constant is a pattern, a test parses it")
    }
}

impl Pattern {
    /// Reads a pattern; `None` when it is of another form.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('^').unwrap_or(text);
        let text = text.strip_suffix('$').unwrap_or(text);
        let (first, text) = text.strip_prefix('[')?.split_once(']')?;
        let (rest, text) = text.strip_prefix('[')?.split_once(']')?;
        let rest_max = text.strip_prefix("{0,")?.strip_suffix('}')?.parse().ok()?;
        Some(Self { first: ranges(first)?, rest: ranges(rest)?, rest_max })
    }

    /// Whether `name` is of this form.
    pub fn takes(&self, name: &str) -> bool {
        let within = |set: &[(char, char)], c: char| set.iter().any(|&(from, to)| (from..=to).contains(&c));
        let mut characters = name.chars();
        characters.next().is_some_and(|c| within(&self.first, c))
            && characters.clone().count() <= self.rest_max
            && characters.all(|c| within(&self.rest, c))
    }
}

/// The ranges of a set such as `a-z0-9_.-`; a `-` counts as itself only at the end, `\\` as `\`.
fn ranges(set: &str) -> Option<Vec<(char, char)>> {
    let characters: Vec<char> = set.replace("\\\\", "\\").chars().collect();
    let mut rest = characters.as_slice();
    let mut found = Vec::new();
    while let Some(&from) = rest.first() {
        match rest {
            [_, '-', to, ..] if from <= *to => {
                found.push((from, *to));
                rest = rest.get(3..)?;
            }
            [_, '-', _, ..] => return None,
            _ => {
                found.push((from, from));
                rest = rest.get(1..)?;
            }
        }
    }
    (!found.is_empty() && !set.starts_with('^')).then_some(found)
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("expected a pattern of the form {DEFAULT}, found {text}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_takes_what_useradd_makes_and_nothing_else() {
        let pattern = Pattern::default();
        for good in ["alice", "_x", "a-b.c_9", &"a".repeat(32)] {
            assert!(pattern.takes(good), "{good}");
        }
        for bad in ["", "Alice", "9a", "-a", "a b", "a@b", "a\n", "jürgen", "root\0", &"a".repeat(33)] {
            assert!(!pattern.takes(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_directory_widens_it() {
        let pattern = Pattern::parse(r"^[A-Za-z_][A-Za-z0-9_.@\\-]{0,63}$").expect("a pattern");
        assert!(pattern.takes(r"EXAMPLE\bob") && pattern.takes("carol@example.org"));
        assert!(!pattern.takes("-x"));
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in
            ["", "a", "[a]", "[a][b]", "[][a]{0,3}", "[z-a][a]{0,3}", "[a][b]{1,x}", "[^a][b]{0,1}", "(a)*"]
        {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
