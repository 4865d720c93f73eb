//! The port for plain HTTP, which only tells browsers where https is.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};

use crate::{App, BackendFailure, BoxBody, BoxFuture, Client, body};

/// The port of https, which needs no mention.
const HTTPS_PORT: u16 = 443;

/// Sends every request to the same address with https.
pub struct Redirect {
    /// The port that browsers reach https at.
    pub port: u16,
}

impl App for Redirect {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        Box::pin(std::future::ready(self.answer(&request)))
    }

    fn backend_failed(&self, _: &http::request::Parts, _: &str, _: BackendFailure) -> Response<BoxBody> {
        refused()
    }
}

impl Redirect {
    fn answer(&self, request: &Request<BoxBody>) -> Response<BoxBody> {
        let host = request.extensions().get::<Arc<Client>>().map_or("", |client| name_of(&client.host));
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let location = match self.port {
            HTTPS_PORT => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        let Some(location) = HeaderValue::from_str(&location).ok().filter(|_| !host.is_empty()) else {
            return refused();
        };
        let mut response = Response::new(body::text("This hub speaks HTTPS.\n"));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(header::LOCATION, location);
        response
    }
}

fn refused() -> Response<BoxBody> {
    let mut response = Response::new(body::text("This hub speaks HTTPS, and the request names no host.\n"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    let end = host.rfind(':').filter(|at| !host.get(*at..).unwrap_or_default().contains(']'));
    end.and_then(|at| host.get(..at)).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(port: u16, host: &str, uri: &str) -> Option<String> {
        let mut request = Request::get(uri).body(body::text("")).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        request.extensions_mut().insert(Arc::new(Client { address, https: false, host: host.to_owned() }));
        let answer = Redirect { port }.answer(&request);
        let location = answer.headers().get(header::LOCATION);
        location.map(|location| location.to_str().unwrap().to_owned())
    }

    #[test]
    fn browsers_are_sent_to_the_same_address_with_https() {
        assert_eq!(location(443, "hub:80", "/a?b=1").as_deref(), Some("https://hub/a?b=1"));
        assert_eq!(location(8443, "hub", "/").as_deref(), Some("https://hub:8443/"));
        assert_eq!(location(443, "[::1]:80", "/").as_deref(), Some("https://[::1]/"));
        assert_eq!(location(443, "[::1]", "/").as_deref(), Some("https://[::1]/"));
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_send_to() {
        assert_eq!(location(443, "", "/"), None);
        assert_eq!(location(443, ":80", "/"), None);
    }
}
