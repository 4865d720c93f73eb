//! Whether a request is one that the server's own pages make. A browser sends cookies with requests of any page; it
//! also says whose page it was, in `Origin`, `Sec-Fetch-*` (not over plain HTTP) and `Referer`.

use http::request::Parts;
use http::{HeaderMap, Method, header};
use hubd_proxy::Wish;

use super::{Place, text};
use crate::Hub;
use crate::pages::urls;

/// The part of the web that is one's own.
pub(super) struct OwnSite<'a> {
    /// Hosts, with their ports, under which this site is known: that of the request, and the public one.
    hosts: [Option<String>; 2],
    /// Whether it is spoken to over TLS.
    https: bool,
    /// The server's part, where other people's servers share the host.
    prefix: Option<&'a str>,
}

impl Hub {
    pub(super) fn own_site<'a>(&self, request: &Parts, place: &'a Place) -> OwnSite<'a> {
        let shared = self.settings.subdomains.is_none();
        let public = self.public_origin().filter(|_| shared);
        OwnSite {
            hosts: [Some(self.host(request)), public.and_then(|url| Some(host_of(&url)?.to_owned()))],
            https: self.is_https(request),
            prefix: shared.then_some(place.prefix.as_str()),
        }
    }
}

/// Whether somebody opens a page, as far as the browser says.
pub(super) fn is_visit(request: &Parts, wish: Wish) -> bool {
    let headers = &request.headers;
    let reads = matches!(request.method, Method::GET | Method::HEAD) && wish == Wish::Answer;
    reads
        && match text(headers, "sec-fetch-mode") {
            Some(mode) => mode == "navigate" && text(headers, "sec-fetch-dest") == Some("document"),
            None => text(headers, "accept").is_some_and(|accept| accept.contains("text/html")),
        }
}

/// Refuses what a page of somebody else has caused, except that it leads the person here.
pub(super) fn check(request: &Parts, wish: Wish, own: &OwnSite<'_>) -> Result<(), &'static str> {
    let headers = &request.headers;
    let site = text(headers, "sec-fetch-site");
    let is_own_site = site.is_none_or(|site| ["same-origin", "none"].contains(&site));
    if is_visit(request, wish) && !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    if !is_own_site {
        return Err("Pages of another site may lead to this server, but not use it.");
    }
    let origin = origin(headers, own)?;
    let reads = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if wish == Wish::Upgrade && origin == Told::Nothing {
        return Err("A WebSocket that is opened with a cookie must have an Origin.");
    }
    let referer = referer(headers, own)?;
    // A browser says at least one of them when it sends something.
    if !reads && [origin, referer] == [Told::Nothing; 2] && site != Some("same-origin") {
        return Err("A request that changes something with a cookie must have an Origin.");
    }
    Ok(())
}

/// What a header says of where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Own,
}

fn origin(headers: &HeaderMap, own: &OwnSite<'_>) -> Result<Told, &'static str> {
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let Some(origin) = origins.next() else { return Ok(Told::Nothing) };
    let is_own = origin.to_str().is_ok_and(|origin| own.has(origin));
    if is_own && origins.next().is_none() {
        Ok(Told::Own)
    } else {
        Err("The Origin is not that of this server.")
    }
}

/// A page that wants to hide where it is can, so this only stops those that do not know.
fn referer(headers: &HeaderMap, own: &OwnSite<'_>) -> Result<Told, &'static str> {
    let Some(referer) = text(headers, "referer").filter(|referer| !referer.is_empty()) else {
        return Ok(Told::Nothing);
    };
    let path_at = referer.find("://").and_then(|at| Some(at + 3 + referer.get(at + 3..)?.find('/')?));
    let (site, path) = referer.split_at(path_at.unwrap_or(referer.len()));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    // Some pages tell their site, but not their path.
    let is_within = |prefix: &str| {
        let (path, prefix) = (urls::decode(path), urls::decode(prefix));
        path.len() < 2 || path.starts_with(prefix.as_ref()) || prefix.strip_suffix('/') == Some(path.as_ref())
    };
    if own.has(site) && own.prefix.is_none_or(is_within) {
        return Ok(Told::Own);
    }
    Err("Pages of another server may lead to this one, but not use it.")
}

impl OwnSite<'_> {
    /// Whether this is scheme and host of the own site.
    fn has(&self, origin: &str) -> bool {
        let scheme_good = origin.starts_with("https://") || (!self.https && origin.starts_with("http://"));
        let default_port = if origin.starts_with("https:") { ":443" } else { ":80" };
        let bare = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_ascii_lowercase();
        let host = host_of(origin).map(bare);
        scheme_good && host.is_some() && self.hosts.iter().flatten().any(|own| Some(bare(own)) == host)
    }
}

/// `hub.example:8000` of `https://hub.example:8000`; nothing if more follows.
fn host_of(origin: &str) -> Option<&str> {
    let (_, host) = origin.split_once("://")?;
    Some(host).filter(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#']))
}
