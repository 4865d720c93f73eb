//! The API's description against the API.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Api;
use crate::auth::scopes::find;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// The paths of the router, as its source has them.
fn routes() -> BTreeSet<String> {
    let source = include_str!("../mod.rs");
    let path = |part: &str| part.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned);
    source.split(".route(").skip(1).filter_map(path).collect()
}

#[tokio::test]
async fn the_document_names_every_route_and_no_other() {
    let api = Api::new().await;
    let reply = api.get("/openapi.json", "").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let document = reply.json();
    let paths: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(paths, routes());
}

#[tokio::test]
async fn each_path_takes_the_methods_of_the_document_and_no_other() {
    let api = Api::new().await;
    let document = api.get("/openapi.json", "").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let asked = path.replace(['{', '}'], "");
        for method in METHODS {
            let reply = api.call(&method.to_uppercase(), &asked, "", "").await;
            let known = operations.get(method).is_some();
            assert_eq!(reply.status != 405, known, "{method} {path}: {}", reply.status);
        }
    }
}

#[tokio::test]
async fn what_needs_a_scope_refuses_strangers_and_names_the_scope() {
    let api = Api::new().await;
    // A user without any role.
    let nobody = api.token("bob", &["read:users:name!user"]);
    let document = api.get("/openapi.json", "").await.json();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(scope) = operation["security"][0]["token"][0].as_str() else { continue };
            assert!(find(scope).is_some(), "{scope}");
            let (method, asked) = (method.to_uppercase(), path.replace(['{', '}'], ""));
            assert_eq!(api.call(&method, &asked, "", "").await.status, 403, "{method} {path}");
            let reply = api.call(&method, &asked, &nobody, "").await;
            if reply.header("content-type") == "text/html" {
                assert!(reply.status == 403 && reply.text.contains(scope), "{method} {path}");
                continue;
            }
            let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            let named = reply.status == 403 && (message.contains(scope) || path.ends_with("/tokens"));
            assert!(named || reply.status == 404, "{method} {path}: {} {message}", reply.status);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = Api::new().await.get("/openapi.json", "").await.json();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}
