//! Every route and method against every scope: those that the document names open it, and no others.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Api;
use crate::auth::scopes::{Owner, SCOPES, expand};

/// What stands for names in a path: nobody and nothing is called so, so nothing is changed.
const NAMES: &str = "nobody";

/// Sent along: what is read after the permission is refused as broken.
const BODY: &str = "{";

/// The scopes of which one is needed, as the document says.
fn needed(operation: &Value) -> Vec<String> {
    let ways = operation["security"].as_array().cloned().unwrap_or_default();
    ways.iter().filter_map(|way| way["token"][0].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn each_scope_opens_what_it_should_and_nothing_else() {
    let api = Api::new().await;
    let document = api.get("/openapi.json", "").await.json();
    let tokens: Vec<(&str, BTreeSet<String>, String)> = SCOPES
        .iter()
        .filter(|scope| !["(no_scope)", "self", "inherit"].contains(&scope.name))
        .map(|scope| {
            let held = expand(&[scope.name], Owner::User("root1"), None);
            (scope.name, held, api.token("root1", &[scope.name]))
        })
        .collect();
    let (mut asked, mut wrong) = (0, Vec::<String>::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let mut filled = path.clone();
        while let (Some(open), Some(close)) = (filled.find('{'), filled.find('}')) {
            filled.replace_range(open..=close, NAMES);
        }
        for (method, operation) in operations.as_object().unwrap() {
            let needed = needed(operation);
            // There the body may say who asks, so it is read first; and making tokens for nobody is refused in
            // the same words as for somebody.
            let hides = path.ends_with("/tokens") && method == "post";
            let body = if hides { "" } else { BODY };
            if needed.is_empty() {
                continue;
            }
            for (scope, held, token) in &tokens {
                let reply = api.call(&method.to_uppercase(), &filled, token, body).await;
                let opens = needed.iter().any(|scope| held.contains(scope));
                // Every token may tell its owner's name, so who asks for names of others is not told that they exist.
                let closed =
                    ["requires any of", "requires scope", "no permissions", "No access to resources"]
                        .iter()
                        .any(|text| reply.text.contains(text));
                if closed != (!opens || hides) {
                    wrong.push(format!("{scope}: {method} {path}: {} {}", reply.status, reply.text));
                }
                asked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 2500, "{asked}");
}

#[tokio::test]
async fn a_filter_opens_one_user_one_server_one_group_and_hides_the_others() {
    let api = Api::new().await;
    let root = api.token("root1", &["inherit"]);
    for group in ["class", "other"] {
        assert_eq!(api.call("POST", &format!("/groups/{group}"), &root, "").await.status, 201);
    }
    let member = r#"{"users": ["alice"]}"#;
    assert_eq!(api.call("POST", "/groups/class/users", &root, member).await.status, 200);
    for (scope, open, hidden) in [
        ("read:users!user=alice", "/users/alice", "/users/bob"),
        ("read:users!group=class", "/users/alice", "/users/bob"),
        ("read:users!user=alice", "/users/alice", "/users/nobody"),
        ("read:servers!server=alice/", "/users/alice/server", "/users/bob/server"),
        ("read:servers!user=alice", "/users/alice/server", "/users/bob/server"),
        ("read:servers!group=class", "/users/alice/server", "/users/bob/server"),
        ("read:tokens!user=alice", "/users/alice/tokens", "/users/bob/tokens"),
        ("read:groups!group=class", "/groups/class", "/groups/other"),
        ("read:shares!user=alice", "/shares/alice", "/shares/bob"),
        ("read:users:shares!user=alice", "/users/alice/shared", "/users/bob/shared"),
        ("read:groups:shares!group=class", "/groups/class/shared", "/groups/other/shared"),
    ] {
        let token = api.token("root1", &[scope]);
        assert_eq!(api.get(open, &token).await.status, 200, "{scope}: {open}");
        let reply = api.get(hidden, &token).await;
        assert_eq!(
            reply.error(),
            (404, "No access to resources or resources not found".into()),
            "{scope}: {hidden}"
        );
    }
}
