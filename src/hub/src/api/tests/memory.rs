//! What is answered from memory is true at once after every change.

use hubd_store::{MustHaveUserRole, RoleMembers, ShareWith, TokenOwner};

use super::Api;
use crate::servers::State;
use crate::test_support::{OnStart, SOON, request, server, started, user};

/// The status of a read that was made before, so that it is in memory. The first use of a token is a write, which the
/// second read notices.
macro_rules! warm {
    ($api:expr, $path:expr, $token:expr) => {{
        $api.get($path, $token).await;
        $api.get($path, $token).await;
        let generation = $api.test.hub.store.generation();
        let status = $api.get($path, $token).await.status.as_u16();
        assert_eq!($api.test.hub.store.generation(), generation, "reading alone must not forget");
        status
    }};
}

async fn status(api: &Api, path: &str, token: &str) -> u16 {
    api.get(path, token).await.status.as_u16()
}

fn id(api: &Api, user: &str) -> i64 {
    api.test.hub.store.user(user).unwrap().unwrap().id
}

#[tokio::test]
async fn a_revoked_token_ends_with_the_next_request() {
    let api = Api::new().await;
    let (kept, revoked) = (api.token("alice", &["inherit"]), api.token("alice", &["inherit"]));
    assert_eq!((warm!(api, "/users/alice", &kept), warm!(api, "/users/alice", &revoked)), (200, 200));
    let hub = &api.test.hub;
    let row = hub.store.token(&revoked, hub.clock.now()).unwrap().unwrap();
    let path = format!("/users/alice/tokens/a{}", row.id);
    assert_eq!(api.call("DELETE", &path, &kept, "").await.status, 204);
    assert_eq!(status(&api, "/users/alice", &revoked).await, 403);
    assert_eq!(status(&api, "/users/alice", &kept).await, 200);
    hub.store.delete_tokens_of_client(id(&api, "alice"), "jupyterhub").unwrap();
    assert_eq!(status(&api, "/users/alice", &kept).await, 403);
}

#[tokio::test]
async fn a_role_counts_from_the_next_request_on_and_no_longer() {
    let api = Api::new().await;
    let (whole, part) = (api.token("bob", &["inherit"]), api.token("bob", &["read:users"]));
    let store = &api.test.hub.store;
    for _ in 0..2 {
        assert_eq!((warm!(api, "/users/alice", &whole), warm!(api, "/users/alice", &part)), (404, 404));
        store.set_admin(id(&api, "bob"), true).unwrap();
        assert_eq!((warm!(api, "/users/alice", &whole), warm!(api, "/users/alice", &part)), (200, 200));
        assert_eq!(api.get("/users/bob", &whole).await.json()["admin"], true);
        store.set_admin(id(&api, "bob"), false).unwrap();
    }
    assert_eq!(warm!(api, "/users/bob", &whole), 200);
    store.define_role("user", "", &["read:users:name!user"]).unwrap();
    assert_eq!(api.get("/users/bob", &whole).await.json().get("roles"), None);
    store.change_roles(id(&api, "bob"), &["user"], &[]).unwrap();
    assert_eq!(status(&api, "/users/bob", &whole).await, 403);
}

#[tokio::test]
async fn a_group_counts_from_the_next_request_on_and_no_longer() {
    let api = Api::new().await;
    let (bob, root) = (api.token("bob", &["inherit"]), api.token("root1", &["inherit"]));
    let store = &api.test.hub.store;
    let groups = Some(vec!["staff".to_owned()]);
    let members = RoleMembers { role: "admin".into(), users: None, services: None, groups };
    let user_role = MustHaveUserRole::default();
    store.assign_roles(&[members], &user_role, &mut String::new, api.test.hub.clock.now()).unwrap();
    assert_eq!((warm!(api, "/users/alice", &bob), warm!(api, "/users/bob", &root)), (404, 200));
    let body = r#"{"users": ["bob"]}"#;
    assert_eq!(api.call("POST", "/groups/staff/users", &root, body).await.status, 200);
    assert_eq!(warm!(api, "/users/alice", &bob), 200);
    assert_eq!(api.get("/users/bob", &root).await.json()["groups"], serde_json::json!(["staff"]));
    assert_eq!(api.call("DELETE", "/groups/staff/users", &root, body).await.status, 200);
    assert_eq!(warm!(api, "/users/alice", &bob), 404);
    assert_eq!(api.get("/users/bob", &root).await.json()["groups"], serde_json::json!([]));
    store.put_into_groups(id(&api, "bob"), &["staff".to_owned()]).unwrap();
    assert_eq!(warm!(api, "/users/alice", &bob), 200);
    store.delete_group("staff").unwrap();
    assert_eq!(status(&api, "/users/alice", &bob).await, 404);
}

