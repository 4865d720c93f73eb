//! Statuses and redirects of every URL, as JupyterHub has them.

use axum::body::Body;
use http::{Request, header};
use hubd_proxy::BackendFailure;

use super::browser::{Browser, read};
use crate::pages::backend_failed;
use crate::settings::Settings;
use crate::test_support::{TestHub, server, started, user};

#[tokio::test]
async fn strangers_get_what_jupyterhub_gives_them() {
    let mut browser = Browser::new().await;
    for (path, status, location) in [
        ("/", 302, "/hub/"),
        ("/hub", 301, "/hub/"),
        ("/hub/", 302, "/hub/login?next=%2Fhub%2F"),
        ("/hub/home", 302, "/hub/login?next=%2Fhub%2Fhome"),
        ("/hub/spawn", 302, "/hub/login?next=%2Fhub%2Fspawn"),
        ("/hub/spawn/erin/srv", 302, "/hub/login?next=%2Fhub%2Fspawn%2Ferin%2Fsrv"),
        ("/hub/spawn-pending/erin", 302, "/hub/login?next=%2Fhub%2Fspawn-pending%2Ferin"),
        ("/hub/user/erin", 302, "/hub/login?next=%2Fhub%2Fuser%2Ferin"),
        ("/hub/user/erin/lab?x=1", 302, "/hub/login?next=%2Fhub%2Fuser%2Ferin%2Flab%3Fx%3D1"),
        ("/user/erin", 301, "/user/erin/"),
        ("/user/erin/lab?x=1", 302, "/hub/user/erin/lab?x=1"),
        ("/hub/user-redirect/lab?x=1", 302, "/hub/login?next=%2Fhub%2Fuser-redirect%2Flab%3Fx%3D1"),
        ("/hub/user-redirect", 404, ""),
        ("/hub/nope", 404, ""),
        ("/hub/home/", 404, ""),
        ("/hub//home", 404, ""),
        ("/foo?x=1", 302, "/hub/foo?x=1"),
        ("/services/nope", 301, "/services/nope/"),
        ("/services/nope/", 302, "/hub/services/nope/"),
        ("/hub/error/404", 200, ""),
        ("/hub/error/503", 200, ""),
        ("/hub/error/abc", 404, ""),
        ("/hub/health", 200, ""),
        ("/hub/logo", 200, ""),
        ("/hub/logout", 302, "/hub/login"),
        ("/hub/static/nope.css", 404, ""),
        ("/hub/static/", 403, ""),
        ("/robots.txt", 200, ""),
    ] {
        browser.get(path).await.is(status, location);
    }
    assert_eq!(browser.get("/hub/nope").await.heading(), "404<span hidden> : None</span>");
    assert_eq!(browser.get("/hub/error/503").await.heading(), "503 : Service Unavailable");
}

