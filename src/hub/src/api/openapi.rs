//! The API's own description.

use axum::response::Response;
use http::{HeaderValue, header};

use super::answer::empty;

/// The document. A test compares it with the routes.
const DOCUMENT: &str = include_str!("../openapi.json");

/// `GET /openapi.json`, for everybody: it says nothing of this hub.
pub async fn read() -> Response {
    let mut response = empty(http::StatusCode::OK).map(|_| axum::body::Body::from(DOCUMENT));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
