//! Who may do what: credentials, scopes, XSRF, and the form of refusals.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{Api, Reply};

#[tokio::test]
async fn the_root_tells_the_version_to_everybody() {
    let api = Api::new().await;
    for path in ["", "/"] {
        let reply = api.get(path, "").await;
        assert_eq!(reply.json(), json!({"version": "6.1.1"}), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("x-jupyterhub-version"), "6.1.1");
        assert_eq!(reply.header("access-control-allow-headers"), "accept, content-type, authorization");
    }
}

#[tokio::test]
async fn answers_to_reads_have_a_tag_that_spares_the_second_one() {
    let api = Api::new().await;
    let tag = api.get("/", "").await.header("etag").to_owned();
    assert_eq!(tag.len(), 42);
    let request = Request::get("/hub/api/").header("if-none-match", &tag).body(Body::empty()).unwrap();
    let reply = api.send(request).await;
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
}

#[tokio::test]
async fn strangers_are_refused_in_jupyterhubs_words() {
    let api = Api::new().await;
    let missing = json!("Missing or invalid credentials.");
    for path in ["/users", "/users/alice", "/info", "/users/alice/server", "/groups", "/services"] {
        assert_eq!(api.get(path, "").await.error(), (403, missing.clone()), "{path}");
    }
    assert_eq!(api.get("/users/alice", "no-such-token").await.error(), (403, missing));
    assert_eq!(api.get("/user", "").await.error(), (403, Value::Null));
    assert_eq!(api.get("/nonsense", "").await.error(), (404, Value::Null));
    assert_eq!(api.get("/users/", "").await.error(), (404, Value::Null));
}

