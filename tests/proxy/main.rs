//! The proxy over loopback sockets: real ones at both ends, and by hand where bytes matter.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

mod chp;
mod descriptors;
mod floods;
mod forwarding;
mod front_proxies;
mod http2;
mod lifetime;
mod limits;
mod messages;
mod peers;
mod smuggling;
mod streaming;
mod tls;
mod websockets;
