//! Ordinary requests: what reaches the server, what comes back.

use crate::support::{Canned, header, start};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn app_answers_what_no_route_takes() {
    let proxy = start().await;
    let answer =
        proxy.get("/hub/%6cogin?next=%2F", "X-Forwarded-For: 1.1.1.1\r\nRemote-User: root\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("app GET /hub/login?next=%2F https=false host=hub address=127.0.0.1"),
        "{answer}"
    );
    assert!(!answer.contains("x-forwarded-for") && !answer.contains("remote-user"), "{answer}");
}

#[tokio::test]
async fn server_gets_the_path_byte_for_byte_and_the_answer_comes_back() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/alice/", server.address);
    let answer = proxy.get("/user/%61lice/a%2fb//c;d?e=%zz&f", "Accept: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    let head = server.heads().pop().unwrap();
    assert!(head.starts_with("GET /user/%61lice/a%2fb//c;d?e=%zz&f HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "hub"),
        ("accept", "x"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "hub"),
        ("x-forwarded-port", "80"),
    ] {
        assert_eq!(header(&head, name).as_deref(), Some(value), "{head}");
    }
    assert_eq!(header(&head, "connection"), None);
}

#[tokio::test]
async fn connections_to_a_server_are_used_again() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    for _ in 0..5 {
        assert!(proxy.get("/user/a/", "").await.ends_with("hi"));
    }
    assert_eq!((server.heads().len(), server.connections()), (5, 1));
    assert!(proxy.routes.last_activity("/user/a/").is_some());
}

#[tokio::test]
async fn app_explains_a_server_that_does_not_listen() {
    let proxy = start().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    proxy.route("/user/a/", nobody);
    let answer = proxy.get("/user/a/x?y", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("failed /user/a/ Refused /user/a/x?y true"), "{answer}");
}
