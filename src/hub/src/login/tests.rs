//! Logins with a helper that pretends: passwords, further questions, lists, held handles.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hubd_proto::message::{RefusalCode, Revocation};

use super::{LoggedIn, LoginRefused, LoginStep, Pending};
use crate::Hub;
use crate::servers::{StartRequest, State};
use crate::settings::AuthenticatorKind;
use crate::test_support::{CODE, PASSWORD, SOON, TICKET, TestHub, request, server, user};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn begin(hub: &Arc<Hub>, name: &str, password: &str) -> LoginStep {
    hub.login_begin(name, password.to_owned().into(), HERE).await
}

fn done(step: LoginStep) -> LoggedIn {
    match step {
        LoginStep::Done(login) => login,
        LoginStep::Prompt(pending) => panic!("asked {}", pending.prompt.text),
        LoginStep::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

fn refused(step: LoginStep) -> LoginRefused {
    match step {
        LoginStep::Refused(refused) => refused,
        LoginStep::Done(_) => panic!("logged in"),
        LoginStep::Prompt(pending) => panic!("asked {}", pending.prompt.text),
    }
}

fn pending(step: LoginStep) -> Pending {
    match step {
        LoginStep::Prompt(pending) => pending,
        LoginStep::Done(_) => panic!("logged in"),
        LoginStep::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

#[tokio::test]
async fn the_right_password_gives_a_ticket_and_the_name_in_lower_case() {
    let test = TestHub::new().await;
    let login = done(begin(&test.hub, "Alice", PASSWORD).await);
    assert_eq!(login.user, user("alice"));
    let (ticket, ends) = login.ticket.expect("a ticket");
    assert_eq!(ticket.expose(), TICKET);
    assert!(ends > 2_000_000_000);
}

#[tokio::test]
async fn wrong_passwords_bad_names_and_root_get_the_same_answer() {
    let test = TestHub::new().await;
    for (name, password) in
        [("alice", "wrong"), ("a/b", PASSWORD), ("", PASSWORD), ("root", PASSWORD), ("ROOT", PASSWORD)]
    {
        let refused = refused(begin(&test.hub, name, password).await);
        assert_eq!(refused.status, 403, "{name}");
        assert_eq!(refused.message, "Invalid username or password", "{name}");
        assert_eq!(refused.code, "login-refused", "{name}");
    }
    // Neither root nor an impossible name is even asked for.
    assert_eq!(test.helper.requests(), ["authenticate"]);
}

#[tokio::test]
async fn refusals_of_the_helper_have_their_status() {
    let test = TestHub::new().await;
    for (code, status) in [
        (RefusalCode::AccountClosed, 403),
        (RefusalCode::AccountBarred, 403),
        (RefusalCode::RateLimited, 429),
        (RefusalCode::NotAvailable, 503),
        (RefusalCode::System, 503),
    ] {
        test.helper.script(|script| script.login = Some(code));
        let refused = refused(begin(&test.hub, "alice", PASSWORD).await);
        assert_eq!((refused.status, refused.code.as_str()), (status, code.as_str()));
    }
    std::fs::remove_file(test.helper.socket()).expect("removed");
    assert_eq!(refused(begin(&test.hub, "alice", PASSWORD).await).code, "helper-unreachable");
}

#[tokio::test]
async fn a_second_question_waits_for_the_person_and_is_answered_once() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.second_question = true);
    let first = pending(begin(&test.hub, "alice", PASSWORD).await);
    assert_eq!((first.prompt.text.as_str(), first.prompt.echo), ("Verification code: ", true));
    assert!(first.id.len() == 32 && first.id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    done(test.hub.login_answer(&first.id, CODE.to_owned().into()).await);
    let again = refused(test.hub.login_answer(&first.id, CODE.to_owned().into()).await);
    assert_eq!((again.status, again.code.as_str()), (403, "login-expired"));

    let second = pending(begin(&test.hub, "alice", PASSWORD).await);
    assert_ne!(first.id, second.id);
    let wrong = refused(test.hub.login_answer(&second.id, "000000".to_owned().into()).await);
    assert_eq!(wrong.message, "Invalid username or password");
}

#[tokio::test]
async fn questions_that_nobody_answers_give_way_to_new_logins() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.second_question = true);
    let first = pending(begin(&test.hub, "alice", PASSWORD).await);
    // As many as there are places for conversations.
    for _ in 0..128 {
        pending(begin(&test.hub, "mallory", PASSWORD).await);
    }
    let late = refused(test.hub.login_answer(&first.id, CODE.to_owned().into()).await);
    assert_eq!(late.code, "login-expired");
}

#[tokio::test]
async fn the_hubs_lists_decide_after_the_password() {
    let test = TestHub::with(|settings| {
        let lists = &mut settings.authenticator;
        lists.allow_all = false;
        lists.allow_existing_users = true;
        lists.allowed_users.extend([user("alice"), user("mallory")]);
        lists.admin_users.insert(user("ada"));
        lists.blocked_users.insert(user("mallory"));
    })
    .await;
    test.hub.store.ensure_user("erin", "0123", std::time::SystemTime::now()).expect("made");
    for name in ["alice", "ada", "erin"] {
        done(begin(&test.hub, name, PASSWORD).await);
    }
    for name in ["mallory", "bob"] {
        assert_eq!(refused(begin(&test.hub, name, PASSWORD).await).code, "not-allowed");
    }
    // The tickets that nobody will use are ended.
    while test.helper.requests().iter().filter(|name| *name == "revoke").count() < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dummy_takes_any_name_and_a_password_if_one_is_set() {
    let set = |password: Option<&str>| {
        let password = password.map(|text| text.to_owned().into());
        TestHub::with(move |settings| settings.authenticator.kind = AuthenticatorKind::Dummy { password })
    };
    let open = set(None).await;
    assert!(done(begin(&open.hub, "anybody", "").await).ticket.is_none());
    let closed = set(Some("sesame")).await;
    done(begin(&closed.hub, "anybody", "sesame").await);
    assert_eq!(refused(begin(&closed.hub, "anybody", "sesam").await).status, 403);
    assert_eq!(refused(begin(&closed.hub, "root", "sesame").await).status, 403);
    assert!(closed.helper.requests().is_empty());
}

/// A start from a browser that has no ticket, only a session.
fn from_session(name: &str, session_id: &str) -> StartRequest {
    StartRequest { session_id: Some(session_id.into()), ticket: None, ..request(name) }
}

#[tokio::test]
async fn the_first_start_after_a_login_uses_its_pam_handle() {
    let test = TestHub::new().await;
    let mut login = done(begin(&test.hub, "alice", PASSWORD).await);
    test.hub.keep_login("session-1", &mut login);
    test.hub.start_server(from_session("alice", "session-1")).await.expect("begun");
    assert_eq!(test.hub.wait_server(&user("alice"), &server(""), SOON).await, State::Ready);
    assert_eq!(test.helper.requests(), ["authenticate", "start-held"]);
}

#[tokio::test]
async fn a_pam_handle_is_for_its_own_user_and_browser_only() {
    let test = TestHub::new().await;
    let mut login = done(begin(&test.hub, "alice", PASSWORD).await);
    test.hub.keep_login("session-1", &mut login);
    for (name, session) in [("bob", "session-1"), ("alice", "session-2")] {
        test.hub.start_server(from_session(name, session)).await.expect("begun");
        let state = test.hub.wait_server(&user(name), &server(""), SOON).await;
        let State::Stopped { failure: Some(failure) } = state else { panic!("{state:?}") };
        assert_eq!(failure.code, "ticket-missing");
    }
    assert!(!test.helper.requests().contains(&"start-held".to_owned()));
}

#[tokio::test]
async fn a_handle_that_has_gone_is_replaced_by_the_ticket() {
    let test = TestHub::new().await;
    test.helper.script(|script| script.holds_logins = false);
    let mut login = done(begin(&test.hub, "alice", PASSWORD).await);
    test.hub.keep_login("session-1", &mut login);
    let request = StartRequest { session_id: Some("session-1".into()), ..request("alice") };
    test.hub.start_server(request).await.expect("begun");
    assert_eq!(test.hub.wait_server(&user("alice"), &server(""), SOON).await, State::Ready);
    assert_eq!(test.helper.requests(), ["authenticate", "start"]);
}

#[tokio::test]
async fn a_logout_drops_the_handle_and_revokes_the_ticket() {
    let test = TestHub::new().await;
    let mut login = done(begin(&test.hub, "alice", PASSWORD).await);
    test.hub.keep_login("session-1", &mut login);
    let (ticket, _) = login.ticket.expect("a ticket");
    test.hub.end_login("session-1", &user("alice"), Some(ticket), Revocation::This).await;
    assert_eq!(test.helper.requests(), ["authenticate", "revoke"]);
    assert!(test.hub.logins.take_held("session-1", &user("alice")).is_none());
}

#[tokio::test]
async fn members_of_an_allowed_group_get_in_and_those_of_an_admin_group_are_admins() {
    let test = TestHub::with(|settings| {
        let access = &mut settings.authenticator;
        access.allow_all = false;
        access.allowed_groups = ["staff".to_owned()].into();
        access.admin_groups = ["staff".to_owned()].into();
        access.manage_groups = true;
        access.allowed_users = [user("alice")].into();
    })
    .await;
    assert_eq!(done(begin(&test.hub, "staff-bob", PASSWORD).await).admin, Some(true));
    let login = done(begin(&test.hub, "alice", PASSWORD).await);
    assert_eq!((login.admin, login.groups), (Some(false), Some(vec!["users".to_owned()])));
    assert_eq!(refused(begin(&test.hub, "mallory", PASSWORD).await).code, "not-allowed");
}

#[tokio::test]
async fn a_mapped_name_takes_no_ticket_of_another_account() {
    let test = TestHub::with(|settings| {
        settings.authenticator.username_map = [("alice".to_owned(), "asmith".to_owned())].into();
    })
    .await;
    let login = done(begin(&test.hub, "Alice", PASSWORD).await);
    assert_eq!(login.user, user("asmith"));
    assert!(login.ticket.is_none());
}

#[tokio::test]
async fn a_name_outside_of_the_pattern_is_refused() {
    let test = TestHub::with(|settings| {
        settings.authenticator.username_pattern = regex_lite::Regex::new("^(?:a.*)").ok();
    })
    .await;
    assert_eq!(refused(begin(&test.hub, "bob", PASSWORD).await).code, "not-allowed");
    done(begin(&test.hub, "alice", PASSWORD).await);
}

#[tokio::test]
async fn shared_passwords_let_in_by_jupyterhubs_rules() {
    let secret = |text: &str| Some(hubd_proto::Secret::new(text.to_owned()));
    let test = TestHub::with(|settings| {
        let passwords = crate::settings::SharedPasswords {
            user: secret("for-everybody"),
            admin: secret("for-admins"),
            groups: vec![(secret("for-students").unwrap(), vec!["students".to_owned()])],
        };
        let access = &mut settings.authenticator;
        access.kind = AuthenticatorKind::Shared(passwords);
        access.manage_groups = true;
        access.admin_users = [user("root1")].into();
    })
    .await;
    let login = done(begin(&test.hub, "bob", "for-everybody").await);
    assert_eq!((login.admin, login.groups), (Some(false), Some(Vec::new())));
    let login = done(begin(&test.hub, "bob", "for-students").await);
    assert_eq!((login.admin, login.groups), (None, Some(vec!["students".to_owned()])));
    assert_eq!(done(begin(&test.hub, "root1", "for-admins").await).admin, Some(true));
    tokio::time::pause();
    for (name, password) in [("root1", "for-everybody"), ("bob", "for-admins"), ("bob", "wrong")] {
        assert_eq!(refused(begin(&test.hub, name, password).await).status, 403, "{name} {password}");
    }
}

#[tokio::test]
async fn nobody_logs_in_with_the_null_authenticator() {
    let test = TestHub::with(|settings| settings.authenticator.kind = AuthenticatorKind::Null).await;
    assert_eq!(refused(begin(&test.hub, "alice", PASSWORD).await).status, 403);
}
