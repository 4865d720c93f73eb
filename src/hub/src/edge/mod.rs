//! `auth = "edge"`: hubd itself checks who comes to a server, for every request and WebSocket, so that any web
//! program can be one.
//!
//! The way of a browser: a page of the server without a credential leads to `/hub/edge/NAME/SERVER`
//! (`pages/edge.rs`), where the person logs in if they have to, and says yes if the server is somebody else's; a code
//! that holds once, for this browser and this server (`entry.rs`), comes back to the server's own part of the site and
//! becomes a cookie for just that part. The cookie (`credential.rs`) ends with the login: at a logout its `cookie_id`
//! is nobody's any more. A program sends an API token instead. Whoever has either must have `access:servers` for the
//! server, now: what is remembered is forgotten with every commit.
//!
//! A cookie proves who sits before the browser, not who wrote the page that uses it: `origin.rs` looks at that. And
//! somebody else's page in one's own browser gets a policy that keeps it in its own part of the site (`visitor.rs`).
//! WebSockets and answers that go on are looked at again when something was written, and once a while (`exchanges.rs`).
//!
//! The server gets no credential of the hub's, but is told the person's name in `X-Forwarded-User`.

mod credential;
mod entry;
mod exchanges;
mod origin;
#[cfg(test)]
mod tests;
mod visitor;

use std::sync::{Arc, Weak};

use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hubd_proto::{ServerName, UserName};
use hubd_proxy::{Admission, Guard, Guarded, Pass, Wish};
use hubd_store::Memory;

use crate::Hub;
use crate::pages::edge::{Audience, edge_redirect, edge_refusal};

pub(crate) use credential::ACCESS;
use credential::{Credential, Known};
pub(crate) use entry::{Code, Codes, ENTRY};
use exchanges::Exchanges;

/// The cookie that lets a browser into one server.
pub const EDGE_COOKIE: &str = "hubd-edge";
/// The cookie that binds a code to the browser that asked for it.
pub const STATE_COOKIE: &str = "hubd-edge-state";
/// Cookies of the hub and of its OAuth clients: programs behind a guarded route have no use for them.
const HIDDEN_COOKIES: &[&str] = &["jupyterhub-"];
/// Longest path that a browser is sent back to, in bytes.
const PATH_BYTES_MAX: usize = 8192;
/// Who comes, as many programs know it from other proxies; percent-encoded outside ASCII.
const FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
/// The part of the address that a program does not see.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What the hub keeps for guarded servers.
#[derive(Default)]
pub(crate) struct Edge {
    pub(crate) codes: Codes,
    known: Memory<String, Arc<Known>>,
    exchanges: Exchanges,
}

/// One guarded server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whose it is.
    pub owner: UserName,
    /// Which of theirs.
    pub server: ServerName,
    /// Its part of the site: `/user/alice/`.
    pub prefix: String,
}

impl Place {
    /// The place of a server.
    pub fn new(hub: &Hub, owner: &UserName, server: &ServerName) -> Self {
        Self { owner: owner.clone(), server: server.clone(), prefix: hub.server_path(owner, server) }
    }

