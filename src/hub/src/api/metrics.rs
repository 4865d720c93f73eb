//! Prometheus' view of the hub.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

use super::ask::Ask;
use crate::auth::scopes::Target;
use crate::error::HttpError;
use crate::pages::PageError;

/// `GET /metrics`, at the hub's prefix and the API's.
///
/// A refusal is a page, as JupyterHub's.
pub async fn read(ask: Ask) -> Result<Response, PageError> {
    if ask.hub.settings.authenticate_prometheus && ask.need(&["read:metrics"], Target::All).is_err() {
        return Err(HttpError::forbidden("Access to metrics requires scope 'read:metrics'").into());
    }
    let mut response = Response::new(Body::from(ask.hub.metrics_text()?));
    let kind = HeaderValue::from_static("text/plain; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
