//! Logging in and out.

use axum::body::Body;
use http::header;
use hubd_proto::message::RefusalCode;

use super::browser::Browser;
use crate::pages::form::FORM_BYTES_MAX;
use crate::test_support::{CODE, PASSWORD, TestHub};

#[tokio::test]
async fn the_form_has_the_marks_that_scripts_look_for() {
    let mut browser = Browser::new().await;
    let page = browser.get("/hub/login?next=%2Fhub%2Ftoken&username=zed").await.is(200, "");
    for mark in [
        "<title>JupyterHub</title>",
        "id=\"login-main\"",
        "action=\"/hub/login?next=%2Fhub%2Ftoken\"",
        "name=\"_xsrf\"",
        "id=\"username_input\" type=\"text\" name=\"username\" value=\"zed\"",
        "id=\"password_input\" type=\"password\" name=\"password\"",
        "id=\"login_submit\" type=\"submit\"",
        "value=\"Sign in\"",
        "id=\"dark-theme-toggle\"",
        "id=\"jupyterhub-logo\"",
        "window.jhdata = ",
    ] {
        assert!(page.text.contains(mark), "{mark}");
    }
    assert!(!page.text.contains("login_error"));
    assert_eq!(page.heading(), "Sign in");
}

#[tokio::test]
async fn a_person_logs_in_and_goes_on_to_what_they_asked_for() {
    let mut browser = Browser::new().await;
    let page = browser.get("/hub/login?next=%2Fhub%2Fhome").await;
    let xsrf = page.field("_xsrf");
    let fields = [("username", " alice "), ("password", PASSWORD), ("_xsrf", &xsrf)];
    browser.post("/hub/login?next=%2Fhub%2Fhome", &fields).await.is(302, "/hub/home");
    for cookie in ["jupyterhub-hub-login", "jupyterhub-session-id", "hubd-ticket", "_xsrf"] {
        assert!(browser.cookies.contains_key(cookie), "{cookie}");
    }
    let home = browser.get("/hub/home").await.is(200, "");
    assert_eq!(home.heading(), "JupyterHub home page");
    assert!(home.text.contains("alice"));
    assert_eq!(home.headers[header::CACHE_CONTROL], "no-store");
    browser.get("/hub/login?foo=bar").await.is(302, "/hub/spawn?foo=bar");
}

#[tokio::test]
async fn a_wrong_password_is_403_with_the_form() {
    let mut browser = Browser::new().await;
    browser.helper().script(|script| script.login = Some(RefusalCode::LoginRefused));
    let page = browser.log_in("alice", "wrong").await.is(403, "");
    assert!(page.text.contains("login_error"), "{}", page.text);
    assert!(page.text.contains("Invalid username or password"));
    assert!(page.text.contains("value=\"alice\""));
    assert!(!browser.cookies.contains_key("jupyterhub-hub-login"));
}

#[tokio::test]
async fn a_form_without_xsrf_is_refused_before_the_password_is_looked_at() {
    let mut browser = Browser::new().await;
    let page = browser.post("/hub/login", &[("username", "alice"), ("password", PASSWORD)]).await.is(403, "");
    assert!(page.text.contains("Login form invalid or expired. Try again."));
    assert_eq!(browser.helper().requests(), Vec::<String>::new());
}

#[tokio::test]
async fn bad_forms_are_answered_and_never_break_the_hub() {
    let mut browser = Browser::new().await;
    let xsrf = browser.get("/hub/login").await.field("_xsrf");
    browser.post("/hub/login", &[("_xsrf", &xsrf)]).await.is(400, "");
    for name in ["", "a/b", "\u{0}", "-rf", &"a".repeat(40)] {
        let fields = [("username", name), ("password", "x"), ("_xsrf", &xsrf)];
        let page = browser.post("/hub/login", &fields).await.is(403, "");
        assert_eq!(page.heading(), "Sign in");
    }
    let huge = Body::from(vec![b'a'; FORM_BYTES_MAX + 1]);
    browser.send("POST", "/hub/login", huge).await.is(413, "");
    browser.send("POST", "/hub/login", Body::from(vec![0xff; 9])).await.is(400, "");
}

