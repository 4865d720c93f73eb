//! Failed starts: one stable code on the page, in the API and in the journal, and words in the person's language.

use std::fmt;
use std::sync::{Arc, Mutex};

use hubd_proto::message::RefusalCode;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::browser::Browser;
use crate::test_support::{OnStart, SOON, server, user};

/// A journal that keeps the codes of what it is told.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    /// Is told what this thread logs, as long as what is returned lives. While there is one subscriber only, a line
    /// that another thread logs first is taken for one that nobody wants, for ever: the second keeps it wanted.
    fn listen(&self) -> (DefaultGuard, Dispatch) {
        (tracing::subscriber::set_default(self.clone()), Dispatch::new(Self::default()))
    }

    fn holds(&self, code: &str) -> bool {
        self.0.lock().unwrap().iter().any(|told| told == code)
    }
}

impl Subscriber for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Journal {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "code" {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, format!("{value:?}").trim_matches('"'));
    }
}

/// The code on the page of a failed start.
fn shown(page: &str) -> &str {
    page.split("<code id=\"failure-code\">").nth(1).unwrap_or(page).split('<').next().unwrap()
}

#[test]
fn a_journal_hears_also_what_another_thread_has_logged_first() {
    let say = || tracing::warn!(code = "anything", "said");
    let journal = Journal::default();
    let _told = journal.listen();
    std::thread::spawn(say).join().unwrap();
    assert!(!journal.holds("anything"));
    say();
    assert!(journal.holds("anything"));
}

#[tokio::test]
async fn page_api_and_journal_give_a_failure_the_same_code() {
    let journal = Journal::default();
    let _told = journal.listen();
    for (how, code) in [
        (OnStart::Exit(3), "exited-early"),
        (OnStart::HangUp, "helper-unreachable"),
        (OnStart::Refuse(RefusalCode::TicketInvalid), "ticket-invalid"),
        (OnStart::Refuse(RefusalCode::HomeUnusable), "home-unusable"),
        (OnStart::Refuse(RefusalCode::ProgramMissing), "program-missing"),
        (OnStart::Refuse(RefusalCode::TooManySessions), "too-many-sessions"),
    ] {
        let mut browser = Browser::of("alice").await;
        browser.helper().script(|script| script.start = how);
        browser.get("/hub/spawn").await;
        browser.test.hub.wait_server(&user("alice"), &server(""), SOON).await;
        let page = browser.get("/hub/spawn-pending/alice").await;
        assert_eq!(shown(&page.text), code, "{}", page.text);
        assert!(journal.holds(code), "{code} is not in the journal");
        let answer = browser.call("POST", "/hub/api/users/alice/server").await;
        let model: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(model["code"], code, "{}", answer.text);
        assert_eq!(model["status"], page.status.as_u16(), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_failed_start_is_told_in_the_language_of_the_browser() {
    let mut browser = Browser::of("alice").await;
    browser.headers = vec![("accept-language", "de")];
    browser.helper().script(|script| script.start = OnStart::Exit(3));
    browser.get("/hub/spawn").await;
    browser.test.hub.wait_server(&user("alice"), &server(""), SOON).await;
    let page = browser.get("/hub/spawn-pending/alice").await;
    for part in ["Status 3", "Start des Notebook-Programms", "Die Zeilen unten", "ImportError"] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    assert!(!page.text.contains("The server exited"), "{}", page.text);
    browser.helper().script(|script| script.start = OnStart::Refuse(RefusalCode::ProgramMissing));
    let page = browser.get("/hub/spawn").await;
    assert!(page.text.contains("Das Notebook-Programm wurde nicht gefunden."), "{}", page.text);
    assert!(page.text.contains("lang=\"en\">The fake helper says no"), "{}", page.text);
}
