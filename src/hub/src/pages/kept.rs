//! Pages that many strangers ask for, kept as they were rendered, with holes for what is new in each answer.
//!
//! Two logins of a thousand people begin with the same page but for its nonce and its token against forged requests.
//! What is kept was tried: a second rendering has to be the first with other values in its holes. A template that
//! does more with them than write them down is rendered each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::Error;

/// Most pages kept, each of about 6 KiB: the login page in all languages and with the usual addresses to go on to.
const PAGES_MAX: usize = 256;
/// Longest address whose page is kept, in bytes; a longer one is of one person.
const ADDRESS_BYTES_MAX: usize = 512;

/// What is new in each answer.
#[derive(Clone, Copy)]
pub struct Fresh<'a> {
    /// The nonce of the page's scripts and styles.
    pub nonce: &'a str,
    /// The token of its forms.
    pub token: &'a str,
}

/// The pages kept.
#[derive(Default)]
pub struct KeptPages(Mutex<ByAddress>);

/// Pages by language and address; nothing for one that has to be rendered each time.
type ByAddress = HashMap<(&'static str, String), Option<Arc<Mould>>>;

impl KeptPages {
    /// The page of an address in a language. `render` makes it from scratch; `spare` is tried on it once.
    pub fn page(
        &self,
        (language, address): (&'static str, &str),
        fresh: Fresh<'_>,
        spare: impl FnOnce() -> (String, String),
        render: impl Fn(Fresh<'_>) -> Result<String, Error>,
    ) -> Result<String, Error> {
        if address.len() > ADDRESS_BYTES_MAX {
            return render(fresh);
        }
        let key = (language, address.to_owned());
        let known = self.lock().get(&key).cloned();
        match known {
            Some(Some(mould)) => return Ok(mould.fill(fresh)),
            Some(None) => return render(fresh),
            None => {}
        }
        let page = render(fresh)?;
        let mould = Mould::of(&page, fresh);
        let (nonce, token) = spare();
        let other = Fresh { nonce: &nonce, token: &token };
        let holds = render(other)? == mould.fill(other);
        let mut pages = self.lock();
        if pages.len() >= PAGES_MAX {
            pages.clear();
        }
        pages.insert(key, holds.then(|| Arc::new(mould)));
        Ok(page)
    }

    fn lock(&self) -> MutexGuard<'_, ByAddress> {
        // Pages are put in whole, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page with holes.
struct Mould {
    /// What stands before each hole, and what goes into it.
    pieces: Vec<(String, Hole)>,
    end: String,
    bytes: usize,
}

#[derive(Clone, Copy)]
enum Hole {
    Nonce,
    Token,
}

impl Mould {
    /// Takes a page apart where it has the values of `fresh`.
    fn of(page: &str, fresh: Fresh<'_>) -> Self {
        let (mut pieces, mut rest) = (Vec::new(), page);
        loop {
            let nonce = rest.find(fresh.nonce).map(|at| (at, fresh.nonce, Hole::Nonce));
            let token = rest.find(fresh.token).map(|at| (at, fresh.token, Hole::Token));
            let next = nonce.into_iter().chain(token).min_by_key(|(at, _, _)| *at);
            let Some((at, value, hole)) = next.filter(|(_, value, _)| !value.is_empty()) else { break };
            let (before, after) = rest.split_at(at);
            pieces.push((before.to_owned(), hole));
            rest = after.strip_prefix(value).unwrap_or_default();
        }
        Self { pieces, end: rest.to_owned(), bytes: page.len() }
    }

    fn fill(&self, fresh: Fresh<'_>) -> String {
        let mut page = String::with_capacity(self.bytes);
        for (text, hole) in &self.pieces {
            page.push_str(text);
            page.push_str(match hole {
                Hole::Nonce => fresh.nonce,
                Hole::Token => fresh.token,
            });
        }
        page.push_str(&self.end);
        page
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks for a page and counts how often it is rendered.
    fn ask(
        pages: &KeptPages,
        address: &str,
        fresh: Fresh<'_>,
        write: fn(Fresh<'_>) -> String,
    ) -> (String, u32) {
        let count = Cell::new(0);
        let page = pages.page(
            ("en", address),
            fresh,
            || ("spare".to_owned(), "other".to_owned()),
            |fresh| {
                count.set(count.get() + 1);
                Ok(write(fresh))
            },
        );
        (page.unwrap(), count.get())
    }

    fn plain(fresh: Fresh<'_>) -> String {
        format!("<a {0}>{1}<b {0}>!{1}", fresh.nonce, fresh.token)
    }

    #[test]
    fn a_page_is_rendered_once_and_has_its_own_values_each_time() {
        let pages = KeptPages::default();
        let (page, count) = ask(&pages, "/x", Fresh { nonce: "n1", token: "t1" }, plain);
        assert_eq!((page.as_str(), count), ("<a n1>t1<b n1>!t1", 2));
        let (page, count) = ask(&pages, "/x", Fresh { nonce: "n2", token: "t2" }, plain);
        assert_eq!((page.as_str(), count), ("<a n2>t2<b n2>!t2", 0));
        let (_, count) = ask(&pages, "/y", Fresh { nonce: "n2", token: "t2" }, plain);
        assert_eq!(count, 2, "another address is another page");
        let long = "/".repeat(ADDRESS_BYTES_MAX + 1);
        for _ in 0..2 {
            assert_eq!(ask(&pages, &long, Fresh { nonce: "n", token: "t" }, plain).1, 1);
        }
    }

    #[test]
    fn a_template_that_changes_the_values_is_rendered_each_time() {
        let shouting: fn(Fresh<'_>) -> String =
            |fresh| format!("{} {}", fresh.nonce, fresh.token.to_uppercase());
        let pages = KeptPages::default();
        ask(&pages, "/x", Fresh { nonce: "n1", token: "t1" }, shouting);
        let (page, count) = ask(&pages, "/x", Fresh { nonce: "n2", token: "t2" }, shouting);
        assert_eq!((page.as_str(), count), ("n2 T2", 1));
    }

    #[test]
    fn there_are_never_too_many() {
        let pages = KeptPages::default();
        for number in 0..PAGES_MAX + 10 {
            ask(&pages, &format!("/{number}"), Fresh { nonce: "n", token: "t" }, plain);
        }
        assert!(pages.lock().len() <= PAGES_MAX);
    }
}
