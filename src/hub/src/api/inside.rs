//! Calls of the API by the hub's own pages: what a form does is what the API does, with the same
//! permissions, checks and words.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::request::Parts;
use http::{HeaderName, Method, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::auth::Caller;

/// Longest answer that a page reads, in bytes: that of 20,000 users.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Headers of the person's request that the call has too: the ticket is in a cookie.
const KEPT: [HeaderName; 1] = [header::COOKIE];

/// Who calls, as the page has found out. Nothing that comes over the network can say so.
#[derive(Clone)]
pub struct Inside(pub Caller);

/// The API, for pages; they find it in the extensions of their requests.
#[derive(Clone)]
pub struct ForPages {
    /// Its routes.
    pub api: Router,
    /// Where they are: `/hub/api`.
    pub prefix: Arc<str>,
}

/// What the API answered.
#[derive(Debug)]
pub struct Called {
    /// Its status.
    pub status: StatusCode,
    /// Its JSON; `null` for an empty body.
    pub body: Value,
}

impl Called {
    /// Whether it worked.
    pub fn is_ok(&self) -> bool {
        self.status.is_success()
    }

    /// What the API says against it.
    pub fn message(&self) -> String {
        let message = self.body.get("message").and_then(Value::as_str);
        message.map_or_else(|| self.status.to_string(), str::to_owned)
    }
}

impl ForPages {
    /// Calls `method` on `path`, which is below `/hub/api` and encoded, for `caller`.
    pub async fn call(
        &self,
        caller: Caller,
        request: &Parts,
        (method, path): (Method, &str),
        body: Option<Value>,
    ) -> Called {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut call =
            match Request::builder().method(method).uri(format!("{}{path}", self.prefix)).body(body) {
                Ok(call) => call,
                Err(_) => return Called { status: StatusCode::BAD_REQUEST, body: Value::Null },
            };
        for name in KEPT {
            for value in request.headers.get_all(&name) {
                call.headers_mut().append(name.clone(), value.clone());
            }
        }
        call.extensions_mut().insert(Inside(caller));
        let answer = match self.api.clone().oneshot(call).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status();
        let bytes = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = bytes.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Called { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }
}
