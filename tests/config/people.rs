//! Who may log in, and what they may do then.

use hubd_tests::{Web, free_port};
use serde_json::json;

use crate::daemon::{Daemon, local};

/// A running daemon with this configuration, and a browser for it.
fn running(tables: &str) -> (Daemon, Web) {
    let port = free_port();
    let web = local(port);
    let hub = format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n{tables}", free_port());
    let daemon = Daemon::running(&hub, &web);
    (daemon, web)
}

/// The status of a login: 302 let in, 403 not.
fn login(web: &Web, name: &str, password: &str) -> u16 {
    web.fresh().log_in(name, password).status
}

/// A browser of somebody who is logged in.
fn logged_in(web: &Web, name: &str) -> Web {
    let web = web.fresh();
    assert_eq!(web.log_in(name, "").status, 302);
    assert_eq!(web.get("/hub/home").status, 200);
    web
}

fn by_token(web: &Web, method: &str, path: &str, token: &str) -> u16 {
    let value = format!("token {token}");
    web.request(method, &format!("/hub/api/{path}"), &[("Authorization", &value)], b"").status
}

#[test]
fn those_who_are_allowed_get_in_and_are_in_the_database_from_the_start() {
    let (_daemon, web) = running(
        "[Authenticator]\nallowed_users = [\"ann\", \"ben\"]\nadmin_users = [\"zoe\"]\nallow_existing_users = false\n",
    );
    let zoe = logged_in(&web, "zoe");
    let mut names: Vec<String> = zoe
        .api("GET", "users", "")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["ann", "ben", "zoe"], "they are made at the start");
    assert_eq!((login(&web, "ann", ""), login(&web, "mallory", "")), (302, 403));
    // Who is only in the database stays outside.
    assert_eq!(zoe.api("POST", "users/carl", "").status, 201);
    assert_eq!(login(&web, "carl", ""), 403);
}

#[test]
fn those_whom_an_admin_adds_get_in_while_existing_users_may() {
    let (_daemon, web) = running(
        "[Authenticator]\nallowed_users = [\"ann\"]\nadmin_users = [\"ann\"]\nblocked_users = [\"dora\"]\n",
    );
    let ann = logged_in(&web, "ann");
    assert_eq!(login(&web, "carl", ""), 403);
    assert_eq!(ann.api("POST", "users/carl", "").status, 201);
    assert_eq!(ann.api("POST", "users/dora", "").status, 201);
    assert_eq!((login(&web, "carl", ""), login(&web, "dora", "")), (302, 403));
    assert_eq!(ann.api("GET", "users/ann", "").json()["admin"], json!(true));
}

#[test]
fn everybody_gets_in_if_everybody_may_and_nobody_if_that_is_said() {
    let (_daemon, web) = running("[Authenticator]\nallow_all = true\n");
    assert_eq!(login(&web, "whoever", ""), 302);
    let (mut daemon, web) = running("[Authenticator]\nallow_all = false\n");
    assert_eq!(login(&web, "whoever", ""), 403);
    assert!(daemon.process().log().contains("nobody can login to your Hub"));
}

#[test]
fn the_dummys_password_is_everybodys() {
    let (_daemon, web) = running("[DummyAuthenticator]\npassword = \"some words\"\n");
    assert_eq!((login(&web, "ann", "some words"), login(&web, "ann", "other words")), (302, 403));
}

#[test]
fn a_role_lets_some_see_the_servers_of_others() {
    let (_daemon, web) = running(
        "load_groups = { students = [\"ben\"], teachers = [\"ann\"] }\n\
         [[JupyterHub.load_roles]]\nname = \"teachers\"\ngroups = [\"teachers\"]\n\
         scopes = [\"admin-ui\", \"list:users\", \"access:servers!group=students\"]\n",
    );
    let (ann, ben) = (logged_in(&web, "ann"), logged_in(&web, "ben"));
    let scopes = |web: &Web| web.api("GET", "user", "").json()["scopes"].to_string();
    assert!(scopes(&ann).contains("access:servers!group=students"), "{}", scopes(&ann));
    assert!(!scopes(&ben).contains("students"), "{}", scopes(&ben));
    assert_eq!((ann.get("/hub/admin").status, ben.get("/hub/admin").status), (200, 403));
    // A page of somebody else's server: not running for the teacher, not there for the others.
    assert_eq!((ann.follow("/user/ben/").status, ben.follow("/user/ann/").status), (424, 404));
}

