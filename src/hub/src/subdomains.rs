//! `JupyterHub.subdomain_host`: everybody's servers on a host of their own, so that browsers keep what the servers
//! serve apart from one another and from the hub.

mod label;

use label::{LABEL_BYTES_MAX, label, legacy_label};

/// `JupyterHub.subdomain_hook`: how a name becomes a part of a host's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubdomainHook {
    /// The name if it is a label; IDNA if it is one in another script; otherwise its beginning and a hash.
    Idna,
    /// The name with all that is not allowed in a label escaped by underscores.
    Legacy,
}

/// The hosts of a hub whose servers have hosts of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subdomains {
    scheme: String,
    domain: String,
    port: Option<u16>,
    hook: SubdomainHook,
}

impl Subdomains {
    /// Hosts below that of `url`, such as `https://hub.example.org:8000`; nothing if that is no URL with the name
    /// of a host. `domain` is the hub's own host, if it is another one.
    pub fn new(url: &str, domain: Option<&str>, hook: SubdomainHook) -> Option<Self> {
        let (scheme, host) =
            url.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme))?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port != 0)?)),
            None => (host, None),
        };
        let domain = domain.unwrap_or(name).to_ascii_lowercase();
        let named = is_host_name(name) && is_host_name(&domain);
        named.then(|| Self { scheme: scheme.to_owned(), domain, port, hook })
    }

    /// Scheme, host and port of the hub itself: `https://hub.example.org:8000`.
    pub fn origin(&self) -> String {
        format!("{}://{}{}", self.scheme, self.domain, self.port_text())
    }

    /// The hub's own host, without a port: `hub.example.org`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The host of somebody's servers, without a port: `alice.hub.example.org`.
    pub fn host_of_user(&self, name: &str) -> String {
        let label = match self.hook {
            SubdomainHook::Idna => label(name),
            SubdomainHook::Legacy => legacy_label(name),
        };
        format!("{label}.{}", self.domain).to_ascii_lowercase()
    }

    /// The host of a service, without a port: `formgrader--service.hub.example.org`.
    pub fn host_of_service(&self, name: &str) -> String {
        let label = match self.hook {
            SubdomainHook::Idna => format!("{}--service", label(name)),
            SubdomainHook::Legacy => "services".to_owned(),
        };
        format!("{label}.{}", self.domain).to_ascii_lowercase()
    }

    /// Scheme, host and port of a service.
    pub fn origin_of_service(&self, name: &str) -> String {
        format!("{}://{}{}", self.scheme, self.host_of_service(name), self.port_text())
    }

    /// Scheme, host and port of somebody's servers: `https://alice.hub.example.org:8000`.
    pub fn origin_of_user(&self, name: &str) -> String {
        format!("{}://{}{}", self.scheme, self.host_of_user(name), self.port_text())
    }

    /// All of those, as a source in a page's policy: `https://*.hub.example.org:8000`.
    pub fn policy_source(&self) -> String {
        format!("{}://*.{}{}", self.scheme, self.domain, self.port_text())
    }

    /// Whether `host`, with or without a port, is below the hub's own: some person's.
    pub fn is_below(&self, host: &str) -> bool {
        let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        name.strip_suffix(&self.domain).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Whether a URL's host and port are the hub's or a person's, as they are written in its own URLs.
    pub(crate) fn owns(&self, authority: &str) -> bool {
        let own = format!("{}{}", self.domain, self.port_text());
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let below = |rest: &str| rest.is_empty() || (rest.ends_with('.') && rest.bytes().all(part));
        authority.strip_suffix(&own).is_some_and(below)
    }

    fn port_text(&self) -> String {
        self.port.map(|port| format!(":{port}")).unwrap_or_default()
    }
}

/// Whether a text is the name of a host, with a letter in its last part: addresses have no subdomains.
fn is_host_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !part.is_empty() && part.len() <= LABEL_BYTES_MAX && part.bytes().all(allowed)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.split('.').all(is_part) && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hosts(hook: SubdomainHook) -> Subdomains {
        Subdomains::new("https://hub.example", None, hook).unwrap()
    }

    #[test]
    fn names_become_the_hosts_that_jupyterhub_gives_them() {
        let vectors: Value = serde_json::from_str(include_str!("testdata/subdomains.json")).unwrap();
        for case in vectors.as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            for (hook, key) in [(SubdomainHook::Idna, "idna_user"), (SubdomainHook::Legacy, "legacy_user")] {
                let expected = case[key].as_str().unwrap().to_lowercase();
                assert_eq!(hosts(hook).host_of_user(name), expected, "{key} {name}");
            }
        }
    }

    #[test]
    fn a_person_has_one_origin_and_the_hub_another() {
        let hosts = Subdomains::new("http://Hub.Example.org:9100", None, SubdomainHook::Idna).unwrap();
        assert_eq!(hosts.origin_of_user("alice"), "http://alice.hub.example.org:9100");
        assert_eq!(hosts.policy_source(), "http://*.hub.example.org:9100");
        assert_eq!(hosts.domain(), "hub.example.org");
        let moved =
            Subdomains::new("https://example.org", Some("hub.example.org"), SubdomainHook::Idna).unwrap();
        assert_eq!(moved.origin_of_user("alice"), "https://alice.hub.example.org");
    }

    #[test]
    fn a_service_has_a_host_that_no_person_can_have() {
        for (hook, host) in [
            (SubdomainHook::Idna, "lab--service.hub.example"),
            (SubdomainHook::Legacy, "services.hub.example"),
        ] {
            let hosts = Subdomains::new("https://hub.example", None, hook).unwrap();
            assert_eq!(hosts.host_of_service("lab"), host);
            assert_eq!(hosts.origin_of_service("lab"), format!("https://{host}"));
        }
    }

    #[test]
    fn what_is_no_host_has_no_subdomains() {
        for bad in [
            "hub.example.org",
            "ftp://hub",
            "https://",
            "https://127.0.0.1",
            "https://[::1]",
            "https://hub/path",
            "https://hub:0",
            "https://hub:x",
            "https://a@hub",
            "https://h b",
            "https://.hub",
            "https://hub.",
        ] {
            assert_eq!(Subdomains::new(bad, None, SubdomainHook::Idna), None, "{bad}");
        }
    }

    #[test]
    fn only_hosts_below_the_hubs_are_peoples() {
        let hosts = hosts(SubdomainHook::Idna);
        for yes in ["alice.hub.example", "Alice.HUB.example:8000", "a.b.hub.example."] {
            assert!(hosts.is_below(yes), "{yes}");
        }
        for no in
            ["hub.example", "evilhub.example", "hub.example.evil", "127.0.0.1:8000", "", "alice.example"]
        {
            assert!(!hosts.is_below(no), "{no}");
        }
        assert!(hosts.owns("hub.example") && hosts.owns("a.hub.example"));
        assert!(
            !hosts.owns("evil@a.hub.example")
                && !hosts.owns("hub.example:80")
                && !hosts.owns("evilhub.example")
        );
    }
}
