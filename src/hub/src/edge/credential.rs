//! Who comes: the cookie of one server, or an API token; and whether they may use the server, now.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use http::request::Parts;
use hubd_proto::Secret;
use hubd_store::StoreError;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{EDGE_COOKIE, Place, Refusal, cookie_name};
use crate::Hub;
use crate::auth::scopes::{Access, Scoped, Target, access};
use crate::auth::signed::{Check, Formats, sign, verify_dated};
use crate::auth::{bearer, cookie_values};

/// The scope that lets somebody use a server.
pub(crate) const ACCESS: &str = "access:servers";
/// How long access is remembered that may end by itself, because a share ends.
const SHARE_MEMORY: Duration = Duration::from_secs(1);
/// What a name does not keep in a header.
const NOT_IN_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// What was shown.
#[derive(Clone)]
pub(super) enum Credential {
    /// The value of the server's cookie.
    Cookie(Arc<Secret>),
    /// An API token.
    Token(Arc<Secret>),
}

/// The login that a cookie comes from.
struct Login {
    cookie_id: String,
    /// When it began, in seconds since 1970: names it among those of the user.
    began: i64,
}

/// Somebody who may use a server.
pub(super) struct Known {
    /// Which server: a cookie of another one is none here.
    prefix: String,
    /// Until when that holds if nobody writes to the database.
    until: SystemTime,
    /// Whether it is their own server.
    pub is_owner: bool,
    /// The name, as programs are told it.
    pub shown: HeaderValue,
}

impl Hub {
    /// Who a request comes from, if they may use the server.
    pub(super) fn edge_credential(
        &self,
        request: &Parts,
        place: &Place,
    ) -> Result<(Credential, Arc<Known>), Refusal> {
        if let Err(error) = self.notice_others() {
            tracing::warn!(%error, "cannot look for changes of the database");
        }
        // A token that is none of the hub's may be one of the program's own.
        if let Some(token) = bearer(&request.headers)
            && let Some(known) = self.known_by_token(token, place)?
        {
            return Ok((Credential::Token(Arc::new(Secret::new(token.to_owned()))), known));
        }
        let name = cookie_name(EDGE_COOKIE, self.is_https(request));
        let found = cookie_values(&request.headers, &name)
            .find_map(|value| Some((value, self.known_by_cookie(value, place)?)));
        let (value, known) = found.ok_or(Refusal::Unknown)?;
        Ok((Credential::Cookie(Arc::new(Secret::new(value.to_owned()))), known))
    }

    /// Whether what was shown still lets in.
    pub(super) fn still_lets_in(&self, credential: &Credential, place: &Place) -> bool {
        match credential {
            Credential::Cookie(value) => self.known_by_cookie(value.expose(), place).is_some(),
            Credential::Token(token) => matches!(self.known_by_token(token.expose(), place), Ok(Some(_))),
        }
    }

    /// The cookie for one server. It counts for as long as the login of `since`, in seconds since 1970.
    pub(super) fn sign_edge(&self, cookie_id: &str, place: &Place, since: i64) -> String {
        sign(&self.settings.cookie_secret, &signed_name(&place.prefix), cookie_id.as_bytes(), since)
    }

    fn known_by_cookie(&self, value: &str, place: &Place) -> Option<Arc<Known>> {
        let generation = self.store.generation();
        let now = self.clock.now();
        let moment = match self.edge.known.recall(generation, value) {
            Ok(known) if known.prefix == place.prefix && now < known.until => return Some(known),
            Ok(_) => self.edge.known.moment(generation),
            Err(moment) => moment,
        };
        let age_seconds_max = self.settings.cookie_max_age_days * 86400.0;
        let check = Check {
            secret: &self.settings.cookie_secret,
            name: &signed_name(&place.prefix),
            now: self.unix_now(),
            age_seconds_max,
            formats: Formats::Two,
        };
        let (cookie_id, began) = verify_dated(check, value)?;
        let login = Login { cookie_id: String::from_utf8(cookie_id).ok()?, began };
        let ends = UNIX_EPOCH + Duration::from_secs(u64::try_from(began).ok()?);
        let ends = ends + Duration::try_from_secs_f64(age_seconds_max).unwrap_or_default();
        let known = self.known_by_login(&login, place, (now, ends)).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up who comes to a server");
            None
        })?;
        let known = Arc::new(known);
        self.edge.known.keep(moment, value.to_owned(), Arc::clone(&known));
        Some(known)
    }

    fn known_by_login(
        &self,
        login: &Login,
        place: &Place,
        (now, ends): (SystemTime, SystemTime),
    ) -> Result<Option<Known>, StoreError> {
        let Some(user) = self.store.user_by_cookie_id(&login.cookie_id)? else { return Ok(None) };
        if self.is_blocked(&user.name) || !self.login_holds(user.id, login.began)? {
            return Ok(None);
        }
        let Scoped { scopes, lasting } = self.scoped_user(&user)?;
        let target = Target::Server(place.owner.as_str(), place.server.as_str());
        if access(&scopes, ACCESS, target, self.store.as_ref()) != Access::Allowed {
            return Ok(None);
        }
        self.note_person(&user, now);
        let is_owner = user.name == place.owner.as_str();
        let until = if lasting { ends } else { ends.min(now + SHARE_MEMORY) };
        Ok(shown(&user.name).map(|shown| Known { prefix: place.prefix.clone(), until, is_owner, shown }))
    }

    /// The holder of a token, if it is one of the hub's.
    fn known_by_token(&self, token: &str, place: &Place) -> Result<Option<Arc<Known>>, Refusal> {
        let caller = self.token_caller(token).map_err(|_| Refusal::Forbidden)?;
        let Some(caller) = caller else { return Ok(None) };
        let target = Target::Server(place.owner.as_str(), place.server.as_str());
        if access(&caller.scopes, ACCESS, target, self.store.as_ref()) != Access::Allowed {
            return Err(Refusal::Forbidden);
        }
        let shown = shown(caller.name()).ok_or(Refusal::Forbidden)?;
        let is_owner = caller.user().is_some_and(|user| user.name == place.owner.as_str());
        let until = self.clock.now();
        Ok(Some(Arc::new(Known { prefix: place.prefix.clone(), until, is_owner, shown })))
    }
}

/// The name under which a server's cookie is signed: one for another server is not valid here.
fn signed_name(prefix: &str) -> String {
    format!("{EDGE_COOKIE} {prefix}")
}

fn shown(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&utf8_percent_encode(name, NOT_IN_HEADER).to_string()).ok()
}
