//! Shares and share codes.

use serde_json::{Value, json};

use super::Api;

const SHARE: &str = "/shares/alice/lab";
const CODES: &str = "/share-codes/alice/lab";

/// A hub where alice has a server `lab` and may share it.
async fn hub() -> (Api, String) {
    let api = Api::new().await;
    let store = &api.test.hub.store;
    store.ensure_spawner("alice", "lab", None).unwrap();
    store.ensure_spawner("bob", "", None).unwrap();
    store.define_role("sharer", "", &["shares!user", "read:users:name", "read:groups:name", "self"]).unwrap();
    store.grant_role(store.user("alice").unwrap().unwrap().id, "sharer").unwrap();
    let alice = api.token("alice", &["inherit"]);
    (api, alice)
}

#[tokio::test]
async fn every_share_route_asks_for_its_scope() {
    let (api, _) = hub().await;
    let bob = api.token("bob", &["inherit"]);
    let hidden = json!("No access to resources or resources not found");
    let wrong = |scope: &str| {
        json!(format!("Action is not authorized with current scopes; requires any of [{scope}]"))
    };
    for (method, path, status, text) in [
        ("GET", "/shares/alice", 404, hidden.clone()),
        ("GET", SHARE, 404, hidden.clone()),
        ("POST", SHARE, 403, wrong("shares")),
        ("PATCH", SHARE, 403, wrong("shares")),
        ("DELETE", SHARE, 403, wrong("shares")),
        ("GET", "/share-codes/alice", 404, hidden.clone()),
        ("GET", CODES, 404, hidden.clone()),
        ("POST", CODES, 403, wrong("shares")),
        ("DELETE", CODES, 403, wrong("shares")),
        ("GET", "/users/alice/shared", 404, hidden.clone()),
        ("GET", "/users/alice/shared/bob/", 404, hidden.clone()),
        ("DELETE", "/users/alice/shared/bob/", 404, hidden.clone()),
        ("GET", "/groups/g/shared", 403, wrong("read:groups:shares")),
        ("GET", "/groups/g/shared/bob/", 403, wrong("read:groups:shares")),
        ("DELETE", "/groups/g/shared/bob/", 403, wrong("groups:shares")),
    ] {
        assert_eq!(api.call(method, path, &bob, "{}").await.error(), (status, text), "{method} {path}");
        let missing = json!("Missing or invalid credentials.");
        assert_eq!(api.call(method, path, "", "{}").await.error(), (403, missing), "{method} {path}");
    }
    assert_eq!(api.call("POST", "/shares/alice", &bob, "{}").await.error(), (405, Value::Null));
}

