//! The answers of `hubd proxy` itself: its sign of life, and pages for what could not be proxied.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::destination::Destination;
use crate::foreign::{ForeignHub, HEALTH};
use crate::target_tls::TargetTls;
use crate::{App, BackendFailure, BoxBody, BoxFuture, backend, body, probe};

/// How long the error target may take. The person waits for a page that says what is wrong.
const FETCH_TIME: Duration = Duration::from_secs(10);
/// The largest error page, in bytes.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// What stays plain in a query's value (URL standard, application/x-www-form-urlencoded).
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// Where the pages come from.
#[derive(Debug, Clone)]
pub enum ErrorPages {
    /// Built in.
    BuiltIn,
    /// Files `404.html`, `503.html` and `error.html` of a directory.
    Directory(PathBuf),
    /// A server, asked for `CODE?url=…` below the URL.
    Server(Destination),
}

/// Answers what no route takes with an error page.
pub struct ErrorApp {
    pages: ErrorPages,
    foreign: Arc<ForeignHub>,
}

impl ErrorApp {
    /// With pages from there.
    pub fn new(pages: ErrorPages, foreign: Arc<ForeignHub>) -> Self {
        Self { pages, foreign }
    }

    async fn page(&self, head: &Parts, status: StatusCode, cause: &str) -> Response<BoxBody> {
        self.foreign.counters.proxied(status.as_u16());
        tracing::error!("{} {} {} {cause}", status.as_u16(), head.method, head.uri.path());
        let mut response = if head.headers.contains_key("sec-websocket-key") {
            // No program behind a WebSocket shows a page.
            Response::new(body::text(""))
        } else {
            match self.fetch(head, status).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!("Failed to get custom error page: {error}");
                    html("text/plain; charset=utf-8", status.canonical_reason().unwrap_or_default())
                }
            }
        };
        *response.status_mut() = status;
        response
    }

    async fn fetch(&self, head: &Parts, status: StatusCode) -> Result<Response<BoxBody>, String> {
        match &self.pages {
            ErrorPages::BuiltIn => Ok(html("text/html", built_in(status))),
            ErrorPages::Directory(directory) => from_directory(directory, status).await,
            ErrorPages::Server(server) => {
                let fetched = tokio::time::timeout(
                    FETCH_TIME,
                    ask(server, self.foreign.tls.as_ref(), &head.uri, status),
                )
                .await;
                fetched.unwrap_or_else(|_| Err("it does not answer in time".to_owned()))
            }
        }
    }
}

impl App for ErrorApp {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        let (head, _) = request.into_parts();
        Box::pin(async move {
            if head.uri == HEALTH {
                return html("application/json", "{\"status\":\"OK\"}");
            }
            self.page(&head, StatusCode::NOT_FOUND, "").await
        })
    }

    fn backend_failed(&self, _: &Parts, _: &str, _: BackendFailure) -> Response<BoxBody> {
        let mut response = html("text/html", built_in(StatusCode::SERVICE_UNAVAILABLE));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }

    fn answer_failure<'a>(
        &'a self,
        request: &'a Parts,
        _: &'a str,
        (_, cause): (BackendFailure, &'a str),
    ) -> BoxFuture<'a, Response<BoxBody>> {
        Box::pin(self.page(request, StatusCode::SERVICE_UNAVAILABLE, cause))
    }
}

async fn ask(
    server: &Destination,
    tls: Option<&TargetTls>,
    url: &Uri,
    status: StatusCode,
) -> Result<Response<BoxBody>, String> {
    let url = url.to_string();
    let slash = if server.path.ends_with('/') { "" } else { "/" };
    let and = if server.query.is_empty() { String::new() } else { format!("{}&", server.query) };
    let path = format!(
        "{}{slash}{}?{and}url={}",
        server.path,
        status.as_u16(),
        utf8_percent_encode(&url, QUERY_VALUE)
    );
    tracing::debug!("Requesting custom error page: {path}");
    let opened = backend::open(&server.target, FETCH_TIME, tls).await;
    let link = opened.map_err(|failed| failed.cause.into_owned())?;
    let (head, page) = probe::fetch(link, &server.authority, &path).await?;
    let page = body::collect(page, PAGE_BYTES_MAX).await.ok_or("it is larger than 1 MiB, or broke off")?;
    let mut response = Response::new(body::text(page));
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

async fn from_directory(directory: &Path, status: StatusCode) -> Result<Response<BoxBody>, String> {
    for name in [format!("{}.html", status.as_u16()), "error.html".to_owned()] {
        let path = directory.join(name);
        match tokio::fs::read(&path).await {
            Ok(text) => return Ok(html("text/html", text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Err(format!("{} has neither {}.html nor error.html", directory.display(), status.as_u16()))
}

fn built_in(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => {
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>404: Not Found</title>\n\
             <h1>404: Not Found</h1>\n<p>No service is registered at this URL.</p>\n"
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>503: Proxy Target Missing</title>\n\
             <h1>503: Proxy Target Missing</h1>\n<p>The service behind this URL is not available.</p>\n"
        }
        _ => "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Proxy Error</title>\n<h1>Proxy Error</h1>\n",
    }
}

fn html(kind: &'static str, text: impl Into<bytes::Bytes>) -> Response<BoxBody> {
    let mut response = Response::new(body::text(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
