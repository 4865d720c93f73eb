//! The REST API below `/hub/api`.

use std::sync::Arc;

use axum::Router;

use crate::Hub;

/// The API's routes, to be nested below `<hub prefix>api`.
pub fn router(_hub: Arc<Hub>) -> Router {
    Router::new()
}
