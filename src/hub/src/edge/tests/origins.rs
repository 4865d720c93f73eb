//! Whose pages may use a server with its cookie.

use super::*;

#[tokio::test]
async fn only_the_servers_own_pages_use_it_with_a_cookie() {
    let mut site = Site::of("alice").await;
    site.enter().await;
    let site_is =
        |site: &'static str, mode: &'static str| [("sec-fetch-site", site), ("sec-fetch-mode", mode)];
    let document = ("sec-fetch-dest", "document");
    let frame = ("sec-fetch-dest", "iframe");
    let own_page = ("referer", "http://hub.example/user/alice/lab");
    let bobs_page = ("referer", "http://hub.example/user/bob/lab");
    for (method, fields, good) in [
        // Links from anywhere lead to it, in a window of their own.
        ("GET", vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), document], true),
        ("GET", vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate"), document], true),
        (
            "GET",
            vec![("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), document, bobs_page],
            true,
        ),
        ("GET", vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), frame], false),
        (
            "GET",
            vec![("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), frame, bobs_page],
            false,
        ),
        (
            "GET",
            vec![("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), frame, own_page],
            true,
        ),
        // Scripts, images and the like.
        ("GET", site_is("same-origin", "cors").to_vec(), true),
        ("GET", site_is("same-origin", "no-cors").to_vec(), true),
        ("GET", site_is("none", "no-cors").to_vec(), true),
        ("GET", site_is("same-site", "no-cors").to_vec(), false),
        ("GET", site_is("cross-site", "no-cors").to_vec(), false),
        ("GET", site_is("what", "cors").to_vec(), false),
        ("GET", vec![("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), bobs_page], false),
        ("GET", vec![("referer", "http://hub.example/hub/home")], false),
        ("GET", vec![("referer", "http://hub.example/")], true),
        ("GET", vec![("referer", "http://hub.example/user/%61lice/x?y")], true),
        ("GET", vec![("referer", "http://hub.example/user/alicex/")], false),
        ("GET", vec![("referer", "http://evil.example/user/alice/")], false),
        ("GET", vec![("origin", "http://evil.example"), ("accept", "text/html")], false),
        ("GET", vec![], true),
        // What changes something.
        ("POST", vec![("origin", OWN)], true),
        ("POST", vec![("origin", "http://HUB.example:80")], true),
        ("POST", vec![("origin", "null")], false),
        ("POST", vec![("origin", "http://hub.example.evil.example")], false),
        ("POST", vec![("origin", "http://hub.example:8000")], false),
        ("POST", vec![("origin", "http://evil@hub.example")], false),
        ("POST", vec![("origin", OWN), ("origin", "http://evil.example")], false),
        ("DELETE", vec![("origin", OWN), bobs_page], false),
        ("PUT", vec![own_page], true),
        ("PATCH", vec![("sec-fetch-site", "same-origin")], true),
        ("POST", vec![], false),
        ("POST", vec![("sec-fetch-site", "none")], false),
        ("OPTIONS", vec![("origin", "http://evil.example")], false),
        (
            "POST",
            vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), document, ("origin", OWN)],
            false,
        ),
    ] {
        let refused = site.is_refused(method, "/user/alice/api", &fields).await;
        assert_eq!(refused, !good, "{method} {fields:?}");
    }
}

#[tokio::test]
async fn only_the_servers_own_pages_open_sockets_with_a_cookie() {
    let mut site = Site::of("alice").await;
    site.enter().await;
    for (fields, good) in [
        (SOCKET.to_vec(), true),
        (vec![("sec-fetch-mode", "websocket"), ("origin", OWN)], true),
        (vec![("sec-fetch-mode", "websocket")], false),
        (vec![("sec-fetch-mode", "websocket"), ("origin", "http://evil.example")], false),
        (vec![("sec-fetch-mode", "websocket"), ("origin", "null")], false),
        (vec![("sec-fetch-mode", "websocket"), ("sec-fetch-site", "cross-site"), ("origin", OWN)], false),
        (vec![("sec-fetch-mode", "websocket"), ("sec-fetch-site", "same-site"), ("origin", OWN)], false),
    ] {
        assert_eq!(site.is_refused("GET", "/user/alice/ws", &fields).await, !good, "{fields:?}");
    }
}
