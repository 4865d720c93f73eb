//! Routes as they are added, found and removed.

use super::*;
use crate::Endpoint;
use proptest::prelude::*;

fn target(name: &str) -> Target {
    Target { endpoint: Endpoint::Unix(name.into()), uid: None }
}

fn table(prefixes: &[&str]) -> Routes {
    let routes = Routes::default();
    for prefix in prefixes {
        routes.add(prefix, target(prefix));
    }
    routes
}

fn found(routes: &Routes, path: &str) -> Option<String> {
    routes.find(&CanonicalPath::new(path).unwrap()).map(|route| route.prefix.clone())
}

#[test]
fn longest_prefix_of_whole_segments_wins() {
    let routes = table(&["/", "/user/a/", "/user/a/b/", "/services/x"]);
    for (path, prefix) in [
        ("/", "/"),
        ("/user/a", "/user/a/"),
        ("/user/a/", "/user/a/"),
        ("/user/a/c", "/user/a/"),
        ("/user/a/b", "/user/a/b/"),
        ("/user/a/b/c/d/e/f", "/user/a/b/"),
        ("/user/ab", "/"),
        ("/user/A", "/"),
        ("/user//a", "/"),
        ("//user/a", "/"),
        ("/services/x/y", "/services/x"),
        ("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18", "/"),
    ] {
        assert_eq!(found(&routes, path).as_deref(), Some(prefix), "{path}");
    }
}

#[test]
fn nothing_is_found_without_a_root_route() {
    let routes = table(&["/user/a/"]);
    assert_eq!(found(&routes, "/"), None);
    assert_eq!(found(&routes, "/user"), None);
    assert_eq!(found(&routes, "/hub/user/a/"), None);
}

#[test]
fn escaped_and_plain_forms_are_the_same_route() {
    let routes = table(&["/user/a%40b/", "/user/c d%2Fe/"]);
    assert_eq!(found(&routes, "/user/a@b/x").as_deref(), Some("/user/a%40b/"));
    // A blank cannot come raw from the wire, so a prefix with one is refused like a request with one.
    assert_eq!(routes.prefixes(), ["/user/a%40b/"]);
    assert!(routes.remove("/user/a@b"));
    assert_eq!(found(&routes, "/user/a@b/x"), None);
    assert!(!routes.remove("/user/a@b"));
}

#[test]
fn prefixes_that_no_request_can_have_are_not_added() {
    let deep = "/a".repeat(PREFIX_SEGMENTS_MAX + 1);
    assert!(table(&["/user/../a/", "/a%00/", "x", &deep]).prefixes().is_empty());
}

#[test]
fn replacing_a_route_changes_its_target_and_adding_it_again_keeps_its_activity() {
    let routes = table(&["/user/a/"]);
    let path = CanonicalPath::new("/user/a/").unwrap();
    routes.find(&path).unwrap().touch();
    routes.add("/user/a/", target("/user/a/"));
    assert!(routes.last_activity("/user/a").is_some());
    routes.add("/user/a/", target("other"));
    assert_eq!(routes.find(&path).unwrap().destination.target, target("other"));
    assert_eq!(routes.last_activity("/user/a"), None);
    assert_eq!(routes.prefixes().len(), 1);
}

#[test]
fn routes_to_one_target_share_its_connections_until_the_last_is_gone() {
    let routes = Routes::default();
    let of = |uid| Target { uid, ..target("socket") };
    let pool = |prefix| routes.get(prefix).unwrap().pool.clone();
    for (prefix, uid) in [("/a", Some(1000)), ("/b", Some(1000)), ("/c", Some(1001)), ("/d", None)] {
        routes.add(prefix, of(uid));
    }
    let (shared, other) = (pool("/a"), pool("/c"));
    assert!(Arc::ptr_eq(&shared, &pool("/b")));
    assert!(!Arc::ptr_eq(&shared, &other) && !Arc::ptr_eq(&other, &pool("/d")));
    routes.remove("/a");
    routes.add("/b", of(Some(1000)));
    assert!(!shared.is_closed() && Arc::ptr_eq(&shared, &pool("/b")));
    routes.add("/b", of(Some(1001)));
    assert!(shared.is_closed() && !other.is_closed() && Arc::ptr_eq(&other, &pool("/b")));
    routes.remove("/c");
    routes.remove("/b");
    assert!(other.is_closed());
}

