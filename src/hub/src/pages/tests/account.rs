//! What belongs to a person: logs, shares, languages, reports.

use super::browser::Browser;
use crate::test_support::{PASSWORD, TestHub, started};

#[tokio::test]
async fn a_person_reads_the_log_of_their_own_server_only() {
    let mut browser = Browser::of("alice").await;
    browser.get("/hub/log/alice").await.is(200, "");
    started(&browser.test.hub, "alice").await;
    let page = browser.get("/hub/log/alice").await.is(200, "");
    assert!(page.text.contains("running"), "{}", page.text);
    browser.get("/hub/log/bob").await.is(404, "");
    browser.get("/hub/log/alice/nope").await.is(200, "");
}

#[tokio::test]
async fn a_server_is_shared_and_taken_back() {
    let test = TestHub::new().await;
    test.hub.store.ensure_user("bob", "x", std::time::SystemTime::now()).unwrap();
    // Sharing is a right that the role "user" does not have of itself.
    test.hub
        .store
        .define_role("user", "", &["self", "shares!user", "read:users:name", "read:groups:name"])
        .unwrap();
    let mut browser = Browser::on(test);
    browser.log_in("alice", PASSWORD).await.is(302, "/hub/spawn");
    assert!(browser.get("/hub/home").await.text.contains("href=\"/hub/share/alice\""));
    let xsrf = browser.get("/hub/share/alice").await.is(200, "").field("_xsrf");
    let post = |fields: &[(&'static str, &'static str)]| {
        let mut all = vec![("_xsrf", xsrf.clone())];
        all.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        all
    };
    let send = async |browser: &mut Browser, fields: &[(&'static str, &'static str)]| {
        let all = post(fields);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/hub/share/alice", &all).await
    };
    send(&mut browser, &[("action", "grant"), ("kind", "user"), ("name", "bob")])
        .await
        .is(303, "/hub/share/alice");
    assert!(browser.get("/hub/share/alice").await.text.contains("<strong>bob</strong>"));
    let page = send(&mut browser, &[("action", "grant"), ("name", "<i>")]).await.is(400, "");
    assert!(page.text.contains("No such user: &lt;i&gt;"), "{}", page.text);
    send(&mut browser, &[("action", "revoke"), ("kind", "user"), ("name", "bob")])
        .await
        .is(303, "/hub/share/alice");
    assert!(!browser.get("/hub/share/alice").await.text.contains("<strong>bob</strong>"));
    let page = send(&mut browser, &[("action", "code"), ("seconds", "3600")]).await.is(200, "");
    assert!(page.text.contains("http://hub.example/hub/accept-share?code="), "{}", page.text);
    let id = page.field("id");
    assert!(id.starts_with("sc_"), "{id}");
    let fields = [("_xsrf", xsrf.as_str()), ("action", "withdraw"), ("id", id.as_str())];
    browser.post("/hub/share/alice", &fields).await.is(303, "/hub/share/alice");
    send(&mut browser, &[("action", "odd")]).await.is(400, "");
    browser.post("/hub/share/alice", &[("action", "code")]).await.is(403, "");
    browser.get("/hub/share/bob").await.is(404, "");
}

#[tokio::test]
async fn pages_speak_the_language_of_the_browser() {
    let mut browser = Browser::new().await;
    browser.headers = vec![("accept-language", "de-CH,de;q=0.9,en;q=0.5")];
    let page = browser.get("/hub/login").await.is(200, "");
    assert!(page.text.contains("<html lang=\"de\">") && page.text.contains("Anmelden"), "{}", page.text);
    assert_eq!(page.headers["content-language"], "de");
    browser.headers = vec![("accept-language", "xx")];
    assert!(browser.get("/hub/login").await.text.contains("<html lang=\"en\">"));
}

#[tokio::test]
async fn reports_of_browsers_need_a_login() {
    let mut browser = Browser::new().await;
    browser
        .post("/hub/security/csp-report?_xsrf=x", &[])
        .await
        .is(302, "/hub/login?next=%2Fhub%2Fsecurity%2Fcsp-report%3F_xsrf%3Dx");
    let mut browser = Browser::of("alice").await;
    browser.post("/hub/security/csp-report", &[("a", "b")]).await.is(403, "");
    let xsrf = browser.cookies["_xsrf"].clone();
    browser.post(&format!("/hub/security/csp-report?_xsrf={xsrf}"), &[("a", "b")]).await.is(200, "");
}
