//! Joins the hub to the proxy: what no route takes becomes a request of the hub's router.

use std::sync::Arc;

use axum::Router;
use http::{Request, Response};
use http_body_util::BodyExt;
use hubd_hub::Hub;
use hubd_proxy::{App, BackendFailure, BoxBody, BoxFuture};
use tower::ServiceExt;

/// The hub as the proxy sees it.
pub struct HubApp {
    router: Router,
}

impl HubApp {
    /// Wraps the hub and its routes.
    pub fn new(hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { router: hubd_hub::routes::router(hub) })
    }
}

impl App for HubApp {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        let router = self.router.clone();
        Box::pin(async move {
            let answer = router.oneshot(request.map(axum::body::Body::new)).await;
            let answer = answer.unwrap_or_else(|never| match never {});
            answer.map(|body| body.map_err(Into::into).boxed_unsync())
        })
    }

    fn backend_failed(
        &self,
        request: &http::request::Parts,
        route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody> {
        tracing::warn!(route, ?failure, "{} {} failed", request.method, request.uri.path());
        let mut answer = Response::new(axum::body::Body::from("The server does not answer.\n"));
        *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}
