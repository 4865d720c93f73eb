//! The end of the hub.

use std::time::Duration;

use serde_json::json;

use super::Api;

#[tokio::test]
async fn only_the_scope_ends_the_hub() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let text = "Action is not authorized with current scopes; requires any of [shutdown]";
    assert_eq!(api.call("POST", "/shutdown", &alice, "").await.error(), (403, json!(text)));
    let missing = json!("Missing or invalid credentials.");
    assert_eq!(api.call("POST", "/shutdown", "", "").await.error(), (403, missing));
    let asked = tokio::time::timeout(Duration::from_millis(1), api.test.hub.ending.asked());
    assert!(asked.await.is_err());
}

#[tokio::test]
async fn a_shutdown_says_what_becomes_of_the_servers() {
    let api = Api::new().await;
    let root = api.token("root1", &["shutdown"]);
    let reply = api.call("POST", "/shutdown", &root, r#"{"proxy": "x"}"#).await;
    assert_eq!(reply.error(), (400, json!("proxy must be true or false, got 'x'")));
    let reply = api.call("POST", "/shutdown", &root, r#"{"servers": null}"#).await;
    assert_eq!(reply.error(), (400, json!("servers must be true or false, got None")));
    let reply = api.call("POST", "/shutdown", &root, r#"{"servers": true, "proxy": true}"#).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (202, json!({"message": "Shutting down Hub"})));
    api.test.hub.ending.asked().await;
    assert!(api.test.hub.ending.stops_servers(false));
}
