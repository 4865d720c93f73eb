//! The proxy over loopback sockets: real ones at both ends, and by hand where bytes matter.
//!
//! What JupyterHub with configurable-http-proxy gets wrong, and which test holds it here:
//!
//! | attack | tests |
//! |---|---|
//! | a server sets the hub's cookies, `Clear-Site-Data`, HSTS, a worker for the whole site | `forwarding::hub_cookies_do_not_reach_servers_and_servers_cannot_set_them`, and those of `answer.rs` |
//! | `..`, `%2e%2e`, `%2f`, absolute-form targets | `smuggling::paths_must_be_clear`, `smuggling::absolute_form_goes_to_the_server_in_origin_form`, `replay::nothing_that_was_ever_sent_reaches_a_server_in_a_wrong_form`, the property tests of `path.rs` and `routes.rs` |
//! | two hosts, two framings, HTTP/0.9, TRACE, odd codings | `smuggling::hosts_must_be_clear`, `smuggling::framing_must_be_clear`, `smuggling::methods_and_versions_must_be_known`, over HTTP/2 `http2::what_is_ambiguous_is_refused` and `conformance` |
//! | an unasked 101, a truncated answer, bytes behind an Upgrade request | `websockets::a_protocol_nobody_asked_for_is_a_broken_answer`, `websockets::bytes_after_the_request_wait_for_the_servers_agreement`, `websockets::bytes_after_a_refused_upgrade_are_the_next_request`, `streaming::a_truncated_answer_ends_the_browsers_connection` |
//! | `next=` with control characters, `//`, `@`, Unicode dots | in the hub: `nothing_leads_away_or_into_a_header`, `odd_addresses_are_never_a_fault_of_the_hub` |
//! | slow heads, bodies and readers | `lifetime::slow_heads_are_cut_off`; in the proxy's own tests `a_body_that_does_not_come_is_given_up`, `a_browser_that_does_not_read_is_given_up` |
//! | `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, `Remote-User` of strangers | `forwarding::forwarded_headers_count_only_from_trusted_proxies`, `front_proxies` |
//! | floods of HTTP/2 | `floods` |
//! | whatever leaks | `soak::nothing_leaks_whoever_dies` |

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

mod chp;
mod conformance;
mod descriptors;
mod floods;
mod forwarding;
mod front_proxies;
mod guards;
mod http2;
mod lifetime;
mod limits;
mod messages;
mod peers;
mod replay;
mod smuggling;
mod soak;
mod stale;
mod streaming;
mod tls;
mod websockets;
