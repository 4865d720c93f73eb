//! Choosing what a server is, and named servers.

use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use crate::Settings;
use crate::servers::CullerSettings;
use crate::test_support::{PASSWORD, SOON, TestHub, server, user};

/// A browser in which alice is logged in, with changed settings.
async fn alice(change: impl FnOnce(&mut Settings)) -> Browser {
    let mut browser = Browser::on(TestHub::with(change).await);
    browser.log_in("alice", PASSWORD).await.is(302, "/hub/spawn");
    browser
}

fn environments(settings: &mut Settings) {
    let list = json!([
        {"slug": "small", "display_name": "Small <b>", "description": "for a start", "limits": "1 GB"},
        {"slug": "gpu", "display_name": "GPU", "groups": ["ml"]},
        {"slug": "big", "display_name": "Big", "options": [{"name": "image", "display_name": "Image", "choices": [
            {"name": "a", "display_name": "A"}, {"name": "b", "display_name": "B"}]}]},
    ]);
    std::sync::Arc::make_mut(&mut settings.spawner.options).profiles = serde_json::from_value(list).unwrap();
}

#[tokio::test]
async fn environments_are_offered_to_those_who_may_have_them() {
    let mut browser = alice(environments).await;
    let page = browser.get("/hub/spawn").await.is(200, "");
    assert_eq!(page.heading(), "Server Options");
    assert!(
        page.text.contains("Small &lt;b&gt;") && page.text.contains("1 GB") && !page.text.contains("GPU")
    );
    assert!(page.text.contains("value=\"small\" checked"), "{}", page.text);
    let xsrf = browser.cookies["_xsrf"].clone();
    let refused = browser.post("/hub/spawn", &[("_xsrf", &xsrf), ("profile", "gpu")]).await.is(400, "");
    assert!(refused.text.contains("There is no environment gpu for you."), "{}", refused.text);
    let bad = [("_xsrf", xsrf.as_str()), ("profile", "big"), ("option.big.image", "zz")];
    let refused = browser.post("/hub/spawn", &bad).await.is(400, "");
    assert!(refused.text.contains("Image is not one of the choices."));
    assert!(refused.text.contains("value=\"big\" checked"), "{}", refused.text);
    let good =
        [("_xsrf", xsrf.as_str()), ("profile", "big"), ("option.big.image", "b"), ("option.small.x", "1")];
    let started = browser.post("/hub/spawn?next=%2Fx", &good).await;
    assert_eq!(started.status.as_u16(), 302, "{}", started.text);
    let stored = browser.test.hub.store.spawner("alice", "").unwrap().unwrap().user_options;
    assert_eq!(stored, Some(json!({"profile": "big", "image": "b"})));
    // An API start and a link are held to the same.
    let again = browser.get("/hub/spawn?opt-profile=gpu").await;
    assert!(again.status.as_u16() == 302 || again.text.contains("There is no environment"), "{}", again.text);
}

#[tokio::test]
async fn a_link_that_names_what_there_is_not_shows_the_form() {
    let mut browser = alice(environments).await;
    let page = browser.get("/hub/spawn?opt-profile=gpu").await.is(400, "");
    assert!(page.text.contains("There is no environment gpu for you."), "{}", page.text);
    assert!(page.text.contains("id=\"spawn_form\""));
    browser.headers = vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(browser.get("/hub/spawn").await.is(200, "").heading(), "Server Options");
    assert_eq!(browser.get("/hub/spawn?opt-profile=small").await.is(200, "").heading(), "Start your server?");
    browser.headers.clear();
    assert!(
        browser
            .get("/hub/spawn?opt-profile=small")
            .await
            .is(302, "/hub/spawn-pending/alice?opt-profile=small")
            .text
            .is_empty()
    );
}

