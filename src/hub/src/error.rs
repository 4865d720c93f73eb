//! One error type for handlers, and how it becomes an answer.

use http::StatusCode;

/// An answer that is not a success. API routes send it as JSON, pages as the error page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// The status.
    pub status: StatusCode,
    /// JupyterHub's `message`; `None` is `null` in JSON.
    pub message: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl HttpError {
    /// An error with JupyterHub's text.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()), retry_after_seconds: None }
    }

    /// An error whose `message` is `null`, as JupyterHub's 404 and 405.
    pub fn bare(status: StatusCode) -> Self {
        Self { status, message: None, retry_after_seconds: None }
    }

    /// 400 with JupyterHub's text.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403 with JupyterHub's text.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404 with JupyterHub's text.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }
}

impl From<hubd_store::StoreError> for HttpError {
    fn from(error: hubd_store::StoreError) -> Self {
        tracing::error!(%error, "database");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The hub's database cannot be used at the moment. Try again soon.",
        )
    }
}
