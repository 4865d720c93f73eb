//! `auth_state`: who sees it, who sets it, and what becomes of it without a key.

use hubd_store::{AuthState, CryptKeys};
use serde_json::json;

use super::Api;

async fn with_keys(keys: &str) -> Api {
    let keys = CryptKeys::parse(keys).unwrap();
    Api::with(|settings| settings.crypt_keys = keys).await
}

#[tokio::test]
async fn admins_set_and_see_auth_state_and_others_do_not() {
    let api = with_keys(&"k".repeat(32)).await;
    let root = api.token("root1", &["inherit"]);
    let set = api.call("PATCH", "/users/alice", &root, r#"{"auth_state": {"token": "x"}}"#).await;
    assert_eq!((set.status.as_u16(), set.json()["auth_state"].clone()), (200, json!({"token": "x"})));
    assert_eq!(api.get("/users/alice", &root).await.json()["auth_state"], json!({"token": "x"}));
    let list = api.get("/users", &root).await.json();
    assert!(list.as_array().unwrap().iter().all(|user| user["auth_state"].is_null()), "lists do not show it");
    let alice = api.token("alice", &["inherit"]);
    assert!(api.get("/users/alice", &alice).await.json().get("auth_state").is_none());
    assert_eq!(api.call("PATCH", "/users/alice", &alice, r#"{"auth_state": null}"#).await.error().0, 403);
    let only = api.token("root1", &["admin:auth_state", "read:users:name"]);
    assert_eq!(api.get("/users/alice", &only).await.json()["auth_state"], json!({"token": "x"}));

    let cleared = api.call("PATCH", "/users/alice", &root, r#"{"auth_state": null}"#).await;
    assert_eq!(cleared.json()["auth_state"], json!(null));
    let user = api.test.hub.store.user("alice").unwrap().unwrap();
    assert_eq!(api.test.hub.store.auth_state(user.id, &CryptKeys::default()).unwrap(), AuthState::None);
}

#[tokio::test]
async fn without_a_key_nothing_is_stored_and_what_is_there_reads_as_nothing() {
    let api = with_keys("").await;
    let root = api.token("root1", &["inherit"]);
    let refused = api.call("PATCH", "/users/alice", &root, r#"{"auth_state": {"token": "x"}}"#).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("JUPYTERHUB_CRYPT_KEY"), "{}", refused.text);
    let store = &api.test.hub.store;
    let user = store.user("alice").unwrap().unwrap();
    store.set_auth_state(user.id, Some("not a token")).unwrap();
    assert_eq!(api.get("/users/alice", &root).await.json()["auth_state"], json!(null));
}

#[tokio::test]
async fn what_an_old_key_made_is_stored_with_the_new_one_when_it_is_read() {
    let (old, new) = ("a".repeat(32), "b".repeat(32));
    let api = with_keys(&format!("{new};{old}")).await;
    let store = &api.test.hub.store;
    let user = store.user("alice").unwrap().unwrap();
    let old = CryptKeys::parse(&old).unwrap();
    let token = old.encrypt(&json!({"n": 1}), [5; 16], api.test.hub.clock.now());
    store.set_auth_state(user.id, token.as_deref()).unwrap();
    let root = api.token("root1", &["inherit"]);
    assert_eq!(api.get("/users/alice", &root).await.json()["auth_state"], json!({"n": 1}));
    assert_eq!(store.auth_state(user.id, &old).unwrap(), AuthState::Unreadable);
    let new = CryptKeys::parse(&new).unwrap();
    assert_eq!(store.auth_state(user.id, &new).unwrap(), AuthState::Known(json!({"n": 1})));
}
