//! Why a server does not run, in words for the person, the API and the journal.

mod ended;
mod journal;
mod refusals;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hubd_proto::message::{Exited, Refused};
use serde::Serialize;

use super::room::Room;
use crate::helper::HelperError;
use crate::pages::language::{Language, filled, text};

/// Why a server does not run: told to the person, the API and the journal in the same words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Stable code: one of the helper's (`program-missing`, …) or `database`, `died`, `exited-early`,
    /// `helper-unreachable`, `home-full`, `http-timeout`, `options-refused`, `out-of-memory`, `start-timeout`,
    /// `wrong-peer`. Pages, the API and the journal show it.
    pub code: String,
    /// Which step failed, in words for the person: `starting the notebook program`.
    pub step: String,
    /// What happened, in English.
    pub message: String,
    /// What to do, and whom to ask, in English.
    pub advice: String,
    /// The same two in a form that can be translated.
    #[serde(skip)]
    pub(crate) words: Words,
    /// The last lines that the server printed, oldest first.
    pub log: Vec<String>,
    /// HTTP status that fits: 403, 429, 500, 503.
    pub status: u16,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

/// The failure of a server that the kernel ended for its memory limit.
const OUT_OF_MEMORY: &str = "out-of-memory";
/// The failure of a server that could write nothing.
const HOME_FULL: &str = "home-full";
/// What programs print then: ENOSPC and EDQUOT, as strerror(3) puts them.
const NO_ROOM: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// What happened and what to do, as texts of the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// What happened; its `{name}`s are in `values`.
    message: &'static str,
    values: Vec<(&'static str, String)>,
    /// Sentences that follow each other.
    advice: Vec<&'static str>,
    /// Whether the English message is more exact: the helper's own, or a program's.
    has_detail: bool,
}