#[tokio::test]
async fn other_methods_are_refused() {
    let api = Api::new().await;
    assert_eq!(api.call("PUT", "/users", "", "").await.error(), (405, Value::Null));
    assert_eq!(api.call("HEAD", "/users", "", "").await.status, 405);
    assert_eq!(api.call("HEAD", "/health", "", "").await.status, 200);
    let options = api.call("OPTIONS", "/users", "", "").await;
    assert_eq!((options.status.as_u16(), options.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_scope_held_for_others_gives_404_and_one_not_held_403() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let hidden = json!("No access to resources or resources not found");
    assert_eq!(api.get("/users/bob", &alice).await.error(), (404, hidden.clone()));
    assert_eq!(api.get("/users/nobody", &alice).await.error(), (404, hidden));
    let text = "Action is not authorized with current scopes; requires any of [admin:users]";
    assert_eq!(api.call("POST", "/users/new", &alice, "").await.error(), (403, json!(text)));
    assert_eq!(api.get("/users/alice", &alice).await.status, 200);
    let root = api.token("root1", &["inherit"]);
    assert_eq!(api.get("/users/nobody", &root).await.error(), (404, Value::Null));
}

#[tokio::test]
async fn bearer_works_and_a_token_is_cut_to_what_its_owner_has() {
    let api = Api::new().await;
    let limited = api.token("alice", &["read:users:name!user", "admin:users"]);
    let request = Request::get("/hub/api/user").header("authorization", format!("Bearer {limited}"));
    let model = api.send(request.body(Body::empty()).unwrap()).await.json();
    assert_eq!(model["name"], "alice");
    let scopes: Vec<&str> = model["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(scopes.contains(&"read:users:name!user=alice"));
    assert!(scopes.iter().all(|scope| scope.ends_with("!user=alice")), "{scopes:?}");
}

#[tokio::test]
async fn a_cookie_needs_the_xsrf_token_to_write() {
    let api = Api::new().await;
    let cookie = api.cookie("alice");
    let post = |cookie: String, query: &str, kind: &str| {
        Request::post(format!("/hub/api/users/alice/tokens{query}"))
            .header("cookie", cookie)
            .header("content-type", kind)
            .body(Body::empty())
            .unwrap()
    };
    let reply = api.send(post(cookie.clone(), "", "application/json")).await;
    assert_eq!(reply.error(), (403, json!("'_xsrf' argument missing from POST")));
    let reply = api.send(post(cookie.clone(), "?_xsrf=wrong", "application/json")).await;
    assert_eq!(reply.error(), (403, json!("XSRF cookie does not match POST argument")));

    let parts = Request::get("/").header("cookie", &cookie).body(()).unwrap().into_parts().0;
    let hub = &api.test.hub;
    let browser = hub.browser(&parts.headers).unwrap();
    let token = hub.xsrf_for_page(&parts, Some(&browser)).token;
    let both = format!("{cookie}; _xsrf={token}");
    let query = format!("?_xsrf={token}");
    assert_eq!(api.send(post(both.clone(), &query, "application/json")).await.status, 201);
    // A form of another site cannot call itself JSON: the cookie does not count.
    assert_eq!(api.send(post(both.clone(), &query, "text/plain")).await.status, 403);
    // Another session's token does not help.
    let other = both.replace("session-alice", "session-other");
    assert_eq!(api.send(post(other, &query, "application/json")).await.status, 403);
}

#[tokio::test]
async fn a_foreign_origin_learns_nothing() {
    let api = Api::new().await;
    let request = Request::post("/hub/api/users/alice/tokens").header("origin", "https://evil.example");
    let reply = api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.error(), (403, json!("'_xsrf' argument missing from POST")));
}

#[tokio::test]
async fn blocked_users_are_strangers() {
    let api = Api::with(|settings| {
        settings.authenticator.blocked_users.insert("alice".parse().unwrap());
    })
    .await;
    let request = Request::get("/hub/api/user").header("cookie", api.cookie("alice"));
    assert_eq!(api.send(request.body(Body::empty()).unwrap()).await.status, 403);
    assert_eq!(api.get("/user", &api.token("alice", &["inherit"])).await.status, 403);
}

#[tokio::test]
async fn bodies_have_limits() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let long = format!("{{\"usernames\": [\"{}\"]}}", "x".repeat(1 << 20));
    assert_eq!(api.call("POST", "/users", &root, &long).await.error().0, 413);
    let reply = api.call("POST", "/users", &root, "{").await;
    assert_eq!(reply.error(), (400, json!("Invalid JSON in body of request")));
}

#[tokio::test]
async fn a_full_disk_is_503_for_writes_and_nothing_for_reads_and_tokens() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let store = &api.test.hub.store;
    let names: Vec<String> = (0..2000).map(|number| format!("{:x<100}{number}", "u")).collect();
    let many = json!({ "usernames": names }).to_string();
    store.set_page_limit_for_tests(1).unwrap();
    assert_eq!(api.call("POST", "/users", &root, &many).await.error().0, 503);
    assert_eq!(api.get("/user", &root).await.status, 200);
    assert_eq!(api.get("/users/alice", &root).await.status, 200);
    store.set_page_limit_for_tests(1_000_000).unwrap();
    assert_eq!(api.call("POST", "/users", &root, &many).await.status, 201);
}

#[tokio::test]
async fn a_login_cookie_that_does_not_hold_is_taken_from_the_browser() {
    let api = Api::new().await;
    let cleared = |reply: &Reply| {
        let cookies =
            reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned());
        cookies.filter(|cookie| cookie.starts_with("jupyterhub-hub-login=")).collect::<Vec<_>>()
    };
    let send = async |path: &str, cookie: &str, token: &str| {
        let mut request = Request::get(path).header("cookie", cookie).header("sec-fetch-mode", "navigate");
        if !token.is_empty() {
            request = request.header("authorization", format!("token {token}"));
        }
        api.send(request.body(Body::empty()).unwrap()).await
    };
    let (good, token) = (api.cookie("alice"), api.token("alice", &["inherit"]));
    let dead = "jupyterhub-hub-login=garbage";
    for path in ["/hub/api/user", "/hub/home", "/hub/login", "/hub/nowhere", "/hub/api/oauth2/authorize"] {
        let found = cleared(&send(path, dead, "").await);
        assert!(
            matches!(&found[..], [one] if one.contains("expires=") && one.contains("Path=/hub/")),
            "{path}: {found:?}"
        );
        for kept in ["a=b", "jupyterhub-hub-login=", &good, &format!("{dead}; {good}")] {
            let found = cleared(&send(path, kept, "").await);
            assert!(found.is_empty(), "{path} with {kept}: {found:?}");
        }
    }
    assert!(cleared(&send("/hub/api/user", dead, &token).await).is_empty());
}
