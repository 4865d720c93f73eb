//! One request of the proxy's own, to see whether a server is ready.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::backend::Failed;
use crate::call::{Call, Download};
use crate::flow::Link;
use crate::reply::ReplyHead;
use crate::{BackendFailure, Target, TargetTls, backend};

/// Sends one `GET` to `target` as the proxy would (peer check included) and returns status and headers.
/// For readiness checks: until something listens, the failure is [`BackendFailure::Refused`].
///
/// `path` is sent as it is; `timeout` covers connecting and the answer's head.
pub async fn probe(
    target: &Target,
    path: &str,
    timeout: Duration,
) -> Result<http::response::Parts, BackendFailure> {
    probe_service(target, None, path, timeout).await
}

/// As [`probe`], for targets that may want TLS.
pub async fn probe_service(
    target: &Target,
    tls: Option<&TargetTls>,
    path: &str,
    timeout: Duration,
) -> Result<http::response::Parts, BackendFailure> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ask((target, tls), path, head, timeout).await
}

/// Sends one `POST` without a body, with a token, as [`probe`] sends a `GET`. For what the hub asks of a server itself.
pub async fn post(
    target: &Target,
    path: &str,
    token: &str,
    timeout: Duration,
) -> Result<http::response::Parts, BackendFailure> {
    if token.bytes().any(|byte| !byte.is_ascii_alphanumeric()) {
        return Err(BackendFailure::BrokenAnswer);
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\nContent-Length: 0\r\n\r\n"
    );
    ask((target, None), path, head, timeout).await
}

async fn ask(
    (target, tls): (&Target, Option<&TargetTls>),
    path: &str,
    head: String,
    timeout: Duration,
) -> Result<http::response::Parts, BackendFailure> {
    let out = head.into_bytes();
    let exchange = async {
        let mut call = Call::new(open(target, tls, timeout).await?, out, None);
        let mut reply = ReplyHead::default();
        call.reply(&mut reply, false, None).await.map_err(|error| {
            tracing::debug!("probe of {target:?} got no answer: {error:?}");
            BackendFailure::BrokenAnswer
        })?;
        Ok(parts(&reply))
    };
    if !path.starts_with('/') || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(BackendFailure::BrokenAnswer);
    }
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(BackendFailure::Timeout))
}

async fn open(target: &Target, tls: Option<&TargetTls>, timeout: Duration) -> Result<Link, BackendFailure> {
    backend::open(target, timeout, tls).await.map_err(|Failed { kind, cause }| {
        // That nothing listens yet is what a probe is for.
        if kind == BackendFailure::WrongPeer {
            tracing::error!("{cause}");
        }
        kind
    })
}

/// Sends one `GET` and returns all of the answer.
pub(crate) async fn fetch(
    link: Link,
    host: &str,
    path: &str,
) -> Result<(http::response::Parts, Download), &'static str> {
    let out = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes();
    let (mut call, mut reply) = (Call::new(link, out, None), ReplyHead::default());
    call.reply(&mut reply, false, None).await.map_err(|_| "it gives no answer of HTTP")?;
    Ok((parts(&reply), Download::new(call, &reply, None)))
}

fn parts(reply: &ReplyHead) -> http::response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    parts.headers = HeaderMap::new();
    for field in reply.fields.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value))
        {
            parts.headers.append(name, value);
        }
    }
    parts
}

/// The body of `GET path` at `target`, asked with an API token; `limits` are the time for all of it and the body's
/// bytes. An answer other than 200 is [`BackendFailure::BrokenAnswer`].
pub async fn read(
    target: &Target,
    path: &str,
    token: &str,
    limits: (Duration, usize),
) -> Result<Bytes, BackendFailure> {
    let broken = || BackendFailure::BrokenAnswer;
    if !path.starts_with('/') || path.bytes().chain(token.bytes()).any(|byte| !byte.is_ascii_graphic()) {
        return Err(broken());
    }
    let out = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\nConnection: close\r\n\r\n"
    );
    let (timeout, bytes) = limits;
    let exchange = async {
        let link = open(target, None, timeout).await?;
        let (mut call, mut reply) = (Call::new(link, out.into_bytes(), None), ReplyHead::default());
        call.reply(&mut reply, false, None).await.map_err(|_| broken())?;
        if reply.status != StatusCode::OK.as_u16() {
            return Err(broken());
        }
        let body = Limited::new(Download::new(call, &reply, None), bytes).collect().await;
        Ok(body.map_err(|_| broken())?.to_bytes())
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(BackendFailure::Timeout))
}
