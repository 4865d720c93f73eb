//! Guarded servers as browsers and programs see them.

mod hosts;
mod origins;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{Method, Request};
use hubd_proxy::{Admission, Client, Guarded, Pass, Wish};
use hubd_store::{NewToken, TokenOwner, hash_token, token_prefix};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::hex;
use crate::pages::tests::browser::{Answer, Browser, read};
use crate::test_support::{server, user};

type Fields<'a> = &'a [(&'a str, &'a str)];

const OWN: &str = "http://hub.example";
const VISIT: Fields<'_> =
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "none")];
const SCRIPT: Fields<'_> =
    &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "same-origin")];
const SOCKET: Fields<'_> =
    &[("sec-fetch-mode", "websocket"), ("sec-fetch-site", "same-origin"), ("origin", OWN)];

/// A person's browser, and alice's guarded server.
struct Site {
    browser: Browser,
    guarded: Guarded,
    /// The host of alice's servers.
    host: &'static str,
}

impl Site {
    /// The browser of `name`, logged in, before alice's server.
    async fn of(name: &str) -> Self {
        Self::at("hub.example", Browser::of(name).await)
    }

    fn at(host: &'static str, browser: Browser) -> Self {
        let hub = &browser.test.hub;
        hub.store.ensure_user("alice", "cookie-of-alice", hub.clock.now()).unwrap();
        let guarded = Self::guard(hub, "");
        let target = hubd_proxy::Target { endpoint: hubd_proxy::Endpoint::Unix("s".into()), uid: None };
        for prefix in ["/user/alice/", "/user/alice/lab/"] {
            let data = hubd_proxy::RouteData::default();
            hub.routes.add_guarded(prefix, target.clone(), data, Some(guarded.clone()));
        }
        Self { browser, guarded, host }
    }

    fn guard(hub: &Arc<Hub>, name: &str) -> Guarded {
        guarded(hub, Place::new(hub, &user("alice"), &server(name)), false)
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.browser.test.hub
    }

    fn let_visit(&self, name: &str) {
        let store = &self.hub().store;
        store.define_role("visitor", "", &["access:servers!server=alice/"]).unwrap();
        store.grant_role(store.user(name).unwrap().unwrap().id, "visitor").unwrap();
    }

    fn request(&self, method: &str, uri: &str, fields: Fields<'_>) -> Parts {
        let cookies: Vec<String> =
            self.browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder().method(method).uri(uri).header("host", self.host);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let address = "192.0.2.1".parse().unwrap();
        parts.extensions.insert(Arc::new(Client { address, https: false, host: self.host.into() }));
        parts
    }

    /// What the guard says.
    async fn ask(&self, request: &Parts) -> Result<Pass, (Answer, Vec<String>)> {
        let is_socket = request.headers.get("sec-fetch-mode").is_some_and(|mode| mode == "websocket");
        let wish = if is_socket { Wish::Upgrade } else { Wish::Answer };
        match self.guarded.guard.admit(request, wish) {
            Admission::Pass(pass) => Ok(pass),
            Admission::Answer(answer) => {
                let cookies = answer.headers().get_all("set-cookie").iter();
                let cookies = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
                let answer: Response = answer.map(axum::body::Body::new);
                Err((read(answer).await, cookies))
            }
        }
    }

    async fn asks(&self, method: &str, uri: &str, fields: Fields<'_>) -> Result<Pass, (Answer, Vec<String>)> {
        self.ask(&self.request(method, uri, fields)).await
    }

    /// 403, said as a script reads it.
    async fn is_refused(&self, method: &str, uri: &str, fields: Fields<'_>) -> bool {
        match self.asks(method, uri, fields).await {
            Ok(_) => false,
            Err((answer, cookies)) => {
                assert_eq!(answer.status.as_u16(), 403);
                assert!(cookies.is_empty() && answer.headers["cache-control"] == "no-store");
                true
            }
        }
    }

