//! The life of servers with a helper that pretends: starts, stops and races here, the rest in files of their own.

mod failures;
mod restarts;

use std::sync::Arc;
use std::time::Duration;

use super::{NotBegun, State};
use crate::Hub;
use crate::settings::SocketKind;
use crate::test_support::{OnStart, SOON, TICKET, TestHub, request, server, started, user};

async fn stopped(hub: &Arc<Hub>, name: &str) -> State {
    hub.stop_server(&user(name), &server("")).await.expect("begun");
    hub.wait_server(&user(name), &server(""), SOON).await
}

/// Waits until the default server of `name` is in a state.
async fn until(hub: &Arc<Hub>, name: &str, wanted: impl Fn(&State) -> bool) -> State {
    let wait = async {
        loop {
            let state = hub.server(&user(name), &server("")).state;
            if wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("in time")
}

#[tokio::test]
async fn a_server_is_started_routed_and_stopped() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    assert_eq!(test.hub.routes.prefixes(), ["/user/alice/"]);
    let snapshot = test.hub.server(&user("alice"), &server(""));
    assert_eq!(snapshot.pid, Some(4567));
    let percents: Vec<u8> = snapshot.progress.iter().map(|event| event.progress).collect();
    assert_eq!(percents, [0, 20, 50, 100]);
    let row = test.hub.store.spawner("alice", "").expect("readable").expect("a row");
    assert!(row.active && row.state == Some(serde_json::json!({"pid": 4567})));
    let token = test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    assert!(test.hub.store.token(&token, std::time::SystemTime::now()).expect("readable").is_some());

    assert_eq!(stopped(&test.hub, "alice").await, State::Stopped { failure: None });
    assert!(test.hub.routes.prefixes().is_empty());
    assert_eq!(test.helper.running(), 0);
    let row = test.hub.store.spawner("alice", "").expect("readable").expect("a row");
    assert!(!row.active);
    assert!(test.hub.store.token(&token, std::time::SystemTime::now()).expect("readable").is_none());
    assert!(test.hub.servers_of(&user("alice")).is_empty());
}

#[tokio::test]
async fn a_server_on_a_port_is_started_too() {
    let test = TestHub::with(|settings| settings.spawner.socket = SocketKind::Tcp).await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    let url = test.helper.environment("alice")["JUPYTERHUB_SERVICE_URL"].clone();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/user/alice/"), "{url}");
}

#[tokio::test]
async fn two_starts_at_once_make_one_server() {
    let test = TestHub::new().await;
    let (first, second) =
        tokio::join!(test.hub.start_server(request("alice")), test.hub.start_server(request("alice")));
    let results = [first, second];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.contains(&Err(NotBegun::Pending("alice".into(), "spawn"))));
    assert_eq!(test.hub.wait_server(&user("alice"), &server(""), SOON).await, State::Ready);
    assert_eq!(test.hub.start_server(request("alice")).await, Err(NotBegun::Running("alice".into())));
    assert_eq!(test.helper.requests(), ["start"]);
}

#[tokio::test]
async fn a_stop_while_the_helper_works_leaves_nothing_running() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.start = OnStart::Hang);
    test.hub.start_server(request("alice")).await.expect("begun");
    test.hub.stop_server(&user("alice"), &server("")).await.expect("begun");
    assert_eq!(test.hub.server(&user("alice"), &server("")).state, State::Stopping);
    assert_eq!(test.hub.start_server(request("alice")).await, Err(NotBegun::Pending("alice".into(), "stop")));
    test.helper.release();
    let state = test.hub.wait_server(&user("alice"), &server(""), SOON).await;
    assert_eq!(state, State::Stopped { failure: None });
    assert_eq!(test.helper.running(), 0);
    assert!(test.hub.routes.prefixes().is_empty());
}

#[tokio::test]
async fn a_stop_before_the_first_answer_leaves_nothing_running() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.start = OnStart::Mute);
    test.hub.start_server(request("alice")).await.expect("begun");
    let mut seen = 0;
    while seen < 3 {
        seen += test.hub.progress(&user("alice"), &server(""), seen).await.len();
    }
    assert_eq!(stopped(&test.hub, "alice").await, State::Stopped { failure: None });
    assert_eq!(test.helper.running(), 0);
}

#[tokio::test]
async fn a_request_that_goes_away_does_not_leave_a_start_half_done() {
    let test = TestHub::new().await;
    let hub = Arc::clone(&test.hub);
    let asking = tokio::spawn(async move { hub.start_server(request("alice")).await });
    until(&test.hub, "alice", State::is_active).await;
    asking.abort();
    assert_eq!(test.hub.wait_server(&user("alice"), &server(""), SOON).await, State::Ready);
}

#[tokio::test]
async fn stop_all_stops_all() {
    let test = TestHub::new().await;
    for name in ["alice", "bob", "carol"] {
        assert_eq!(started(&test.hub, name).await, State::Ready);
    }
    test.hub.stop_all(SOON).await;
    assert_eq!(test.helper.running(), 0);
}

#[tokio::test]
async fn nothing_secret_is_in_the_note() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    let token = test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    let note = test.helper.note_of("alice");
    assert!(note.contains("token_hash") && !note.contains(&token) && !note.contains(TICKET));
}
