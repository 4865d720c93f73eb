//! Attacks that work against JupyterHub and must not work here; the table in `main.rs` names all of them.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::os::unix::fs::MetadataExt as _;

use hubd_tests::{Answer, Web};
use serde_json::json;

use crate::trial::Trial;
use crate::{logged_in, set_cookie};

/// Longest form and longest JSON that the hub reads, in bytes.
const FORM_BYTES_MAX: usize = 64 << 10;
const JSON_BYTES_MAX: usize = 1 << 20;

/// Services that hold one strong scope each.
const SERVICES: &str = "
[[JupyterHub.services]]
name = \"maker\"
api_token = \"maker-token-0123456789\"
[[JupyterHub.services]]
name = \"remover\"
api_token = \"remover-token-0123456789\"
[[JupyterHub.load_roles]]
name = \"makes-tokens\"
scopes = [\"tokens\"]
services = [\"maker\"]
[[JupyterHub.load_roles]]
name = \"manages-users\"
scopes = [\"admin:users\"]
services = [\"remover\"]
[Authenticator]
allow_all = true
admin_users = [\"root1\"]
";

fn call(web: &Web, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let value = format!("token {token}");
    web.request(method, &format!("/hub/api/{path}"), &[("Authorization", &value)], body.as_bytes())
}

#[test]
fn a_service_makes_no_token_for_an_admin_and_deletes_no_admin() {
    let trial = Trial::start(SERVICES);
    let (root, web) = (logged_in(&trial, "root1"), trial.web());
    for body in ["", r#"{"scopes": ["admin:users"]}"#, r#"{"roles": ["admin"]}"#] {
        let made = call(&web, "POST", "users/root1/tokens", "maker-token-0123456789", body);
        assert_eq!(made.status, 403, "{body}: {}", made.text());
    }
    let remover = "remover-token-0123456789";
    assert_eq!(call(&web, "DELETE", "users/root1", remover, "").status, 403);
    assert_eq!(call(&web, "PATCH", "users/root1", remover, r#"{"name": "x"}"#).status, 403);
    assert_eq!(call(&web, "POST", "users/new", remover, r#"{"admin": true}"#).status, 403);
    assert_eq!(root.api("GET", "users/root1", "").json()["admin"], json!(true));
}

#[test]
fn forms_over_64_kib_and_json_over_1_mib_are_refused_also_from_strangers() {
    let trial = Trial::start(SERVICES);
    let stranger = trial.web();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for path in ["/hub/login", "/hub/api/oauth2/token"] {
        let mut body = b"grant_type=".to_vec();
        body.resize(FORM_BYTES_MAX, b'x');
        assert_ne!(stranger.request("POST", path, &form, &body).status, 413, "{path}");
        body.push(b'x');
        assert_eq!(stranger.request("POST", path, &form, &body).status, 413, "{path}");
    }
    let root = logged_in(&trial, "root1");
    let json = |bytes: usize| {
        let mut body = br#"{"name": "x"}"#.to_vec();
        body.resize(bytes, b' ');
        String::from_utf8(body).unwrap()
    };
    assert_eq!(root.api("PATCH", "users/nobody", &json(JSON_BYTES_MAX)).status, 404);
    assert_eq!(root.api("PATCH", "users/root1", &json(JSON_BYTES_MAX + 1)).status, 413);
    assert_eq!(root.api("POST", "users/fits", &json(JSON_BYTES_MAX)).status, 201);
    assert_eq!(root.api("GET", "users/root1", "").status, 200);
}

#[test]
fn each_login_has_a_session_of_its_own() {
    let trial = Trial::start("");
    let (one, other) = (trial.web(), trial.web());
    let session = |web: &Web| {
        let value = set_cookie(&web.log_in("alice", ""), "jupyterhub-session-id");
        value.split(';').next().unwrap_or_default().to_owned()
    };
    let first = session(&one);
    assert_ne!(first, session(&other), "two browsers");
    assert_eq!(one.follow("/hub/logout").status, 200);
    let again = session(&one);
    assert!(!again.is_empty() && again != first, "the next login of a browser");
}

#[test]
fn database_and_secrets_are_for_the_hub_alone() {
    let trial = Trial::start("");
    logged_in(&trial, "alice");
    let mut seen = 0;
    for entry in std::fs::read_dir(trial.path("")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("jupyterhub.sqlite") || name.starts_with("jupyterhub_cookie_secret") {
            assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 2, "neither database nor cookie secret was made");
}
