//! The life of servers with a helper that pretends: starts, stops, deaths, restarts of the hub, races.

use std::sync::Arc;
use std::time::Duration;

use hubd_proto::message::RefusalCode;
use tokio_util::sync::CancellationToken;

use super::names::Which;
use super::{Failure, NotBegun, State};
use crate::Hub;
use crate::settings::SocketKind;
use crate::test_support::{OnStart, SOON, TICKET, TestHub, request, server, started, user};

/// The failure of a server that is stopped.
fn failure(state: &State) -> Arc<Failure> {
    match state {
        State::Stopped { failure: Some(failure) } => Arc::clone(failure),
        other => panic!("no failure: {other:?}"),
    }
}

async fn stopped(hub: &Arc<Hub>, name: &str) -> State {
    hub.stop_server(&user(name), &server("")).await.expect("begun");
    hub.wait_server(&user(name), &server(""), SOON).await
}

/// Leaves a row of a server that does not run.
fn leave_row(hub: &Hub, name: &str, now: std::time::SystemTime) {
    let address = hubd_store::ServerAddress { ip: "x".into(), port: 0, base_url: "/".into() };
    hub.store.ensure_user(name, &hub.new_token(), now).expect("made");
    hub.store.server_running(name, "", &address, &serde_json::json!({"pid": 1}), now).expect("written");
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
async fn every_refusal_of_the_helper_becomes_a_failure_with_advice() {
    let test = TestHub::new().await;
    for code in [
        RefusalCode::AccountClosed,
        RefusalCode::AccountBarred,
        RefusalCode::AccountUnknown,
        RefusalCode::TicketInvalid,
        RefusalCode::RateLimited,
        RefusalCode::TooManySessions,
        RefusalCode::AlreadyRunning,
        RefusalCode::ProfileUnknown,
        RefusalCode::ProgramMissing,
        RefusalCode::ArgumentRefused,
        RefusalCode::EnvironmentRefused,
        RefusalCode::HomeUnusable,
        RefusalCode::SessionRefused,
        RefusalCode::BecomeUserFailed,
        RefusalCode::ExecFailed,
        RefusalCode::NotAvailable,
        RefusalCode::Protocol,
        RefusalCode::System,
    ] {
        test.helper.script(|script| script.start = OnStart::Refuse(code));
        let failure = failure(&started(&test.hub, "alice").await);
        assert_eq!(failure.code, code.as_str());
        assert!(failure.message.contains("says no") && !failure.advice.is_empty());
        let events = test.hub.progress(&user("alice"), &server(""), 0).await;
        assert!(
            events.last().is_some_and(|event| event.failed && event.message.starts_with("Spawn failed: "))
        );
        let row = test.hub.store.spawner("alice", "").expect("readable").expect("a row");
        assert!(!row.active && row.started.is_none());
    }
    test.helper.script(|script| script.start = OnStart::Serve);
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
}

#[tokio::test]
async fn a_start_without_a_ticket_says_log_in_again() {
    let test = TestHub::new().await;
    let mut request = request("alice");
    request.ticket = None;
    test.hub.start_server(request).await.expect("begun");
    let state = test.hub.wait_server(&user("alice"), &server(""), SOON).await;
    let failure = failure(&state);
    assert_eq!((failure.code.as_str(), failure.status), ("ticket-missing", 403));
    assert!(failure.advice.starts_with("Log in again"));
}

#[tokio::test]
async fn an_early_exit_is_noticed_at_once_with_the_last_lines() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.start = OnStart::Exit(3));
    let failure = failure(&started(&test.hub, "alice").await);
    assert_eq!(failure.code, "exited-early");
    assert_eq!(failure.message, "The server exited with status 3 before it was ready.");
    assert_eq!(failure.log.last().map(String::as_str), Some("ImportError"));
}

