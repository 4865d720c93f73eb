//! One call of the API: who asks, for what, and whether they may.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use http::{Request, StatusCode};
use hubd_proto::{ServerName, UserName};
use hubd_store::User;

use super::answer::ApiError;
use super::inside::Inside;
use crate::Hub;
use crate::around::Noted;
use crate::auth::Caller;
use crate::auth::scopes::{Access, Target, access};
use crate::error::HttpError;
use crate::pages::urls;

/// One call of the API.
pub struct Ask {
    /// The hub.
    pub hub: Arc<Hub>,
    /// The request without its body.
    pub parts: Parts,
    caller: Option<Caller>,
    captures: RawPathParams,
}

impl FromRequestParts<Arc<Hub>> for Ask {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, ApiError> {
        let captures =
            RawPathParams::from_request_parts(parts, hub).await.map_err(|_| not_text(parts.uri.path()))?;
        let caller = match parts.extensions.get::<Inside>() {
            Some(inside) => {
                hub.notice_others()?;
                Some(inside.0.clone())
            }
            None => hub.caller(parts)?,
        };
        if let (Some(caller), Some(noted)) = (&caller, parts.extensions.get::<Noted>()) {
            noted.asker(caller);
        }
        // Nobody behind reads more of the request than its body.
        let parts = std::mem::replace(parts, Request::new(()).into_parts().0);
        Ok(Self { hub: Arc::clone(hub), parts, caller, captures })
    }
}

/// The error of a path of which a segment is not UTF-8, in JupyterHub's words.
fn not_text(path: &str) -> HttpError {
    let segments = path.split('/').map(|segment| percent_encoding::percent_decode_str(segment).collect());
    let bad = segments.map(|bytes: Vec<u8>| bytes).find(|bytes| std::str::from_utf8(bytes).is_err());
    HttpError::bad_request(format!(
        "Invalid unicode in url: {}",
        super::python::bytes(&bad.unwrap_or_default())
    ))
}

impl Ask {
    /// What the path says for `name`, decoded; nothing for a segment that it does not have.
    pub fn path(&self, name: &str) -> &str {
        self.captures.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The query's parameters.
    pub fn query(&self) -> Vec<(String, String)> {
        urls::pairs(self.parts.uri.query().unwrap_or_default())
    }

    /// One parameter of the query, without blanks around it: the last one of several.
    pub fn argument(&self, name: &str) -> Result<Option<String>, HttpError> {
        let raw = self.parts.uri.query().unwrap_or_default();
        let named = |pair: &&str| urls::decode(pair.split('=').next().unwrap_or_default()) == name;
        let Some(pair) = raw.split('&').rfind(named) else { return Ok(None) };
        let value = pair.split_once('=').map_or("", |(_, value)| value).replace('+', " ");
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(&value).collect();
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(_) => {
                let shown = super::python::bytes(&bytes);
                Err(HttpError::bad_request(format!("Invalid unicode in {name}: {shown}")))
            }
        }
    }

    /// Somebody: a stranger gets JupyterHub's 403.
    pub fn somebody(&self) -> Result<&Caller, ApiError> {
        self.caller.as_ref().ok_or_else(|| HttpError::forbidden("Missing or invalid credentials.").into())
    }

    /// The same call, by somebody whom its body names.
    pub fn acting_as(self, caller: Caller) -> Self {
        if let Some(noted) = self.parts.extensions.get::<Noted>() {
            noted.asker(&caller);
        }
        Self { caller: Some(caller), ..self }
    }

    /// Whoever asks, strangers included.
    pub fn anybody(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The caller, who must hold one of `scopes` for `target`. Whoever holds one for something else only
    /// gets 404, so that nobody learns what exists.
    pub fn need(&self, scopes: &[&str], target: Target<'_>) -> Result<&Caller, ApiError> {
        let caller = self.somebody()?;
        let answers = scopes.iter().map(|scope| self.access(caller, scope, target));
        let mut elsewhere = false;
        for answer in answers {
            match answer {
                Access::Allowed => return Ok(caller),
                Access::Elsewhere => elsewhere = true,
                Access::Denied => {}
            }
        }
        if elsewhere {
            return Err(HttpError::not_found("No access to resources or resources not found").into());
        }
        let text =
            format!("Action is not authorized with current scopes; requires any of [{}]", scopes.join(", "));
        Err(HttpError::forbidden(text).into())
    }

    /// Whether the caller holds `scope` for `target`.
    pub fn access(&self, caller: &Caller, scope: &str, target: Target<'_>) -> Access {
        access(&caller.scopes, scope, target, self.hub.store.as_ref())
    }

    /// The user that the path names; 404 without text if there is none.
    pub fn user(&self) -> Result<Arc<User>, ApiError> {
        let user = self.hub.store.recent_user(self.path("name"))?;
        user.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND).into())
    }

    /// The names of the server that the path names.
    pub fn server(&self) -> Result<(UserName, ServerName), ApiError> {
        let not_found = |_| HttpError::bare(StatusCode::NOT_FOUND);
        let user = UserName::new(self.path("name")).map_err(not_found)?;
        let server = ServerName::new(self.path("server")).map_err(not_found)?;
        Ok((user, server))
    }
}
