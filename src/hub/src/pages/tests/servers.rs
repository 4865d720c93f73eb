//! Starting, watching and stopping servers.

use hubd_proto::message::RefusalCode;

use super::browser::Browser;
use crate::servers::State;
use crate::test_support::{OnStart, SOON, server, user};

async fn settled(browser: &Browser) -> State {
    browser.test.hub.wait_server(&user("alice"), &server(""), SOON).await
}

fn state(browser: &Browser) -> State {
    browser.test.hub.server(&user("alice"), &server("")).state
}

#[tokio::test]
async fn a_server_is_started_and_stopped_without_javascript() {
    let mut browser = Browser::of("alice").await;
    let home = browser.get("/hub/home").await;
    assert!(home.text.contains("href=\"/hub/spawn/alice\">Start My Server</a>"), "{}", home.text);
    browser.get("/hub/spawn/alice").await.is(302, "/hub/spawn-pending/alice");
    assert_eq!(settled(&browser).await, State::Ready);
    browser.get("/hub/spawn-pending/alice").await.is(302, "/user/alice/");
    browser.get("/hub/spawn-pending/alice?next=%2Fhub%2Ftoken").await.is(302, "/hub/token");
    browser.get("/hub/spawn").await.is(302, "/user/alice/");
    browser.get("/hub/").await.is(302, "/user/alice/");
    let home = browser.get("/hub/home").await;
    assert!(home.text.contains("href=\"/user/alice\">My Server</a>"), "{}", home.text);

    let xsrf = browser.get("/hub/stop/alice").await.is(200, "").field("_xsrf");
    browser.post("/hub/stop/alice", &[]).await.is(403, "");
    assert_eq!(state(&browser), State::Ready);
    browser.post("/hub/stop/alice", &[("_xsrf", &xsrf)]).await.is(303, "/hub/home");
    assert_eq!(settled(&browser).await, State::Stopped { failure: None });
    let page = browser.get("/hub/spawn-pending/alice").await.is(200, "");
    assert_eq!(page.heading(), "Server not running");
}

#[tokio::test]
async fn the_progress_page_shows_a_start_and_can_end_it() {
    let mut browser = Browser::of("alice").await;
    browser.helper().script(|script| script.start = OnStart::Mute);
    browser
        .get("/hub/spawn?next=%2Fhub%2Ftoken&a=1")
        .await
        .is(302, "/hub/spawn-pending/alice?a=1&next=%2Fhub%2Ftoken");
    let page = browser.get("/hub/spawn-pending/alice").await.is(200, "");
    for mark in [
        "id=\"progress-bar\"",
        "role=\"progressbar\"",
        "id=\"sr-progress\"",
        "id=\"progress-message\"",
        "id=\"progress-log\"",
        "data-progress-url=\"/hub/api/users/alice/server/progress\"",
        "http-equiv=\"refresh\"",
    ] {
        assert!(page.text.contains(mark), "{mark}");
    }
    browser.get("/hub/spawn").await.is(302, "/hub/spawn-pending/alice");
    browser
        .get("/hub/user/alice/lab")
        .await
        .is(303, "/hub/spawn-pending/alice?next=%2Fhub%2Fuser%2Falice%2Flab");
    let xsrf = page.field("_xsrf");
    browser.post("/hub/spawn", &[("_xsrf", &xsrf)]).await.is(400, "");
    browser.post("/hub/stop/alice", &[("_xsrf", &xsrf)]).await.is(303, "/hub/home");
}

#[tokio::test]
async fn a_failed_start_tells_step_cause_last_words_and_advice() {
    let mut browser = Browser::of("alice").await;
    browser.helper().script(|script| script.start = OnStart::Exit(3));
    browser.get("/hub/spawn").await;
    let State::Stopped { failure: Some(failure) } = settled(&browser).await else { panic!("no failure") };
    let page = browser.get("/hub/spawn-pending/alice").await;
    assert_eq!(page.status.as_u16(), failure.status);
    assert_eq!(page.heading(), "Spawn failed");
    for mark in ["id=\"failure-step\"", "id=\"failure-advice\"", "id=\"failure-log\"", "Relaunch Server"] {
        assert!(page.text.contains(mark), "{mark} in {}", page.text);
    }
    assert!(page.text.contains(failure.step.as_str()));
    for line in &failure.log {
        assert!(page.text.contains(line), "{line}");
    }
    browser
        .get("/hub/user/alice/lab")
        .await
        .is(303, "/hub/spawn-pending/alice?next=%2Fhub%2Fuser%2Falice%2Flab");
    let home = browser.get("/hub/home").await.is(200, "");
    assert!(home.text.contains("Your server did not start"));
    browser.get("/hub/").await.is(302, "/hub/spawn");
}