#[tokio::test]
async fn a_full_home_is_told_with_its_figures_where_they_can_be_had() {
    let test = TestHub::new().await;
    for (line, message) in [
        ("quota 10737418240 10737418240", "Your home directory is full (10.0 of 10.0 GB)."),
        ("disk 10737418240 10737418240", "The disk of your home directory is full (10.0 of 10.0 GB)."),
        ("disk 1 10737418240", "There is no room left in your home directory or on its disk."),
        ("sh: not found", "There is no room left in your home directory or on its disk."),
    ] {
        test.helper.script(|script| script.start = OnStart::Full(line));
        let failure = failure(&started(&test.hub, "alice").await);
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("home-full", message));
        assert_eq!(failure.log.last().map(String::as_str), Some("OSError: No space left on device"));
        assert_eq!(test.helper.running(), 0);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_stopped_after_http_timeout() {
    let test = TestHub::with(|settings| settings.spawner.http_timeout = Duration::from_millis(200)).await;
    for how in [OnStart::Mute, OnStart::Broken] {
        test.helper.script(|script| script.start = how);
        let failure = failure(&started(&test.hub, "alice").await);
        assert_eq!(failure.code, "http-timeout");
        assert!(!failure.log.is_empty());
        assert_eq!(test.helper.running(), 0);
        assert!(test.hub.routes.prefixes().is_empty());
    }
}

#[tokio::test]
async fn a_helper_that_is_silent_runs_into_start_timeout() {
    let test = TestHub::with(|settings| settings.spawner.start_timeout = Duration::from_millis(200)).await;
    test.helper.script(|script| script.start = OnStart::Hang);
    assert_eq!(failure(&started(&test.hub, "alice").await).code, "start-timeout");
    test.helper.script(|script| script.start = OnStart::HangUp);
    let failure = failure(&started(&test.hub, "alice").await);
    assert_eq!((failure.code.as_str(), failure.status), ("helper-unreachable", 503));
}

#[tokio::test]
async fn a_missing_helper_is_explained_to_the_operator() {
    let test = TestHub::new().await;
    std::fs::remove_file(test.helper.socket()).expect("removed");
    let failure = failure(&started(&test.hub, "alice").await);
    assert_eq!((failure.code.as_str(), failure.status), ("helper-unreachable", 503));
    assert!(failure.message.contains("systemctl status hubd-helper.socket"), "{}", failure.message);
}

#[tokio::test]
async fn the_death_of_a_ready_server_is_noticed_and_kept_for_pages() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    test.helper.end("alice", None, Some(9));
    let state = until(&test.hub, "alice", |state| !state.is_active()).await;
    let failure = failure(&state);
    assert_eq!(failure.code, "died");
    assert!(failure.message.contains("signal 9 (killed)"));
    assert!(test.hub.routes.prefixes().is_empty());
    assert!(!test.hub.store.spawner("alice", "").expect("readable").expect("a row").active);
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
}

#[tokio::test]
async fn a_server_shut_down_from_its_own_menu_has_not_failed() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    test.helper.end("alice", Some(0), None);
    assert_eq!(until(&test.hub, "alice", |state| !state.is_active()).await, State::Stopped { failure: None });
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

#[tokio::test]
async fn nothing_is_sent_to_a_program_of_another_user() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.wrong_uid = true);
    let failure = failure(&started(&test.hub, "alice").await);
    assert_eq!(failure.code, "wrong-peer");
    assert_eq!(test.helper.running(), 0);
    assert!(test.hub.routes.prefixes().is_empty());
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
async fn a_session_process_that_is_killed_is_noticed() {
    let test = TestHub::new().await;
    assert_eq!(started(&test.hub, "alice").await, State::Ready);
    test.helper.kill("alice");
    let failure = failure(&until(&test.hub, "alice", |state| !state.is_active()).await);
    assert_eq!(failure.code, "died");
    assert!(failure.message.contains("session process"), "{}", failure.message);
    assert!(test.hub.routes.prefixes().is_empty());
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
