//! The REST API over the proxy's routes, at the inner port.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

use hubd_tests::{Answer, Web};
use serde_json::{Value, json};

use crate::logged_in;
use crate::trial::Trial;

const TOKEN: [(&str, &str); 1] = [("Authorization", "token tok")];

fn ask(inside: &Web, method: &str, path: &str, body: &str) -> Answer {
    inside.try_request(method, &format!("/api/routes{path}"), &TOKEN, body.as_bytes()).unwrap()
}

/// A dashboard of somebody's, which answers with the head of the request.
pub(crate) fn dashboard() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|length| length > 2) {}
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{head}");
            // The test sees what is missing.
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn others_see_all_routes_and_add_their_own() {
    let trial = Trial::start("[ConfigurableHTTPProxy]\nauth_token = \"tok\"\n");
    let (alice, inside) = (logged_in(&trial, "alice"), trial.inside());
    let started = alice.api("POST", "users/alice/server", "");
    assert!(matches!(started.status, 201 | 202), "{}\n{}", started.text(), trial.logs());
    let events = alice.api("GET", "users/alice/server/progress", "");
    assert!(events.text().contains("\"ready\": true"), "{}\n{}", events.text(), trial.logs());

    let routes: Value = ask(&inside, "GET", "", "").json();
    assert_eq!((&routes["/"]["hub"], &routes["/"]["jupyterhub"]), (&json!(true), &json!(true)));
    let server = &routes["/user/alice"];
    assert_eq!((&server["user"], &server["server_name"]), (&json!("alice"), &json!("")));
    assert!(server["target"].as_str().is_some_and(|target| target.starts_with("http")), "{server}");
    assert!(server["last_activity"].as_str().is_some_and(|time| time.len() == 24), "{server}");

    let target = json!({"target": format!("http://{}", dashboard()), "of": "somebody"}).to_string();
    assert_eq!(ask(&inside, "POST", "/dash%20board", &target).status, 201);
    let shown = ask(&inside, "GET", "/dash%20board/", "").json();
    assert_eq!(shown["of"], json!("somebody"));
    let told = alice.get("/dash%20board/x?y");
    assert_eq!(told.status, 200);
    assert!(told.text().starts_with("GET /dash%20board/x?y HTTP/1.1"), "{}", told.text());
    assert!(!told.text().contains("jupyterhub-hub-login"), "{}", told.text());
    assert_eq!(ask(&inside, "DELETE", "/dash%20board", "").status, 204);
    assert_eq!(alice.get("/dash%20board/x").status, 302, "the hub takes it again");
}

#[test]
fn strangers_and_what_is_the_hubs_own_are_refused() {
    let trial = Trial::start("[ConfigurableHTTPProxy]\nauth_token = \"tok\"\n");
    let inside = trial.inside();
    let target = r#"{"target":"http://127.0.0.1:9"}"#;
    for header in ["", "token wrong", "Bearer tok"] {
        let headers = [("Authorization", header)];
        let answer = inside.try_request("POST", "/api/routes/x", &headers, target.as_bytes()).unwrap();
        assert_eq!(answer.status, 403, "{header}");
    }
    for path in ["/", "/hub", "/hub/login"] {
        assert_eq!(ask(&inside, "POST", path, target).status, 409, "{path}");
        assert_eq!(ask(&inside, "DELETE", path, "").status, 409, "{path}");
    }
    assert_eq!(ask(&inside, "POST", "/x", r#"{"target":"https://127.0.0.1:9"}"#).status, 400);
    let outside = trial.web().try_request("GET", "/api/routes", &TOKEN, b"").unwrap();
    assert_ne!(outside.status, 200, "the API is inside only: {}", outside.text());
}

#[test]
fn a_token_that_is_not_set_is_nobodys() {
    let trial = Trial::start("");
    let inside = trial.inside();
    for header in ["", "token ", "token tok"] {
        let answer = inside.try_request("GET", "/api/routes", &[("Authorization", header)], b"").unwrap();
        assert_eq!(answer.status, 403, "{header}");
    }
}
