//! The admin page.

use super::browser::Browser;
use crate::test_support::{PASSWORD, TestHub, started, user};

async fn admin() -> Browser {
    let test = TestHub::with(|settings| {
        settings.authenticator.admin_users.insert(user("root-of-the-hub"));
    })
    .await;
    let mut browser = Browser::on(test);
    browser.log_in("root-of-the-hub", PASSWORD).await.is(302, "/hub/spawn");
    browser
}

#[tokio::test]
async fn an_admin_sees_and_finds_everybody() {
    let mut browser = admin().await;
    started(&browser.test.hub, "alice").await;
    browser.test.hub.store.ensure_user("bob", "x", std::time::SystemTime::now()).unwrap();
    let page = browser.get("/hub/admin").await.is(200, "");
    for mark in ["user-row-alice", "user-row-bob", "href=\"/hub/stop/alice\"", "action=\"/hub/spawn/bob\""] {
        assert!(page.text.contains(mark), "{mark} in {}", page.text);
    }
    let page = browser.get("/hub/admin?name_filter=ali").await;
    assert!(page.text.contains("user-row-alice") && !page.text.contains("user-row-bob"));
    let page = browser.get("/hub/admin?state=active").await;
    assert!(page.text.contains("user-row-alice") && !page.text.contains("user-row-bob"));
    let page = browser.get("/hub/admin?offset=1").await;
    assert!(!page.text.contains("user-row-alice") && page.text.contains("user-row-bob"), "{}", page.text);
    for odd in ["offset=-1", "offset=x", "offset=9223372036854775807", "name_filter=%25%27%00"] {
        browser.get(&format!("/hub/admin?{odd}")).await.is(200, "");
    }
}

#[tokio::test]
async fn an_admin_stops_somebodys_server() {
    let mut browser = admin().await;
    started(&browser.test.hub, "alice").await;
    let xsrf = browser.get("/hub/stop/alice").await.is(200, "").field("_xsrf");
    browser.post("/hub/stop/alice", &[("_xsrf", &xsrf)]).await.is(303, "/hub/home");
    let page = browser.get("/hub/spawn/nosuch").await.is(404, "");
    assert_eq!(page.heading(), "404 : No such user: nosuch");
    let page = browser.get("/hub/user/nosuch/").await.is(404, "");
    assert_eq!(page.heading(), "404 : No such user nosuch");
}

#[tokio::test]
async fn others_are_refused() {
    let mut browser = Browser::of("alice").await;
    let page = browser.get("/hub/admin").await.is(403, "");
    let heading = "403 : Action is not authorized with current scopes; requires any of [admin-ui]";
    assert_eq!(page.heading(), heading);
    assert!(!browser.get("/hub/home").await.text.contains("/hub/admin"));
}
