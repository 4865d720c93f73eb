//! The hub's API, cookies and OAuth over HTTP: helper and daemon are run by one ordinary user, as in a trial.
//!
//! Attacks that work against JupyterHub 6.1, and the tests that hold the hub against them:
//!
//! | attack | tests |
//! |---|---|
//! | the old login cookie after a logout | [`a_login_gives_a_new_session_and_a_logout_ends_it`]; hub: `pages::tests::login::logging_out_ends_the_login_for_good` |
//! | a foreign page embeds a start or a logout | hub: `pages::tests::servers::a_start_that_another_page_caused_asks_first`, `pages::tests::login::a_logout_that_another_page_caused_asks_first` |
//! | a service makes a token for an admin, or deletes one | [`threats::a_service_makes_no_token_for_an_admin_and_deletes_no_admin`]; hub: `api::tests::records::nobody_makes_a_token_that_may_do_more_than_they_may`, `api::tests::records::nobody_changes_those_who_have_more` |
//! | PKCE `plain` | hub: `api::tests::oauth::wrong_requests_of_a_right_client_go_back_with_an_error` |
//! | a verifier without a challenge | hub: `api::tests::oauth::a_verifier_without_a_challenge_is_refused` |
//! | no verifier or no `redirect_uri` at the token step | hub: `api::tests::oauth::wrong_token_requests_are_refused_and_do_not_use_the_code_up` |
//! | a client's secret, by HTTP Basic or in the form, is wrong, doubled or another client's | hub: `api::tests::oauth::a_client_gives_its_secret_in_the_form_or_by_http_basic`, `api::tests::oauth::wrong_token_requests_are_refused_and_do_not_use_the_code_up` |
//! | an OAuth code used twice | hub: `api::tests::oauth::a_code_works_once_and_its_second_use_revokes_the_token` |
//! | a server sets the hub's cookies, or headers for the whole site | proxy: `answer::tests::servers_cannot_set_cookies_of_the_hub`, `answer::tests::servers_cannot_set_cookies_elsewhere`; `tests/proxy`: `forwarding::hub_cookies_do_not_reach_servers_and_servers_cannot_set_them` |
//! | the disk is full | [`surroundings::a_full_disk_stops_nothing_but_writes`]; hub: `api::tests::access::a_full_disk_is_503_for_writes_and_nothing_for_reads_and_tokens`; store: `when_the_disk_is_full_reads_work_and_writes_recover` |
//! | a body of 100 MB for the hub's own forms and JSON | [`threats::forms_over_64_kib_and_json_over_1_mib_are_refused_also_from_strangers`], [`large_bodies_are_refused_before_they_are_read`]; hub: `api::tests::access::bodies_have_limits` |
//! | another local user reads the database or the secrets | [`threats::database_and_secrets_are_for_the_hub_alone`]; store: `a_new_database_is_private_and_has_the_default_rows`; `tests/system`: `privileges::file_modes` |
//! | a session id that was there before the login is kept | [`a_login_gives_a_new_session_and_a_logout_ends_it`], [`threats::each_login_has_a_session_of_its_own`] |
#![expect(clippy::panic, reason = "a test's helpers may fail the test")]

mod database;
mod differential;
mod failures;
mod routes;
mod surroundings;
mod threats;
mod trial;

use std::time::Duration;

use hubd_tests::{Web, until};
use serde_json::json;
use trial::Trial;

/// The value of a cookie that an answer sets.
fn set_cookie(answer: &hubd_tests::Answer, name: &str) -> String {
    let cookies = answer.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case("set-cookie"));
    let mut values = cookies.filter_map(|(_, value)| value.strip_prefix(&format!("{name}=")));
    values.next().unwrap_or_else(|| panic!("no cookie {name}")).to_owned()
}

fn logged_in(trial: &Trial, user: &str) -> Web {
    let web = trial.web();
    assert_eq!(web.log_in(user, "").status, 302);
    // The page after a login gives the browser its XSRF token.
    assert_eq!(web.get("/hub/home").status, 200);
    web
}

