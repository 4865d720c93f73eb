//! The metrics of `hubd proxy`.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hubd_proxy::{App, BackendFailure, BoxBody, BoxFuture, Counters};

/// Bytes of a page of memory, in whose number the kernel counts.
const PAGE_BYTES: u64 = 4096;

/// `/metrics`.
pub struct Metrics(pub Arc<Counters>);

impl App for Metrics {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        let response = if request.uri().path() == "/metrics" {
            let mut text = self.0.exposition();
            text.push_str(&memory());
            let mut response = reply(StatusCode::OK, text);
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        } else {
            reply(StatusCode::NOT_FOUND, "Not Found".to_owned())
        };
        Box::pin(std::future::ready(response))
    }

    fn backend_failed(&self, _: &Parts, _: &str, _: BackendFailure) -> Response<BoxBody> {
        reply(StatusCode::SERVICE_UNAVAILABLE, String::new())
    }
}

/// The process' memory, if the kernel tells.
fn memory() -> String {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    resident.map_or(String::new(), |pages| {
        let name = "process_resident_memory_bytes";
        let help = "Resident memory size in bytes.";
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}\n", pages * PAGE_BYTES)
    })
}

fn reply(status: StatusCode, text: String) -> Response<BoxBody> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