    /// Whether a path, with a query or without, is one of this server's, and can be sent in a header.
    pub fn has(&self, path: &str) -> bool {
        path.len() <= PATH_BYTES_MAX
            && path.starts_with(&self.prefix)
            && path.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// The guard of one server's route.
struct ServerGuard {
    hub: Weak<Hub>,
    place: Arc<Place>,
    strips_prefix: bool,
}

/// Why a request does not go on.
enum Refusal {
    /// The browser has to show first who sits before it.
    Unknown,
    /// The request is not one that the server's own pages make.
    Foreign(&'static str),
    /// Who asks is known, and may not.
    Forbidden,
}

/// What the route of a server has for a guard.
pub(crate) fn guarded(hub: &Arc<Hub>, place: Place, strips_prefix: bool) -> Guarded {
    let guard = ServerGuard { hub: Arc::downgrade(hub), place: Arc::new(place), strips_prefix };
    Guarded { guard: Arc::new(guard), hidden_cookies: HIDDEN_COOKIES, strips_prefix }
}

impl Guard for ServerGuard {
    fn admit(&self, request: &Parts, wish: Wish) -> Admission {
        // A hub that is gone answers nobody.
        let Some(hub) = self.hub.upgrade() else {
            return answer(StatusCode::SERVICE_UNAVAILABLE.into_response());
        };
        if let Some(response) = hub.enter(request, &self.place) {
            return answer(response);
        }
        match self.judge(&hub, request, wish) {
            Ok(pass) => match with_slash(request, &self.place.prefix) {
                Some(location) => answer(edge_redirect(&hub, request, &location)),
                None => Admission::Pass(pass),
            },
            Err(refusal) => answer(self.refuse(&hub, request, wish, &refusal)),
        }
    }
}

impl ServerGuard {
    fn judge(&self, hub: &Hub, request: &Parts, wish: Wish) -> Result<Pass, Refusal> {
        let generation = hub.store.generation();
        let (credential, known) = hub.edge_credential(request, &self.place)?;
        let by_token = matches!(credential, Credential::Token(_));
        if !by_token {
            origin::check(request, wish, &hub.own_site(request, &self.place)).map_err(Refusal::Foreign)?;
        }
        let mut pass = Pass { takes_authorization: by_token, ..Pass::default() };
        pass.tells.push((FORWARDED_USER, known.shown.clone()));
        if self.strips_prefix {
            let prefix = self.place.prefix.trim_end_matches('/');
            pass.tells.extend(HeaderValue::from_str(prefix).ok().map(|prefix| (FORWARDED_PREFIX, prefix)));
        }
        if !by_token && !known.is_owner && hub.settings.subdomains.is_none() {
            pass.adds = visitor::confining(&hub.origin(request), &self.place.prefix);
            pass.confines = true;
        }
        pass.end = Some(hub.edge.exchanges.open(credential.clone(), &self.place));
        // Who lost access before the exchange was noted is not found by those who look at what was.
        if hub.store.generation() != generation && !hub.still_lets_in(&credential, &self.place) {
            return Err(Refusal::Unknown);
        }
        Ok(pass)
    }

    fn refuse(&self, hub: &Arc<Hub>, request: &Parts, wish: Wish, refusal: &Refusal) -> Response {
        let is_visit = origin::is_visit(request, wish);
        if is_visit && matches!(refusal, Refusal::Unknown) {
            return hub.send_to_entry(request, &self.place);
        }
        let text = match refusal {
            Refusal::Unknown => "You are not logged in to this server. Open it again from the hub.",
            Refusal::Foreign(text) => {
                tracing::info!("{}: request refused: {text}", self.place.prefix);
                text
            }
            Refusal::Forbidden => "You may not use this server.",
        };
        let to = if is_visit { Audience::Person } else { Audience::Program };
        edge_refusal(hub, request, text, to)
    }
}

fn answer(response: Response) -> Admission {
    Admission::Answer(Box::new(response.map(|body| body.map_err(Into::into).boxed_unsync())))
}

/// Where a request for a server without the slash at its end goes, so that relative links lead into it.
fn with_slash(request: &Parts, prefix: &str) -> Option<String> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let path = request.uri.path();
    let is_bare = !path.ends_with('/') && path.matches('/').count() + 1 == prefix.matches('/').count();
    if !reads || !is_bare {
        return None;
    }
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{prefix}{query}"))
}

/// The text of a header, if it is there once and readable.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The name of a cookie as it is sent: over TLS with a prefix that keeps others from setting it without (RFC 6265bis
/// section 4.1.3.1). `__Host-` is not possible with a path.
pub(crate) fn cookie_name(name: &'static str, secure: bool) -> std::borrow::Cow<'static, str> {
    if secure { format!("__Secure-{name}").into() } else { name.into() }
}
