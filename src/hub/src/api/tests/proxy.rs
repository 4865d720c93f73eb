//! The proxy's routes.

use serde_json::{Value, json};

use super::Api;
use crate::test_support::started;

#[tokio::test]
async fn only_the_scope_shows_the_routes() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let text = "Action is not authorized with current scopes; requires any of [proxy]";
    for method in ["GET", "POST", "PATCH"] {
        assert_eq!(api.call(method, "/proxy", &alice, "").await.error(), (403, json!(text)), "{method}");
        assert_eq!(api.call(method, "/proxy", "", "").await.error().0, 403, "{method}");
    }
}

#[tokio::test]
async fn routes_have_jupyterhubs_form_and_those_of_others_are_left_out() {
    let api = Api::new().await;
    let root = api.token("root1", &["proxy"]);
    started(&api.test.hub, "alice").await;
    api.test.hub.routes.add_url("/elsewhere/", "http://127.0.0.1:1").unwrap();
    let routes = api.get("/proxy", &root).await.json();
    let routes = routes.as_object().unwrap();
    assert_eq!(routes.keys().collect::<Vec<_>>(), ["/", "/user/alice/"]);
    let hub = json!({"routespec": "/", "target": "http://127.0.0.1:8081", "data": {"hub": true}});
    assert_eq!(routes["/"], hub);
    let alice = &routes["/user/alice/"];
    assert_eq!(alice["routespec"], "/user/alice/");
    assert!(alice["target"].as_str().unwrap().starts_with("http+unix://"), "{alice}");
    assert_eq!((&alice["data"]["user"], &alice["data"]["server_name"]), (&json!("alice"), &json!("")));
    assert!(alice["data"]["last_activity"].is_string() && alice["data"]["jupyterhub"].is_null());
    let part = api.get("/proxy?offset=1&limit=5", &root).await.json();
    assert_eq!(part.as_object().unwrap().keys().collect::<Vec<_>>(), ["/user/alice/"]);
}

#[tokio::test]
async fn checking_is_done_at_once_and_the_proxy_cannot_be_replaced() {
    let api = Api::new().await;
    let root = api.token("root1", &["proxy"]);
    let reply = api.call("POST", "/proxy", &root, "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    for (body, text) in [
        ("", "need JSON body"),
        ("[]", "Request body must be JSON dict"),
        ("{", "Request body must be JSON dict"),
        (r#"{"api_url": "http://x"}"#, "api_url cannot be changed: the proxy is part of hubd"),
    ] {
        let reply = api.call("PATCH", "/proxy", &root, body).await;
        assert_eq!(reply.error(), (400, Value::from(text)), "{body}");
    }
    assert_eq!(api.call("PATCH", "/proxy", &root, "{}").await.status, 200);
}
