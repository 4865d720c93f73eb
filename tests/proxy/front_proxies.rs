//! Behind a front proxy: whose word is taken for whom.

use hubd_proxy::ProxySettings;

use crate::support::{Canned, header, settings, start_with};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// Version 2, PROXY, TCP over IPv4, from 192.0.2.7 to 127.0.0.1.
const HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x12\x34\0\x50GET /hub/ HTTP/1.1\r\n\
      Host: hub\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";

fn trusting(network: &str) -> ProxySettings {
    ProxySettings { trusted_proxies: vec![network.parse().unwrap()], ..settings() }
}

#[tokio::test]
async fn networks_are_trusted_and_servers_are_told_the_chain() {
    let proxy = start_with(trusting("127.0.0.0/8"), None).await;
    let server = Canned::start(OK).await;
    proxy.route("/user/a/", server.address);
    proxy.get("/user/a/", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n").await;
    proxy.get("/user/a/", "Forwarded: for=192.0.2.8;proto=https;host=hub.example\r\n").await;
    let heads = server.heads();
    let forwarded = "for=192.0.2.7, for=127.0.0.1;host=\"hub\";proto=https";
    assert_eq!(header(&heads[0], "forwarded").as_deref(), Some(forwarded));
    assert_eq!(header(&heads[1], "x-forwarded-for").as_deref(), Some("192.0.2.8, 127.0.0.1"));
    assert_eq!(header(&heads[1], "x-forwarded-host").as_deref(), Some("hub.example"));
    let far = start_with(trusting("10.0.0.0/8"), None).await;
    far.route("/user/a/", server.address);
    far.get("/user/a/", "Forwarded: for=192.0.2.8;proto=https\r\n").await;
    let forwarded = header(&server.heads()[2], "forwarded");
    assert_eq!(forwarded.as_deref(), Some("for=127.0.0.1;host=\"hub\";proto=http"));
}

#[tokio::test]
async fn the_proxy_protocol_names_the_browser_who_is_not_trusted() {
    let settings = ProxySettings { proxy_protocol: true, ..trusting("127.0.0.1") };
    let proxy = start_with(settings, None).await;
    let answer = proxy.talk(HEADER).await;
    assert!(answer.contains("address=192.0.2.7") && !answer.contains("6.6.6.6"), "{answer}");
    let without = proxy.talk("GET /hub/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await;
    assert_eq!(without, "");
}

#[tokio::test]
async fn the_proxy_protocol_is_not_taken_from_strangers() {
    let settings = ProxySettings { proxy_protocol: true, ..trusting("192.0.2.1") };
    assert_eq!(start_with(settings, None).await.talk(HEADER).await, "");
    let off = start_with(trusting("127.0.0.1"), None).await;
    assert!(!off.talk(HEADER).await.contains("address="), "without the option it is no request");
}
