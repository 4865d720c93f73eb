//! Users, tokens, groups, activity.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn the_model_of_a_user_has_jupyterhubs_fields() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let model = api.get("/users/alice", &alice).await.json();
    for (key, value) in [
        ("kind", json!("user")),
        ("name", json!("alice")),
        ("admin", json!(false)),
        ("roles", json!(["user"])),
        ("groups", json!([])),
        ("server", Value::Null),
        ("pending", Value::Null),
        ("servers", json!({})),
        ("user_info", Value::Null),
    ] {
        assert_eq!(model[key], value, "{key}");
    }
    assert!(model["created"].as_str().unwrap().ends_with('Z'));
    let own = api.get("/user", &alice).await.json();
    assert!(own["token_id"].as_str().unwrap().starts_with('a'));
    assert_eq!(own["session_id"], Value::Null);
    let narrow = api.token("root1", &["read:users:name"]);
    let model = api.get("/users/alice", &narrow).await.json();
    assert_eq!(model, json!({"kind": "user", "name": "alice", "admin": false, "user_info": null}));
}

#[tokio::test]
async fn users_are_listed_in_parts() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let all = api.get("/users", &root).await.json();
    assert_eq!(all.as_array().unwrap().len(), 3);
    let page = api.get("/users?limit=2&offset=-1", &root).await.json();
    assert_eq!(page.as_array().unwrap().len(), 2);
    assert_eq!(page[0]["name"], "bob");
    let request = http::Request::get("/hub/api/users?limit=2")
        .header("host", "hub.example:8000")
        .header("authorization", format!("token {root}"))
        .header("accept", "text/html, Application/JupyterHub-Pagination+JSON");
    let page = api.send(request.body(axum::body::Body::empty()).unwrap()).await.json();
    assert_eq!(
        page["_pagination"],
        json!({"offset": 0, "limit": 2, "total": 3,
            "next": {"offset": 2, "limit": 2, "url": "http://hub.example:8000/hub/api/users?limit=2&offset=2"}})
    );
    let message = json!("Invalid argument type, offset and limit must be integers");
    assert_eq!(api.get("/users?limit=x", &root).await.error(), (400, message));
    let message = json!("Unrecognized state filter: 'x'");
    assert_eq!(api.get("/users?state=x", &root).await.error(), (400, message));
    assert_eq!(api.get("/users?sort=x", &root).await.error().0, 400);
    let few = api.token("root1", &["list:users!user=bob"]);
    let seen = api.get("/users", &few).await.json();
    assert_eq!(seen, json!([{"kind": "user", "name": "bob", "admin": false, "user_info": null}]));
}

