//! Prometheus' view of the hub.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

use super::answer::Answer;
use super::ask::Ask;
use crate::auth::scopes::Target;

/// `GET /metrics`, at the hub's prefix and the API's.
pub async fn read(ask: Ask) -> Answer {
    ask.need(&["read:metrics"], Target::All)?;
    let mut response = Response::new(Body::from(ask.hub.metrics_text()?));
    let kind = HeaderValue::from_static("text/plain; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
