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
async fn a_person_sees_what_their_server_uses_of_what_it_may() {
    let mut browser = Browser::of("alice").await;
    started(&browser.test.hub, "alice").await;
    for path in ["/hub/home", "/hub/log/alice"] {
        let page = browser.get(path).await.is(200, "");
        assert!(
            page.text.contains("<span class=\"memory\">300 MB of 1.0 GB</span>"),
            "{path}: {}",
            page.text
        );
        assert!(page.text.contains("<meter") && page.text.contains("value=\"0.29"), "{path}: {}", page.text);
    }
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

#[tokio::test]
async fn a_person_sees_their_logins_and_ends_one_elsewhere() {
    let mut here = Browser::of("alice").await;
    here.headers = vec![("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0")];
    let mut there =
        Browser { test: here.test, cookies: Default::default(), host: here.host, headers: Vec::new() };
    there.headers = vec![("user-agent", "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36")];
    there.log_in("alice", PASSWORD).await.is(302, "/hub/spawn");
    let theirs = std::mem::replace(&mut there.cookies, here.cookies.clone());
    let mut browser = there;
    let page = browser.get("/hub/token").await.is(200, "");
    for part in ["this browser", "Chrome · Windows", "127.0.0.1"] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    let (id, xsrf) = (page.field("login").clone(), page.field("_xsrf"));
    assert_eq!(page.text.matches("name=\"login\"").count(), 1, "the own one is not offered");
    browser.post("/hub/logins/end", &[("login", &id)]).await.is(403, "");
    browser.post("/hub/logins/end", &[("login", &id), ("_xsrf", &xsrf)]).await.is(303, "/hub/token#logins");
    browser.get("/hub/token").await.is(200, "");
    browser.cookies = theirs;
    browser.get("/hub/home").await.is(302, "/hub/login?next=%2Fhub%2Fhome");
}

#[tokio::test]
async fn a_person_logs_out_everywhere() {
    let mut browser = Browser::of("alice").await;
    let first = browser.cookies.clone();
    browser.cookies.clear();
    browser.log_in("alice", PASSWORD).await.is(302, "/hub/spawn");
    let xsrf = browser.get("/hub/token").await.field("_xsrf");
    browser.post("/hub/logins/end", &[("all", "1"), ("_xsrf", &xsrf)]).await.is(303, "/hub/login");
    for cookies in [browser.cookies.clone(), first] {
        browser.cookies = cookies;
        browser.get("/hub/home").await.is(302, "/hub/login?next=%2Fhub%2Fhome");
    }
}

#[tokio::test]
async fn a_logout_ends_the_login_of_this_browser_only() {
    let mut browser = Browser::of("alice").await;
    let first = browser.cookies.clone();
    browser.cookies.clear();
    browser.log_in("alice", PASSWORD).await.is(302, "/hub/spawn");
    let second = browser.cookies.clone();
    browser.get("/hub/logout").await.is(302, "/hub/login");
    browser.cookies = second;
    browser.get("/hub/home").await.is(302, "/hub/login?next=%2Fhub%2Fhome");
    browser.cookies = first;
    browser.get("/hub/home").await.is(200, "");
}
