//! Every URL of the hub, one line each.

use std::sync::Arc;

use axum::Router;

use crate::Hub;

/// The hub as a service: pages, API, static files, and the redirect of everything outside the hub prefix.
pub fn router(hub: Arc<Hub>) -> Router {
    todo!()
}
