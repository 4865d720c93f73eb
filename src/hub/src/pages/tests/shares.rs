//! Taking what a share code gives.

use std::time::{Duration, SystemTime};

use hubd_store::{NewShareCode, hash_token, token_prefix};

use super::browser::Browser;

const CODE: &str = "0123456789abcdef0123456789abcdef0123456789a";

/// Makes a code for the default server of `owner`.
fn make(browser: &Browser, owner: &str) {
    let store = &browser.test.hub.store;
    store.ensure_user(owner, "x", SystemTime::now()).unwrap();
    store.ensure_spawner(owner, "", None).unwrap();
    let now = SystemTime::now();
    let new = NewShareCode {
        spawner_id: store.spawner(owner, "").unwrap().unwrap().id,
        scopes: vec![format!("access:servers!server={owner}/")],
        hashed: hash_token(CODE, 1, [1; 8]),
        prefix: token_prefix(CODE),
        created: now,
        expires_at: now + Duration::from_secs(60),
    };
    store.create_share_code(&new).unwrap();
}

#[tokio::test]
async fn a_code_is_taken_after_a_question() {
    let mut browser = Browser::of("alice").await;
    make(&browser, "bob");
    let path = format!("/hub/accept-share?code={CODE}");
    let page = browser.get(&path).await.is(200, "");
    assert!(page.text.contains("bob lets you use this server"), "{}", page.text);
    let xsrf = page.field("_xsrf");
    browser.post(&path, &[]).await.is(403, "");
    browser.post(&path, &[("_xsrf", &xsrf)]).await.is(302, "/user/bob/");
    let store = &browser.test.hub.store;
    let alice = store.user("alice").unwrap().unwrap().id;
    let shared = store.shared_with_user(alice, SystemTime::now()).unwrap();
    assert_eq!(shared, ["access:servers!server=bob/"]);
}

#[tokio::test]
async fn unknown_codes_and_own_ones_are_refused() {
    let mut browser = Browser::of("alice").await;
    make(&browser, "alice");
    browser.get("/hub/accept-share?code=nonsense").await.is(404, "");
    browser.get("/hub/accept-share").await.is(400, "");
    let path = format!("/hub/accept-share?code={CODE}");
    assert!(browser.get(&path).await.is(403, "").heading().ends_with("share with yourself!"));
    let xsrf = browser.get("/hub/token").await.is(200, "").field("_xsrf");
    browser.post(&path, &[("_xsrf", &xsrf)]).await.is(400, "");
    browser.post("/hub/accept-share?code=nonsense", &[("_xsrf", &xsrf)]).await.is(400, "");
}
