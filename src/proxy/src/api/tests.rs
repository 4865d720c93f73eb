use super::*;
use http_body_util::BodyExt;

fn api() -> Api {
    Api::new(Arc::default(), Some(Zeroizing::new("tok".to_owned())))
}

async fn ask_with(api: &Api, token: &str, method: &str, uri: &str, text: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(uri).header(AUTHORIZATION, token);
    let response = api.call(request.body(body::text(text.to_owned())).unwrap()).await;
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

async fn ask(api: &Api, method: &str, uri: &str, text: &str) -> (u16, String) {
    ask_with(api, "token tok", method, uri, text).await
}

const POST: &str = r#"{"target":"http://127.0.0.1:9300","user":"a","extra":[1]}"#;

#[tokio::test]
async fn routes_are_added_shown_and_removed() {
    let api = api();
    assert_eq!(ask(&api, "GET", "/api/routes", "").await, (200, "{}".to_owned()));
    assert_eq!(ask(&api, "POST", "/api/routes/user/a%20b@x", POST).await, (201, String::new()));
    let (status, text) = ask(&api, "GET", "/api/routes/", "").await;
    let start =
        r#"{"/user/a b@x":{"target":"http://127.0.0.1:9300","user":"a","extra":[1],"last_activity":""#;
    assert!(status == 200 && text.starts_with(start) && text.ends_with("Z\"}}"), "{text}");
    assert_eq!(ask(&api, "GET", "/api/routes/user/a%20b%40x/", "").await.0, 200);
    assert_eq!(ask(&api, "GET", "/api/routes/user", "").await, (404, String::new()));
    assert_eq!(ask(&api, "DELETE", "/api/routes/user/a%20b@x", "").await, (204, String::new()));
    assert_eq!(ask(&api, "DELETE", "/api/routes/user/a%20b@x", "").await, (404, String::new()));
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    for token in ["", "tok", "token", "token ", "token to", "token tokk", "Bearer tok", "Token tok"] {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(ask_with(&api(), token, method, "/api/routes", POST).await, (403, String::new()));
        }
    }
    for token in ["token tok", "x token   tok y", "tokentoken tok"] {
        assert_eq!(ask_with(&api(), token, "GET", "/api/routes", "").await.0, 200, "{token}");
    }
    let open = Api::new(Arc::default(), Some(Zeroizing::default()));
    assert_eq!(ask_with(&open, "", "GET", "/api/routes", "").await.0, 200);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    for (method, uri, text, status, answer) in [
        ("POST", "/api/routes/x", "{", 400, "Body not valid JSON: "),
        ("POST", "/api/routes/x", "{}", 400, "Must specify 'target' as string"),
        ("POST", "/api/routes/x", r#"{"target":1}"#, 400, "Must specify 'target' as string"),
        ("POST", "/api/routes/x", r#"{"target":"ftp://x"}"#, 400, "'target' must begin with"),
        ("POST", "/api/routes/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h", POST, 400, "the path must not have more"),
        ("POST", "/api/routes/x", r#"{"target":"https://x"}"#, 400, "'target' must be http:// or"),
        ("PUT", "/api/routes/x", POST, 405, "Method not supported"),
        ("GET", "/api/routesx", "", 404, "Not Found"),
        ("GET", "/api", "", 404, "Not Found"),
        (
            "GET",
            "/api/routes?inactive_since=nonsense",
            "",
            400,
            "Invalid datestamp 'nonsense' must be ISO8601.",
        ),
    ] {
        let (found, text) = ask(&api(), method, uri, text).await;
        assert!(found == status && text.starts_with(answer), "{method} {uri}: {found} {text}");
    }
    let long = format!(r#"{{"target":"http://x","pad":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    assert_eq!(ask(&api(), "POST", "/api/routes/x", &long).await.0, 413);
}

#[tokio::test]
async fn inactive_routes_are_found_by_time() {
    let api = api();
    ask(&api, "POST", "/api/routes/x", POST).await;
    for (query, found) in [
        ("inactive_since=2000-01-01T00:00:00Z", false),
        ("inactiveSince=2999-01-01T00:00:00.123Z", true),
        ("inactive_since=2999-01-01T00%3A00%3A00%2B02:00", true),
        ("inactive_since=2999-01-01", true),
        ("inactive_since=", true),
    ] {
        let (status, text) = ask(&api, "GET", &format!("/api/routes?{query}"), "").await;
        assert_eq!((status, text.contains("/x")), (200, found), "{query}: {text}");
    }
}

#[tokio::test]
async fn the_programs_own_routes_are_shown_and_left_alone() {
    let api = api();
    let target = |port| Target { endpoint: Endpoint::Tcp(([127, 0, 0, 1], port).into()), uid: Some(1) };
    api.routes.add_with("/pre/user/a/", target(1), RouteData::default().with("user", "a"));
    let hub = RouteData::default().with("hub", true);
    let api = api.keeping("/pre/", target(8081), hub, &["/pre/hub/".to_owned()]);
    let (_, text) = ask(&api, "GET", "/api/routes", "").await;
    assert!(text.starts_with(r#"{"/pre":{"hub":true,"target":"http://127.0.0.1:8081","last_act"#), "{text}");
    assert!(text.contains(r#""/pre/user/a":{"user":"a","target":"http://127.0.0.1:1","last_act"#), "{text}");
    for path in ["/pre", "/pre/", "/pre/hub", "/pre/hub/x", "/pre/h%75b", "/pre/user/a", "/pre/user/%61/"] {
        let uri = format!("/api/routes{path}");
        let refusal = (409, "the route is the hub's own".to_owned());
        assert_eq!(ask(&api, "POST", &uri, POST).await, refusal, "{path}");
        assert_eq!(ask(&api, "DELETE", &uri, "").await, refusal, "{path}");
    }
    assert_eq!(ask(&api, "POST", "/api/routes/pre/hubx", POST).await.0, 201);
    assert_eq!(ask(&api, "GET", "/api/routes/pre", "").await.0, 200);
}

#[tokio::test]
async fn hosts_are_noted_where_they_decide() {
    let api = api().with_hosts();
    ask(&api, "POST", "/api/routes/hub.example/user/a", POST).await;
    ask(&api, "POST", "/api/routes/", POST).await;
    let (_, text) = ask(&api, "GET", "/api/routes/hub.example/user/a", "").await;
    assert!(text.contains(r#""extra":[1],"host":"hub.example","last_activity":""#), "{text}");
    let (_, text) = ask(&api, "GET", "/api/routes", "").await;
    assert_eq!(text.matches("\"host\"").count(), 1, "{text}");
}

#[tokio::test]
async fn a_slash_that_was_encoded_is_one_in_the_table() {
    let routes = Arc::new(Routes::new(crate::Slashes::Decoded));
    let api = Api::new(routes, None);
    assert_eq!(ask(&api, "POST", "/api/routes/user/a%2Fb/my-srv", POST).await.0, 201);
    assert_eq!(ask(&api, "GET", "/api/routes/user/a/b/my-srv", "").await.0, 200);
    assert!(ask(&api, "GET", "/api/routes", "").await.1.starts_with("{\"/user/a/b/my-srv\":"));
    assert_eq!(ask(&api, "POST", "/api/routes/user/%C3%BC~x", POST).await.0, 201);
    assert!(ask(&api, "GET", "/api/routes", "").await.1.contains("\"/user/ü~x\":"));
}
