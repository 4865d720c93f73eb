//! Servers: start, stop, progress, and failures as the API tells them.

use axum::body::Body;
use http::Request;
use hubd_proto::message::RefusalCode;
use serde_json::{Value, json};

use super::{Api, Reply};
use crate::test_support::{OnStart, SOON, request, server, started, user};

/// A call with alice's login cookie and XSRF token.
async fn by_browser(api: &Api, method: &str, path: &str, body: &str) -> Reply {
    let cookie = api.cookie("alice");
    let parts = Request::get("/").header("cookie", &cookie).body(()).unwrap().into_parts().0;
    let browser = api.test.hub.browser(&parts.headers);
    let token = api.test.hub.xsrf_for_page(&parts, browser.as_ref()).token;
    let request = Request::builder()
        .method(method)
        .uri(format!("/hub/api{path}"))
        .header("cookie", format!("{cookie}; _xsrf={token}"))
        .header("x-xsrftoken", token)
        .header("content-type", "application/json");
    api.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_person_starts_and_stops_their_server() {
    let api = Api::new().await;
    let reply = by_browser(&api, "POST", "/users/alice/server", "").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (201, "text/plain"));
    let reply = by_browser(&api, "POST", "/users/alice/server", "").await;
    assert_eq!(reply.error(), (400, json!("alice is already running")));
    let alice = api.token("alice", &["inherit"]);
    let model = api.get("/users/alice", &alice).await.json();
    assert_eq!((&model["server"], &model["pending"]), (&json!("/user/alice/"), &Value::Null));
    let shown = api.get("/users/alice/server", &alice).await.json();
    assert_eq!(shown, model["servers"][""]);
    for (key, value) in [
        ("ready", json!(true)),
        ("stopped", json!(false)),
        ("url", json!("/user/alice/")),
        ("full_name", json!("alice/")),
        ("progress_url", json!("/hub/api/users/alice/server/progress")),
        ("full_url", Value::Null),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert!(shown.get("state").is_none());
    let root = api.token("root1", &["inherit"]);
    assert_eq!(api.get("/users/alice/server", &root).await.json()["state"], json!({"pid": 4567}));
    let reply = by_browser(&api, "DELETE", "/users/alice/server", "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (204, ""));
    assert_eq!(by_browser(&api, "DELETE", "/users/alice/servers/", "").await.status, 204);
    assert_eq!(api.get("/users/alice", &alice).await.json()["servers"], json!({}));
    let all = api.get("/users/alice?include_stopped_servers", &alice).await.json();
    assert_eq!(all["servers"][""]["stopped"], true);
}

#[tokio::test]
async fn somebody_elses_ticket_is_never_used() {
    let api = Api::new().await;
    api.test.helper.script(|script| script.holds_logins = false);
    let root = api.token("root1", &["inherit"]);
    let reply = api.call("POST", "/users/alice/server", &root, "").await;
    // The fake helper, like the real one, refuses a start without a ticket.
    assert_eq!(reply.status, 403);
    let body = reply.json();
    assert_eq!(body["code"], "ticket-missing");
    assert!(!body["advice"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_of_the_helper_is_told() {
    let api = Api::new().await;
    api.test.helper.script(|script| script.start = OnStart::Refuse(RefusalCode::AccountClosed));
    let reply = by_browser(&api, "POST", "/users/alice/server", "").await;
    let (status, message) = reply.error();
    assert_eq!(status, 403);
    assert!(message.is_string());
    assert_eq!(reply.json()["code"], "account-closed");
    let alice = api.token("alice", &["inherit"]);
    let events = api.get("/users/alice/server/progress", &alice).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    assert!(
        events.text.contains("\"failed\": true") && events.text.contains("Spawn failed: "),
        "{}",
        events.text
    );
}

#[tokio::test]
async fn a_slow_start_is_202_and_can_be_watched_and_cancelled() {
    let api = Api::with(|settings| settings.slow_spawn_timeout = std::time::Duration::from_millis(20)).await;
    api.test.helper.script(|script| script.start = OnStart::Hang);
    assert_eq!(by_browser(&api, "POST", "/users/alice/server", "").await.status, 202);
    assert_eq!(by_browser(&api, "POST", "/users/alice/server", "").await.status, 202);
    let alice = api.token("alice", &["inherit"]);
    assert_eq!(api.get("/users/alice", &alice).await.json()["pending"], "spawn");
    let watching = api.get("/users/alice/server/progress", &alice);
    let releasing = async { api.test.helper.release() };
    let (events, ()) = tokio::join!(watching, releasing);
    let lines: Vec<Value> = events
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0], json!({"progress": 0, "message": "Server requested"}));
    assert_eq!(lines.last().unwrap()["ready"], true);
    assert_eq!(lines.last().unwrap()["url"], "/user/alice/");
}

#[tokio::test]
async fn progress_of_a_server_that_does_nothing_is_refused() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let path = "/users/alice/server/progress";
    assert_eq!(api.get(path, &alice).await.error(), (400, json!("alice is not starting...")));
    assert_eq!(api.get("/users/alice/servers/x/progress", &alice).await.error().0, 404);
    started(&api.test.hub, "alice").await;
    let events = api.get(path, &alice).await.text;
    assert_eq!(events.matches("data: ").count(), 1);
    assert!(events.contains("\"ready\": true"));
}

#[tokio::test]
async fn named_servers_have_rules() {
    let api = Api::with(|settings| settings.named_server_limit_per_user = 1).await;
    let alice = api.token("alice", &["inherit"]);
    let put = |name: &str| format!("/users/alice/servers/{name}");
    let bad = api.call("PUT", &put("Bad_Name"), &alice, "").await;
    assert_eq!(bad.error(), (400, json!("Invalid server_name: 'Bad_Name'")));
    let made = api.call("PUT", &put("lab"), &alice, r#"{"display_name": "My Lab"}"#).await;
    assert_eq!((made.status.as_u16(), made.json()["display_name"].clone()), (201, json!("My Lab")));
    let again = api.call("PUT", &put("lab"), &alice, "").await;
    assert_eq!(again.error(), (409, json!("User alice already has server lab")));
    let default = api.call("PUT", "/users/alice/server", &alice, "").await;
    assert_eq!(default.error(), (409, json!("User alice already has a default server")));
    let second = api.call("POST", &put("other"), &alice, "").await;
    let message = "User alice already has the maximum of 1 named servers.  \
                   One must be deleted before a new server can be created";
    assert_eq!(second.error(), (400, json!(message)));
    let changed = api.call("PATCH", &put("lab"), &alice, r#"{"user_options": {"a": 1}}"#).await;
    assert_eq!(changed.json()["user_options"], json!({"a": 1}));
    assert_eq!(changed.header("content-type"), "application/json; charset=UTF-8");
    let unknown = api.call("DELETE", &put("nope"), &alice, "").await;
    assert_eq!(unknown.error(), (404, json!("alice has no server named 'nope'")));
    let reply = by_browser(&api, "POST", "/users/alice/servers/lab", "").await;
    assert_eq!(reply.status, 201);
    let running = api.call("PATCH", &put("lab"), &alice, r#"{"display_name": "x"}"#).await;
    assert_eq!(running.error(), (400, json!("alice:lab is active. Please stop it before modifying it.")));
    assert_eq!(api.call("DELETE", &put("lab"), &alice, r#"{"remove": true}"#).await.status, 204);
    assert!(api.test.hub.store.spawner("alice", "lab").unwrap().is_none());
    let default = api.call("DELETE", "/users/alice/server", &alice, r#"{"remove": true}"#).await;
    assert_eq!(default.error(), (400, json!("Cannot delete the default server")));
}

#[tokio::test]
async fn named_servers_can_be_disabled() {
    let api = Api::with(|settings| settings.allow_named_servers = false).await;
    let alice = api.token("alice", &["inherit"]);
    let reply = api.call("POST", "/users/alice/servers/lab", &alice, "").await;
    assert_eq!(reply.error(), (400, json!("Named servers are not enabled.")));
}

#[tokio::test]
async fn a_deleted_users_server_is_stopped_first() {
    let api = Api::new().await;
    started(&api.test.hub, "bob").await;
    let root = api.token("root1", &["inherit"]);
    assert_eq!(api.call("DELETE", "/users/bob", &root, "").await.status, 204);
    assert_eq!(api.test.helper.running(), 0);
    let _ = api.test.hub.wait_server(&user("bob"), &server(""), SOON).await;
}

#[tokio::test]
async fn a_servers_own_token_tells_activity_and_nothing_else() {
    let api = Api::new().await;
    started(&api.test.hub, "alice").await;
    let token = api.test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    let own = api.get("/user", &token).await.json();
    assert_eq!(
        own["scopes"],
        json!([
            "access:servers!server=alice/",
            "read:users:activity!user=alice",
            "read:users:groups!user=alice",
            "read:users:name!user=alice",
            "users:activity!user=alice"
        ])
    );
    assert_eq!(api.call("DELETE", "/users/alice/server", &token, "").await.error().0, 403);
    let body = r#"{"last_activity": "2026-11-21T20:42:01.341123Z"}"#;
    assert_eq!(api.call("POST", "/users/alice/activity", &token, body).await.status, 200);
}

#[tokio::test]
async fn too_many_starts_at_once_are_told_when_to_come_back() {
    let api = Api::with(|settings| settings.concurrent_spawn_limit = 1).await;
    api.test.helper.script(|script| script.start = OnStart::Hang);
    let (alice, bob) = (api.token("alice", &["inherit"]), api.token("bob", &["inherit"]));
    api.test.hub.start_server(request("alice")).await.unwrap();
    let reply = api.call("POST", "/users/bob/server", &bob, "").await;
    let seconds: u32 = reply.header("retry-after").parse().unwrap();
    assert!((30..60).contains(&seconds), "{seconds}");
    let human = seconds.div_ceil(10) * 10;
    let text = format!("Too many users trying to log in right now. Try again in {human} seconds.");
    assert_eq!(reply.error(), (429, json!(text)));
    // Who is starting already is no further start.
    assert_eq!(api.call("POST", "/users/alice/server", &alice, "").await.status, 202);
    api.test.helper.release();
}

#[tokio::test]
async fn no_more_servers_than_allowed_and_a_stopped_one_makes_room() {
    let api = Api::with(|settings| settings.active_server_limit = 1).await;
    let bob = api.token("bob", &["inherit"]);
    started(&api.test.hub, "alice").await;
    let full = json!("Active user limit exceeded. Try again in a few minutes.");
    assert_eq!(api.call("POST", "/users/bob/server", &bob, "").await.error(), (429, full));
    let alice = api.token("alice", &["inherit"]);
    let reply = api.call("POST", "/users/alice/server", &alice, "").await;
    assert_eq!(reply.error(), (400, json!("alice is already running")));
    assert_eq!(api.call("DELETE", "/users/alice/server", &alice, "").await.status, 204);
    assert_ne!(api.call("POST", "/users/bob/server", &bob, "").await.status, 429);
}
