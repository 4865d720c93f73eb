//! What both proxies are asked.

/// The proxies are started with these flags, then asked these things, in this order.
pub struct Group {
    pub flags: &'static [&'static str],
    pub cases: &'static [Case],
}

/// One request: to the REST API, or to the public side.
pub enum Case {
    /// Method, address below `/api/routes`, body.
    Api(&'static str, &'static str, &'static str),
    /// The same, with another `Authorization` header.
    ApiAs(&'static str, &'static str, &'static str),
    /// Request line without the version, further headers, body.
    Public(&'static str, &'static str, &'static str),
}

use Case::{Api, ApiAs, Public};

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const TO_TARGET: &str = r#"{"target":"http://TARGET","user":"alice","extra":[1]}"#;
const TO_NOBODY: &str = r#"{"target":"http://127.0.0.1:9"}"#;

/// `TARGET` is the address of the target.
pub const GROUPS: &[Group] = &[
    Group {
        flags: &[],
        cases: &[
            Api("GET", "", ""),
            Api("GET", "/", ""),
            ApiAs("GET", "", ""),
            ApiAs("GET", "", "token wrong"),
            ApiAs("GET", "", "Token tok"),
            ApiAs("GET", "", "Bearer tok"),
            ApiAs("GET", "", "x token   tok"),
            ApiAs("DELETE", "/user/alice", "token"),
            Api("POST", "/user/alice", "{"),
            Api("POST", "/user/alice", "{}"),
            Api("POST", "/user/alice", "null"),
            Api("POST", "/user/alice", r#"{"target":1}"#),
            Api("PUT", "/user/alice", TO_TARGET),
            Api("PATCH", "", TO_TARGET),
            Api("GET", "x", ""),
            Api("POST", "/user/alice", TO_TARGET),
            Api("POST", "/user/alice/deep/", TO_TARGET),
            Api("POST", "/user/Grace%20Hopper@x", TO_TARGET),
            Api("POST", "/user/a%2Fb/my-srv", TO_TARGET),
            Api("POST", "/user/%C3%BC~x", TO_TARGET),
            Api("POST", "/services/down", TO_NOBODY),
            Api("GET", "", ""),
            Api("GET", "/user/alice", ""),
            Api("GET", "/user/alice/", ""),
            Api("GET", "/user/Grace%20Hopper%40x", ""),
            Api("GET", "/user/a/b/my-srv", ""),
            Api("GET", "/user", ""),
            Api("GET", "?inactive_since=2000-01-01T00:00:00Z", ""),
            Api("GET", "?inactiveSince=2999-01-01T00:00:00.000Z", ""),
            Api("GET", "?inactive_since=nonsense", ""),
            Public("GET /_chp_healthz", "", ""),
            Public("GET /nothing?here=1", "", ""),
            Public("GET /user/alice", "", ""),
            Public("GET /user/alice/x?a=b&c=%20", "X-Sent: 1\r\nCookie: jupyterhub-hub-login=x; a=b\r\n", ""),
            Public("GET /user/alice/deep/x", "", ""),
            Public("GET /user/alicex", "", ""),
            Public("GET /user/Alice", "", ""),
            Public("GET /user/Grace%20Hopper@x/y", "", ""),
            Public("GET /user/a%2Fb/my-srv/y", "", ""),
            Public("GET /user/a/b/my-srv/y", "", ""),
            Public("GET /user/%C3%BC~x/%c3%bc", "", ""),
            Public("POST /user/alice/post", "Content-Length: 5\r\nContent-Type: text/plain\r\n", "hello"),
            Public("POST /user/alice/post", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            Public("PUT /user/alice/put", "Content-Length: 0\r\n", ""),
            Public("DELETE /user/alice/delete", "", ""),
            Public("OPTIONS /user/alice/options", "", ""),
            Public("HEAD /user/alice/head", "", ""),
            Public("GET /user/alice/cookies", "", ""),
            Public("GET /user/alice/418", "", ""),
            Public("GET /user/alice/redirect", "", ""),
            Public("GET /user/alice/hang-up", "", ""),
            Public("GET /services/down/x?y", "", ""),
            Public(
                "GET /user/alice/x",
                "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
                 X-Forwarded-Host: outside.example\r\n",
                "",
            ),
            Public("GET /user/alice/ws", WEBSOCKET, ""),
            Public("GET /nothing/ws", WEBSOCKET, ""),
            Public("GET /services/down/ws", WEBSOCKET, ""),
            Public("GET /user/alice/../x", "", ""),
            Public("GET /user/alice//double//", "", ""),
            Api("DELETE", "/user/alice", ""),
            Api("DELETE", "/user/alice", ""),
            Api("DELETE", "/user/%C3%BC~x/", ""),
            Public("GET /user/alice/deep/x", "", ""),
            Public("GET /user/alice/x", "", ""),
            Api("POST", "/", TO_TARGET),
            Public("GET /anything", "", ""),
            Api("DELETE", "/", ""),
            Api("GET", "", ""),
        ],
    },
    Group {
        flags: &["--host-routing", "--default-target", "http://TARGET/default"],
        cases: &[
            Api("GET", "", ""),
            Api("POST", "/hub.example/user/alice", TO_TARGET),
            Api("POST", "/other.example", TO_NOBODY),
            Api("GET", "", ""),
            Public("GET /user/alice/x", "", ""),
            Public("GET /user/bob/x", "", ""),
        ],
    },
    Group {
        flags: &[
            "--no-include-prefix",
            "--no-x-forward",
            "--custom-header",
            "X-Custom:  one ",
            "--custom-header=X-Sent:two",
        ],
        cases: &[
            Api("POST", "/user/alice", r#"{"target":"http://TARGET/base?k=v"}"#),
            Public("GET /user/alice/x?a=b", "X-Sent: 1\r\nX-Forwarded-For: 1.2.3.4\r\n", ""),
            Public("GET /user/alice", "", ""),
        ],
    },
    Group {
        flags: &["--no-prepend-path", "--change-origin"],
        cases: &[
            Api("POST", "/user/alice", r#"{"target":"http://TARGET/base/"}"#),
            Public("GET /user/alice/x?a=b", "", ""),
        ],
    },
    Group {
        flags: &["--auto-rewrite", "--protocol-rewrite", "https", "--error-target", "http://TARGET/errors"],
        cases: &[
            Api("POST", "/user/alice", r#"{"target":"http://TARGET/base/"}"#),
            Api("POST", "/services/down", TO_NOBODY),
            Public("GET /user/alice/redirect", "", ""),
            Public("GET /user/alice/x", "", ""),
            Public("GET /no%20thing?a=b&c=~d+e", "X-Sent: 1\r\n", ""),
            Public("POST /services/down/x", "Content-Length: 5\r\n", "hello"),
        ],
    },
    Group { flags: &["--error-target", "http://127.0.0.1:9/"], cases: &[Public("GET /nothing", "", "")] },
    Group {
        flags: &["--error-path", "PAGES"],
        cases: &[
            Api("POST", "/services/down", TO_NOBODY),
            Public("GET /nothing", "", ""),
            Public("GET /services/down", "", ""),
        ],
    },
];