#[test]
fn a_person_starts_a_server_by_the_api_and_only_they_reach_it() {
    let trial = Trial::start("");
    let alice = logged_in(&trial, "alice");
    let started = alice.api("POST", "users/alice/server", "");
    assert!(matches!(started.status, 201 | 202), "{} {}\n{}", started.status, started.text(), trial.logs());
    let events = alice.api("GET", "users/alice/server/progress", "");
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert!(events.text().contains("\"ready\": true"), "{}\n{}", events.text(), trial.logs());
    let model = alice.api("GET", "users/alice", "").json();
    assert_eq!((&model["server"], &model["pending"]), (&json!("/user/alice/"), &json!(null)));

    assert_eq!(alice.follow("/user/alice/lab").status, 200);
    let own = alice.follow("/user/alice/api/status");
    assert_eq!(own.status, 200, "{}", own.text());
    let tokens = alice.api("GET", "users/alice/tokens", "").json();
    let clients: Vec<_> =
        tokens["api_tokens"].as_array().into_iter().flatten().map(|token| &token["oauth_client"]).collect();
    assert!(clients.contains(&&json!("Server at /user/alice/")), "{clients:?}");

    let bob = logged_in(&trial, "bob");
    let refused = bob.follow("/user/alice/lab");
    assert_eq!(refused.status, 403);
    assert!(refused.words().contains("You do not have permission to access Server at /user/alice/"));

    // A server may take its time to end: 202 says that the hub waits no longer for it.
    let stopped = alice.api("DELETE", "users/alice/server", "");
    assert!(matches!(stopped.status, 202 | 204), "{} {}", stopped.status, stopped.text());
    until("the server's end", Duration::from_secs(30), || {
        (alice.api("GET", "users/alice", "").json()["servers"] == json!({})).then_some(())
    });
}

#[test]
fn a_login_gives_a_new_session_and_a_logout_ends_it() {
    let trial = Trial::start("");
    let web = trial.web();
    let form = web.get("/hub/login");
    assert_eq!(form.status, 200);
    let planted = "planted0planted0planted0planted0";
    let xsrf = web.cookie("_xsrf").unwrap_or_default();
    // A session id that somebody planted: the form's token belongs to another session, so it is refused.
    let body = format!("username=alice&password=&_xsrf={xsrf}");
    let headers = [
        ("Cookie", format!("_xsrf={xsrf}; jupyterhub-session-id={planted}")),
        ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(trial.web().request("POST", "/hub/login?next=", &headers, body.as_bytes()).status, 403);

    let answer = web.log_in("alice", "");
    assert_eq!(answer.status, 302);
    let session = set_cookie(&answer, "jupyterhub-session-id");
    assert!(
        !session.starts_with(planted) && session.contains("HttpOnly") && session.contains("SameSite=Lax")
    );
    let stolen = web.copy();
    assert_eq!(stolen.get("/hub/home").status, 200);
    assert_eq!(web.follow("/hub/logout").status, 200);
    let after = stolen.get("/hub/home");
    assert_eq!((after.status, after.location()), (302, "/hub/login?next=%2Fhub%2Fhome"));
}

#[test]
fn no_next_leads_away_or_breaks_the_hub() {
    let trial = Trial::start("");
    for (next, location) in [
        ("%2Fhub%2Fhome%3Fa%3D1", "/hub/home?a=1"),
        ("https%3A%2F%2Fevil.example%2F", "/hub/spawn"),
        ("%2F%2Fevil.example%2F", "/hub/spawn"),
        ("%2F%0D%0ASet-Cookie%3A%20a%3Db", "/hub/spawn"),
        ("%2F%5Cevil.example", "/%5Cevil.example"),
        ("http%3A%2F%2Flocalhost%40evil.example%2F", "/hub/spawn"),
        ("%FF%FE", "/hub/spawn"),
    ] {
        let web = trial.web();
        web.get("/hub/login");
        let xsrf = web.cookie("_xsrf").unwrap_or_default();
        let fields = [("_xsrf", xsrf.as_str()), ("username", "alice"), ("password", "")];
        let answer = web.post_form(&format!("/hub/login?next={next}"), &fields);
        assert_eq!((answer.status, answer.location()), (302, location), "{next}");
    }
}

#[test]
fn people_outside_the_list_stay_outside() {
    let trial = Trial::start(
        "[Authenticator]\nallow_all = false\nallowed_users = [\"alice\"]\nadmin_users = [\"root1\"]\n",
    );
    assert_eq!(trial.web().log_in("alice", "").status, 302);
    let root = logged_in(&trial, "root1");
    assert_eq!(root.api("GET", "users/root1", "").json()["admin"], true);
    let refused = trial.web().log_in("mallory", "");
    assert_eq!(refused.status, 403);
    // Who has proved who they are may know that it was not the password.
    assert!(refused.words().contains("this account may not use this hub"), "{}", refused.words());
    assert_eq!(root.api("GET", "users/mallory", "").status, 404);
}

#[test]
fn large_bodies_are_refused_before_they_are_read() {
    let trial = Trial::start("[Authenticator]\nadmin_users = [\"root1\"]\nallow_all = true\n");
    let root = logged_in(&trial, "root1");
    let body = format!("{{\"usernames\": [\"{}\"]}}", "x".repeat(1 << 20));
    assert_eq!(root.api("POST", "users", &body).status, 413);
    let many: Vec<String> = (0..1000).map(|number| format!("student{number}")).collect();
    let begun = std::time::Instant::now();
    let made = root.api("POST", "users", &json!({ "usernames": many }).to_string());
    println!("1,000 users in one call: {:?}", begun.elapsed());
    assert_eq!((made.status, made.json().as_array().map(Vec::len)), (201, Some(1000)));
}