#[tokio::test]
async fn other_methods_get_what_jupyterhub_gives_them() {
    let mut browser = Browser::new().await;
    for (method, path, status) in [
        ("HEAD", "/hub/login", 405),
        ("HEAD", "/hub/health", 200),
        ("HEAD", "/hub/logo", 200),
        ("HEAD", "/hub/nope", 404),
        ("HEAD", "/hub/user/erin/x", 405),
        ("HEAD", "/", 405),
        ("OPTIONS", "/hub/home", 405),
        ("OPTIONS", "/hub/nope", 404),
        ("OPTIONS", "/", 405),
        ("PUT", "/", 403),
        ("PUT", "/hub/home", 403),
        ("PUT", "/hub/login", 403),
        ("PUT", "/hub/nope", 403),
        ("DELETE", "/hub/health", 403),
        ("PATCH", "/user/erin/x", 403),
        ("POST", "/user/erin/api/x", 403),
        ("POST", "/hub/spawn", 403),
    ] {
        let answer = browser.send(method, path, Body::empty()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {}", answer.text);
    }
    let page = browser.send("PUT", "/hub/home", Body::empty()).await;
    assert_eq!(page.heading(), "403 : &#39;_xsrf&#39; argument missing from PUT");
}

#[tokio::test]
async fn a_server_that_does_not_run_is_424() {
    let mut browser = Browser::of("erin").await;
    let page = browser.get("/hub/user/erin/lab?x=1").await.is(424, "");
    assert_eq!(page.heading(), "Server not running");
    assert!(page.text.contains("href=\"/hub/spawn/erin?next=%2Fhub%2Fuser%2Ferin%2Flab%3Fx%3D1\""));
    let json = browser.get("/hub/user/erin/api/contents").await.is(424, "");
    assert_eq!(
        json.text,
        "{\"message\":\"JupyterHub server no longer running at /user/erin/api/contents. \
         Restart the server at http://hub.example/hub/spawn/erin\"}"
    );
    browser.headers = vec![("accept", "application/json")];
    let json = browser.get("/hub/user/erin/lab").await.is(424, "");
    assert_eq!(json.headers[header::CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn writing_to_a_server_that_does_not_run_needs_xsrf() {
    let mut browser = Browser::of("erin").await;
    let xsrf = browser.cookies["_xsrf"].clone();
    for method in ["POST", "PATCH", "DELETE"] {
        let path = "/hub/user/erin/api/x";
        let refused = browser.send(method, path, Body::empty()).await.is(403, "");
        assert_eq!(refused.heading(), format!("403 : &#39;_xsrf&#39; argument missing from {method}"));
        let told = browser.send(method, &format!("{path}?_xsrf={xsrf}"), Body::empty()).await.is(424, "");
        assert_eq!(told.headers[header::CONTENT_TYPE], "application/json");
    }
    browser.send("PUT", "/hub/user/erin/api/x", Body::empty()).await.is(405, "");
}

#[tokio::test]
async fn a_running_server_is_redirected_to_but_not_for_ever() {
    let mut browser = Browser::of("erin").await;
    started(&browser.test.hub, "erin").await;
    browser.get("/hub/user/erin/lab?x=1").await.is(302, "/user/erin/lab?x=1&redirects=1");
    browser.get("/hub/user/erin/api/contents").await.is(302, "/user/erin/api/contents?redirects=1");
    let page = browser.get("/hub/user/erin/lab?redirects=4").await.is(500, "");
    assert_eq!(page.heading(), "500 : Redirect loop detected.");
    let expected = "/hub/spawn/erin?next=%2Fuser%2Ferin%2Flab%3Fx%3D1";
    browser.get("/hub/user-redirect/lab?x=1").await.is(302, expected);
    browser.get("/hub/user-redirect/").await.is(302, "/hub/spawn/erin?next=%2Fuser%2Ferin%2F");
}

#[tokio::test]
async fn every_page_carries_the_security_headers() {
    let mut browser = Browser::new().await;
    for path in ["/hub/login", "/hub/nope", "/", "/hub/health"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.headers["x-jupyterhub-version"], "6.1.1", "{path}");
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers["cross-origin-opener-policy"], "same-origin");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!answer.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
    let policy = |answer: &super::browser::Answer| answer.headers[header::CONTENT_SECURITY_POLICY].clone();
    let (one, two) = (browser.get("/hub/login").await, browser.get("/hub/login").await);
    assert_ne!(policy(&one), policy(&two), "a nonce was used twice");
}

#[tokio::test]
async fn an_https_hub_asks_browsers_to_stay_with_it() {
    let https = |settings: &mut Settings| settings.public_url = Some("https://hub.example".to_owned());
    let mut browser = Browser::on(TestHub::with(https).await);
    assert!(browser.get("/hub/login").await.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
}

#[tokio::test]
async fn a_hub_below_a_prefix_answers_below_it_only() {
    let mut browser = Browser::on(TestHub::with(|settings| settings.base_url = "/pre/".to_owned()).await);
    browser.get("/pre/").await.is(302, "/pre/hub/");
    browser.get("/pre/foo").await.is(302, "/pre/hub/foo");
    browser.get("/pre/hub/home").await.is(302, "/pre/hub/login?next=%2Fpre%2Fhub%2Fhome");
    browser.get("/prefoo").await.is(404, "");
    let page = browser.get("/pre/hub/login").await.is(200, "");
    assert!(page.text.contains("/pre/hub/static/css/style.min.css?v="));
}

#[tokio::test]
async fn odd_addresses_are_never_a_fault_of_the_hub() {
    let mut browser = Browser::of("alice").await;
    for path in [
        "/hub/login?next=%0d%0aSet-Cookie:x",
        "/hub/login?next=%ff%fe",
        "/hub/login?next=//evil.example",
        "/hub/spawn-pending/alice?next=https://evil.example@x",
        "/hub/user/%ff/lab",
        "/hub/user/alice/%ff",
        "/hub/spawn/%0d%0a",
        "/hub/user-redirect/%0d%0aX:y",
        "//evil.example/x",
        "/hub/error/99999999999999999999",
        "/hub/user/alice/lab?redirects=-1",
        "/hub/static/..%2f..%2fCargo.toml",
    ] {
        let answer = browser.get(path).await;
        assert!(answer.status.as_u16() < 500, "{path} {}", answer.status);
        assert!(!answer.location().starts_with("//"), "{path} {}", answer.location());
        assert!(!answer.location().contains("://"), "{path} {}", answer.location());
    }
}

#[tokio::test]
async fn a_server_that_gives_no_answer_is_explained() {
    let test = TestHub::new().await;
    started(&test.hub, "alice").await;
    let parts = |path: &str| Request::builder().uri(path).body(()).unwrap().into_parts().0;
    let route = "/user/alice/";
    for (failure, status) in [
        (BackendFailure::Refused, 503),
        (BackendFailure::WrongPeer, 503),
        (BackendFailure::Timeout, 504),
        (BackendFailure::BrokenAnswer, 502),
    ] {
        let page = read(backend_failed(&test.hub, &parts("/user/alice/lab?x=1"), route, failure)).await;
        assert_eq!(page.status.as_u16(), status);
        assert!(page.text.contains("id=\"again\" href=\"/user/alice/lab?x=1\""), "{}", page.text);
        assert!(page.text.contains("id=\"restart\" href=\"/hub/home\""));
        assert!(!page.headers.contains_key(header::SET_COOKIE));
        let json = read(backend_failed(&test.hub, &parts("/user/alice/api/kernels"), route, failure)).await;
        assert_eq!(json.status.as_u16(), status);
        assert_eq!(json.headers[header::CONTENT_TYPE], "application/json");
    }
    // The hub's own record of the server is not changed by it.
    assert!(test.hub.server(&user("alice"), &server("")).state.is_active());
}
