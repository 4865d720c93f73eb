//! The API over the router, with a helper that pretends.

mod access;
mod auth_state;
mod changes;
mod memory;
mod metrics;
mod oauth;
mod openapi;
mod options;
mod permissions;
mod proxy;
mod records;
mod running;
mod services;
mod shares;
mod shutdown;

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hubd_store::{NewToken, NewUser, TokenOwner, hash_token, token_prefix};
use serde_json::Value;

use crate::Settings;
use crate::auth::LOGIN_COOKIE;
use crate::test_support::{TICKET, TestHub};

/// An answer, read to its end.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The status and `message` of an error.
    fn error(&self) -> (u16, Value) {
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        (self.status.as_u16(), body["message"].clone())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A hub with alice, bob, and the admin root1.
struct Api {
    test: TestHub,
}

impl Api {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let test = TestHub::with(change).await;
        let users = [("alice", false), ("bob", false), ("root1", true)].map(|(name, admin)| NewUser {
            name: name.into(),
            admin,
            cookie_id: format!("cookie-{name}"),
        });
        test.hub.store.create_users(&users, std::time::SystemTime::now()).unwrap();
        Self { test }
    }

    /// Makes a token; its text is `token-of-NAME-N`.
    fn token(&self, user: &str, scopes: &[&str]) -> String {
        let store = &self.test.hub.store;
        let owner = store.user(user).unwrap().unwrap().id;
        let number = store.tokens_of(TokenOwner::User(owner), std::time::SystemTime::now()).unwrap().len();
        let text = format!("{number}-token-of-{user}");
        let new = NewToken {
            owner: TokenOwner::User(owner),
            hashed: hash_token(&text, 1, [3; 8]),
            prefix: token_prefix(&text),
            client_id: "jupyterhub".into(),
            session_id: None,
            note: "test".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            created: std::time::SystemTime::now(),
            expires_at: None,
        };
        store.create_token(&new).unwrap();
        text
    }

    /// The `Cookie` header of a logged-in browser.
    fn cookie(&self, user: &str) -> String {
        let hub = &self.test.hub;
        let cookie_id = hub.store.user(user).unwrap().unwrap().cookie_id;
        let login = crate::auth::sign_login(hub, &cookie_id);
        format!("{LOGIN_COOKIE}=\"{login}\"; jupyterhub-session-id=session-{user}; hubd-ticket={TICKET}")
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = crate::routes::Site::new(self.test.hub.clone()).answer(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    /// A call with a token; an empty one is a stranger's.
    async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Reply {
        let mut request =
            Request::builder().method(method.parse::<Method>().unwrap()).uri(format!("/hub/api{path}"));
        if !token.is_empty() {
            request = request.header("authorization", format!("token {token}"));
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str, token: &str) -> Reply {
        self.call("GET", path, token, "").await
    }
}