#[tokio::test]
async fn users_are_created_one_by_one_and_together() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let made = api.call("POST", "/users", &root, r#"{"usernames": ["Carol", "alice", "dave"]}"#).await;
    assert_eq!(made.status, 201);
    let names: Vec<Value> = made.json().as_array().unwrap().iter().map(|user| user["name"].clone()).collect();
    assert_eq!(names, ["carol", "dave"]);
    let again = api.call("POST", "/users", &root, r#"{"usernames": ["carol", "dave"]}"#).await;
    assert_eq!(again.error(), (409, json!("All 2 users already exist")));
    let bad = api.call("POST", "/users", &root, r#"{"usernames": ["a/b"]}"#).await;
    assert_eq!(bad.error(), (400, json!("Invalid username: a/b")));
    for body in ["{}", "", r#"{"usernames": []}"#] {
        let none = api.call("POST", "/users", &root, body).await;
        assert_eq!(none.error(), (400, json!("Must specify at least one user to create")));
    }
    assert_eq!(api.call("POST", "/users", &root, r#"{"usernames": [1]}"#).await.error().0, 400);
    assert_eq!(api.call("POST", "/users/Erin", &root, "").await.json()["name"], "Erin");
    assert_eq!(api.call("POST", "/users/Erin", &root, "").await.error().0, 409);
    let bad = api.call("POST", "/users/erin2", &root, r#"{"admin": "yes"}"#).await;
    assert_eq!(bad.error(), (400, json!("user.admin must be <class 'bool'>, not: <class 'str'>")));
}

#[tokio::test]
async fn nobody_changes_those_who_have_more() {
    let api = Api::new().await;
    let store = &api.test.hub.store;
    let user = store.ensure_user("helper", "c", std::time::SystemTime::now()).unwrap();
    // A user who got admin:users by a role, but is no admin.
    store.define_role("helpers", "", &["admin:users"]).unwrap();
    store.grant_role(user.id, "helpers").unwrap();
    let helper = api.token("helper", &["inherit"]);
    let message = json!("Only admins can modify other admins");
    assert_eq!(api.call("DELETE", "/users/root1", &helper, "").await.error(), (403, message.clone()));
    assert_eq!(api.call("PATCH", "/users/root1", &helper, r#"{"name": "x"}"#).await.error(), (403, message));
    let message = json!("Only admins can grant admin permissions");
    let reply = api.call("PATCH", "/users/bob", &helper, r#"{"admin": true}"#).await;
    assert_eq!(reply.error(), (403, message.clone()));
    let reply = api.call("POST", "/users/new", &helper, r#"{"admin": true}"#).await;
    assert_eq!(reply.error(), (403, message));
    assert_eq!(api.call("DELETE", "/users/bob", &helper, "").await.status, 204);
}

#[tokio::test]
async fn users_are_renamed_and_deleted() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let renamed = api.call("PATCH", "/users/bob", &root, r#"{"name": "Robert", "admin": true}"#).await.json();
    assert_eq!((&renamed["name"], &renamed["admin"]), (&json!("robert"), &json!(true)));
    assert_eq!(api.call("PATCH", "/users/robert", &root, r#"{"name": "robert"}"#).await.status, 200);
    let taken = api.call("PATCH", "/users/robert", &root, r#"{"name": "alice"}"#).await;
    assert_eq!(taken.error(), (400, json!("User alice already exists, username must be unique")));
    let own = api.call("DELETE", "/users/root1", &root, "").await;
    assert_eq!(own.error(), (400, json!("Cannot delete yourself!")));
    assert_eq!(api.call("DELETE", "/users/alice", &root, "").await.status, 204);
    assert_eq!(api.get("/users/alice", &root).await.error(), (404, Value::Null));
}

#[tokio::test]
async fn tokens_are_made_listed_and_deleted() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let path = "/users/alice/tokens";
    let made = api.call("POST", path, &alice, r#"{"expires_in": 60, "scopes": ["read:users!user"]}"#).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!((&made["note"], &made["user"]), (&json!("Requested via api"), &json!("alice")));
    assert_eq!(made["oauth_client"], "JupyterHub");
    let text = made["token"].as_str().unwrap();
    assert_eq!(text.len(), 32);
    assert_eq!(api.get("/user", text).await.json()["token_id"], made["id"]);
    let listed = api.get(path, &alice).await.json();
    assert_eq!(listed["api_tokens"].as_array().unwrap().len(), 2);
    assert!(listed["api_tokens"][0].get("token").is_none());
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(api.get(&one, &alice).await.json()["id"], made["id"]);
    assert_eq!(api.call("DELETE", &one, &alice, "").await.status, 204);
    assert_eq!(api.get("/user", text).await.status, 403);
    let gone = api.get("/users/alice/tokens/a9999", &alice).await;
    assert_eq!(gone.error(), (404, json!("No such token a9999 for user alice")));
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_do_more_than_they_may() {
    let api = Api::new().await;
    let limited = api.token("alice", &["tokens!user", "read:users!user"]);
    let path = "/users/alice/tokens";
    let reply = api.call("POST", path, &limited, "").await;
    assert_eq!(reply.error().0, 403);
    let reply = api.call("POST", path, &limited, r#"{"scopes": ["read:users:name!user"]}"#).await;
    assert_eq!(reply.status, 201);
    let alice = api.token("alice", &["inherit"]);
    let reply = api.call("POST", path, &alice, r#"{"scopes": ["admin:users", "read:hub"]}"#).await;
    assert_eq!(reply.error().0, 400);
    assert!(reply.text.contains("not held by User alice"));
    let reply = api.call("POST", path, &alice, r#"{"scopes": ["nonsense"]}"#).await;
    assert_eq!(reply.error(), (400, json!("\"Scope 'nonsense' for token does not exist\"")));
    let reply = api.call("POST", path, &alice, r#"{"roles": ["nope"]}"#).await;
    assert_eq!(reply.error(), (400, json!("No such role: nope")));
    let bob = json!("User bob not found or no permissions to generate tokens");
    assert_eq!(api.call("POST", "/users/bob/tokens", &alice, "").await.error(), (403, bob));
    assert_eq!(api.call("POST", "/users/bob/tokens", "", "").await.error(), (403, Value::Null));
    let root = api.token("root1", &["inherit"]);
    let made = api.call("POST", "/users/bob/tokens", &root, "").await;
    assert_eq!(made.json()["note"], "Requested via api by user root1");
    let manager = api.token("root1", &["tokens"]);
    assert_eq!(api.call("POST", "/users/root1/tokens", &manager, "").await.error().0, 403);
}

#[tokio::test]
async fn lifetimes_of_tokens_are_checked() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    for (value, message) in [
        ("0", "expires_in must be a positive integer or null, not 0"),
        ("1.5", "token expires_in must be null or integer, not 1.5"),
        ("\"x\"", "token expires_in must be null or integer, not 'x'"),
    ] {
        let body = format!("{{\"expires_in\": {value}}}");
        let reply = api.call("POST", "/users/alice/tokens", &alice, &body).await;
        assert_eq!(reply.error(), (400, json!(message)));
    }
    let body = format!("{{\"expires_in\": {}}}", i64::MAX);
    assert_eq!(api.call("POST", "/users/alice/tokens", &alice, &body).await.error().0, 400);
}

#[tokio::test]
async fn activity_is_recorded_and_checked() {
    let api = Api::new().await;
    api.test.hub.store.ensure_spawner("alice", "", None).unwrap();
    let token = api.token("alice", &["users:activity!user"]);
    let path = "/users/alice/activity";
    let body = r#"{"servers": {"": {"last_activity": "2026-11-21T20:42:01.341123Z"}}, "last_activity": "2026-11-21T20:42:01.341123Z"}"#;
    let reply = api.call("POST", path, &token, body).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    assert!(api.test.hub.store.spawner("alice", "").unwrap().unwrap().last_activity.is_some());
    for (body, message) in [
        (r#"{"last_activity": "garbage"}"#, "Not a valid timestamp: 'garbage'"),
        (r#"{"servers": {"nope": {"last_activity": "2026-11-21"}}}"#, "No such server 'nope' for user alice"),
        (
            r#"{"last_activity": "2999-01-01T00:00:00Z"}"#,
            "Rejecting activity from more than an hour in the future: 2999-01-01T00:00:00Z",
        ),
    ] {
        assert_eq!(api.call("POST", path, &token, body).await.error(), (400, json!(message)));
    }
    assert_eq!(api.call("POST", path, &token, "").await.error().0, 400);
    assert_eq!(api.call("POST", "/users/bob/activity", &token, body).await.error().0, 404);
}

#[tokio::test]
async fn groups_come_and_go() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    let made = api.call("POST", "/groups/class1", &root, r#"{"users": ["alice"]}"#).await;
    assert_eq!((made.status.as_u16(), made.json()["users"].clone()), (201, json!(["alice"])));
    assert_eq!(api.call("POST", "/groups/class1", &root, "").await.error().0, 409);
    let added = api.call("POST", "/groups/class1/users", &root, r#"{"users": ["bob"]}"#).await.json();
    assert_eq!(added["users"], json!(["alice", "bob"]));
    let unknown = api.call("POST", "/groups/class1/users", &root, r#"{"users": ["x"]}"#).await;
    assert_eq!(unknown.error(), (400, json!("No such user: x")));
    let set = api.call("PUT", "/groups/class1/properties", &root, r#"{"quota": 5}"#).await.json();
    assert_eq!(set["properties"], json!({"quota": 5}));
    let removed = api.call("DELETE", "/groups/class1/users", &root, r#"{"users": ["alice"]}"#).await.json();
    assert_eq!(removed["users"], json!(["bob"]));
    assert_eq!(api.get("/groups", &root).await.json().as_array().unwrap().len(), 1);
    assert_eq!(api.call("DELETE", "/groups/class1", &root, "").await.status, 204);
    assert_eq!(api.get("/groups/class1", &root).await.error(), (404, json!("No such group: class1")));
    let alice = api.token("alice", &["inherit"]);
    assert_eq!(api.get("/groups", &alice).await.error().0, 403);
}

#[tokio::test]
async fn services_and_information_are_for_those_who_may() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    assert_eq!(api.get("/services", &root).await.json(), json!({}));
    assert_eq!(api.get("/services/x", &root).await.error().0, 404);
    assert_eq!(api.get("/info", &root).await.json()["version"], "6.1.1");
    let alice = api.token("alice", &["inherit"]);
    assert_eq!(api.get("/services", &alice).await.error().0, 403);
    let asked = api.get(&format!("/authorizations/token/{alice}"), &root).await.json();
    assert_eq!(asked["name"], "alice");
    assert_eq!(api.get("/authorizations/token/x", &root).await.error().0, 404);
    assert_eq!(api.get(&format!("/authorizations/token/{alice}"), "").await.error().0, 403);
}
