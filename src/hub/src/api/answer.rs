//! Answers: JSON as Python writes it, errors in JupyterHub's form, and the headers of all.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::auth::hex;
use crate::error::HttpError;

/// The policy of the API's answers: they are never pages.
const POLICY: &str = "frame-ancestors 'none'; default-src 'none'";

/// Headers of an answer, with those that are added later: making room once costs less.
const HEADERS: usize = 12;

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
    Tagged::new(value).answer(request)
}

/// The text of an answer to `GET`, and its tag.
#[derive(Debug)]
pub struct Tagged {
    text: Bytes,
    tag: Option<HeaderValue>,
}

impl Tagged {
    /// Writes a value and makes its tag.
    pub fn new(value: &Value) -> Self {
        let text = hubd_store::to_json(value).unwrap_or_else(|_| "null".to_owned());
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let tag = HeaderValue::try_from(format!("\"{}\"", hex(digest.as_ref()))).ok();
        Self { text: text.into(), tag }
    }

    /// How long the text is, in bytes.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The answer to a request with these headers.
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = if self.is_known(request) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = Response::new(Body::from(self.text.clone()));
            response.headers_mut().reserve(HEADERS);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        };
        if let Some(tag) = &self.tag {
            response.headers_mut().insert(header::ETAG, tag.clone());
        }
        response
    }

    /// Whether the client has it already.
    fn is_known(&self, request: &HeaderMap) -> bool {
        let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        known.flat_map(|tags| tags.split(',')).any(|known| {
            let known = known.trim().trim_start_matches("W/");
            self.tag.as_ref().is_some_and(|tag| tag == known)
        })
    }
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

/// The answer to `HEAD`.
pub async fn no_head() -> ApiError {
    HttpError::bare(StatusCode::METHOD_NOT_ALLOWED).into()
}

/// Adds the headers that all answers have; `path` is what was asked for.
pub fn dress(response: &mut Response, path: &str) {
    let headers = response.headers_mut();
    if path.ends_with("/hub/api/") || path.ends_with("/hub/api") {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    // Pages of the OAuth provider bring their own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
