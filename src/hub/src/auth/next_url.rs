//! Where a login or a start goes on: only ever to a path of our own origin.

use http::request::Parts;
use hubd_proto::ServerName;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Browser;
use crate::Hub;
use crate::pages::urls::{decode, pairs};
use crate::subdomains::Subdomains;

/// Longest `next` in bytes: as long as a request line may reasonably be; a longer one counts as not given.
const NEXT_BYTES_MAX: usize = 8192;

/// What a `Location` header cannot carry as it is, or what browsers read as something else.
const UNSAFE_IN_LOCATION: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');

/// Query parameters that are not carried on to where the person goes by default.
const NOT_CARRIED: [&str; 2] = ["next", "_xsrf"];

impl Hub {
    /// The validated `next` of a login or start, or where the person belongs (`default_url`, server, spawn, home).
    pub fn next_url(&self, parts: &Parts, browser: Option<&Browser>) -> String {
        let query = parts.uri.query().unwrap_or("");
        let origin = self.origin(parts);
        let next = query_value(query, "next")
            .and_then(|next| own_path(&next, &origin, self.settings.subdomains.as_ref()));
        next.unwrap_or_else(|| with_query(self.home_of(browser), query))
    }

    /// Scheme and host that the person sees.
    pub(crate) fn origin(&self, parts: &Parts) -> String {
        self.public_origin().unwrap_or_else(|| {
            let scheme = if self.is_https(parts) { "https" } else { "http" };
            format!("{scheme}://{}", self.host(parts))
        })
    }

    /// Scheme and host of `public_url`, if it is set.
    pub(crate) fn public_origin(&self) -> Option<String> {
        let url = self.settings.public_url.as_ref()?;
        Some(url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"))
    }

    /// Where a person belongs who did not ask for anything else.
    fn home_of(&self, browser: Option<&Browser>) -> String {
        if let Some(url) = &self.settings.default_url {
            return utf8_percent_encode(url, UNSAFE_IN_LOCATION).to_string();
        }
        let prefix = self.settings.hub_prefix();
        match browser {
            Some(browser) if self.settings.redirect_to_server => {
                let server = ServerName::default();
                if self.server(&browser.name, &server).state.is_active() {
                    self.server_url(&browser.name, &server)
                } else {
                    format!("{prefix}spawn")
                }
            }
            _ => format!("{prefix}home"),
        }
    }
}

/// The path of `next`, if it is one of our own: what JupyterHub accepts, and nothing that a browser could
/// take for another host or that cannot be sent in a header. A URL on the host of a person's servers counts by its
/// path, from which the hub finds the way there.
pub(super) fn own_path(next: &str, origin: &str, hosts: Option<&Subdomains>) -> Option<String> {
    if next.is_empty() || next.len() > NEXT_BYTES_MAX || next.chars().any(char::is_control) {
        return None;
    }
    let next = next.replace('\\', "%5C");
    let next = match next.strip_prefix("///") {
        Some(_) => format!("//{}", next.trim_start_matches('/')),
        None => next,
    };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let path = strip_own(&next, origin).or_else(|| strip_own(&next, &format!("//{host}")));
    let path = path.or_else(|| strip_host(&next, hosts?));
    let path = match path {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => next,
    };
    let is_path = path.starts_with('/') && !path.starts_with("//");
    is_path.then(|| utf8_percent_encode(&path, UNSAFE_IN_LOCATION).to_string())
}

/// What follows `origin` in `url`, if the authority ends there.
fn strip_own<'a>(url: &'a str, origin: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(origin)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// What follows the host in `url`, if it is one of `hosts`.
fn strip_host<'a>(url: &'a str, hosts: &Subdomains) -> Option<&'a str> {
    let (scheme, rest) = url.split_once("//")?;
    let (authority, rest) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    (["", "http:", "https:"].contains(&scheme) && hosts.owns(authority)).then_some(rest)
}

/// Carries the request's other parameters on.
fn with_query(url: String, query: &str) -> String {
    let name = |pair: &&str| decode(pair.split('=').next().unwrap_or_default()).into_owned();
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !NOT_CARRIED.contains(&name(pair).as_str()))
        .collect();
    match (kept.is_empty(), url.contains('?')) {
        (true, _) => url,
        (false, false) => format!("{url}?{}", kept.join("&")),
        (false, true) => format!("{url}&{}", kept.join("&")),
    }
}

/// The first value of a parameter in a query, decoded.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    pairs(query).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::subdomains::SubdomainHook;

    #[test]
    fn the_same_urls_are_accepted_as_in_jupyterhub() {
        let vectors: Value = serde_json::from_str(include_str!("testdata/next_url.json")).unwrap();
        let cases = vectors.as_object().unwrap().values().find_map(Value::as_array).unwrap();
        for case in cases {
            let subdomain_host = case["subdomain_host"].as_str().unwrap();
            let hosts = Subdomains::new(subdomain_host, None, SubdomainHook::Idna);
            let public = case["public_url"].as_str().unwrap().trim_end_matches('/');
            let origin = if public.is_empty() {
                format!(
                    "{}://{}",
                    case["request_proto"].as_str().unwrap(),
                    case["request_host"].as_str().unwrap()
                )
            } else {
                public.to_owned()
            };
            let path = own_path(case["next"].as_str().unwrap(), &origin, hosts.as_ref());
            assert_eq!(path.unwrap_or_default(), case["result"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn nothing_leads_away_or_into_a_header() {
        let origin = "https://hub.example";
        for bad in [
            "/x\r\nSet-Cookie: a=b",
            "\r\n//evil.com",
            "https://hub.example@evil.com/",
            "https://hub.example.evil.com/",
            "//hub.example@evil.com",
            "http:/\\/evil.com",
            "\t//evil.com",
            "https:evil.com",
            "javascript:alert(1)//",
        ] {
            assert_eq!(own_path(bad, origin, None), None, "{bad:?}");
        }
        assert_eq!(own_path("/\\/evil.com", origin, None).as_deref(), Some("/%5C/evil.com"));
        assert_eq!(own_path("/a b\u{2025}", origin, None).as_deref(), Some("/a%20b%E2%80%A5"));
        assert_eq!(own_path(&format!("/{}", "x".repeat(NEXT_BYTES_MAX)), origin, None), None);
    }

    #[test]
    fn other_parameters_are_carried_on() {
        assert_eq!(with_query("/hub/home".into(), "next=&a=1&_xsrf=x&b=%20"), "/hub/home?a=1&b=%20");
        assert_eq!(with_query("/hub/home?c=1".into(), "a=1"), "/hub/home?c=1&a=1");
        assert_eq!(with_query("/hub/home".into(), "next=x"), "/hub/home");
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(query_value("a=1&next=%2Fhub+x&next=2", "next").as_deref(), Some("/hub x"));
        assert_eq!(query_value("a=1", "next"), None);
        assert_eq!(query_value("next", "next").as_deref(), Some(""));
    }
}