#[tokio::test]
async fn a_second_question_is_asked_and_its_answer_taken() {
    let mut browser = Browser::new().await;
    browser.helper().script(|script| script.second_question = true);
    let page = browser.log_in("alice", PASSWORD).await.is(200, "");
    assert!(page.text.contains("id=\"answer_input\""), "{}", page.text);
    let (id, xsrf) = (page.field("conversation"), page.field("_xsrf"));
    let fields = [("conversation", id.as_str()), ("answer", CODE), ("_xsrf", &xsrf)];
    browser.post("/hub/login?next=", &fields).await.is(302, "/hub/spawn");
    // The same answer again finds no conversation.
    browser.cookies.remove("jupyterhub-hub-login");
    let xsrf = browser.get("/hub/login").await.field("_xsrf");
    let fields = [("conversation", id.as_str()), ("answer", CODE), ("_xsrf", &xsrf)];
    browser.post("/hub/login?next=", &fields).await.is(403, "");
}

#[tokio::test]
async fn who_is_not_allowed_stays_at_the_form() {
    let mut browser = Browser::on(TestHub::with(|settings| settings.authenticator.allow_all = false).await);
    let page = browser.log_in("alice", PASSWORD).await.is(403, "");
    assert_eq!(page.heading(), "Sign in");
    assert!(page.text.contains("login_error"), "{}", page.text);
    assert!(!browser.cookies.contains_key("jupyterhub-hub-login"));
}

#[tokio::test]
async fn logging_out_ends_the_login_for_good() {
    let mut browser = Browser::of("alice").await;
    let stolen = browser.cookies.clone();
    browser.get("/hub/logout").await.is(302, "/hub/login");
    assert!(!browser.cookies.contains_key("jupyterhub-hub-login"));
    browser.cookies = stolen;
    browser.get("/hub/home").await.is(302, "/hub/login?next=%2Fhub%2Fhome");
}

#[tokio::test]
async fn a_logout_that_another_page_caused_asks_first() {
    let mut browser = Browser::of("alice").await;
    browser.headers = vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let page = browser.get("/hub/logout").await.is(200, "");
    assert_eq!(page.heading(), "Log out?");
    browser.post("/hub/logout", &[]).await.is(403, "");
    browser.get("/hub/home").await.is(200, "");
    let xsrf = page.field("_xsrf");
    browser.post("/hub/logout", &[("_xsrf", &xsrf)]).await.is(302, "/hub/login");
    browser.get("/hub/home").await.is(302, "/hub/login?next=%2Fhub%2Fhome");
}

#[tokio::test]
async fn a_hub_that_asks_nothing_shows_no_form_and_says_that_somebody_is_out() {
    let mut browser = Browser::of("alice").await;
    let mut rules = (*browser.test.hub.access.load_full()).clone();
    rules.auto_login = true;
    browser.test.hub.access.store(std::sync::Arc::new(rules));
    let page = browser.get("/hub/logout").await.is(200, "");
    assert_eq!(page.heading(), "Successfully logged out.");
    assert!(!page.text.contains("id=\"logout\""), "{}", page.text);
    browser.get("/hub/home").await.is(302, "/hub/login?next=%2Fhub%2Fhome");
    let page = browser.get("/hub/login").await.is(403, "");
    assert!(!page.text.contains("password_input"), "{}", page.text);
}

#[tokio::test]
async fn the_login_page_is_new_for_everybody_though_it_is_rendered_once() {
    let mut browser = Browser::new().await;
    let nonce = |page: &super::browser::Answer| page.headers["content-security-policy"].clone();
    let first = browser.get("/hub/login?next=%2Fhub%2Fhome").await.is(200, "");
    browser.cookies.clear();
    let second = browser.get("/hub/login?next=%2Fhub%2Fhome").await.is(200, "");
    assert_ne!(nonce(&first), nonce(&second));
    for page in [&first, &second] {
        let policy = nonce(page);
        let nonce = policy.to_str().unwrap().split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(page.text.contains(&format!("nonce=\"{nonce}\"")), "{}", page.text);
    }
    assert_ne!(first.text, second.text);
    assert!(browser.get("/hub/login?username=erin").await.text.contains("value=\"erin\""));
    assert!(!browser.get("/hub/login").await.text.contains("value=\"erin\""));
}