#[tokio::test]
async fn a_refused_start_is_answered_with_its_own_status() {
    let mut browser = Browser::of("alice").await;
    browser.helper().script(|script| script.start = OnStart::Refuse(RefusalCode::AccountClosed));
    let page = browser.get("/hub/spawn").await;
    assert_eq!((page.status.as_u16(), page.heading()), (403, "Spawn failed"));
}

#[tokio::test]
async fn a_start_without_a_good_ticket_offers_the_login() {
    let mut browser = Browser::of("alice").await;
    browser.helper().script(|script| script.start = OnStart::Refuse(RefusalCode::TicketInvalid));
    let page = browser.get("/hub/spawn").await.is(403, "");
    assert!(page.text.contains("id=\"login-again\""), "{}", page.text);
}

#[tokio::test]
async fn a_start_that_another_page_caused_asks_first() {
    let mut browser = Browser::of("alice").await;
    for site in [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")] {
        browser.headers = vec![site, ("sec-fetch-mode", "navigate")];
        let page = browser.get("/hub/spawn/alice?next=%2Fuser%2Falice%2Flab").await.is(200, "");
        assert_eq!(page.heading(), "Start your server?");
        assert!(page.text.contains("action=\"/hub/spawn/alice?next=%2Fuser%2Falice%2Flab\""));
        assert_eq!(state(&browser), State::Stopped { failure: None });
    }
    browser.post("/hub/spawn/alice", &[]).await.is(403, "");
    assert_eq!(state(&browser), State::Stopped { failure: None });
    let xsrf = browser.get("/hub/spawn/alice").await.field("_xsrf");
    browser
        .post("/hub/spawn/alice?next=%2Fuser%2Falice%2Flab", &[("_xsrf", &xsrf)])
        .await
        .is(302, "/hub/spawn-pending/alice?next=%2Fuser%2Falice%2Flab");
    assert_eq!(settled(&browser).await, State::Ready);
}

#[tokio::test]
async fn an_own_link_starts_at_once() {
    let mut browser = Browser::of("alice").await;
    browser.headers = vec![
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    browser.get("/hub/spawn").await.is(302, "/hub/spawn-pending/alice");
    assert_eq!(settled(&browser).await, State::Ready);
}

#[tokio::test]
async fn nobody_touches_somebody_elses_server() {
    let mut browser = Browser::of("alice").await;
    browser.test.hub.store.ensure_user("bob", "x", std::time::SystemTime::now()).unwrap();
    for path in [
        "spawn/bob",
        "spawn-pending/bob",
        "stop/bob",
        "user/bob/lab",
        "spawn/nobody",
        "user/no%2Fbody/",
        "spawn/%00",
    ] {
        let page = browser.get(&format!("/hub/{path}")).await.is(404, "");
        assert_eq!(page.heading(), "404 : No access to resources or resources not found", "{path}");
    }
    let xsrf = browser.get("/hub/stop/alice").await.field("_xsrf");
    for path in ["spawn/bob", "stop/bob"] {
        browser.post(&format!("/hub/{path}"), &[("_xsrf", &xsrf)]).await.is(404, "");
    }
}

#[tokio::test]
async fn bad_server_names_and_options_are_told() {
    let mut browser = Browser::of("alice").await;
    let page = browser.get("/hub/spawn/alice/Bad_Name!").await.is(400, "");
    assert_eq!(page.heading(), "400 : Invalid server_name: &#39;Bad_Name!&#39;");
    let page = browser.get("/hub/spawn-pending/alice/nope").await.is(404, "");
    assert_eq!(page.heading(), "404 : alice has no such server nope");
    browser.get("/hub/spawn?opt-=1").await.is(422, "");
}
