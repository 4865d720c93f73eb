//! One request of the proxy's own, to see whether a server is ready.

use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::{Request, Uri};

use crate::body::Upload;
use crate::{BackendFailure, Target, backend};

/// Sends one `GET` to `target` as the proxy would (peer check included) and returns status and headers.
/// For readiness checks: until something listens, the failure is [`BackendFailure::Refused`].
///
/// `path` is sent as it is; `timeout` covers connecting and the answer's head.
pub async fn probe(
    target: &Target,
    path: &str,
    timeout: Duration,
) -> Result<http::response::Parts, BackendFailure> {
    let uri = Uri::try_from(path).map_err(|_| BackendFailure::BrokenAnswer)?;
    let mut request = Request::new(Upload::empty());
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    let exchange = async {
        let mut sender = backend::open(target, timeout, None).await?;
        let response = sender.send_request(request).await.map_err(|error| {
            tracing::debug!("probe of {target:?} got no answer: {error}");
            BackendFailure::BrokenAnswer
        })?;
        Ok(response.into_parts().0)
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(BackendFailure::Timeout))
}