#[tokio::test]
async fn a_sites_own_form_is_shown_and_its_fields_kept() {
    let form = "<label>E <input name=\"env\"></label><script>1</script>";
    let mut browser =
        alice(|settings| std::sync::Arc::make_mut(&mut settings.spawner.options).form = form.into()).await;
    let page = browser.get("/hub/spawn").await.is(200, "");
    assert!(page.text.contains("<label>E <input name=\"env\">") && page.text.contains("<script nonce=\""));
    assert!(
        page.text.contains("enctype=\"multipart/form-data\" id=\"spawn_form\" action=\"/hub/spawn?_xsrf=")
    );
    assert!(page.text.contains("\"options_form\": true"), "{}", page.text);
    let xsrf = browser.cookies["_xsrf"].clone();
    browser
        .post(&format!("/hub/spawn?_xsrf={xsrf}"), &[("env", "1"), ("env", "2")])
        .await
        .is(302, "/hub/spawn-pending/alice");
    let stored = browser.test.hub.store.spawner("alice", "").unwrap().unwrap().user_options;
    assert_eq!(stored, Some(json!({"env": ["1", "2"]})));
    browser.post("/hub/spawn", &[("env", "1")]).await.is(403, "");
}

#[tokio::test]
async fn a_named_server_is_made_and_deleted_on_the_home_page() {
    let mut browser = alice(|settings| settings.named_server_limit_per_user = 1).await;
    browser.get("/hub/home/new?name=My+GPU").await.is(302, "/hub/spawn/alice/my-gpu?display_name=My%20GPU");
    browser.get("/hub/home/new?name=gpu").await.is(302, "/hub/spawn/alice/gpu");
    browser.get("/hub/home/new?name=%E6%97%A5").await.is(400, "");
    browser
        .get("/hub/spawn/alice/my-gpu?display_name=My%20GPU")
        .await
        .is(302, "/hub/spawn-pending/alice/my-gpu?display_name=My%20GPU");
    let page = browser.get("/hub/home").await.is(200, "");
    assert!(
        page.text.contains("data-server-name=\"my-gpu\"") && page.text.contains("My GPU"),
        "{}",
        page.text
    );
    let page = browser.get("/hub/spawn/alice/another").await.is(400, "");
    assert!(page.text.contains("maximum of 1 named servers"), "{}", page.text);
    let xsrf = browser.get("/hub/delete/alice/my-gpu").await.is(200, "").field("_xsrf");
    browser.post("/hub/delete/alice/my-gpu", &[("_xsrf", "x")]).await.is(403, "");
    browser.post("/hub/delete/alice/my-gpu", &[("_xsrf", &xsrf)]).await.is(303, "/hub/home");
    assert!(browser.test.hub.store.spawner("alice", "my-gpu").unwrap().is_none());
    browser.get("/hub/delete/bob/x").await.is(404, "");
}

#[tokio::test]
async fn idle_servers_say_so_on_the_home_page_named_ones_too() {
    let mut browser = alice(|settings| {
        // Whatever has been idle for no time at all is about to be stopped; nobody looks before the test is over.
        settings.culler = Some(CullerSettings {
            timeout: Duration::ZERO,
            every: Duration::from_secs(3600),
            max_age: None,
            users: false,
            admin_users: true,
            default_servers: true,
            named_servers: true,
            remove_named_servers: false,
            concurrency: 1,
            busy_cpu_percent: 0.0,
        });
    })
    .await;
    for (name, path) in [("", "/hub/spawn/alice"), ("gpu", "/hub/spawn/alice/gpu")] {
        browser.get(path).await;
        browser.test.hub.wait_server(&user("alice"), &server(name), SOON).await;
    }
    let page = browser.get("/hub/home").await.is(200, "");
    let buttons = page.text.matches("class=\"keep-running").count();
    assert_eq!(buttons, 2, "one for each server: {}", page.text);
    assert!(page.text.contains("js-only\" data-server-name=\"gpu\""), "{}", page.text);
}

#[tokio::test]
async fn user_redirect_and_stopped_pages_obey_their_options() {
    let mut browser = alice(|settings| {
        settings.default_server_name = Some("lab".parse().unwrap());
        settings.implicit_spawn_seconds = 2.5;
        settings.legacy_stopped_status = true;
    })
    .await;
    browser
        .get("/hub/user-redirect/x?y=1")
        .await
        .is(302, "/hub/spawn/alice/lab?next=%2Fuser%2Falice%2Flab%2Fx%3Fy%3D1");
    let page = browser.get("/hub/user/alice/lab").await.is(503, "");
    assert!(page.text.contains("data-implicit-spawn-seconds=\"2.5\""), "{}", page.text);
    browser.get("/hub/user/alice/api/x").await.is(503, "");
}