#[test]
fn a_service_acts_with_the_token_of_the_configuration_and_what_its_role_allows() {
    let (_daemon, web) = running(
        "[[JupyterHub.services]]\nname = \"adding-users\"\napi_token = \"a-token-of-many-letters\"\n\
         [[JupyterHub.services]]\nname = \"idle-culler\"\napi_token = \"another-token-of-letters\"\n\
         [[JupyterHub.load_roles]]\nname = \"adds-users\"\nservices = [\"adding-users\"]\nscopes = [\"admin:users\"]\n\
         [[JupyterHub.load_roles]]\nname = \"list-and-cull\"\nservices = [\"idle-culler\"]\n\
         scopes = [\"list:users\", \"read:users:activity\", \"admin:servers\"]\n",
    );
    assert_eq!(by_token(&web, "POST", "users/carl", "a-token-of-many-letters"), 201);
    assert_eq!(by_token(&web, "POST", "users/dora", "another-token-of-letters"), 403);
    assert_eq!(by_token(&web, "GET", "users", "another-token-of-letters"), 200);
    // Nothing runs, so there is nothing to stop: that is the answer, not a refusal.
    assert_eq!(by_token(&web, "DELETE", "users/carl/server", "another-token-of-letters"), 204);
    assert_eq!(by_token(&web, "GET", "users", "no-token-of-anybody-here"), 403);
}

#[test]
fn a_token_of_the_command_line_acts_for_its_owner() {
    let (daemon, web) = running("[Authenticator]\nadmin_users = [\"ann\"]\nallow_all = true\n");
    let (good, token, error) = daemon.hubd(&["-f", "hubd.toml", "token", "ann"]);
    assert!(good, "{error}");
    assert_eq!(by_token(&web, "GET", "users", token.trim()), 200);
    let (good, _, error) = daemon.hubd(&["-f", "hubd.toml", "token", "nobody-here"]);
    assert!(!good && error.contains("No such user: nobody-here"), "{error}");
}

#[test]
fn named_servers_are_there_when_they_are_allowed_and_have_a_limit() {
    let (_daemon, web) = running("");
    let ann = logged_in(&web, "ann");
    assert_eq!(ann.api("POST", "users/ann/servers/second", "").status, 400);
    let (_daemon, web) = running("allow_named_servers = true\nnamed_server_limit_per_user = 1\n");
    let ann = logged_in(&web, "ann");
    assert!(ann.get("/hub/home").words().contains("Named Servers"));
    // Without a helper it cannot start, but it is there, and it is one.
    let first = ann.api("POST", "users/ann/servers/first", "");
    assert!(first.status != 400, "{}", first.text());
    let second = ann.api("POST", "users/ann/servers/second", "");
    assert!(
        second.status == 400 && second.text().contains("maximum of 1 named servers"),
        "{} {}",
        second.status,
        second.text()
    );
}

#[test]
fn people_may_say_themselves_that_their_server_is_in_use() {
    let (_daemon, web) = running("allow_named_servers = true\n[IdleCuller]\ntimeout = 600\n");
    let ann = logged_in(&web, "ann");
    ann.api("POST", "users/ann/servers/gpu", "");
    // What the button "Keep it running" of the home page sends.
    let now = "2026-01-01T00:00:00.000Z";
    let body = json!({ "servers": { "gpu": { "last_activity": now } }, "last_activity": now }).to_string();
    let answer = ann.api("POST", "users/ann/activity", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Nobody says so of others.
    let ben = logged_in(&web, "ben");
    assert_eq!(ben.api("POST", "users/ann/activity", &body).status, 404);
}
