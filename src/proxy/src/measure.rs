//! The rules that `benches/` measures, each as one call. For nobody else.

use std::sync::Arc;

use crate::answer::Rules;
use crate::framing::Length;
use crate::head::{self, Outgoing};
use crate::origin::{Origin, Peer};
use crate::path::CanonicalPath;
use crate::reply::ReplyHead;
use crate::request::RequestHead;
use crate::routes::{Route, Routes};
use crate::screen::screen;
use crate::{Endpoint, Limits, ProxySettings, Target};

/// How long the canonical form of a path is; nothing if it has none.
pub fn canonical_path(path: &str) -> Option<usize> {
    CanonicalPath::new(path).ok().map(|path| path.as_str().len())
}

/// Whether a request has a route.
pub fn is_routed(routes: &Routes, host: &str, path: &str) -> bool {
    CanonicalPath::new(path).is_ok_and(|path| routes.find_at(host, &path).is_some())
}

/// What is done to the heads of one request and its answer.
pub struct Heads {
    settings: ProxySettings,
    peer: Peer,
    origin: Origin,
    route: Arc<Route>,
    request: RequestHead,
    reply: ReplyHead,
}

impl Heads {
    /// For a stranger's browser and a server behind `/user/alice/`.
    pub fn new() -> Option<Self> {
        let settings =
            ProxySettings { hub_cookies: vec!["hub-login".to_owned()], ..ProxySettings::default() };
        let routes = Routes::default();
        routes.add("/user/alice/", Target { endpoint: Endpoint::Unix("server".into()), uid: None });
        let route = routes.find(&CanonicalPath::new("/user/alice/").ok()?)?;
        let request = RequestHead::default();
        let peer = Peer::new("192.0.2.1".parse().ok(), true, &settings);
        let origin = Origin::new(peer, "hub.example.org", &request.fields, &settings);
        Some(Self { settings, peer, origin, route, request, reply: ReplyHead::default() })
    }

    /// Reads the head of a request, judges it and writes it for the server. False if it is refused.
    pub fn request(&mut self, head: &[u8], out: &mut Vec<u8>) -> bool {
        let read = self.request.read(head, Limits::default().headers);
        if !read.is_ok_and(|length| length.is_some()) || screen(&mut self.request, None).is_err() {
            return false;
        }
        let outgoing = Outgoing {
            target: self.request.target().into(),
            authority: "localhost",
            told: Some(&self.origin.lines),
            replaced: Vec::new(),
            upgrade: None,
            key: None,
            takes_authorization: false,
            hidden_cookies: &[],
        };
        head::write(out, &self.request, &outgoing, (&self.settings, self.peer.trusted));
        true
    }

    /// Reads the head of an answer and writes it for the browser. False if it is broken.
    pub fn answer(&mut self, head: &[u8], out: &mut Vec<u8>) -> bool {
        if !self.reply.read(head, false).is_ok_and(|length| length.is_some()) {
            return false;
        }
        let rules = Rules {
            route: &self.route,
            path: "/user/alice/api/status",
            hub_cookies: &self.settings.hub_cookies,
            is_foreign: false,
            location: None,
            pass: None,
            host: "hub.example",
        };
        rules.write(out, &self.reply, Length::Known(2));
        true
    }
}