impl Failure {
    /// A failure with status 500. `message` holds the names of `values` in braces.
    fn new(
        code: &str,
        step: &str,
        (message, values): (&'static str, Vec<(&'static str, String)>),
        advice: &'static str,
    ) -> Self {
        Self {
            code: code.to_owned(),
            step: step.to_owned(),
            message: filled(message, &values),
            advice: advice.to_owned(),
            words: Words { message, values, advice: vec![advice], has_detail: false },
            log: Vec::new(),
            status: 500,
            retry_after_seconds: None,
        }
    }

    /// Adds a sentence to the advice.
    fn advise(&mut self, sentence: &'static str) {
        self.advice.push(' ');
        self.advice.push_str(sentence);
        self.words.advice.push(sentence);
    }

    /// What happened, in a language.
    pub(crate) fn message_in(&self, language: &Language) -> String {
        match language.tag {
            "en" => self.message.clone(),
            _ => filled(language.text(self.words.message), &self.words.values),
        }
    }

    /// What to do, in a language.
    pub(crate) fn advice_in(&self, language: &Language) -> String {
        let sentences: Vec<&str> = self.words.advice.iter().map(|text| language.text(text)).collect();
        sentences.join(" ")
    }

    /// English words that say more than those of another language.
    pub(crate) fn detail_for(&self, language: &Language) -> Option<&str> {
        (self.words.has_detail && language.tag != "en").then_some(self.message.as_str())
    }

    /// The helper said no, or said nothing.
    pub(super) fn from_helper(error: HelperError) -> Self {
        match error {
            HelperError::Refused(refused) => Self::refused(*refused),
            HelperError::Timeout(limit) => Self::start_timeout(limit),
            error => {
                let mut failure = Self::new(
                    "helper-unreachable",
                    text!("asking hubd-helper"),
                    (
                        text!("The program that starts servers cannot be asked: {error}"),
                        vec![("error", error.to_string())],
                    ),
                    text!("Try again in a moment; if it happens again, tell your administrator."),
                );
                failure.status = 503;
                failure
            }
        }
    }

    fn refused(refused: Refused) -> Self {
        let (status, step, message, advice) = refusals::of_refusal(refused.code);
        let mut failure = Self::new(refused.code.as_str(), step, (message, Vec::new()), advice);
        failure.words.has_detail = true;
        failure.message = refused.message;
        for notice in &refused.notices {
            failure.message.push(' ');
            failure.message.push_str(notice);
        }
        failure.status = status;
        failure.retry_after_seconds = refused.retry_after_seconds;
        failure
    }

    /// No process within `start_timeout`.
    pub(super) fn start_timeout(limit: Duration) -> Self {
        Self::new(
            "start-timeout",
            text!("starting the server"),
            (
                text!("The server was not started within {seconds} seconds."),
                vec![("seconds", limit.as_secs().to_string())],
            ),
            text!(
                "Opening a session takes unusually long: a home directory on the network, or a login module that waits. Try again; if it happens again, tell your administrator (start_timeout, and the log of hubd-helper)."
            ),
        )
    }

    /// A process, but no answer within `http_timeout`.
    pub(super) fn http_timeout(url: &str, limit: Duration) -> Self {
        Self::new(
            "http-timeout",
            text!("waiting for the server's first answer"),
            (
                text!("Server at {url}api didn't respond in {seconds} seconds"),
                vec![("url", url.to_owned()), ("seconds", limit.as_secs().to_string())],
            ),
            text!(
                "The program runs but does not answer. A slow home directory or a broken extension can be the reason: see the lines below. Your administrator can allow more time (http_timeout)."
            ),
        )
    }

    /// Another user's program listens where the server should.
    pub(super) fn wrong_peer(url: &str) -> Self {
        Self::new(
            "wrong-peer",
            text!("waiting for the server's first answer"),
            (
                text!("A program of another user listens at {url}, nothing was sent to it."),
                vec![("url", url.to_owned())],
            ),
            text!(
                "Try again. If it happens again, tell your administrator: somebody may be trying to take over servers' ports."
            ),
        )
    }

    /// The process ended before its first answer.
    pub(super) fn exited_early(exited: &Exited) -> Self {
        let step = text!("starting the notebook program");
        let no_room = exited.log.iter().any(|line| NO_ROOM.iter().any(|words| line.contains(words)));
        let mut failure = if no_room && exited.out_of_memory.is_none() {
            Self::new(
                HOME_FULL,
                step,
                (text!("There is no room left in your home directory or on its disk."), Vec::new()),
                text!(
                    "Delete files that you do not need, or ask your administrator for more room. Then start the server again."
                ),
            )
        } else {
            Self::new(
                if exited.out_of_memory.is_some() { OUT_OF_MEMORY } else { "exited-early" },
                step,
                ended::before_ready(exited),
                text!("The lines below are the last it printed; the last ones usually name the reason."),
            )
        };
        failure.log = exited.log.clone();
        failure
    }

    /// Whether the server could write nothing.
    pub(super) fn is_home_full(&self) -> bool {
        self.code == HOME_FULL
    }

    /// Says how full the home is.
    pub(super) fn tell_room(&mut self, room: Room) {
        let (used, total) = room.words();
        self.words.message = if room.is_own {
            text!("Your home directory is full ({used} of {total}).")
        } else {
            text!("The disk of your home directory is full ({used} of {total}).")
        };
        self.words.values = vec![("used", used), ("total", total)];
        self.message = filled(self.words.message, &self.words.values);
    }

    /// A ready server ended by itself.
    pub(super) fn died(exited: &Exited) -> Self {
        let mut failure = Self::new(
            if exited.out_of_memory.is_some() { OUT_OF_MEMORY } else { "died" },
            text!("running the server"),
            ended::while_running(exited),
            text!("Start it again. Notebooks are saved every two minutes; what was in memory is lost."),
        );
        if exited.out_of_memory.is_some() {
            failure
                .advise(text!("Work with less data at a time, or ask your administrator for more memory."));
        } else if exited.signal == Some(ended::SIGKILL) {
            failure.advise(text!(
                "A server that is killed has often used more memory than there is: try with less data."
            ));
        }
        failure.log = exited.log.clone();
        failure
    }

    /// The process above the server has gone without a word.
    pub(super) fn lost(error: &HelperError) -> Self {
        Self::new(
            "died",
            text!("running the server"),
            (
                text!("The session process of the server has gone: {error}"),
                vec![("error", error.to_string())],
            ),
            text!("Start the server again. If it happens again, tell your administrator."),
        )
    }

    /// What was chosen for the server is not there for this person any more.
    pub(super) fn options(error: &str) -> Self {
        let mut failure = Self::new(
            "options-refused",
            text!("reading what was chosen"),
            (text!("What was chosen for the server is not there for you."), Vec::new()),
            text!("Start the server again and choose something else."),
        );
        failure.message = error.to_owned();
        failure.words.has_detail = true;
        failure.status = 400;
        failure
    }

    /// The rows of the server cannot be written.
    pub(super) fn database(error: &str) -> Self {
        let mut failure = Self::new(
            "database",
            text!("writing the hub's records"),
            (text!("The hub's database cannot be written: {error}"), vec![("error", error.to_owned())]),
            text!(
                "Try again soon; if it happens again, tell your administrator. A full disk is the usual reason."
            ),
        );
        failure.status = 503;
        failure
    }
}
