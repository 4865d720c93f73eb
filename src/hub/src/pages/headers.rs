//! Headers that every answer of the hub carries.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::Hub;
use crate::hub::JUPYTERHUB_VERSION;

/// JupyterHub's version header, which user servers compare with their own.
const X_JUPYTERHUB_VERSION: HeaderName = HeaderName::from_static("x-jupyterhub-version");
/// Other pages get no reference to a window of the hub.
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Two years, the time that browsers' preload lists ask for. No subdomains: they may not be the hub's.
const STRICT_TRANSPORT_SECURITY: &str = "max-age=63072000";
/// The policy of answers that are no pages.
const NOTHING_POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Number that a page's own inline script and style carry, 128 random bits as base64; new for each request.
#[derive(Debug, Clone)]
pub struct Nonce(pub String);

impl Nonce {
    /// Makes a nonce.
    pub fn new(hub: &Hub) -> Self {
        use base64::Engine as _;
        let mut bytes = [0; 16];
        hub.random.fill(&mut bytes);
        Self(base64::engine::general_purpose::STANDARD.encode(bytes))
    }
}

/// The policy of a page: nothing from elsewhere, no inline code without the nonce, never in a frame.
///
/// `static_files` is host and path of the hub's own static files, for templates of sites that know no nonce.
/// `'self'` would be too much: user servers live on the same origin, and what they serve must not become a
/// script of the hub. `people` is where forms may end besides: the hosts of people's servers, if they have some.
pub fn page_policy(nonce: &Nonce, static_files: &str, people: &str) -> String {
    let nonce = &nonce.0;
    let people = if people.is_empty() { String::new() } else { format!(" {people}") };
    let static_files = if is_source(static_files) { static_files } else { "" };
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}' {static_files}; \
         style-src 'nonce-{nonce}' {static_files}; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self'{people}; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Lets a page's form end, by redirects, at an application of another origin. Browsers hold `form-action`
/// against each redirect. `url` is the application's; one that is only a path needs nothing.
pub fn allow_form_target(headers: &mut HeaderMap, url: &str) {
    const OWN: &str = "form-action 'self'";
    let Some((scheme @ ("https" | "http"), rest)) = url.split_once("://") else { return };
    let origin = format!("{scheme}://{}", rest.split(['/', '?', '#']).next().unwrap_or_default());
    let policy = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let wider =
        policy.filter(|_| is_source(&origin)).map(|policy| policy.replace(OWN, &format!("{OWN} {origin}")));
    if let Some(Ok(policy)) = wider.map(|policy| HeaderValue::from_str(&policy)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Whether a text can stand in a policy as host and path. The host is what the browser sent.
fn is_source(text: &str) -> bool {
    !text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_~:/".contains(&byte))
}

/// Adds what an answer does not have yet. `https` is whether the browser used TLS.
pub fn add_common(headers: &mut HeaderMap, https: bool) {
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(X_JUPYTERHUB_VERSION, JUPYTERHUB_VERSION);
    // Without a header that allows an origin it allows nothing; JupyterHub sends it, and clients compare.
    add(header::ACCESS_CONTROL_ALLOW_HEADERS, "accept, content-type, authorization");
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::REFERRER_POLICY, "same-origin");
    add(CROSS_ORIGIN_OPENER_POLICY, "same-origin");
    add(header::CONTENT_SECURITY_POLICY, NOTHING_POLICY);
    if https {
        add(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_an_answer_has_already_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        add_common(&mut headers, true);
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(headers["x-jupyterhub-version"], "6.1.1");
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], STRICT_TRANSPORT_SECURITY);
    }

    #[test]
    fn plain_http_promises_no_tls() {
        let mut headers = HeaderMap::new();
        add_common(&mut headers, false);
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], NOTHING_POLICY);
    }

    #[test]
    fn a_form_may_end_at_the_application_it_is_about() {
        let policy_for = |url: &str| {
            let mut headers = HeaderMap::new();
            let policy = page_policy(&Nonce("abc".to_owned()), "", "");
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).unwrap());
            allow_form_target(&mut headers, url);
            headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
        };
        assert!(
            policy_for("https://app.example:1/cb?x").contains("form-action 'self' https://app.example:1;")
        );
        for own in
            ["/user/alice/oauth_callback", "https://a b/", "https://x;script-src *", "://", "javascript://x"]
        {
            assert!(policy_for(own).contains("form-action 'self';"), "{own}");
        }
    }

    #[test]
    fn pages_run_no_code_of_others() {
        let nonce = Nonce("abc".to_owned());
        let policy = page_policy(&nonce, "hub.example:8000/hub/static/", "");
        assert!(policy.contains("script-src 'nonce-abc' hub.example:8000/hub/static/;"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for bad in ["a; script-src *", "[::1]:8000/hub/static/", "/hub/static/", "* /x", "'self'"] {
            assert!(page_policy(&nonce, bad, "").contains("script-src 'nonce-abc' ;"), "{bad}");
        }
    }
}
