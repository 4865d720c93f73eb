//! Metrics over HTTP.

use axum::body::Body;
use http::Request;

use super::Api;
use crate::test_support::started;

#[tokio::test]
async fn only_the_scope_shows_metrics_at_both_places() {
    let api = Api::new().await;
    let alice = api.token("alice", &["inherit"]);
    let root = api.token("root1", &["read:metrics"]);
    for path in ["/hub/metrics", "/hub/api/metrics"] {
        let ask = |token: &str| {
            let request = Request::get(path).header("authorization", format!("token {token}"));
            api.send(request.body(Body::empty()).unwrap())
        };
        for token in [alice.as_str(), ""] {
            let refused = ask(token).await;
            assert_eq!(
                (refused.status.as_u16(), refused.header("content-type")),
                (403, "text/html"),
                "{path}"
            );
            assert!(refused.text.contains("Access to metrics requires scope"), "{path}");
        }
        let reply = ask(&root).await;
        assert_eq!(reply.header("content-type"), "text/plain; version=1.0.0; charset=utf-8");
        assert!(reply.text.contains("# TYPE jupyterhub_request_duration_seconds histogram"), "{path}");
    }
}

#[tokio::test]
async fn requests_starts_users_and_servers_are_counted() {
    let api = Api::new().await;
    started(&api.test.hub, "alice").await;
    api.get("/users/nobody", "").await;
    let root = api.token("root1", &["read:metrics"]);
    let text = api.get("/metrics", &root).await.text;
    let request = "method=\"GET\",handler=\"jupyterhub.apihandlers.users.UserAPIHandler\",code=\"403\"";
    for line in [
        format!("jupyterhub_request_duration_seconds_count{{{request}}} 1"),
        "jupyterhub_server_spawn_duration_seconds_count{status=\"success\",reason=\"\"} 1".to_owned(),
        "jupyterhub_running_servers 1".to_owned(),
        "jupyterhub_total_users 3".to_owned(),
        "jupyterhub_active_users{period=\"24h\"} 2".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