#[tokio::test]
async fn somebody_who_was_deleted_or_renamed_is_gone_and_so_are_their_tokens() {
    let api = Api::new().await;
    let (alice, root) = (api.token("alice", &["inherit"]), api.token("root1", &["inherit"]));
    assert_eq!((warm!(api, "/users/alice", &alice), warm!(api, "/users/alice", &root)), (200, 200));
    assert_eq!(api.call("PATCH", "/users/alice", &root, r#"{"name": "carol"}"#).await.status, 200);
    assert_eq!((warm!(api, "/users/alice", &root), warm!(api, "/users/carol", &alice)), (404, 200));
    assert_eq!(api.call("DELETE", "/users/carol", &root, "").await.status, 204);
    assert_eq!(
        (status(&api, "/users/carol", &root).await, status(&api, "/users/carol", &alice).await),
        (404, 403)
    );
    assert_eq!(api.call("POST", "/users/carol", &root, "").await.status, 201);
    assert_eq!(
        (status(&api, "/users/carol", &root).await, status(&api, "/users/carol", &alice).await),
        (200, 403)
    );
}

#[tokio::test]
async fn a_server_and_activity_are_seen_at_once() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let path = "/users/alice?include_stopped_servers";
    assert_eq!(warm!(api, path, &alice), 200);
    let hub = &api.test.hub;
    hub.store.ensure_spawner("alice", "lab", None).unwrap();
    assert!(api.get(path, &alice).await.json()["servers"].get("lab").is_some());
    hub.store.delete_spawner("alice", "lab").unwrap();
    assert!(api.get(path, &alice).await.json()["servers"].get("lab").is_none());
    let later = hub.clock.now() + std::time::Duration::from_secs(86400);
    hub.store.record_user_activity("alice", later).unwrap();
    let shown = api.get(path, &alice).await.json()["last_activity"].clone();
    assert_eq!(shown, crate::api::timestamps::write(Some(later)));
}

#[tokio::test]
async fn what_ends_by_itself_is_not_remembered() {
    let api = Api::new().await;
    let bob = api.token("bob", &["inherit"]);
    let hub = &api.test.hub;
    hub.store.ensure_spawner("alice", "", None).unwrap();
    let spawner = hub.store.spawner("alice", "").unwrap().unwrap().id;
    let with = ShareWith::User(id(&api, "bob"));
    let scopes = ["access:servers!server=alice/".to_owned()];
    hub.store.grant_share(spawner, with, &scopes, hub.clock.now()).unwrap();
    assert_eq!(warm!(api, "/users/bob", &bob), 200);
    let token = hub.store.tokens_of(TokenOwner::User(id(&api, "bob")), hub.clock.now()).unwrap().remove(0);
    assert!(hub.holders.recall(hub.store.generation(), &token.id).is_err());
    hub.store.delete_shares(spawner).unwrap();
    assert_eq!(warm!(api, "/users/bob", &bob), 200);
    let (_, held) = hub.holders.recall(hub.store.generation(), &token.id).unwrap();
    assert!(!held.contains(&scopes[0]));
}

#[tokio::test]
async fn each_state_of_a_server_is_seen_at_once_by_everybody() {
    let api = Api::new().await;
    let (alice, root) = (api.token("alice", &["inherit"]), api.token("root1", &["inherit"]));
    let (hub, name, default) = (&api.test.hub, user("alice"), server(""));
    assert_eq!((warm!(api, "/users/alice", &alice), warm!(api, "/users/alice", &root)), (200, 200));
    let seen = async || {
        let mut all = Vec::new();
        // Twice each, so that the second is from memory.
        for token in [&alice, &alice, &root, &root] {
            let model = api.get("/users/alice", token).await.json();
            let ready = model["servers"][""]["ready"].as_bool();
            all.push((model["pending"].as_str().map(str::to_owned), model["server"].is_string(), ready));
        }
        all.dedup();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    };
    for _ in 0..2 {
        assert_eq!(seen().await, (None, false, None));
        api.test.helper.script(|script| script.start = OnStart::Hang);
        hub.start_server(request("alice")).await.unwrap();
        assert_eq!(seen().await, (Some("spawn".into()), false, Some(false)));
        api.test.helper.script(|script| script.start = OnStart::Serve);
        hub.stop_server(&name, &default).await.unwrap();
        hub.wait_server(&name, &default, SOON).await;
        assert_eq!(seen().await, (None, false, None));
        assert_eq!(started(hub, "alice").await, State::Ready);
        assert_eq!(seen().await, (None, true, Some(true)));
        hub.stop_server(&name, &default).await.unwrap();
        hub.wait_server(&name, &default, SOON).await;
    }
    assert_eq!(seen().await, (None, false, None));
}

#[tokio::test]
async fn what_is_remembered_for_one_token_is_not_told_to_another() {
    let api = Api::new().await;
    let tokens =
        [&["read:users:name!user"][..], &["read:users:activity!user"], &["read:users!user"], &["inherit"]];
    let tokens = tokens.map(|scopes| api.token("alice", scopes));
    let fields = async |token: &str| {
        let model = api.get("/users/alice", token).await.json();
        ["last_activity", "created", "servers"].map(|field| model.get(field).is_some())
    };
    for _ in 0..3 {
        let seen = [
            fields(&tokens[0]).await,
            fields(&tokens[1]).await,
            fields(&tokens[2]).await,
            fields(&tokens[3]).await,
        ];
        assert_eq!(seen, [[false; 3], [true, false, false], [true, true, false], [true; 3]]);
    }
}

#[tokio::test]
async fn a_tag_holds_as_long_as_the_model_does() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    assert_eq!(warm!(api, "/users/alice", &alice), 200);
    let tag = api.get("/users/alice", &alice).await.header("etag").to_owned();
    let again = async || {
        let request = http::Request::get("/hub/api/users/alice")
            .header("authorization", format!("token {alice}"))
            .header("if-none-match", format!("\"other\", W/{tag}"));
        api.send(request.body(axum::body::Body::empty()).unwrap()).await
    };
    let reply = again().await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str(), reply.header("etag")), (304, "", tag.as_str()));
    api.test.hub.store.put_into_groups(id(&api, "alice"), &["staff".to_owned()]).unwrap();
    let reply = again().await;
    assert_eq!(reply.status, 200);
    assert_ne!(reply.header("etag"), tag);
    assert_eq!(reply.json()["groups"], serde_json::json!(["staff"]));
}
