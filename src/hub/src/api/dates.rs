//! Times as people write them: what Python's dateutil makes of a text, for the forms that occur.
//!
//! A number is a day, month or year by its size and place; month before day where both are possible. What is
//! missing is taken from today, the time of day is midnight, and without an offset it is UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// Longest text that is looked at, in bytes: no date is longer.
const BYTES_MAX: usize = 100;

/// Words that say nothing: days of the week, and what joins the parts.
const FILLERS: &[&str] = &["at", "on", "and", "of", "t", "st", "nd", "rd", "th", "ad", "m"];
const WEEKDAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// What was found so far.
#[derive(Default)]
struct Found {
    numbers: Vec<(i32, usize)>,
    month: Option<i8>,
    time: Option<Time>,
    offset: Option<Offset>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    Digits(&'a str),
    Word(String),
    Mark(char),
}

/// The time that a text names; `today` fills in what it does not say.
pub fn parse(text: &str, today: Timestamp) -> Option<Timestamp> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let tokens = tokens(text)?;
    let mut found = Found::default();
    let mut rest = tokens.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            Token::Digits(digits) => found.number(digits, after)?,
            Token::Word(word) => found.word(word, after)?,
            Token::Mark('+' | '-') if found.time.is_some() => found.offset(first, after)?,
            Token::Mark(' ' | ',' | '/' | '-' | '.' | '(' | ')' | ';') => after,
            Token::Mark(_) => return None,
        };
    }
    found.finish(today)
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let end = |wanted: fn(char) -> bool| rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        let length = match first {
            '0'..='9' => end(|c| c.is_ascii_digit()),
            c if c.is_ascii_alphabetic() => end(|c| c.is_ascii_alphabetic()),
            c if c.is_ascii_whitespace() => end(|c| c.is_ascii_whitespace()),
            c if c.is_ascii() => 1,
            _ => return None,
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match first {
            '0'..='9' => Token::Digits(token),
            c if c.is_ascii_alphabetic() => Token::Word(token.to_ascii_lowercase()),
            c if c.is_ascii_whitespace() => Token::Mark(' '),
            c => Token::Mark(c),
        });
        rest = after;
    }
    Some(tokens)
}

