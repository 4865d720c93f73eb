//! Reading a posted form, within limits.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hubd_proto::Secret;
use zeroize::Zeroizing;

use super::{multipart, urls};
use crate::error::HttpError;

/// Longest body of a form, in bytes: the hub's own forms are below 4 KiB, a `next` may be long.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for a whole form; a slower sender holds a connection for nothing.
const FORM_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The fields of a form. All of them are treated as secret, because passwords are among them.
pub struct Form {
    fields: Vec<(String, Secret)>,
}

impl Form {
    /// Reads an urlencoded or multipart body. A body of another type has no fields, as in JupyterHub.
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, HttpError> {
        let bytes = tokio::time::timeout(FORM_READ_TIMEOUT, collect(body))
            .await
            .map_err(|_| HttpError::new(StatusCode::REQUEST_TIMEOUT, "The form did not arrive in time."))??;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if let Some(boundary) = multipart::boundary(kind) {
            return Ok(Self { fields: multipart::fields(&bytes, &boundary) });
        }
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Ok(Self { fields: Vec::new() });
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| HttpError::new(StatusCode::BAD_REQUEST, "The form is not UTF-8 text."))?;
        let fields = urls::pairs(text).into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Ok(Self { fields })
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.secret(name).map(Secret::expose)
    }

    /// All values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.expose())
    }

    /// All fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// The first value of a field that holds a secret.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The whole body, unless it is too long.
async fn collect(body: Body) -> Result<Zeroizing<Vec<u8>>, HttpError> {
    let mut body = Limited::new(body, FORM_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is larger than 64 KiB.")
            } else {
                HttpError::new(StatusCode::BAD_REQUEST, "The form broke off.")
            }
        })?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urlencoded() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=UTF-8".parse().unwrap(),
        );
        headers
    }

    #[tokio::test]
    async fn the_first_value_of_a_field_counts() {
        let form =
            Form::read(&urlencoded(), Body::from("a=1&a=2&b=%C3%BC+x")).await.unwrap_or_else(|_| panic!());
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), Some("ü x"));
        assert_eq!(form.get("c"), None);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_413() {
        let body = Body::from(vec![b'a'; FORM_BYTES_MAX + 1]);
        let error = Form::read(&urlencoded(), body).await.err().unwrap();
        assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_that_is_no_text_is_400() {
        let error = Form::read(&urlencoded(), Body::from(vec![0xff, 0xfe])).await.err().unwrap();
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn json_has_no_fields() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        let form = Form::read(&headers, Body::from("a=1")).await.unwrap_or_else(|_| panic!());
        assert_eq!(form.get("a"), None);
    }
}
