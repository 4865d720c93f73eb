//! What the hub is: version, information, health.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, empty, read_answer};
use super::ask::Ask;
use crate::auth::scopes::Target;
use crate::hub::JUPYTERHUB_VERSION;
use crate::settings::AuthenticatorKind;

/// `GET /`: the version, for everybody.
pub async fn version(ask: Ask) -> Response {
    read_answer(&ask.parts.headers, &json!({ "version": JUPYTERHUB_VERSION }))
}

/// `GET /info`: details for those who run the hub. There is no Python in it, so it says what is.
pub async fn info(ask: Ask) -> Answer {
    ask.need(&["read:hub"], Target::All)?;
    let own = concat!("hubd ", env!("CARGO_PKG_VERSION"));
    let authenticator = match ask.hub.settings.authenticator.kind {
        AuthenticatorKind::Pam => "pam",
        AuthenticatorKind::Dummy { .. } => "dummy",
        AuthenticatorKind::Shared(_) => "shared-password",
        AuthenticatorKind::Null => "null",
    };
    let info = json!({
        "version": JUPYTERHUB_VERSION,
        "python": own,
        "sys_executable": "hubd",
        "spawner": { "class": "hubd-helper", "version": env!("CARGO_PKG_VERSION") },
        "authenticator": { "class": authenticator, "version": env!("CARGO_PKG_VERSION") },
    });
    Ok(read_answer(&ask.parts.headers, &info))
}

/// `GET /health`: the hub answers.
pub async fn health() -> Response {
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