impl Found {
    /// A number: of a time if a colon follows, else of a date.
    fn number<'a, 'b>(&mut self, digits: &str, after: &'a [Token<'b>]) -> Option<&'a [Token<'b>]> {
        match after {
            [Token::Mark(':'), ..] => return self.clock(digits, after),
            [Token::Word(half), rest @ ..] | [Token::Mark(' '), Token::Word(half), rest @ ..]
                if self.time.is_none() && matches!(half.as_str(), "am" | "pm") =>
            {
                self.time = Some(Time::new(hour(digits.parse().ok()?, Some(half))?, 0, 0, 0).ok()?);
                return Some(rest);
            }
            _ => {}
        }
        let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i32>().ok();
        match (digits.len(), self.numbers.is_empty()) {
            (8 | 12 | 14, true) => {
                self.numbers = vec![(part(0, 4)?, 4), (part(4, 6)?, 2), (part(6, 8)?, 2)];
                if digits.len() > 8 {
                    let second = if digits.len() == 14 { part(12, 14)? } else { 0 };
                    self.time = Some(time(part(8, 10)?, part(10, 12)?, second, 0)?);
                }
            }
            (6, true) => {
                let year = part(0, 2)?;
                self.numbers = vec![(century(year), 4), (part(2, 4)?, 2), (part(4, 6)?, 2)];
            }
            // The time of 20260102T030405.
            (4 | 6, false) if self.numbers.len() == 3 && self.time.is_none() => {
                let second = if digits.len() == 6 { part(4, 6)? } else { 0 };
                self.time = Some(time(part(0, 2)?, part(2, 4)?, second, 0)?);
            }
            (1..=4, _) if self.numbers.len() < 3 => self.numbers.push((digits.parse().ok()?, digits.len())),
            _ => return None,
        }
        Some(after)
    }

    /// `HH:MM[:SS[.fff]] [am|pm]`.
    fn clock<'a, 'b>(&mut self, first: &str, after: &'a [Token<'b>]) -> Option<&'a [Token<'b>]> {
        let [Token::Mark(':'), Token::Digits(minute), rest @ ..] = after else { return None };
        let (mut second, mut nanosecond, mut rest) = (0, 0, rest);
        if let [Token::Mark(':'), Token::Digits(digits), more @ ..] = rest {
            (second, rest) = (digits.parse().ok()?, more);
            if let [Token::Mark('.' | ','), Token::Digits(fraction), more @ ..] = rest {
                let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
                (nanosecond, rest) = (nine.parse().ok()?, more);
            }
        }
        let half = match rest {
            [Token::Word(half), more @ ..] | [Token::Mark(' '), Token::Word(half), more @ ..]
                if matches!(half.as_str(), "am" | "pm") =>
            {
                rest = more;
                Some(half.as_str())
            }
            _ => None,
        };
        if self.time.is_some() {
            return None;
        }
        let hour = i32::from(hour(first.parse().ok()?, half)?);
        self.time = Some(time(hour, minute.parse().ok()?, second, nanosecond)?);
        Some(rest)
    }

    fn word<'a, 'b>(&mut self, word: &str, after: &'a [Token<'b>]) -> Option<&'a [Token<'b>]> {
        let begins = |names: &[&str]| {
            let short = word.get(..3).filter(|_| word.len() >= 3)?;
            names.iter().position(|name| *name == short)
        };
        if matches!(word, "z" | "utc" | "gmt") {
            self.offset.get_or_insert(Offset::UTC);
        } else if let Some(month) = begins(MONTHS) {
            self.month = Some(i8::try_from(month + 1).ok()?);
        } else if begins(WEEKDAYS).is_none() && !FILLERS.contains(&word) {
            return None;
        }
        Some(after)
    }

    /// `+HH`, `+HHMM` or `+HH:MM`.
    fn offset<'a, 'b>(&mut self, sign: &Token<'_>, after: &'a [Token<'b>]) -> Option<&'a [Token<'b>]> {
        let [Token::Digits(digits), rest @ ..] = after else { return None };
        let (hours, minutes, rest) = match (digits.len(), rest) {
            (4, rest) => (digits.get(..2)?, digits.get(2..)?, rest),
            (1 | 2, [Token::Mark(':'), Token::Digits(minutes), rest @ ..]) => (*digits, *minutes, rest),
            (1 | 2, rest) => (*digits, "0", rest),
            _ => return None,
        };
        let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        let seconds = if *sign == Token::Mark('-') { -seconds } else { seconds };
        self.offset = Some(Offset::from_seconds(seconds).ok()?);
        Some(rest)
    }

    /// Puts it together.
    fn finish(self, today: Timestamp) -> Option<Timestamp> {
        if self.numbers.is_empty() && self.month.is_none() && self.time.is_none() {
            return None;
        }
        let now = today.to_zoned(TimeZone::UTC).date();
        let date = self.date(now)?;
        let time = self.time.unwrap_or(Time::midnight());
        let zone = TimeZone::fixed(self.offset.unwrap_or(Offset::UTC));
        Some(DateTime::from_parts(date, time).to_zoned(zone).ok()?.timestamp())
    }

    fn date(&self, now: Date) -> Option<Date> {
        // A number of four digits or beyond any day is the year.
        let is_year = |(number, length): &(i32, usize)| *length > 2 || *number > 31;
        if self.numbers.iter().filter(|number| is_year(number)).count() > 1 {
            return None;
        }
        let mut year = self.numbers.iter().find(|number| is_year(number)).map(|(year, _)| *year);
        let year_first = self.numbers.first().is_some_and(is_year);
        let mut others: Vec<i32> =
            self.numbers.iter().filter(|number| !is_year(number)).map(|(number, _)| *number).collect();
        let (mut month, mut day) = (self.month.map(i32::from), None);
        let wanted = if month.is_some() { 1 } else { 2 };
        if others.len() > wanted && year.is_none() {
            year = others.pop().map(century);
        }
        match (others.as_slice(), month) {
            ([], _) => {}
            ([only], Some(_)) => day = Some(*only),
            ([only], None) if year.is_some() => month = Some(*only),
            ([only], None) => day = Some(*only),
            ([first, second], None) if *first > 12 && !year_first => {
                (day, month) = (Some(*first), Some(*second))
            }
            ([first, second], None) => (month, day) = (Some(*first), Some(*second)),
            _ => return None,
        }
        let year = i16::try_from(year.unwrap_or(i32::from(now.year()))).ok()?;
        let month = i8::try_from(month.unwrap_or(i32::from(now.month()))).ok()?;
        match day {
            Some(day) => Date::new(year, month, i8::try_from(day).ok()?).ok(),
            // Today's day, or the last one of a shorter month.
            None => Some(
                Date::new(year, month, 1)
                    .ok()?
                    .last_of_month()
                    .min(Date::new(year, month, now.day()).unwrap_or(Date::MAX)),
            ),
        }
    }
}

/// A year of two digits, within fifty years of 2025.
fn century(year: i32) -> i32 {
    match year {
        0..=74 => year + 2000,
        75..=99 => year + 1900,
        _ => year,
    }
}

fn hour(hour: i32, half: Option<&str>) -> Option<i8> {
    let hour = match half {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
        None => hour,
    };
    i8::try_from(hour).ok()
}

fn time(hour: i32, minute: i32, second: i32, nanosecond: i32) -> Option<Time> {
    let small = |number: i32| i8::try_from(number).ok();
    Time::new(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dateutil 2.9 makes of each, on 22 November 2026.
    const CASES: &[(&str, &str)] = &[
        ("2026", "2026-11-22T00:00:00Z"),
        ("January 2 2026", "2026-01-02T00:00:00Z"),
        ("2 Jan 2026", "2026-01-02T00:00:00Z"),
        ("Jan 2", "2026-01-02T00:00:00Z"),
        ("2026/01/02 3:04 PM", "2026-01-02T15:04:00Z"),
        ("Fri Jan  2 03:04:05 UTC 2026", "2026-01-02T03:04:05Z"),
        ("10:00", "2026-11-22T10:00:00Z"),
        ("10pm", "2026-11-22T22:00:00Z"),
        ("01/02/2026", "2026-01-02T00:00:00Z"),
        ("31/12/2025", "2025-12-31T00:00:00Z"),
        ("1.2.2026", "2026-01-02T00:00:00Z"),
        ("20260102", "2026-01-02T00:00:00Z"),
        ("20260102T030405Z", "2026-01-02T03:04:05Z"),
        ("20260102030405", "2026-01-02T03:04:05Z"),
        ("1 Jan 2026 10:00 +0100", "2026-01-01T09:00:00Z"),
        ("2026-01-01 00:00 -05:30", "2026-01-01T05:30:00Z"),
        ("February 2026", "2026-02-22T00:00:00Z"),
        ("2026-02", "2026-02-22T00:00:00Z"),
        ("01/02/26", "2026-01-02T00:00:00Z"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456789Z"),
    ];

    #[test]
    fn dates_are_read_as_dateutil_reads_them() {
        let today: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        for (text, time) in CASES {
            assert_eq!(parse(text, today), Some(time.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let today: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        for text in
            ["", " ", "garbage", "2026-13-01", "32/32/2026", "25:00", "1:2:3:4", "13pm", "1 2 3 4", "é", "+1"]
        {
            assert_eq!(parse(text, today), None, "{text}");
        }
        assert_eq!(parse(&"1 ".repeat(100), today), None);
    }
}
