//! A hub whose people have hosts of their own; what is expected was seen on JupyterHub 6.1.1.

use axum::body::Body;
use http::{Request, header};
use hubd_proxy::BackendFailure;
use serde_json::Value;

use super::browser::{Browser, read};
use crate::pages::backend_failed;
use crate::settings::Settings;
use crate::subdomains::{SubdomainHook, Subdomains};
use crate::test_support::{PASSWORD, TestHub, server, started, user};

fn with_hosts(settings: &mut Settings) {
    settings.subdomains = Subdomains::new("http://hub.example:9100", None, SubdomainHook::Idna);
    settings.public_url = Some("http://hub.example:9100".to_owned());
}

async fn browser_of(name: &str) -> Browser {
    let mut browser = Browser::on(TestHub::with(with_hosts).await);
    browser.host = "hub.example:9100";
    browser.log_in(name, PASSWORD).await.is(302, "/hub/spawn");
    browser
}

#[tokio::test]
async fn only_the_session_id_is_for_all_hosts() {
    let mut browser = Browser::on(TestHub::with(with_hosts).await);
    browser.host = "hub.example:9100";
    let cookies = |answer: super::browser::Answer| {
        let values = answer.headers.get_all(header::SET_COOKIE).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for set in [cookies(browser.log_in("erin", PASSWORD).await), cookies(browser.get("/hub/logout").await)] {
        let wide: Vec<_> = set.iter().filter(|cookie| cookie.contains("; Domain=")).collect();
        assert_eq!(wide.len(), 1, "{set:?}");
        assert!(wide[0].starts_with("jupyterhub-session-id="), "{set:?}");
        assert!(wide[0].contains("; Domain=hub.example;") && wide[0].contains("; Path=/;"), "{set:?}");
    }
}

#[tokio::test]
async fn a_server_is_routed_and_shown_at_its_own_host() {
    let mut browser = browser_of("erin").await;
    let hub = browser.test.hub.clone();
    started(&hub, "erin").await;
    assert_eq!(hub.routes.prefixes(), ["/erin.hub.example/user/erin/"]);
    let url = "http://erin.hub.example:9100/user/erin/";
    assert_eq!(hub.server_url(&user("erin"), &server("")), url);
    browser.get("/hub/user/erin/lab?x=1").await.is(302, &format!("{url}lab?x=1&redirects=1"));
    browser.get("/hub/spawn-pending/erin").await.is(302, url);
    browser.get("/hub/").await.is(302, url);
    let next = "http%3A%2F%2Ferin.hub.example%3A9100%2Fuser%2Ferin%2Flab%3Fx%3D1";
    browser.get("/hub/user-redirect/lab?x=1").await.is(302, &format!("/hub/spawn/erin?next={next}"));
    browser.get(&format!("/hub/spawn/erin?next={next}")).await.is(302, "/user/erin/lab?x=1");
    let home = browser.get("/hub/home").await.is(200, "");
    assert!(home.text.contains("href=\"http://erin.hub.example:9100/user/erin"), "{}", home.text);
    let policy = home.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("form-action 'self' http://*.hub.example:9100;"), "{policy}");
    let model = browser.get("/hub/api/users/erin").await;
    let model: Value = serde_json::from_str(&model.text).unwrap();
    assert_eq!(model["server"], url);
    assert_eq!((&model["servers"][""]["url"], &model["servers"][""]["full_url"]), (&url.into(), &url.into()));
    let progress = "http://hub.example:9100/hub/api/users/erin/server/progress";
    assert_eq!(model["servers"][""]["full_progress_url"], progress);
    let client = hub.store.oauth_client("jupyterhub-user-erin").unwrap().unwrap();
    assert_eq!(client.redirect_uri, format!("{url}oauth_callback"));
}

#[tokio::test]
async fn what_nobody_takes_is_sent_to_the_hubs_host() {
    let mut browser = Browser::on(TestHub::with(with_hosts).await);
    browser.host = "erin.hub.example:9100";
    for (path, location) in [
        ("/", "http://hub.example:9100/hub/"),
        ("/user/erin/lab?x=1", "http://hub.example:9100/hub/user/erin/lab?x=1"),
        ("/hub/login?next=%2F", "http://hub.example:9100/hub/login?next=%2F"),
        ("/hub/home", "http://hub.example:9100/hub/home"),
        ("/hub/api/user", "http://hub.example:9100/hub/api/user"),
    ] {
        browser.get(path).await.is(302, location);
    }
    browser.get("/hub/health").await.is(200, "");
    browser.get("/hub/static/css/style.min.css").await.is(200, "");
    for host in ["hub.example:9100", "127.0.0.1:9100"] {
        browser.host = host;
        browser.get("/hub/login").await.is(200, "");
    }
}

#[tokio::test]
async fn a_persons_host_takes_no_password_and_no_token() {
    let mut browser = Browser::on(TestHub::with(with_hosts).await);
    browser.host = "erin.hub.example:9100";
    for (method, path) in [("POST", "/hub/login"), ("POST", "/hub/api/users"), ("HEAD", "/hub/api/user")] {
        let answer = browser.send(method, path, Body::empty()).await;
        assert_eq!(answer.status.as_u16(), 421, "{method} {path}");
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
}

#[tokio::test]
async fn everything_is_taken_where_the_hub_is_below_a_prefix() {
    let change = |settings: &mut Settings| {
        with_hosts(settings);
        settings.base_url = "/pre/".to_owned();
    };
    let mut browser = Browser::on(TestHub::with(change).await);
    browser.host = "erin.hub.example:9100";
    browser.get("/pre/user/erin/").await.is(302, "http://hub.example:9100/pre/hub/user/erin/");
    browser.get("/foo").await.is(302, "http://hub.example:9100/pre/hub/foo");
}

#[tokio::test]
async fn a_server_that_gives_no_answer_at_its_host_is_explained_to_programs_too() {
    let test = TestHub::with(with_hosts).await;
    let parts = Request::builder().uri("/user/erin/api/kernels").body(()).unwrap().into_parts().0;
    let route = "/erin.hub.example/user/erin/";
    let json = read(backend_failed(&test.hub, &parts, route, BackendFailure::Refused)).await;
    assert_eq!(json.headers[header::CONTENT_TYPE], "application/json");
}
