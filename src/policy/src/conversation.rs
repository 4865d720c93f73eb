//! The conversation of PAM modules with a person: bounded, with nothing shown that tells why a login fails.

use hubd_proto::Secret;
use hubd_proto::message::{Notice, Prompt};
use zeroize::Zeroizing;

/// Most prompts and messages of one conversation: a broken module must not talk for ever.
const MESSAGES_MAX: u32 = 64;
/// Most messages kept to explain a refusal.
const NOTICES_MAX: usize = 8;
/// Longest message of a module, in bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 512;
/// What replaces the answers for an account that must not log in; no terminal can type it.
const JUNK: &[u8] = b"\x08\n\r\x7fINCORRECT";

/// The way to the person.
pub trait Person {
    /// Why there is none any more.
    type Error;
    /// Shows something.
    fn show(&mut self, notice: Notice) -> Result<(), Self::Error>;
    /// Asks something, and waits for the answer.
    fn ask(&mut self, prompt: Prompt) -> Result<Secret, Self::Error>;
}

/// One person, as PAM modules talk to them.
pub struct Talk<P: Person> {
    /// `None` when nobody is there to answer: questions fail then, and messages are only kept.
    pub person: Option<P>,
    /// Whether answers are replaced by [`JUNK`].
    junk: bool,
    /// What modules said, kept for a refusal.
    notices: Vec<String>,
    /// Messages not shown yet: one that comes just before a failure could tell why it failed.
    held: Vec<Notice>,
    messages: u32,
    failure: Option<P::Error>,
}

impl<P: Person> Talk<P> {
    /// A conversation; with `junk`, one that cannot succeed.
    pub fn with(person: Option<P>, junk: bool) -> Self {
        Self { person, junk, notices: Vec::new(), held: Vec::new(), messages: 0, failure: None }
    }

    /// Why the person could not be reached, if that happened; PAM only sees "conversation error".
    pub fn check(&mut self) -> Result<(), P::Error> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Shows what was held back; from now on nobody answers.
    pub fn end(&mut self) -> Result<(), P::Error> {
        self.show_held()?;
        self.person = None;
        Ok(())
    }

    /// What modules said, for a refusal.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// A module tells something.
    pub fn tell(&mut self, text: &str, error: bool) {
        self.messages += 1;
        let text = readable(text);
        if text.trim().is_empty() || self.messages > MESSAGES_MAX {
            return;
        }
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(text.clone());
        }
        self.held.push(Notice { error, text });
    }

    /// A module asks something. Without an answer the conversation has failed.
    pub fn ask(&mut self, text: &str, echo: bool) -> Option<Zeroizing<Vec<u8>>> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX || self.failure.is_some() {
            return None;
        }
        let prompt = Prompt { echo, text: readable(text) };
        let answer = self.show_held().and_then(|()| self.person.as_mut().map(|p| p.ask(prompt)).transpose());
        let answer = answer.map_err(|error| self.failure = Some(error)).ok()??;
        // Of the same length, so that hashing it takes the same time.
        let junk = || JUNK.iter().copied().cycle().take(answer.len()).collect();
        Some(Zeroizing::new(if self.junk { junk() } else { answer.expose().as_bytes().to_vec() }))
    }

    fn show_held(&mut self) -> Result<(), P::Error> {
        let Some(person) = &mut self.person else { return Ok(()) };
        self.held.drain(..).try_for_each(|notice| person.show(notice))
    }
}

/// A module's text without control characters, bounded.
fn readable(text: &str) -> String {
    let short = text.trim_end_matches('\n').char_indices().take_while(|(at, _)| *at < TEXT_BYTES_MAX);
    short.map(|(_, c)| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who answers everything with "secret" until `left` is used up, and what they saw.
    struct Patient {
        left: u32,
        seen: Vec<String>,
    }

    impl Person for Patient {
        type Error = &'static str;
        fn show(&mut self, notice: Notice) -> Result<(), Self::Error> {
            self.seen.push(notice.text);
            Ok(())
        }
        fn ask(&mut self, prompt: Prompt) -> Result<Secret, Self::Error> {
            self.left = self.left.checked_sub(1).ok_or("gone")?;
            self.seen.push(prompt.text);
            Ok(String::from("secret").into())
        }
    }

    fn talk(left: u32, junk: bool) -> Talk<Patient> {
        Talk::with(Some(Patient { left, seen: Vec::new() }), junk)
    }

    #[test]
    fn a_message_is_held_back_until_the_next_question_or_success() {
        let mut talk = talk(9, false);
        talk.tell("one\x1b\n", false);
        let seen = |talk: &Talk<Patient>| talk.person.as_ref().map(|p| p.seen.join(",")).unwrap_or_default();
        assert_eq!(seen(&talk), "");
        assert_eq!(talk.ask("Password: ", false).as_deref(), Some(&b"secret".to_vec()));
        talk.tell("two", true);
        assert_eq!(seen(&talk), "one ,Password: ");
        assert_eq!(talk.take_notices(), ["one ", "two"]);
        assert!(talk.end().is_ok() && talk.ask("more", true).is_none() && talk.check().is_ok());
    }

    #[test]
    fn who_must_not_log_in_answers_junk_of_the_same_length() {
        let answer = talk(1, true).ask("Password: ", false).expect("an answer");
        assert!(answer.len() == 6 && *answer != b"secret");
    }

    #[test]
    fn a_module_that_talks_for_ever_and_a_person_who_is_gone_end_it() {
        let mut endless = talk(u32::MAX, false);
        let answers = (0..MESSAGES_MAX * 2).filter(|_| endless.ask("?", true).is_some()).count();
        assert_eq!(answers, MESSAGES_MAX as usize);
        let mut gone = talk(0, false);
        assert!(gone.ask("?", true).is_none() && gone.check() == Err("gone"));
    }
}
