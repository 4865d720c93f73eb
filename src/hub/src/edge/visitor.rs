//! Other people's pages, where all servers share one host. For a browser they are of one origin, so a page of
//! mallory's server, opened by alice, could ask and read alice's own server and the hub. What is sent along with
//! mallory's pages keeps them in mallory's part of the site.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What pages of `prefix` on `origin` get for a visitor. A policy's sources can name paths (CSP level 3, section 6.7.2.8),
/// but not after a redirect, so redirects out of the prefix are dropped besides. Windows of the page's own could be
/// opened anywhere on the site and looked into: the sandbox does not have them.
pub(super) fn confining(origin: &str, prefix: &str) -> Vec<(HeaderName, HeaderValue)> {
    let sockets = origin.replacen("http", "ws", 1);
    let own = format!("{origin}{prefix}");
    let policy = format!(
        "default-src {own} {sockets}{prefix} data: blob: 'unsafe-inline' 'unsafe-eval'; form-action {own}; base-uri {own}; \
         frame-ancestors 'self'; sandbox allow-scripts allow-same-origin allow-forms allow-downloads allow-modals"
    );
    // A host that cannot stand in a policy gets one that lets nothing run.
    let is_source = origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/[]".contains(&byte));
    let policy = Some(policy).filter(|_| is_source).and_then(|policy| HeaderValue::from_str(&policy).ok());
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'; sandbox"));
    vec![(CONTENT_SECURITY_POLICY, policy), (OPENER_POLICY, HeaderValue::from_static("same-origin"))]
}
