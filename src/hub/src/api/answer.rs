//! Answers: JSON as Python writes it, errors in JupyterHub's form, and the headers of all.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::ask::AskerSlot;
use crate::auth::hex;
use crate::error::HttpError;

/// The policy of the API's answers: they are never pages.
const POLICY: &str = "frame-ancestors 'none'; default-src 'none'";
/// Where implicit HEAD is allowed, as in JupyterHub.
const HEALTH: &str = "/health";

/// An error of the API, as JSON. More keys than JupyterHub's two come from failed starts.
#[derive(Debug)]
pub struct ApiError {
    error: HttpError,
    more: Map<String, Value>,
}

/// What handlers return.
pub type Answer = Result<Response, ApiError>;

impl ApiError {
    /// Tells more than status and message.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.more.insert(key.to_owned(), value);
        self
    }
}

impl<E: Into<HttpError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self { error: error.into(), more: Map::new() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "status": self.error.status.as_u16(), "message": self.error.message });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.more);
        }
        let mut response = json_answer(self.error.status, &body);
        if let Some(seconds) = self.error.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer.
pub fn json_answer(status: StatusCode, value: &Value) -> Response {
    let text = hubd_store::to_json(value).unwrap_or_else(|_| "null".to_owned());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The JSON answer to a `GET`: with an `Etag`, or 304 if the client has it already.
pub fn read_answer(request: &HeaderMap, value: &Value) -> Response {
    let text = hubd_store::to_json(value).unwrap_or_else(|_| "null".to_owned());
    let tag = format!("\"{}\"", hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref()));
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = if known {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(Body::from(text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An unknown path.
pub async fn unknown() -> ApiError {
    HttpError::bare(StatusCode::NOT_FOUND).into()
}

/// A known path, asked with another method. `OPTIONS` is answered for all of them, without asking who it is.
pub async fn wrong_method(request: Request) -> Response {
    if request.method() != Method::OPTIONS {
        return ApiError::from(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED)).into_response();
    }
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Around every known path: JupyterHub answers `HEAD` with 405; the router would take it for `GET`.
pub async fn no_head(request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD && request.uri().path() != HEALTH {
        return ApiError::from(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED)).into_response();
    }
    next.run(request).await
}

/// Around every request: who asks is kept for the log, and the headers of all answers.
pub async fn around(mut request: Request, next: Next) -> Response {
    let slot = AskerSlot::default();
    request.extensions_mut().insert(slot.clone());
    let path = request.uri().path();
    let is_root = path == "/" || path.ends_with("/hub/api/");
    let mut response = next.run(request).await;
    if let Some(asker) = slot.asker() {
        response.extensions_mut().insert(asker);
    }
    let headers = response.headers_mut();
    if is_root {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    // Pages of the OAuth provider bring their own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
