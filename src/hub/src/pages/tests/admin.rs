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
    for mark in ["user-row-alice", "user-row-bob", "value=\"stop/alice/\"", "value=\"start/bob/\""] {
        assert!(page.text.contains(mark), "{mark} in {}", page.text);
    }
    let page = browser.get("/hub/admin?name_filter=ali").await;
    assert!(page.text.contains("user-row-alice") && !page.text.contains("user-row-bob"));
    let page = browser.get("/hub/admin?state=active").await;
    assert!(page.text.contains("user-row-alice") && !page.text.contains("user-row-bob"));
    let page = browser.get("/hub/admin?offset=1").await;
    assert!(!page.text.contains("user-row-alice") && page.text.contains("user-row-bob"), "{}", page.text);
    let page = browser.get("/hub/admin?state=ready&user_search=ALI").await;
    assert!(page.text.contains("user-row-alice"), "{}", page.text);
    let page = browser.get("/hub/admin?state=inactive").await;
    assert!(!page.text.contains("user-row-alice") && page.text.contains("user-row-bob"));
    let page = browser.get("/hub/admin?sort=-name&limit=25").await.text;
    assert!(page.find("user-row-bob") < page.find("user-row-alice"), "{page}");
    for odd in [
        "sort=cookie_id",
        "limit=9",
        "group=none",
        "state=odd",
        "offset=-1",
        "offset=x",
        "offset=9223372036854775807",
        "name_filter=%25%27%00",
    ] {
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

/// Posts a form of the admin's.
async fn send(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> super::browser::Answer {
    let xsrf = browser.get("/hub/admin/add").await.field("_xsrf");
    let mut all = vec![("_xsrf", xsrf.as_str())];
    all.extend(fields);
    browser.post(path, &all).await
}

#[tokio::test]
async fn users_are_added_changed_and_deleted() {
    let mut browser = admin().await;
    send(&mut browser, "/hub/admin/add", &[("names", "Carol\r\ndave, erin")])
        .await
        .is(303, "/hub/admin?sort=-id");
    assert!(browser.test.hub.store.user("erin").unwrap().is_some());
    let again = send(&mut browser, "/hub/admin/add", &[("names", "carol")]).await.is(200, "");
    assert!(again.text.contains("was there already"), "{}", again.text);
    send(&mut browser, "/hub/admin/groups", &[("name", "a/b <i>")])
        .await
        .is(303, "/hub/admin/group?name=a%2Fb%20%3Ci%3E");
    let to = [("name", "carol2"), ("admin", "1"), ("group", "a/b <i>")];
    send(&mut browser, "/hub/admin/user/carol", &to).await.is(303, "/hub/admin/user/carol2");
    let page = browser.get("/hub/admin/user/carol2").await.is(200, "");
    assert!(
        page.text.contains("a/b &lt;i&gt;")
            && page.text.contains("name=\"admin\" value=\"1\" data-testid=\"check\" checked")
    );
    let page = browser.get("/hub/admin?group=a%2Fb%20%3Ci%3E").await.text;
    assert!(page.contains("user-row-carol2") && !page.contains("user-row-dave"), "{page}");
    let to_dave = [("name", "dave"), ("group", "")];
    let page = send(&mut browser, "/hub/admin/user/carol2", &to_dave).await.is(400, "");
    assert!(page.text.contains("User dave already exists"), "{}", page.text);
    let delete = [("action", "delete"), ("user", "carol2"), ("user", "nosuch")];
    let page = send(&mut browser, "/hub/admin/act", &delete).await.is(200, "");
    assert!(page.heading().contains("Delete these users?"), "{}", page.text);
    let sure = [&delete[..], &[("sure", "1"), ("back", "/hub/admin?state=active")]].concat();
    let page = send(&mut browser, "/hub/admin/act", &sure).await.is(200, "");
    assert!(
        page.text.contains("1 of 2 done, 1 failed") && page.text.contains("href=\"/hub/admin?state=active\"")
    );
    assert!(browser.test.hub.store.user("carol2").unwrap().is_none());
}

#[tokio::test]
async fn servers_of_many_are_started_and_stopped_with_a_result_each() {
    let mut browser = admin().await;
    started(&browser.test.hub, "alice").await;
    let stop = [("action", "stop-all"), ("shown", "alice/root-of-the-hub")];
    let page = send(&mut browser, "/hub/admin/act", &stop).await.is(200, "");
    assert!(page.text.contains("2 of 2 done, 0 failed"), "{}", page.text);
    assert!(!browser.test.hub.server(&user("alice"), &"".parse().unwrap()).state.is_active());
    // The admin has a login, alice has not: an admin's start is no login of hers.
    let own = [("do", "start/root-of-the-hub/"), ("back", "//evil.example")];
    send(&mut browser, "/hub/admin/act", &own).await.is(303, "/hub/admin");
    let page = send(&mut browser, "/hub/admin/act", &[("do", "start/nosuch/")]).await.is(200, "");
    assert!(page.text.contains("0 of 1 done, 1 failed"), "{}", page.text);
    for odd in [vec![("do", "eat/alice/")], vec![("action", "start")], vec![("action", "x"), ("user", "a")]] {
        send(&mut browser, "/hub/admin/act", &odd).await.is(400, "");
    }
}

#[tokio::test]
async fn groups_have_members_and_properties() {
    let mut browser = admin().await;
    send(&mut browser, "/hub/admin/add", &[("names", "carol dave")]).await;
    send(&mut browser, "/hub/admin/add", &[("names", "carol\ndave")]).await;
    send(&mut browser, "/hub/admin/groups", &[("name", "chem")]).await;
    let at = "/hub/admin/group?name=chem";
    send(&mut browser, at, &[("action", "members"), ("members", "carol\r\nDave")]).await.is(303, at);
    assert_eq!(browser.test.hub.store.group("chem").unwrap().unwrap().users.len(), 2);
    send(&mut browser, at, &[("action", "members"), ("members", "dave")]).await.is(303, at);
    assert_eq!(browser.test.hub.store.group("chem").unwrap().unwrap().users, ["dave"]);
    let page = send(&mut browser, at, &[("action", "members"), ("members", "nosuch")]).await.is(400, "");
    assert!(page.text.contains("No such user: nosuch"), "{}", page.text);
    let page = send(&mut browser, at, &[("action", "properties"), ("properties", "{")]).await.is(400, "");
    assert!(page.text.contains("This is not JSON"), "{}", page.text);
    send(&mut browser, at, &[("action", "properties"), ("properties", "{\"a\":1}")]).await.is(303, at);
    assert!(browser.get("/hub/admin/groups").await.text.contains(">chem</a>"));
    send(&mut browser, at, &[("action", "delete")]).await.is(400, "");
    send(&mut browser, at, &[("action", "delete"), ("sure", "1")]).await.is(303, "/hub/admin/groups");
    browser.get(at).await.is(404, "");
}

#[tokio::test]
async fn announcements_are_shown_until_they_are_dismissed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("news.json");
    let test = TestHub::with(|settings| {
        settings.authenticator.admin_users.insert(user("root-of-the-hub"));
        settings.announcements_file = file;
    })
    .await;
    let mut browser = Browser::on(test);
    browser.log_in("root-of-the-hub", PASSWORD).await.is(302, "/hub/spawn");
    let text = "down <b>tonight</b>";
    let news = [("action", "announce"), ("text", text), ("level", "warning"), ("seconds", "")];
    send(&mut browser, "/hub/admin/hub", &news).await.is(303, "/hub/admin/hub");
    let page = browser.get("/hub/home").await;
    assert!(page.text.contains("down &lt;b&gt;tonight&lt;/b&gt;"), "{}", page.text);
    let id = page.field("id");
    send(&mut browser, "/hub/announcement/dismiss", &[("id", &id), ("back", "/hub/token")])
        .await
        .is(303, "/hub/token");
    assert!(!browser.get("/hub/home").await.text.contains("tonight"));
    send(&mut browser, "/hub/announcement/dismiss", &[("id", "a;b")]).await.is(400, "");
    let back = [("id", id.as_str()), ("back", "//evil.example")];
    send(&mut browser, "/hub/announcement/dismiss", &back).await.is(303, "/hub/home");
    send(&mut browser, "/hub/admin/hub", &[("action", "withdraw"), ("id", &id)])
        .await
        .is(303, "/hub/admin/hub");
    send(&mut browser, "/hub/admin/hub", &[("action", "announce"), ("text", "")]).await.is(400, "");
    send(&mut browser, "/hub/admin/hub", &[("action", "shutdown")]).await.is(400, "");
    send(&mut browser, "/hub/admin/hub", &[("action", "shutdown"), ("sure", "1")]).await.is(202, "");
    browser.test.hub.ending.asked().await;
}

#[tokio::test]
async fn an_admin_opens_a_server_after_being_told_whose_it_is() {
    let test = TestHub::with(|settings| {
        settings.authenticator.admin_users.insert(user("root-of-the-hub"));
        settings.admin_access = true;
    })
    .await;
    let mut browser = Browser::on(test);
    browser.log_in("root-of-the-hub", PASSWORD).await.is(302, "/hub/spawn");
    started(&browser.test.hub, "alice").await;
    let page = browser.get("/hub/admin").await;
    assert!(page.text.contains("href=\"/hub/admin/open/alice\""), "{}", page.text);
    let xsrf = browser.get("/hub/admin/open/alice").await.is(200, "").field("_xsrf");
    let entered = browser.post("/hub/admin/open/alice", &[("_xsrf", &xsrf)]).await;
    assert!(matches!(entered.status.as_u16(), 303 | 404), "{}", entered.status);
}

#[tokio::test]
async fn strangers_to_administration_change_nothing() {
    let mut browser = Browser::of("alice").await;
    let xsrf = browser.get("/hub/home").await.is(200, "");
    let xsrf = browser.cookies["_xsrf"].clone() + &xsrf.text[..0];
    for path in ["add", "groups", "hub", "user/alice", "group?name=x"] {
        browser.get(&format!("/hub/admin/{path}")).await.is(403, "");
    }
    for path in ["act", "add", "groups", "hub", "user/alice", "group?name=x", "open/alice"] {
        browser.post(&format!("/hub/admin/{path}"), &[("_xsrf", &xsrf)]).await.is(403, "");
    }
    let mut admin = admin().await;
    for path in ["act", "add", "groups", "hub", "user/alice", "group?name=x", "open/alice"] {
        admin.post(&format!("/hub/admin/{path}"), &[("action", "shutdown"), ("sure", "1")]).await.is(403, "");
    }
}

#[tokio::test]
async fn adding_users_tells_what_became_of_each() {
    let mut browser = admin().await;
    let add = "/hub/admin/add";
    send(&mut browser, add, &[("names", "zoe, Yann\nzoe")]).await.is(303, "/hub/admin?sort=-id");
    let page = send(&mut browser, add, &[("names", "zoe\nxaver")]).await.is(200, "");
    assert!(page.text.contains("was there already") && page.text.contains("added"), "{}", page.text);
    let page = send(&mut browser, add, &[("names", "a/b")]).await.is(400, "");
    assert!(page.text.contains(">a/b</textarea>") && page.text.contains("role=\"alert\""), "{}", page.text);
    assert!(page.text.contains("Accounts of the machine are not made"), "{}", page.text);
}

#[tokio::test]
async fn accounts_are_made_one_by_one_where_the_configuration_says_so() {
    let test = TestHub::with(|settings| {
        settings.authenticator.admin_users.insert(user("root-of-the-hub"));
        settings.authenticator.create_system_users = true;
    })
    .await;
    let mut browser = Browser::on(test);
    browser.log_in("root-of-the-hub", PASSWORD).await.is(302, "/hub/spawn");
    let page = browser.get("/hub/admin/add").await.is(200, "");
    assert!(page.text.contains("Whoever has no account on this machine gets one."), "{}", page.text);
    let page = send(&mut browser, "/hub/admin/add", &[("names", "zoe\na/b")]).await.is(200, "");
    // One name that cannot be an account keeps nobody else out.
    assert!(page.text.contains("1 of 2 done, 1 failed"), "{}", page.text);
    assert!(browser.test.hub.store.user("zoe").unwrap().is_some());
}
