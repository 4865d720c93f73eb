//! Servers that do not come up, or end by themselves: noticed at once, explained, and nothing left of them.

use std::sync::Arc;
use std::time::Duration;

use hubd_proto::message::RefusalCode;

use super::super::{Failure, State};
use super::until;
use crate::test_support::{OnStart, SOON, TestHub, request, server, started, user};

/// The failure of a server that is stopped.
fn failure(state: &State) -> Arc<Failure> {
    match state {
        State::Stopped { failure: Some(failure) } => Arc::clone(failure),
        other => panic!("no failure: {other:?}"),
    }
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
async fn nothing_is_sent_to_a_program_of_another_user() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.wrong_uid = true);
    let failure = failure(&started(&test.hub, "alice").await);
    assert_eq!(failure.code, "wrong-peer");
    assert_eq!(test.helper.running(), 0);
    assert!(test.hub.routes.prefixes().is_empty());
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
