//! A Python file as logical lines: comments gone, brackets and triple quotes joined, blocks kept apart.

/// One statement at the left margin, or a block that begins there.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// The line that it begins on, counted from 1.
    pub line: usize,
    /// Its text without comments; of a block the first line alone.
    pub text: String,
    /// The lines of the block below it, with their numbers.
    pub block: Vec<(usize, String)>,
}

/// Takes a file apart.
pub fn statements(source: &str) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    for (line, text) in logical_lines(source) {
        let indented = text.starts_with([' ', '\t']);
        let text = text.trim().to_owned();
        if text.is_empty() {
            continue;
        }
        let continues = ["else:", "elif ", "except", "finally:"].iter().any(|word| text.starts_with(word));
        match found.last_mut() {
            Some(last) if indented || (continues && !last.block.is_empty()) => last.block.push((line, text)),
            _ => {
                let parts = parts(&text).into_iter();
                found.extend(parts.map(|text| Statement { line, text, block: Vec::new() }));
            }
        }
    }
    found
}

/// `a = 1; b = 2` as two statements.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut scan = Scan::default();
    for c in text.chars() {
        if c == ';' && scan.depth == 0 && scan.quote.is_none() {
            parts.push(String::new());
            continue;
        }
        if scan.quote.is_none() && (c == '"' || c == '\'') {
            scan.quote = Some((c, false));
        } else {
            scan.step(c);
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Where in strings and brackets the reading is.
#[derive(Default)]
struct Scan {
    depth: usize,
    quote: Option<(char, bool)>,
    escaped: bool,
    run: usize,
}

impl Scan {
    /// Takes one more character.
    fn step(&mut self, c: char) {
        match self.quote {
            Some((quote, triple)) => {
                if self.escaped {
                    (self.escaped, self.run) = (false, 0);
                } else if c == '\\' {
                    (self.escaped, self.run) = (true, 0);
                } else if c == quote {
                    self.run += 1;
                    if !triple || self.run == 3 {
                        (self.quote, self.run) = (None, 0);
                    }
                } else {
                    self.run = 0;
                }
            }
            None => match c {
                '(' | '[' | '{' => self.depth += 1,
                ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            },
        }
    }
}

fn logical_lines(source: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let (mut text, mut begun) = (String::new(), 1);
    let mut scan = Scan::default();
    for (number, line) in source.lines().enumerate() {
        if text.is_empty() {
            begun = number + 1;
        }
        let whole = scan_line(line, &mut scan, &mut text);
        if scan.quote.is_some_and(|(_, triple)| triple) {
            text.push('\n');
        } else if scan.depth > 0 || !whole {
            scan.quote = None;
            text.push(' ');
        } else {
            scan.quote = None;
            lines.push((begun, std::mem::take(&mut text)));
        }
    }
    if !text.trim().is_empty() {
        lines.push((begun, text));
    }
    lines
}

/// Adds a line without its comment to `text`; says whether it ends there, without a backslash.
fn scan_line(line: &str, scan: &mut Scan, text: &mut String) -> bool {
    let characters: Vec<char> = line.chars().collect();
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        if scan.quote.is_none() {
            if c == '#' {
                return true;
            }
            if c == '\\' && at + 1 == characters.len() {
                return false;
            }
            if c == '"' || c == '\'' {
                let triple = characters.get(at..at + 3) == Some(&[c, c, c]);
                scan.quote = Some((c, triple));
                let length = if triple { 3 } else { 1 };
                text.extend(std::iter::repeat_n(c, length));
                at += length;
                continue;
            }
        }
        scan.step(c);
        text.push(c);
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_comments_go() {
        let source = "# x\na = [1,  # one\n     2]\nb = '#no' ; c = \"\"\"x\n# y\n\"\"\"\nd = 1 + \\\n  2\n";
        let found: Vec<(usize, String)> =
            statements(source).into_iter().map(|statement| (statement.line, statement.text)).collect();
        let wanted = [
            (2, "a = [1,        2]"),
            (4, "b = '#no'"),
            (4, "c = \"\"\"x\n# y\n\"\"\""),
            (7, "d = 1 +    2"),
        ];
        assert_eq!(found, wanted.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_block_stays_with_its_first_line() {
        let found = statements("def hook(s):\n    pass\n\nif x:\n  a = 1\nelse:\n  a = 2\nb = 1\n");
        assert_eq!(found.len(), 3);
        assert_eq!((found[1].line, found[1].block.len()), (4, 3));
    }
}
