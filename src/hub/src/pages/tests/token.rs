//! The token page.

use super::browser::Browser;

#[tokio::test]
async fn a_token_is_made_shown_once_works_and_is_revoked() {
    let mut browser = Browser::of("alice").await;
    let page = browser.get("/hub/token").await.is(200, "");
    assert_eq!(page.heading(), "Manage JupyterHub Tokens");
    let xsrf = page.field("_xsrf");
    let fields = [("_xsrf", xsrf.as_str()), ("note", "<b>"), ("expires_in", "3600"), ("scopes", "")];
    let page = browser.post("/hub/token", &fields).await.is(200, "");
    let token = page.text.split("id=\"token-result\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(token.len(), 32);
    let hub = browser.test.hub.clone();
    let caller = hub.token_caller(&token).unwrap().expect("a caller");
    assert!(caller.scopes.contains("servers!user=alice"), "{:?}", caller.scopes);
    let page = browser.get("/hub/token").await.is(200, "");
    assert!(!page.text.contains(&token));
    assert!(page.text.contains("&lt;b&gt;"));
    let id = page.field("token");
    browser.post("/hub/token/revoke", &[("token", &id)]).await.is(403, "");
    browser.post("/hub/token/revoke", &[("token", &id), ("_xsrf", &xsrf)]).await.is(303, "/hub/token");
    assert!(hub.token_caller(&token).unwrap().is_none());
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_do_more_than_they() {
    let mut browser = Browser::of("alice").await;
    let xsrf = browser.get("/hub/token").await.field("_xsrf");
    for (scopes, expires_in, status) in [
        ("admin:users", "", 403),
        ("access:servers!user=bob", "", 403),
        ("nonsense", "", 400),
        ("", "soon", 400),
        ("", "0", 400),
        ("", "99999999999999999999", 400),
        ("access:servers!user=alice", "60", 200),
    ] {
        let fields = [("_xsrf", xsrf.as_str()), ("scopes", scopes), ("expires_in", expires_in)];
        let page = browser.post("/hub/token", &fields).await;
        assert_eq!(page.status.as_u16(), status, "{scopes} {expires_in} {}", page.text);
    }
}

#[tokio::test]
async fn tokens_of_others_cannot_be_revoked() {
    let mut browser = Browser::of("alice").await;
    let xsrf = browser.get("/hub/token").await.field("_xsrf");
    let page = browser.post("/hub/token", &[("_xsrf", &xsrf)]).await;
    let token = page.text.split("id=\"token-result\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let id = page.field("token");
    browser.cookies.clear();
    browser.log_in("bob", crate::test_support::PASSWORD).await;
    let xsrf = browser.get("/hub/token").await.field("_xsrf");
    browser.post("/hub/token/revoke", &[("token", &id), ("_xsrf", &xsrf)]).await.is(303, "/hub/token");
    assert!(browser.test.hub.token_caller(&token).unwrap().is_some());
}

#[tokio::test]
async fn strangers_are_sent_to_the_login() {
    let mut browser = Browser::new().await;
    browser.get("/hub/token").await.is(302, "/hub/login?next=%2Fhub%2Ftoken");
    browser.post("/hub/token", &[]).await.is(302, "/hub/login?next=%2Fhub%2Ftoken");
}
