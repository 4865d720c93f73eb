//! What `hubd proxy` answers besides the proxy and its REST API: metrics, and the way from HTTP to HTTPS.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hubd_proxy::{App, BackendFailure, BoxBody, BoxFuture, Counters};

/// Bytes of a page of memory, in whose number the kernel counts.
const PAGE_BYTES: u64 = 4096;

/// `/metrics`.
pub struct Metrics(pub Arc<Counters>);

/// Sends everybody to the same address with `https://`, at this port.
pub struct ToHttps(pub u16);

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

impl App for ToHttps {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let location = host.and_then(|host| self.location(host, &request.uri().to_string()));
        let response = match location {
            Some(location) => {
                let mut response = reply(StatusCode::MOVED_PERMANENTLY, String::new());
                response.headers_mut().insert(LOCATION, location);
                response
            }
            None => {
                let text = format!(
                    "This server is HTTPS-only on port {}, but an HTTP request was made and the host could not \
                     be determined from the request.",
                    self.0
                );
                reply(StatusCode::BAD_REQUEST, text)
            }
        };
        Box::pin(std::future::ready(response))
    }

    fn backend_failed(&self, _: &Parts, _: &str, _: BackendFailure) -> Response<BoxBody> {
        reply(StatusCode::SERVICE_UNAVAILABLE, String::new())
    }
}

impl ToHttps {
    fn location(&self, host: &str, uri: &str) -> Option<HeaderValue> {
        // An IPv6 address keeps its brackets; the port goes.
        let end = host.find(']').map_or(0, |end| end + 1);
        let name = host.get(end..)?.split(':').next().map(|rest| end + rest.len());
        let name = host.get(..name?).filter(|name| !name.is_empty())?;
        let port = if self.0 == 443 { String::new() } else { format!(":{}", self.0) };
        HeaderValue::try_from(format!("https://{name}{port}{uri}")).ok()
    }
}

fn reply(status: StatusCode, text: String) -> Response<BoxBody> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_https_keeps_host_and_address() {
        let to =
            |port, host| ToHttps(port).location(host, "/a?b").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(to(443, "hub.example:8080").as_deref(), Some("https://hub.example/a?b"));
        assert_eq!(to(8443, "hub.example").as_deref(), Some("https://hub.example:8443/a?b"));
        assert_eq!(to(8443, "[::1]:80").as_deref(), Some("https://[::1]:8443/a?b"));
        assert_eq!(to(443, ""), None);
    }
}
