//! Texts: quotes, prefixes, escapes, and `f"…{name}…"` of names that are known.

use super::super::operations::{as_text, is_prefixed_string};
use super::{Py, Reader, evaluate};

impl Reader<'_> {
    /// Strings beside each other are one.
    pub(super) fn strings(&mut self) -> Result<Py, String> {
        let mut all = String::new();
        let mut bytes = false;
        loop {
            self.space();
            if !self.rest().starts_with(['"', '\'']) && !is_prefixed_string(self.rest()) {
                break;
            }
            let quote_at = self.rest().find(['"', '\'']).unwrap_or(0);
            let prefix = self.rest().get(..quote_at).unwrap_or_default().to_ascii_lowercase();
            self.at += quote_at;
            bytes |= prefix.contains('b');
            let text = self.string(prefix.contains('r'))?;
            all += &if prefix.contains('f') { self.formatted(&text)? } else { text };
        }
        Ok(match bytes {
            true if !all.is_ascii() || all.contains(|c: char| c.is_control()) => {
                Py::Bytes(all.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect())
            }
            _ => Py::Str(all),
        })
    }

    fn string(&mut self, raw: bool) -> Result<String, String> {
        let unended = || "a text without its end".to_owned();
        let rest = self.rest();
        let quote = rest.chars().next().ok_or_else(unended)?;
        let triple: String = std::iter::repeat_n(quote, 3).collect();
        let end = if rest.starts_with(&triple) { triple } else { quote.to_string() };
        self.at += end.len();
        let mut text = String::new();
        loop {
            if self.take_exactly(&end) {
                return Ok(text);
            }
            let c = self.rest().chars().next().ok_or_else(unended)?;
            self.at += c.len_utf8();
            match c {
                '\\' if !raw => self.escape(&mut text).ok_or_else(unended)?,
                '\\' => {
                    text.push(c);
                    if let Some(next) = self.rest().chars().next() {
                        self.at += next.len_utf8();
                        text.push(next);
                    }
                }
                c => text.push(c),
            }
        }
    }

    fn take_exactly(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        let plain = match c {
            'n' => "\n",
            't' => "\t",
            'r' => "\r",
            '0' => "\0",
            '\\' => "\\",
            '\'' => "'",
            '"' => "\"",
            // A line that goes on.
            '\n' => "",
            'x' => return self.code_point(2, text),
            'u' => return self.code_point(4, text),
            'U' => return self.code_point(8, text),
            other => {
                text.extend(['\\', other]);
                return Some(());
            }
        };
        text.push_str(plain);
        Some(())
    }

    fn code_point(&mut self, digits: usize, text: &mut String) -> Option<()> {
        let code = u32::from_str_radix(self.rest().get(..digits)?, 16).ok()?;
        self.at += digits;
        text.push(char::from_u32(code)?);
        Some(())
    }

    /// `f"…{name}…"` with variables that are known.
    fn formatted(&self, text: &str) -> Result<String, String> {
        let mut all = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, after) = rest.split_at(start);
            all += before;
            if let Some(after) = after.strip_prefix("{{") {
                all.push('{');
                rest = after;
                continue;
            }
            let (expression, after) =
                after.get(1..).and_then(|after| after.split_once('}')).ok_or_else(|| self.code())?;
            all += &as_text(&evaluate(expression, self.world)?).ok_or_else(|| self.code())?;
            rest = after;
        }
        Ok((all + rest).replace("}}", "}"))
    }
}