#[test]
fn a_hundred_thousand_routes_are_added_and_found() {
    let routes = Routes::default();
    for number in 0..100_000 {
        routes.add(&format!("/user/u{number}/"), target("x"));
    }
    assert_eq!(routes.prefixes().len(), 100_000);
    assert_eq!(found(&routes, "/user/u77777/lab").as_deref(), Some("/user/u77777/"));
    assert_eq!(found(&routes, "/user/u100000/lab"), None);
}

#[test]
fn hosts_part_the_routes_where_prefixes_begin_with_one() {
    let routes = Routes::by_host();
    for prefix in ["/alice.hub.example/user/alice/", "/bob.hub.example/user/bob/", "/hub.example/services/x/"]
    {
        routes.add(prefix, target(prefix));
    }
    let at = |host: &str, path: &str| {
        routes.find_at(host, &CanonicalPath::new(path).unwrap()).map(|route| route.path().to_owned())
    };
    assert_eq!(at("alice.hub.example", "/user/alice/lab").as_deref(), Some("/user/alice/"));
    assert_eq!(at("ALICE.Hub.example.:8000", "/user/%61lice").as_deref(), Some("/user/alice/"));
    assert_eq!(at("hub.example:80", "/services/x/y").as_deref(), Some("/services/x/"));
    for (host, path) in [
        ("hub.example", "/user/alice/"),
        ("bob.hub.example", "/user/alice/"),
        ("alice.hub.example", "/user/bob/"),
        ("alice.hub.example.evil", "/user/alice/"),
        ("", "/alice.hub.example/user/alice/"),
        ("127.0.0.1:8000", "/alice.hub.example/user/alice/"),
        ("[::1]:8000", "/user/alice/"),
        ("..", "/user/alice/"),
    ] {
        assert_eq!(at(host, path), None, "{host} {path}");
    }
    let alice = routes.get("/alice.hub.example/user/alice").unwrap();
    assert!(alice.contains("/user/alice/lab") && alice.contains("/user/alice"));
    assert!(!alice.contains("/alice.hub.example/user/alice/lab") && !alice.contains("/"));
}

proptest! {
    #[test]
    fn a_request_never_reaches_the_server_of_another_prefix(
        raw in "/(user|%75ser|hub)(/([ab]|%61|%2f|%2e|\\.|/){0,5}){0,4}"
    ) {
        let routes = table(&["/user/a/", "/user/b/", "/user/a/b/"]);
        let Ok(path) = CanonicalPath::new(&raw) else { return Ok(()) };
        // The model: decode what stands between raw slashes, compare lists.
        let decode = |s: &str| percent_encoding::percent_decode_str(s).collect::<Vec<u8>>();
        let segments: Vec<_> = raw.split('/').skip(1).map(decode).collect();
        let is = |wanted: &[&str]| {
            segments.len() >= wanted.len() && segments.iter().zip(wanted).all(|(a, b)| a == b.as_bytes())
        };
        let expected = if is(&["user", "a", "b"]) { Some("/user/a/b/") }
            else if is(&["user", "a"]) { Some("/user/a/") }
            else if is(&["user", "b"]) { Some("/user/b/") }
            else { None };
        let route = routes.find(&path);
        prop_assert_eq!(route.as_ref().map(|r| r.prefix.as_str()), expected);
        if let Some(route) = route {
            prop_assert!(route.contains(&raw));
        }
    }
}