#[tokio::test]
async fn a_share_gives_access_and_taking_it_back_ends_it() {
    let (api, alice) = hub().await;
    let bob = api.token("bob", &["inherit"]);
    let share = api.call("POST", SHARE, &alice, r#"{"user": "bob"}"#).await;
    assert_eq!(share.status, 200, "{}", share.text);
    let model = share.json();
    assert_eq!(model["scopes"], json!(["access:servers!server=alice/lab"]));
    assert_eq!((&model["user"], &model["kind"]), (&json!({"name": "bob"}), &json!("user")));
    let server = json!({"user": {"name": "alice"}, "name": "lab", "url": "/user/alice/lab/",
        "full_url": null, "ready": false});
    assert_eq!(model["server"], server);

    let listed = api.get("/users/bob/shared", &bob).await.json();
    assert_eq!((&listed["items"][0], &listed["_pagination"]["total"]), (&model, &json!(1)));
    for path in ["/shares/alice", SHARE] {
        assert_eq!(api.get(path, &alice).await.json()["items"], json!([model]), "{path}");
    }
    let held = |model: Value| {
        model["scopes"].as_array().unwrap().contains(&json!("access:servers!server=alice/lab"))
    };
    assert!(held(api.get("/user", &bob).await.json()));

    let more = api.call("POST", SHARE, &alice, r#"{"user": "bob", "scopes": ["read:servers"]}"#).await.json();
    let both = json!(["access:servers!server=alice/lab", "read:servers!server=alice/lab"]);
    assert_eq!(more["scopes"], both);
    let less = r#"{"user": "bob", "scopes": ["access:servers"]}"#;
    let left = api.call("PATCH", SHARE, &alice, less).await.json();
    assert_eq!(left["scopes"], json!(["read:servers!server=alice/lab"]));
    assert!(!held(api.get("/user", &bob).await.json()));

    assert_eq!(api.get("/users/bob/shared/alice/lab", &bob).await.status, 200);
    assert_eq!(api.call("DELETE", "/users/bob/shared/alice/lab", &bob, "").await.status, 204);
    let gone = json!("No such share for user bob on alice/lab");
    assert_eq!(api.get("/users/bob/shared/alice/lab", &bob).await.error(), (404, gone));
    for body in [r#"{"user": "bob"}"#, r#"{"user": "nobody"}"#] {
        assert_eq!(api.call("PATCH", SHARE, &alice, body).await.json(), json!({}));
    }
}

#[tokio::test]
async fn groups_are_shared_with_and_deleting_ends_all_shares() {
    let (api, alice) = hub().await;
    let root = api.token("root1", &["inherit"]);
    api.call("POST", "/groups/g", &root, r#"{"users": ["bob"]}"#).await;
    let model = api.call("POST", SHARE, &alice, r#"{"group": "g"}"#).await.json();
    assert_eq!((&model["group"], &model["kind"]), (&json!({"name": "g"}), &json!("group")));
    let bob = api.token("bob", &["inherit"]);
    assert_eq!(api.get("/users/bob/shared", &bob).await.json()["items"], json!([model]));
    assert_eq!(api.get("/groups/g/shared", &root).await.json()["items"], json!([model]));
    assert_eq!(api.get("/groups/g/shared/alice/lab", &root).await.json(), model);
    assert_eq!(api.call("DELETE", "/groups/g/shared/alice/lab", &root, "").await.status, 204);
    api.call("POST", SHARE, &alice, r#"{"group": "g"}"#).await;
    assert_eq!(api.call("DELETE", SHARE, &alice, "").await.status, 204);
    assert_eq!(api.get(SHARE, &alice).await.json()["items"], json!([]));
}

#[tokio::test]
async fn nobody_shares_more_than_they_have() {
    let (api, alice) = hub().await;
    let only = api.token("alice", &["shares!user"]);
    for (token, body, status, text) in [
        (
            &alice,
            r#"{"user": "bob", "scopes": ["admin:server_state"]}"#,
            403,
            "Do not have permission to grant share with scope admin:server_state!server=alice/lab",
        ),
        (
            &alice,
            r#"{"user": "bob", "scopes": ["access:servers!user=bob"]}"#,
            400,
            "!user=bob not allowed on sharing access:servers!user=bob, only !server=alice/lab",
        ),
        (
            &alice,
            r#"{"user": "bob", "scopes": ["nonsense"]}"#,
            400,
            "\"Scope 'nonsense' for token does not exist\"",
        ),
        (&alice, r#"{"user": "nobody"}"#, 400, "No such user: nobody"),
        (&alice, r#"{"group": "nothing"}"#, 400, "No such group: nothing"),
        (&alice, r#"{}"#, 400, "Specify exactly one of `user` or `group`"),
        (
            &alice,
            r#"{"user": "bob", "group": "g"}"#,
            400,
            "Expected exactly one of `user` or `group`, not both.",
        ),
        (&alice, r#"{"user": 1}"#, 400, "user: Input should be a valid string, not 1"),
        (&alice, r#"{"user": "bob", "expires_in": 60}"#, 400, "expires_in: Extra inputs are not permitted"),
        (&only, r#"{"user": "bob"}"#, 403, "Need scope 'read:users:name' to share with users by name"),
    ] {
        assert_eq!(api.call("POST", SHARE, token, body).await.error(), (status, json!(text)), "{body}");
    }
    let text = json!("No such server: alice/other");
    let reply = api.call("POST", "/shares/alice/other", &alice, r#"{"user": "bob"}"#).await;
    assert_eq!(reply.error(), (404, text));
}

#[tokio::test]
async fn a_code_is_shown_once_exchanged_and_deleted() {
    let (api, alice) = hub().await;
    let made = api.call("POST", CODES, &alice, r#"{"expires_in": 60}"#).await.json();
    let code = made["code"].as_str().unwrap();
    assert_eq!(code.len(), 43);
    assert_eq!(made["accept_url"], format!("/hub/accept-share?code={code}"));
    assert_eq!((&made["id"], &made["exchange_count"]), (&json!("sc_1"), &json!(0)));
    let store = &api.test.hub.store;
    let now = std::time::SystemTime::now();
    let bob = store.user("bob").unwrap().unwrap().id;
    assert!(store.exchange_share_code("no-such-code", bob, now).unwrap().is_none());
    let share = store.exchange_share_code(code, bob, now).unwrap().unwrap();
    assert_eq!(share.scopes, ["access:servers!server=alice/lab"]);
    let late = now + std::time::Duration::from_secs(61);
    assert!(store.exchange_share_code(code, bob, late).unwrap().is_none());

    let listed = api.get(CODES, &alice).await.json();
    assert_eq!(
        (&listed["items"][0]["exchange_count"], &listed["items"][0]["code"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(api.get("/share-codes/alice", &alice).await.json()["items"], listed["items"]);
    for (query, text) in [
        ("?code=wrong", "No matching code found"),
        ("?id=sc_9", "No code found matching id=sc_9"),
        ("?id=1", "No code found matching id=1"),
    ] {
        let reply = api.call("DELETE", &format!("{CODES}{query}"), &alice, "").await;
        assert_eq!(reply.error(), (404, json!(text)), "{query}");
    }
    assert_eq!(api.call("DELETE", &format!("{CODES}?code={code}"), &alice, "").await.status, 204);
    api.call("POST", CODES, &alice, "").await;
    assert_eq!(api.call("DELETE", CODES, &alice, "").await.status, 204);
    assert_eq!(api.get(CODES, &alice).await.json()["items"], json!([]));
}

#[tokio::test]
async fn codes_hold_from_a_minute_to_a_year() {
    let (api, alice) = hub().await;
    for bad in ["59", "31536001", "null", "1.5", "\"60\"", "-60", "1e400"] {
        let reply = api.call("POST", CODES, &alice, &format!("{{\"expires_in\": {bad}}}")).await;
        assert_eq!(reply.status, 400, "{bad}");
    }
    let wide = r#"{"scopes": ["admin:server_state"]}"#;
    assert_eq!(api.call("POST", CODES, &alice, wide).await.status, 403);
    let bobs = api.call("POST", "/share-codes/bob/", &alice, "").await;
    assert_eq!(bobs.error().0, 404);
}
