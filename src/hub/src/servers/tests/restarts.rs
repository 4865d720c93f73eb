//! A hub that comes back: what runs is taken, what is gone is settled, and nothing is forgotten that cannot be seen.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::State;
use super::super::names::Which;
use super::{stopped, until};
use crate::Hub;
use crate::test_support::{OnStart, SOON, TestHub, request, server, started, user};

/// Leaves a row of a server that does not run.
fn leave_row(hub: &Hub, name: &str, now: std::time::SystemTime) {
    let address = hubd_store::ServerAddress { ip: "x".into(), port: 0, base_url: "/".into() };
    hub.store.ensure_user(name, &hub.new_token(), now).expect("made");
    hub.store.server_running(name, "", &address, &serde_json::json!({"pid": 1}), now).expect("written");
}

#[tokio::test]
async fn a_restarted_hub_has_its_servers_back_and_settles_what_is_gone() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.age_seconds = 3600);
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    let now = std::time::SystemTime::now();
    leave_row(&test.hub, "bob", now);
    assert_eq!(test.hub.store.active_spawners().expect("readable").len(), 2);

    let second = test.restarted("hub.sqlite");
    assert_eq!(second.adopt().await, 1);
    assert_eq!(until(&second, "alice", |state| *state == State::Ready).await, State::Ready);
    assert_eq!(second.routes.prefixes(), ["/user/alice/"]);
    let active = second.store.active_spawners().expect("readable");
    assert_eq!(active.iter().map(|row| row.user.as_str()).collect::<Vec<_>>(), ["alice"]);
    assert_eq!(second.server_log(&user("alice"), &server("")).await, ["a line"]);
    assert_eq!(stopped(&second, "alice").await, State::Stopped { failure: None });
    assert_eq!(test.helper.running(), 0);
}

#[tokio::test]
async fn a_lost_database_gets_its_rows_back_from_the_session() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    let token = test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    let second = test.restarted("new.sqlite");
    assert_eq!(second.adopt().await, 1);
    assert_eq!(second.wait_server(&user("alice"), &server(""), SOON).await, State::Ready);
    assert!(second.store.user("alice").expect("readable").is_some());
    let now = std::time::SystemTime::now();
    assert!(second.store.token(&token, now).expect("readable").is_some());
    assert!(second.store.oauth_client("jupyterhub-user-alice").expect("readable").is_some());
}

#[tokio::test]
async fn a_hub_killed_during_a_start_leaves_a_server_that_the_next_one_takes() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.start = OnStart::Hang);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let first = Arc::clone(&test.hub);
    runtime
        .spawn(async move { first.start_server(request("alice")).await })
        .await
        .expect("ran")
        .expect("begun");
    while test.helper.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    runtime.shutdown_background();

    let second = test.restarted("hub.sqlite");
    assert_eq!(second.adopt().await, 0);
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&second).watch_servers(stop.clone()));
    test.helper.release();
    until(&second, "alice", |state| *state == State::Ready).await;
    assert_eq!(test.helper.running(), 1);
    stop.cancel();
    watching.await.expect("ended");
}

#[tokio::test]
async fn a_start_of_what_runs_already_takes_it_over() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    let second = test.restarted("hub.sqlite");
    assert_eq!(started(&second, "alice").await, State::Ready);
    assert_eq!(test.helper.running(), 1);
    let token = test.helper.environment("alice")["JUPYTERHUB_API_TOKEN"].clone();
    let now = std::time::SystemTime::now();
    assert!(second.store.token(&token, now).expect("readable").is_some());
}

#[tokio::test]
async fn a_cut_control_connection_is_made_again() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    test.helper.cut("alice");
    // Asked until the new connection answers.
    let asked = async { while test.hub.server_log(&user("alice"), &server("")).await.is_empty() {} };
    tokio::time::timeout(SOON, asked).await.expect("in time");
    assert_eq!(test.hub.server(&user("alice"), &server("")).state, State::Ready);
    assert_eq!(stopped(&test.hub, "alice").await, State::Stopped { failure: None });
    assert_eq!(test.helper.running(), 0);
}

#[tokio::test]
async fn records_that_could_not_be_cleaned_are_cleaned_later_unless_the_server_runs_again() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    let now = std::time::SystemTime::now();
    leave_row(&test.hub, "bob", now);
    for name in ["alice", "bob"] {
        test.hub.servers.remember_unclean(Which::new(&user(name), &server("")));
    }
    test.hub.clean_records().await;
    let active = test.hub.store.active_spawners().expect("readable");
    assert_eq!(active.iter().map(|row| row.user.as_str()).collect::<Vec<_>>(), ["alice"]);
    assert_eq!(test.hub.server(&user("alice"), &server("")).state, State::Ready);
    assert_eq!(started(&test.hub, "bob").await, State::Ready);
}

#[tokio::test]
async fn records_are_kept_while_a_session_does_not_say_what_it_is() {
    let test = TestHub::new().await;
    leave_row(&test.hub, "bob", std::time::SystemTime::now());
    test.helper.babble();
    assert_eq!(test.hub.adopt().await, 0);
    assert_eq!(test.hub.store.active_spawners().expect("readable").len(), 1);
}

#[tokio::test]
async fn records_are_kept_when_the_sessions_cannot_be_listed() {
    let test = TestHub::new().await;
    leave_row(&test.hub, "bob", std::time::SystemTime::now());
    let sessions = test.dir.path().join("run/sessions");
    std::fs::remove_dir(&sessions).expect("removed");
    std::fs::write(&sessions, "not a directory").expect("written");
    assert_eq!(test.hub.adopt().await, 0);
    assert_eq!(test.hub.store.active_spawners().expect("readable").len(), 1);
}
