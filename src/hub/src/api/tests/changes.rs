//! What `PATCH /users/NAME` gives, and tokens for a password.

use serde_json::{Value, json};

use super::Api;
use crate::test_support::PASSWORD;

#[tokio::test]
async fn groups_are_replaced_by_those_who_may_change_them() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    api.call("POST", "/groups", &root, r#"{"groups": ["a", "b"], "users": ["alice"]}"#).await;
    api.call("POST", "/groups/c", &root, "").await;
    let reply = api.call("PATCH", "/users/alice", &root, r#"{"groups": ["c", "b"]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let mut groups: Vec<String> = serde_json::from_value(reply.json()["groups"].clone()).unwrap();
    groups.sort();
    assert_eq!(groups, ["b", "c"]);
    let reply = api.call("PATCH", "/users/alice", &root, r#"{"groups": ["nope"]}"#).await;
    assert_eq!(reply.error(), (400, json!("No such group: nope")));
    let users = api.token("root1", &["admin:users"]);
    let reply = api.call("PATCH", "/users/alice", &users, r#"{"groups": ["b"]}"#).await;
    let text = "You may not change who is in group c: groups!group=c is missing";
    assert_eq!(reply.error(), (403, json!(text)));
    let reply = api.call("PATCH", "/users/alice", &users, r#"{"groups": ["b", "c"]}"#).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        api.call("PATCH", "/users/alice", &root, r#"{"groups": []}"#).await.json()["groups"],
        json!([])
    );
}

#[tokio::test]
async fn roles_are_given_by_admins_who_have_what_is_in_them() {
    let api = Api::new().await;
    let store = &api.test.hub.store;
    store.define_role("reader", "", &["read:users"]).unwrap();
    store.define_role("special", "", &["custom:thing"]).unwrap();
    store.define_role("manager", "", &["admin:users", "self"]).unwrap();
    store.grant_role(store.user("bob").unwrap().unwrap().id, "manager").unwrap();
    let root = api.token("root1", &["inherit"]);
    let reply = api.call("PATCH", "/users/alice", &root, r#"{"roles": ["user", "reader"]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(reply.json()["roles"].as_array().unwrap().contains(&json!("reader")));
    for (token, body, status, text) in [
        (
            &root,
            r#"{"roles": ["special"]}"#,
            403,
            "You cannot give the role special: it may do more than you may",
        ),
        (&root, r#"{"roles": ["nope"]}"#, 400, "No such role: nope"),
        (
            &root,
            r#"{"roles": ["user", "reader", "admin"]}"#,
            400,
            "The role admin follows user.admin: change that",
        ),
        (&api.token("bob", &["inherit"]), r#"{"roles": ["user"]}"#, 403, "Only admins can change roles"),
        (
            &root,
            r#"{"auth_state": {"a": 1}}"#,
            400,
            "user.auth_state cannot be stored: the hub has no JUPYTERHUB_CRYPT_KEY to encrypt it",
        ),
    ] {
        let reply = api.call("PATCH", "/users/alice", token, body).await;
        assert_eq!(reply.error(), (status, json!(text)), "{body}");
    }
}

#[tokio::test]
async fn a_password_makes_a_token_for_oneself_only() {
    let api = Api::new().await;
    let auth = |name: &str, password: &str| {
        json!({"auth": {"username": name, "password": password}, "note": "script"}).to_string()
    };
    let path = "/users/alice/tokens";
    let made = api.call("POST", path, "", &auth("alice", PASSWORD)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json()["note"], "script");
    assert_eq!(api.get("/user", made.json()["token"].as_str().unwrap()).await.json()["name"], "alice");
    for body in
        [auth("alice", "wrong"), auth("nobody", "x"), "{\"auth\": 1}".into(), "{}".into(), String::new()]
    {
        assert_eq!(api.call("POST", path, "", &body).await.error(), (403, Value::Null), "{body}");
    }
    let other = api.call("POST", "/users/bob/tokens", "", &auth("alice", PASSWORD)).await;
    assert_eq!(other.error(), (403, json!("User bob not found or no permissions to generate tokens")));
}

#[tokio::test]
async fn tokens_live_no_longer_than_the_operator_allows() {
    let api = Api::with(|settings| settings.token_expires_in_max_seconds = 3600).await;
    let alice = api.token("alice", &["inherit"]);
    let path = "/users/alice/tokens";
    let reply = api.call("POST", path, &alice, r#"{"expires_in": 3601}"#).await;
    assert_eq!(reply.error(), (400, json!("token expires_in: 3601 must not exceed 3600")));
    assert!(api.call("POST", path, &alice, "").await.json()["expires_at"].is_string());
    assert_eq!(api.call("POST", path, &alice, r#"{"expires_in": 60}"#).await.status, 201);
}
