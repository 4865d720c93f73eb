//! The OAuth provider, as a user server and a browser use it.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};

use super::{Api, Reply};
use crate::pages::urls;
use crate::test_support::started;

const VERIFIER: &str = "gezXs298peJarhxxmJ8ttEfJe7v3ZBrRMZmJZ1gVlU8";
const CLIENT: &str = "jupyterhub-user-alice";
const CALLBACK: &str = "/user/alice/oauth_callback";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

/// The query of a correct request, with changes.
fn query(changes: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut pairs = vec![
        ("client_id", CLIENT),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "S"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    pairs.iter().map(|(name, value)| format!("{name}={}", urls::value(value))).collect::<Vec<_>>().join("&")
}

struct OAuth {
    api: Api,
    secret: String,
}

impl OAuth {
    async fn new() -> Self {
        let api = Api::new().await;
        started(&api.test.hub, "alice").await;
        let secret = api.test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
        Self { api, secret }
    }

    async fn authorize(&self, user: &str, changes: &[(&str, &str)]) -> Reply {
        let request = Request::get(format!("/hub/api/oauth2/authorize?{}", query(changes)));
        let request = request.header("cookie", self.api.cookie(user));
        self.api.send(request.body(Body::empty()).unwrap()).await
    }

    /// A code for alice.
    async fn code(&self, changes: &[(&str, &str)]) -> String {
        let reply = self.authorize("alice", changes).await;
        assert_eq!(reply.status, 302, "{}", reply.text);
        let location = reply.header("location").to_owned();
        let (path, query) = location.split_once('?').unwrap();
        assert_eq!(path, CALLBACK);
        let pairs = urls::pairs(query);
        assert_eq!(pairs[1], ("state".to_owned(), "S".to_owned()));
        assert_eq!((pairs[0].0.as_str(), pairs[0].1.len()), ("code", 30));
        pairs[0].1.clone()
    }

    async fn token(&self, code: &str, changes: &[(&str, &str)]) -> Reply {
        let mut pairs = vec![
            ("client_id", CLIENT),
            ("client_secret", &self.secret),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in changes {
            pairs.retain(|(known, _)| known != name);
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        let body = pairs.iter().map(|(n, v)| format!("{n}={}", urls::value(v))).collect::<Vec<_>>().join("&");
        self.api.call("POST", "/oauth2/token", "", &body).await
    }
}

fn error(reply: &Reply) -> (u16, Value) {
    (reply.status.as_u16(), reply.json()["error"].clone())
}

#[tokio::test]
async fn a_browser_reaches_its_own_server_without_a_question() {
    let oauth = OAuth::new().await;
    let code = oauth.code(&[]).await;
    let reply = oauth.token(&code, &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let body = reply.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(1_209_600)));
    let mut scopes: Vec<&str> = body["scope"].as_str().unwrap().split(' ').collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["access:servers!server=alice/", "read:users:groups!user", "read:users:name!user"]);
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(token.len(), 30);
    let own = oauth.api.get("/user", token).await.json();
    assert_eq!((&own["name"], &own["session_id"]), (&json!("alice"), &json!("session-alice")));
    assert_eq!(
        own["scopes"],
        json!(["access:servers!server=alice/", "read:users:groups!user=alice", "read:users:name!user=alice"])
    );
    let alice = oauth.api.token("alice", &["inherit"]);
    let listed = oauth.api.get("/users/alice/tokens", &alice).await.json();
    let clients: Vec<&Value> =
        listed["api_tokens"].as_array().unwrap().iter().map(|token| &token["oauth_client"]).collect();
    assert!(clients.contains(&&json!("Server at /user/alice/")), "{clients:?}");
}

#[tokio::test]
async fn a_code_works_once_and_its_second_use_revokes_the_token() {
    let oauth = OAuth::new().await;
    let code = oauth.code(&[]).await;
    let first = oauth.token(&code, &[]).await.json();
    let token = first["access_token"].as_str().unwrap();
    assert_eq!(oauth.api.get("/user", token).await.status, 200);
    assert_eq!(error(&oauth.token(&code, &[]).await), (400, json!("invalid_grant")));
    assert_eq!(oauth.api.get("/user", token).await.status, 403);
}

#[tokio::test]
async fn wrong_token_requests_are_refused_and_do_not_use_the_code_up() {
    let oauth = OAuth::new().await;
    let code = oauth.code(&[]).await;
    let wrong = "y".repeat(43);
    for (changes, status, name) in [
        (("client_secret", "wrong"), 401, "invalid_client"),
        (("client_secret", ""), 401, "invalid_client"),
        (("client_id", "jupyterhub"), 401, "invalid_client"),
        (("client_id", "nobody"), 401, "invalid_client"),
        (("grant_type", "password"), 400, "unsupported_grant_type"),
        (("grant_type", ""), 400, "unsupported_grant_type"),
        (("code", "nonsense"), 400, "invalid_grant"),
        (("code", ""), 400, "invalid_request"),
        (("code_verifier", wrong.as_str()), 400, "invalid_grant"),
        (("code_verifier", ""), 400, "invalid_request"),
        (("redirect_uri", "/elsewhere"), 400, "invalid_request"),
        (("redirect_uri", ""), 400, "invalid_request"),
    ] {
        let reply = oauth.token(&code, &[changes]).await;
        assert_eq!(error(&reply), (status, json!(name)), "{changes:?}");
    }
    assert_eq!(oauth.token(&code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_client_gives_its_secret_in_the_form_or_by_http_basic() {
    let oauth = OAuth::new().await;
    let form = |code: &str, more: &str| {
        let redirect = urls::value(CALLBACK);
        format!(
            "grant_type=authorization_code&code={code}&redirect_uri={redirect}&code_verifier={VERIFIER}{more}"
        )
    };
    let code = oauth.code(&[]).await;
    let ask = |credentials: String, body: String| {
        let value = format!("Basic {}", STANDARD.encode(credentials));
        let request = Request::post("/hub/api/oauth2/token").header("authorization", value);
        oauth.api.send(request.body(Body::from(body)).unwrap())
    };
    let good = format!("{}:{}", urls::value(CLIENT), urls::value(&oauth.secret));
    for (credentials, more, status, name) in [
        (format!("{CLIENT}:wrong"), "", 401, "invalid_client"),
        (format!("nobody:{}", oauth.secret), "", 401, "invalid_client"),
        (good.clone(), "&client_id=nobody", 401, "invalid_client"),
        (good.clone(), "&client_secret=x", 400, "invalid_request"),
    ] {
        assert_eq!(error(&ask(credentials, form(&code, more)).await), (status, json!(name)), "{more}");
    }
    assert_eq!(ask("no colon".to_owned(), form(&code, "")).await.error().0, 400);
    assert_eq!(ask(good, form(&code, &format!("&client_id={CLIENT}"))).await.status, 200);
    let code = oauth.code(&[]).await;
    assert_eq!(oauth.token(&code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_verifier_without_a_challenge_is_refused() {
    let oauth = OAuth::new().await;
    let code = oauth.code(&[("code_challenge", ""), ("code_challenge_method", "")]).await;
    assert_eq!(error(&oauth.token(&code, &[]).await), (400, json!("invalid_request")));
    assert_eq!(oauth.token(&code, &[("code_verifier", "")]).await.status, 200);
}

#[tokio::test]
async fn a_redirect_uri_that_was_not_given_need_not_be_repeated() {
    let oauth = OAuth::new().await;
    let code = oauth.code(&[("redirect_uri", "")]).await;
    assert_eq!(oauth.token(&code, &[("redirect_uri", "")]).await.status, 200);
}

#[tokio::test]
async fn wrong_clients_get_a_page_and_are_sent_nowhere() {
    let oauth = OAuth::new().await;
    for (changes, text) in [
        (("client_id", ""), "Missing client_id parameter."),
        (("client_id", "nobody"), "Invalid client_id parameter value."),
        (("client_id", "jupyterhub"), "Invalid client_id parameter value."),
        (("redirect_uri", "https://evil.example/"), "Mismatching redirect URI."),
    ] {
        let reply = oauth.authorize("alice", &[changes]).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (400, ""), "{changes:?}");
        assert!(reply.header("content-type").starts_with("text/html"));
        assert!(reply.text.contains(text), "{changes:?}");
    }
}

#[tokio::test]
async fn wrong_requests_of_a_right_client_go_back_with_an_error() {
    let oauth = OAuth::new().await;
    for (changes, error) in [
        (("response_type", ""), "error=invalid_request&error_description=Missing+response_type+parameter."),
        (("response_type", "token"), "error=unsupported_response_type"),
        (("scope", "nonsense"), "error=invalid_scope"),
        (("scope", "admin:users"), "error=invalid_scope"),
        (
            ("code_challenge_method", "plain"),
            "error=invalid_request&error_description=Transform+algorithm+not+supported.",
        ),
        (
            ("code_challenge_method", ""),
            "error=invalid_request&error_description=Transform+algorithm+not+supported.",
        ),
        (
            ("code_challenge", "short"),
            "error=invalid_request&error_description=Code+challenge+is+not+a+SHA-256+digest.",
        ),
    ] {
        let reply = oauth.authorize("alice", &[changes]).await;
        assert_eq!(reply.header("location"), format!("{CALLBACK}?{error}&state=S"), "{changes:?}");
    }
}

#[tokio::test]
async fn others_get_no_code_for_a_server_that_is_not_theirs() {
    let oauth = OAuth::new().await;
    let reply = oauth.authorize("bob", &[]).await;
    assert_eq!(reply.status, 403);
    assert!(reply.text.contains("You do not have permission to access Server at /user/alice/"));
}

#[tokio::test]
async fn strangers_log_in_first_and_come_back() {
    let oauth = OAuth::new().await;
    let request = Request::get(format!("/hub/api/oauth2/authorize?{}", query(&[])));
    let reply = oauth.api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.status, 302);
    assert!(reply.header("location").starts_with("/hub/login?next=%2Fhub%2Fapi%2Foauth2%2Fauthorize%3F"));
}

#[tokio::test]
async fn an_admin_is_asked_before_a_server_of_somebody_else_learns_who_they_are() {
    let oauth = OAuth::new().await;
    let page = oauth.authorize("root1", &[]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("Authorize access") && page.text.contains("name=\"scopes\""));
    let cookie = oauth.api.cookie("root1");
    let xsrf = page.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    let post = |body: String| {
        Request::post(format!("/hub/api/oauth2/authorize?{}", query(&[])))
            .header("cookie", format!("{cookie}; _xsrf={xsrf}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap()
    };
    assert_eq!(oauth.api.send(post("scopes=x".into())).await.status, 403);
    let yes = oauth.api.send(post(format!("_xsrf={xsrf}&scopes=admin%3Ausers"))).await;
    let location = yes.header("location").to_owned();
    assert!(location.starts_with(&format!("{CALLBACK}?code=")), "{} {}", yes.status, yes.text);
    let code = urls::pairs(location.split_once('?').unwrap().1)[0].1.clone();
    let body = oauth.token(&code, &[]).await.json();
    assert!(!body["scope"].as_str().unwrap().contains("admin:users"));
    // The second time the answer is known.
    assert_eq!(oauth.authorize("root1", &[]).await.status, 302);
}

#[tokio::test]
async fn a_token_request_from_a_page_is_refused() {
    let oauth = OAuth::new().await;
    let request = Request::post("/hub/api/oauth2/token").header("origin", "https://hub.example");
    let reply = oauth.api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.error().0, 403);
}

#[tokio::test]
async fn a_logout_ends_the_tokens_of_its_session_and_the_login_cookie() {
    let oauth = OAuth::new().await;
    let code = oauth.code(&[]).await;
    let body = oauth.token(&code, &[]).await.json();
    let token = body["access_token"].as_str().unwrap();
    let cookie = oauth.api.cookie("alice");
    let parts = Request::get("/hub/logout").header("cookie", &cookie).body(()).unwrap().into_parts().0;
    let cleared = oauth.api.test.hub.finish_logout(&parts).await.unwrap();
    assert!(cleared.iter().any(|cookie| cookie.starts_with("jupyterhub-hub-login=; expires=")));
    assert!(cleared.iter().any(|cookie| cookie.starts_with("hubd-ticket=; expires=")));
    assert_eq!(oauth.api.get("/user", token).await.status, 403);
    assert!(oauth.api.test.hub.browser(&parts.headers).is_none());
}
