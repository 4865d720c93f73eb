//! Services that the API adds and removes.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn an_external_service_is_added_used_and_removed() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let body = json!({
        "url": "http://127.0.0.1:9", "api_token": "0123456789", "info": {"k": "v"}, "oauth_no_confirm": true,
        "oauth_client_allowed_scopes": ["read:users"], "admin": true
    });
    let reply = api.call("POST", "/services/ext", &root, &body.to_string()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let model = reply.json();
    for (key, value) in [
        ("kind", json!("service")),
        ("name", json!("ext")),
        ("url", json!("http://127.0.0.1:9")),
        ("prefix", json!("/services/ext/")),
        ("command", json!([])),
        ("pid", json!(0)),
        ("display", json!(true)),
        ("roles", json!(["admin"])),
    ] {
        assert_eq!(model[key], value, "{key}");
    }
    assert_eq!(api.get("/user", "0123456789").await.json()["name"], "ext");
    assert!(api.test.hub.store.oauth_client("service-ext").unwrap().unwrap().no_confirm);
    let (status, message) = api.call("POST", "/services/ext", &root, "{}").await.error();
    assert_eq!((status, message), (409, json!("Service ext already exists")));

    let reply = api.call("DELETE", "/services/ext", &root, "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    assert_eq!(api.get("/user", "0123456789").await.status, 403);
    let (status, message) = api.call("DELETE", "/services/ext", &root, "").await.error();
    assert_eq!((status, message), (404, json!("Service ext does not exist")));
    assert!(api.test.hub.routes.prefixes().is_empty());
}

#[tokio::test]
async fn what_makes_no_service_is_refused_with_jupyterhubs_words_and_leaves_nothing() {
    let api = Api::with(|settings| {
        let fields =
            [("name".to_owned(), json!("fixed")), ("url".to_owned(), json!("http://127.0.0.1:8"))].into();
        settings.services.specs =
            vec![crate::services::Spec::read(&fields, None).unwrap_or_else(|_| unreachable!())];
    })
    .await;
    api.test.hub.prepare_services().unwrap();
    let root = api.token("root1", &["inherit"]);
    for (body, message) in [
        (json!(null), "Invalid service data"),
        (json!({}), "Invalid service data"),
        (json!(["x"]), "Invalid service data"),
        (json!({"prefix": "x"}), "Invalid JSON keys"),
        (json!({"admin": "yes"}), "service.admin must be bool"),
        (json!({"command": ["/bin/sh"]}), "Can not create managed service new at runtime"),
        (json!({"url": "ftp://x"}), "Failed to create service new"),
        (json!({"url": "http+unix://%2Frun%2Fhubd%2Fhelper.sock"}), "Failed to create service new"),
        (json!({"oauth_no_confirm": true}), "Failed to create service new"),
        (
            json!({"oauth_client_id": "jupyterhub-user-alice", "url": "http://x:1"}),
            "Failed to create service new",
        ),
        (json!({"oauth_client_id": "service-fixed", "url": "http://x:1"}), "Failed to create service new"),
        (json!({"api_token": "short"}), "Failed to create service new"),
        (json!({"oauth_client_allowed_scopes": ["no:scope"]}), "no:scope"),
    ] {
        let (status, found) = api.call("POST", "/services/new", &root, &body.to_string()).await.error();
        assert!(status == 400 && found.as_str().unwrap().contains(message), "{body}: {status} {found}");
        assert!(api.test.hub.store.service("new").unwrap().is_none(), "{body}");
    }
    let (status, message) = api.call("DELETE", "/services/fixed", &root, "").await.error();
    assert_eq!((status, message), (405, json!("Service fixed is not modifiable at runtime")));
}

#[tokio::test]
async fn nobody_gives_a_service_more_than_they_have() {
    let api = Api::new().await;
    let narrow = api.token("root1", &["admin:services"]);
    for body in [json!({"admin": true}), json!({"oauth_client_allowed_scopes": ["admin:users"]})] {
        let (status, message) = api.call("POST", "/services/new", &narrow, &body.to_string()).await.error();
        let text = message.as_str().unwrap_or_default();
        assert!(status == 400 && text.contains("not held by User root1"), "{status} {message}");
    }
    let reply = api.call("POST", "/services/new", &narrow, r#"{"display": false}"#).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let alice = api.token("alice", &["inherit"]);
    let (status, message): (u16, Value) =
        api.call("POST", "/services/other", &alice, r#"{"display": true}"#).await.error();
    assert!(status == 403 && message.as_str().unwrap().contains("admin:services"), "{message}");
    assert_eq!(api.call("DELETE", "/services/new", &alice, "").await.status, 403);
}
