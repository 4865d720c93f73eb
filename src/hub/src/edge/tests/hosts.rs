//! Guarded servers where everybody's servers have a host of their own (`subdomain_host`).

use super::*;
use crate::settings::Settings;
use crate::subdomains::{SubdomainHook, Subdomains};
use crate::test_support::{PASSWORD, TestHub};

const HUB: &str = "hub.example:9100";
const ALICE: &str = "alice.hub.example:9100";

fn with_hosts(settings: &mut Settings) {
    settings.subdomains = Subdomains::new("http://hub.example:9100", None, SubdomainHook::Idna);
    settings.public_url = Some("http://hub.example:9100".to_owned());
}

async fn site_of(name: &str) -> Site {
    let mut browser = Browser::on(TestHub::with(with_hosts).await);
    browser.host = HUB;
    browser.log_in(name, PASSWORD).await.is(302, "/hub/spawn");
    let site = Site::at(ALICE, browser);
    // Where servers have hosts, so have their routes.
    let hub = site.hub();
    let target = hubd_proxy::Target { endpoint: hubd_proxy::Endpoint::Unix("s".into()), uid: None };
    let data = hubd_proxy::RouteData::default();
    hub.routes.add_guarded("/alice.hub.example/user/alice/", target, data, Some(site.guarded.clone()));
    site
}

/// From the server's host to the hub's and back with a code; gives the path of the way back and who is asked.
async fn led(site: &mut Site) -> String {
    let (answer, cookies) = site.asks("GET", "/user/alice/x?y=1", VISIT).await.unwrap_err();
    site.keep(&cookies);
    let at_hub =
        answer.location().strip_prefix("http://hub.example:9100").expect("the hub's own host").to_owned();
    assert!(at_hub.starts_with("/hub/edge/alice?next=%2Fuser%2Falice%2Fx%3Fy%3D1&state="), "{at_hub}");
    let mut answer = site.browser.get(&at_hub).await;
    if answer.status.as_u16() == 200 {
        assert_eq!(answer.heading(), "Open somebody else&#39;s server?");
        let xsrf = answer.field("_xsrf");
        answer = site.browser.post(&at_hub, &[("_xsrf", &xsrf)]).await;
    }
    let back =
        answer.location().strip_prefix("http://alice.hub.example:9100").expect("the server's own host");
    back.to_owned()
}

async fn enter(site: &mut Site) {
    let back = led(site).await;
    let (answer, cookies) = site.asks("GET", &back, VISIT).await.unwrap_err();
    answer.is(302, "/user/alice/x?y=1");
    assert!(!cookies[0].contains("Domain"), "a cookie for other hosts, too: {}", cookies[0]);
    site.keep(&cookies);
}

#[tokio::test]
async fn a_person_comes_in_by_the_hubs_host_with_a_cookie_for_the_servers_own() {
    let mut site = site_of("alice").await;
    enter(&mut site).await;
    let pass = site.asks("GET", "/user/alice/api", SCRIPT).await.unwrap();
    assert!(pass.adds.is_empty() && !pass.confines);
    let kept = site.browser.cookies.clone();
    let end = pass.end.unwrap();
    site.browser.get("/hub/logout").await.is(302, "/hub/login");
    site.browser.cookies = kept;
    assert!(site.is_refused("GET", "/user/alice/api", SCRIPT).await, "after the logout");
    ends(&end).await;
}

#[tokio::test]
async fn pages_of_the_hub_and_of_other_peoples_hosts_lead_there_and_no_more() {
    let mut site = site_of("alice").await;
    enter(&mut site).await;
    let own = "http://alice.hub.example:9100";
    for (origin, good) in [
        (own, true),
        ("http://hub.example:9100", false),
        ("http://bob.hub.example:9100", false),
        ("http://alice.hub.example", false),
        ("http://alice.hub.example.evil.example:9100", false),
    ] {
        let socket = [("sec-fetch-mode", "websocket"), ("origin", origin)];
        assert_eq!(site.is_refused("GET", "/user/alice/ws", &socket).await, !good, "{origin}");
        assert_eq!(
            site.is_refused("POST", "/user/alice/api", &[("origin", origin)]).await,
            !good,
            "{origin}"
        );
    }
    for (referer, good) in [
        ("http://alice.hub.example:9100/user/alice/lab/x", true),
        ("http://bob.hub.example:9100/user/bob/", false),
        ("http://hub.example:9100/hub/home", false),
    ] {
        assert_eq!(
            site.is_refused("GET", "/user/alice/api", &[("referer", referer)]).await,
            !good,
            "{referer}"
        );
    }
    // A browser says of two hosts of one domain that they are one site.
    for mode in ["cors", "no-cors"] {
        let fields = [("sec-fetch-site", "same-site"), ("sec-fetch-mode", mode)];
        assert!(site.is_refused("GET", "/user/alice/api", &fields).await, "{mode}");
    }
    let link =
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    assert!(site.asks("GET", "/user/alice/lab", &link).await.is_ok());
}

#[tokio::test]
async fn a_visitor_is_asked_and_the_pages_need_no_confinement_of_their_own() {
    let mut site = site_of("bob").await;
    site.let_visit("bob");
    enter(&mut site).await;
    let pass = site.asks("GET", "/user/alice/lab", VISIT).await.unwrap();
    assert!(pass.adds.is_empty() && !pass.confines, "the host does it");
    assert_eq!(pass.tells, [(FORWARDED_USER, HeaderValue::from_static("bob"))]);
}

#[tokio::test]
async fn a_code_for_one_host_is_none_at_another() {
    let mut site = site_of("alice").await;
    let back = led(&mut site).await;
    let lab = guarded(site.hub(), Place::new(site.hub(), &user("bob"), &server("")), false);
    let own = std::mem::replace(&mut site.guarded, lab);
    site.host = "bob.hub.example:9100";
    let (answer, cookies) = site.asks("GET", &back.replace("/alice/", "/bob/"), VISIT).await.unwrap_err();
    assert!(answer.status.as_u16() == 403 && cookies.is_empty(), "{}", answer.text);
    (site.guarded, site.host) = (own, ALICE);
    let (answer, _) = site.asks("GET", &back, VISIT).await.unwrap_err();
    assert_eq!(answer.status.as_u16(), 403, "it is gone");
}