    fn keep(&mut self, cookies: &[String]) {
        for cookie in cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value.trim_matches('"') {
                "" => self.browser.cookies.remove(name),
                value => self.browser.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// From the first visit to the address with the code, saying yes if asked.
    async fn code(&mut self) -> String {
        let (answer, cookies) = self.asks("GET", "/user/alice/x?y=1", VISIT).await.unwrap_err();
        assert_eq!(answer.status.as_u16(), 302, "{}", answer.text);
        self.keep(&cookies);
        let to_hub = answer.location().to_owned();
        assert!(to_hub.starts_with("/hub/edge/alice?next=%2Fuser%2Falice%2Fx%3Fy%3D1&state="), "{to_hub}");
        let mut answer = self.browser.get(&to_hub).await;
        if answer.status.as_u16() == 200 {
            assert_eq!(answer.heading(), "Open somebody else&#39;s server?");
            let xsrf = answer.field("_xsrf");
            answer = self.browser.post(&to_hub, &[("_xsrf", &xsrf)]).await;
        }
        assert_eq!(answer.status.as_u16(), 302, "{}", answer.text);
        answer.location().to_owned()
    }

    /// All the way in.
    async fn enter(&mut self) {
        let code = self.code().await;
        let (answer, cookies) = self.asks("GET", &code, VISIT).await.unwrap_err();
        answer.is(302, "/user/alice/x?y=1");
        self.keep(&cookies);
    }

    fn token(&self, name: &str, scopes: &[&str]) -> String {
        let store = &self.hub().store;
        let owner = TokenOwner::User(store.user(name).unwrap().unwrap().id);
        let text = format!("token-of-{name}-for-{}", scopes.join("-"));
        let new = NewToken {
            owner,
            hashed: hash_token(&text, 1, [3; 8]),
            prefix: token_prefix(&text),
            client_id: "jupyterhub".into(),
            session_id: None,
            note: "test".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            created: self.hub().clock.now(),
            expires_at: None,
        };
        store.create_token(&new).unwrap();
        text
    }
}

#[tokio::test]
async fn a_person_comes_in_by_the_hub_with_a_cookie_for_one_server() {
    let mut site = Site::of("alice").await;
    let code = site.code().await;
    let (answer, cookies) = site.asks("GET", &code, VISIT).await.unwrap_err();
    let answer = answer.is(302, "/user/alice/x?y=1");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let [edge, state] = cookies.as_slice() else { panic!("{cookies:?}") };
    assert!(
        edge.starts_with("hubd-edge=") && edge.contains("; HttpOnly; Path=/user/alice/; SameSite=Lax"),
        "{edge}"
    );
    assert!(state.starts_with("hubd-edge-state=; HttpOnly; Max-Age=0; Path=/user/alice/"), "{state}");
    site.keep(&cookies);
    let pass = site.asks("GET", "/user/alice/api", SCRIPT).await.unwrap();
    assert_eq!(pass.tells, [(FORWARDED_USER, HeaderValue::from_static("alice"))]);
    assert!(pass.adds.is_empty() && !pass.confines && !pass.takes_authorization);
    let (answer, _) = site.asks("GET", "/user/alice?q", VISIT).await.unwrap_err();
    answer.is(302, "/user/alice/?q");
}

#[tokio::test]
async fn strangers_are_led_to_the_login_and_their_scripts_are_refused() {
    let mut site = Site::of("alice").await;
    site.browser.cookies.clear();
    for fields in [SCRIPT, SOCKET, &[], &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]] {
        assert!(site.is_refused("GET", "/user/alice/api", fields).await, "{fields:?}");
    }
    assert!(site.is_refused("POST", "/user/alice/", VISIT).await);
    let (answer, cookies) = site.asks("GET", "/user/%61lice/lab%2Fx?y", VISIT).await.unwrap_err();
    // The path of the cookie is that of the prefix, so the way back is, too.
    assert!(answer.location().contains("next=%2Fuser%2Falice%2Flab%252Fx%3Fy&"), "{}", answer.location());
    site.keep(&cookies);
    let login = site.browser.get(answer.location()).await;
    assert!(login.location().starts_with("/hub/login?next=%2Fhub%2Fedge%2Falice"), "{}", login.location());
    // The browser without Sec-Fetch headers that wants a page.
    let (answer, again) = site.asks("GET", "/user/alice/", &[("accept", "text/html,*/*")]).await.unwrap_err();
    assert_eq!(answer.status.as_u16(), 302);
    assert_eq!(again, cookies, "two windows may wait for the login");
}

#[tokio::test]
async fn a_code_holds_once_and_for_its_browser_and_its_server_alone() {
    let mut site = Site::of("alice").await;
    let code = site.code().await;
    let jar = site.browser.cookies.clone();
    // Somebody else's browser, which waits for a code of its own: the code is gone after that.
    site.keep(&[format!("{STATE_COOKIE}={}", hex(&[7; 16]))]);
    let refused = |result: Result<Pass, (Answer, Vec<String>)>| {
        let (answer, cookies) = result.unwrap_err();
        assert!(answer.status.as_u16() == 403 && cookies.is_empty(), "{}", answer.text);
        assert!(answer.text.contains("does not hold any more"), "{}", answer.text);
    };
    refused(site.asks("GET", &code, VISIT).await);
    site.browser.cookies = jar;
    refused(site.asks("GET", &code, VISIT).await);
    // Used twice.
    let code = site.code().await;
    assert_eq!(site.asks("GET", &code, VISIT).await.unwrap_err().0.status.as_u16(), 302);
    refused(site.asks("GET", &code, VISIT).await);
    // At another server of the same person.
    let code = site.code().await;
    let second = Site::guard(site.hub(), "lab");
    let first = std::mem::replace(&mut site.guarded, second);
    refused(site.asks("GET", &code.replace("/alice/", "/alice/lab/"), VISIT).await);
    site.guarded = first;
    // Without the cookie that the server set when it sent the browser away.
    let code = site.code().await;
    site.browser.cookies.remove(STATE_COOKIE);
    refused(site.asks("GET", &code, VISIT).await);
    refused(site.asks("GET", "/user/alice/.hubd/enter", VISIT).await);
    refused(site.asks("GET", "/user/alice/.hubd/enter?code=x", VISIT).await);
}

#[tokio::test]
async fn a_code_leads_nowhere_but_into_its_server() {
    let mut site = Site::of("alice").await;
    for next in [
        "//evil.example",
        "https://evil.example/",
        "/user/mallory/",
        "/hub/logout",
        "/user/alice/\\evil",
        "/user/alice/\u{fc}",
    ] {
        let (_, cookies) = site.asks("GET", "/user/alice/", VISIT).await.unwrap_err();
        site.keep(&cookies);
        let (answer, _) = site.asks("GET", "/user/alice/", VISIT).await.unwrap_err();
        let state = answer.location().split("state=").nth(1).unwrap().to_owned();
        let next_value = crate::pages::urls::value(next);
        let answer = site.browser.get(&format!("/hub/edge/alice?next={next_value}&state={state}")).await;
        let code = answer.location().to_owned();
        let (answer, _) = site.asks("GET", &code, VISIT).await.unwrap_err();
        let end = if next.ends_with("\\evil") { next } else { "/user/alice/" };
        assert_eq!(answer.location(), end, "{next}");
    }
}

#[tokio::test]
async fn a_cookie_for_another_server_or_of_another_time_is_none() {
    let mut site = Site::of("alice").await;
    site.enter().await;
    let hub = Arc::clone(site.hub());
    let cookie_id = hub.store.user("alice").unwrap().unwrap().cookie_id;
    let place = Place::new(&hub, &user("alice"), &server(""));
    let lab = Place::new(&hub, &user("alice"), &server("lab"));
    let now = hub.unix_now();
    let days = 86_400 * 14;
    for (value, holds) in [
        (hub.sign_edge(&cookie_id, &place, now), true),
        (hub.sign_edge(&cookie_id, &place, now - days + 60), true),
        (hub.sign_edge(&cookie_id, &place, now - days - 1), false),
        (hub.sign_edge(&cookie_id, &lab, now), false),
        (hub.sign_edge("another", &place, now), false),
        (crate::auth::sign_login(&hub, &cookie_id), false),
        ("2|1:0|1:1|1:x|0:|".into(), false),
        (String::new(), false),
    ] {
        site.browser.cookies.insert(EDGE_COOKIE.into(), format!("\"{value}\""));
        let refused = site.is_refused("GET", "/user/alice/api", SCRIPT).await;
        assert_eq!(refused, !holds, "{value}");
        // Known to the one guard, it is still none for the other.
        let first = std::mem::replace(&mut site.guarded, Site::guard(&hub, "lab"));
        assert_eq!(
            site.asks("GET", "/user/alice/lab/api", SCRIPT).await.is_ok(),
            value == hub.sign_edge(&cookie_id, &lab, now)
        );
        site.guarded = first;
    }
    // Of two cookies of the name, one that holds is enough, wherever it stands.
    let good = hub.sign_edge(&cookie_id, &place, now);
    let bad = hub.sign_edge(&cookie_id, &lab, now);
    site.browser.cookies.remove(EDGE_COOKIE);
    for both in [
        format!("{EDGE_COOKIE}={bad}; {EDGE_COOKIE}={good}"),
        format!("{EDGE_COOKIE}={good}; {EDGE_COOKIE}={bad}"),
    ] {
        let mut request = site.request("GET", "/user/alice/api", SCRIPT);
        request.headers.insert("cookie", both.parse().unwrap());
        assert!(site.ask(&request).await.is_ok());
    }
}

/// A logout looks at the exchanges itself, on another thread, and a second look does not wait for it.
async fn ends(end: &CancellationToken) {
    tokio::time::timeout(Duration::from_secs(10), end.cancelled()).await.expect("the exchange ends");
}

#[tokio::test]
async fn access_ends_at_the_next_request_and_for_all_that_goes_on() {
    let mut site = Site::of("alice").await;
    site.enter().await;
    let tunnel = site.asks("GET", "/user/alice/ws", SOCKET).await.unwrap().end.unwrap();
    let answer = site.asks("GET", "/user/alice/events", SCRIPT).await.unwrap().end.unwrap();
    site.hub().look_at_exchanges();
    assert!(!tunnel.is_cancelled() && !answer.is_cancelled());
    let kept = site.browser.cookies.clone();
    site.browser.get("/hub/logout").await.is(302, "/hub/login");
    site.browser.cookies = kept;
    assert!(site.is_refused("GET", "/user/alice/api", SCRIPT).await, "a cookie ends with its login");
    site.hub().look_at_exchanges();
    ends(&tunnel).await;
    ends(&answer).await;

    let mut site = Site::of("bob").await;
    site.let_visit("bob");
    site.enter().await;
    let end = site.asks("GET", "/user/alice/ws", SOCKET).await.unwrap().end.unwrap();
    let store = &site.hub().store;
    store.define_role("visitor", "", &["access:servers!server=alice/lab"]).unwrap();
    assert!(site.is_refused("GET", "/user/alice/api", SCRIPT).await, "a role was changed");
    site.hub().look_at_exchanges();
    ends(&end).await;
}

#[tokio::test]
async fn tokens_let_in_by_their_scopes_and_go_no_further() {
    let mut site = Site::of("bob").await;
    site.browser.cookies.clear();
    let with = |token: &str| format!("token {token}");
    let good = site.token("alice", &["access:servers!server=alice/"]);
    for scheme in ["token", "Bearer"] {
        let value = format!("{scheme} {good}");
        // A program says nothing of an origin.
        let pass = site.asks("POST", "/user/alice/api", &[("authorization", &value)]).await.unwrap();
        assert!(pass.takes_authorization && !pass.confines);
        assert_eq!(pass.tells, [(FORWARDED_USER, HeaderValue::from_static("alice"))]);
    }
    for scopes in [&["self"][..], &["access:servers!server=alice/lab"], &["read:users"]] {
        let token = with(&site.token("bob", scopes));
        assert!(site.is_refused("GET", "/user/alice/api", &[("authorization", &token)]).await, "{scopes:?}");
    }
    for unknown in ["token nonsense", "Basic YTpi", "token", ""] {
        assert!(site.is_refused("GET", "/user/alice/api", &[("authorization", unknown)]).await, "{unknown}");
    }
    let mut fields = vec![("authorization", with(&good))];
    fields.extend(SOCKET.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let end = site.asks("GET", "/user/alice/ws", &fields).await.unwrap().end.unwrap();
    let store = &site.hub().store;
    let owner = store.user("alice").unwrap().unwrap();
    for token in store.tokens_of(TokenOwner::User(owner.id), site.hub().clock.now()).unwrap() {
        store.delete_token(token.id).unwrap();
    }
    assert!(site.is_refused("GET", "/user/alice/api", &[("authorization", &with(&good))]).await);
    site.hub().look_at_exchanges();
    ends(&end).await;
    // A program's own token passes beside the cookie.
    let mut site = Site::of("alice").await;
    site.enter().await;
    let pass = site.asks("GET", "/user/alice/api", &[("authorization", "Bearer own")]).await.unwrap();
    assert!(!pass.takes_authorization);
}

#[tokio::test]
async fn somebody_elses_pages_are_asked_about_and_kept_in_their_part_of_the_site() {
    let mut site = Site::of("bob").await;
    // Who may not use it is not told whether it is there.
    let (answer, cookies) = site.asks("GET", "/user/alice/", VISIT).await.unwrap_err();
    site.keep(&cookies);
    assert_eq!(site.browser.get(answer.location()).await.status.as_u16(), 404);
    site.let_visit("bob");
    let answer = site.browser.post(answer.location(), &[]).await;
    assert_eq!(answer.status.as_u16(), 403, "a form of somebody else says no yes");
    site.enter().await;
    let pass = site.asks("GET", "/user/alice/lab", VISIT).await.unwrap();
    assert!(pass.confines);
    let policy =
        pass.adds.iter().find(|(name, _)| name == "content-security-policy").unwrap().1.to_str().unwrap();
    assert!(
        policy.starts_with("default-src http://hub.example/user/alice/ ws://hub.example/user/alice/ data:"),
        "{policy}"
    );
    assert!(policy.contains("sandbox allow-scripts") && !policy.contains("allow-popups"), "{policy}");
    assert_eq!(pass.tells, [(FORWARDED_USER, HeaderValue::from_static("bob"))]);
    let odd = visitor::confining("http://a;script-src *", "/user/alice/");
    assert_eq!(odd[0].1, "default-src 'none'; sandbox");
}

#[tokio::test]
async fn a_stripped_server_hears_its_prefix_and_methods_stay_what_they_are() {
    let mut site = Site::of("alice").await;
    site.enter().await;
    site.guarded = guarded(site.hub(), Place::new(site.hub(), &user("alice"), &server("")), true);
    let pass = site.asks("GET", "/user/alice/x", SCRIPT).await.unwrap();
    assert!(pass.tells.contains(&(FORWARDED_PREFIX, HeaderValue::from_static("/user/alice"))));
    assert!(site.guarded.strips_prefix);
    assert_eq!(site.request("GET", "/", &[]).method, Method::GET);
}
