//! Joins the hub to the proxy: what no route takes becomes a request of the hub's router.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use hubd_hub::Hub;
use hubd_hub::routes::Site;
use hubd_proxy::{Api, App, BackendFailure, BoxBody, BoxFuture};

/// The hub as the proxy sees it.
pub struct HubApp {
    hub: Arc<Hub>,
    site: Site,
}

impl HubApp {
    /// Wraps the hub and its routes.
    pub fn new(hub: Arc<Hub>) -> Arc<Self> {
        let site = Site::new(hub.clone());
        Arc::new(Self { hub, site })
    }
}

impl App for HubApp {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        Box::pin(async move {
            let body = |body: BoxBody| if body.is_end_stream() { Body::empty() } else { Body::new(body) };
            let answer = self.site.answer(request.map(body)).await;
            answer.map(|body| body.map_err(Into::into).boxed_unsync())
        })
    }

    fn backend_failed(
        &self,
        request: &http::request::Parts,
        route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody> {
        let answer = hubd_hub::pages::backend_failed(&self.hub, request, route, failure);
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

/// What the inner port answers: the hub, and the REST API over the proxy's routes.
pub struct InnerApp {
    api: Api,
    hub: Arc<HubApp>,
}

impl InnerApp {
    /// Both.
    pub fn new(api: Api, hub: Arc<HubApp>) -> Self {
        Self { api, hub }
    }
}

impl App for InnerApp {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        if Api::takes(request.uri().path()) { self.api.call(request) } else { self.hub.call(request) }
    }

    fn backend_failed(
        &self,
        request: &http::request::Parts,
        route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody> {
        self.hub.backend_failed(request, route, failure)
    }
}
