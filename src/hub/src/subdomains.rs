//! `JupyterHub.subdomain_host`: everybody's servers on a host of their own, so that browsers keep what the servers
//! serve apart from one another and from the hub.

use aws_lc_rs::digest::{SHA256, digest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::hex;

/// Longest label of a host's name, in bytes (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// How many characters of a name that makes no label are kept in the label made for it, as in JupyterHub.
const STUB_CHARACTERS: usize = 8;
/// How many digits of its hash follow, as in JupyterHub.
const HASH_DIGITS: usize = 7;
/// What Python's `quote(name, safe="")` leaves alone.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

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

/// JupyterHub's `_strict_dns_safe_encode`.
fn label(name: &str) -> String {
    // Two dashes are in all that is made here, so that no name is taken for another's label.
    if name.contains("--") {
        return stub_and_hash(name);
    }
    if is_label(name) {
        return name.to_owned();
    }
    let international = punycode(name).map(|code| format!("xn--{code}"));
    international.filter(|label| is_label(label)).unwrap_or_else(|| stub_and_hash(name))
}

fn is_label(label: &str) -> bool {
    let numeric = label.bytes().all(|byte| byte.is_ascii_digit());
    let dashed = label.starts_with('-') || label.ends_with('-');
    let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && !numeric && !dashed && allowed
}

/// What is always a label of its own: some characters of the name, and its hash.
fn stub_and_hash(name: &str) -> String {
    let stub = name.chars().flat_map(char::to_lowercase);
    let stub: String = stub.filter(char::is_ascii_alphanumeric).take(STUB_CHARACTERS).collect();
    // Without it the dashes would be where those of an international label are (RFC 5891 section 4.2.3.1).
    let stub = if stub.is_empty() { "x" } else { &stub };
    let hash = hex(digest(&SHA256, name.as_bytes()).as_ref());
    format!("u-{stub}--{}", hash.get(..HASH_DIGITS).unwrap_or(&hash))
}

/// JupyterHub's `_dns_quote`.
fn legacy_label(name: &str) -> String {
    let quoted = utf8_percent_encode(name, QUOTED).to_string().to_lowercase();
    quoted.replace('_', "%5f").replace('~', "%7e").replace('%', "_")
}

/// The Punycode of a name in one of the scripts that are the same in every version of IDNA (RFC 3492, 5892);
/// nothing for others, and for names in ASCII. Names in further scripts get a hash.
fn punycode(name: &str) -> Option<String> {
    const BASE: u32 = 36;
    const T_MIN: u32 = 1;
    const T_MAX: u32 = 26;
    const INITIAL_BIAS: u32 = 72;
    const INITIAL_N: u32 = 128;

    if name.starts_with('-') || name.ends_with('-') || !name.chars().all(is_international) {
        return None;
    }
    let mut output: String = name.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(output.len()).ok()?;
    let total = u32::try_from(name.chars().count()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while handled < total {
        let next = name.chars().map(u32::from).filter(|code| *code >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for code in name.chars().map(u32::from) {
            if code < n {
                delta = delta.checked_add(1)?;
            }
            if code == n {
                let mut rest = delta;
                let mut k = BASE;
                loop {
                    let t = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                    if rest < t {
                        break;
                    }
                    output.push(code_digit(t + (rest - t) % (BASE - t))?);
                    rest = (rest - t) / (BASE - t);
                    k += BASE;
                }
                output.push(code_digit(rest)?);
                bias = adapted(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    (basic < total).then_some(output)
}

/// RFC 3492 section 6.1.
fn adapted(delta: u32, points: u32, first: bool) -> u32 {
    const DAMP: u32 = 700;
    const SKEW: u32 = 38;
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 35 * 26 / 2 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + SKEW)
}

/// `a` to `z`, then `0` to `9`.
fn code_digit(value: u32) -> Option<char> {
    if value < 26 { char::from_u32(u32::from('a') + value) } else { char::from_digit(value - 26, 10) }
}

/// Small letters of Latin, Greek and Cyrillic, Kana, Hangul and Han, all of one code point.
fn is_international(c: char) -> bool {
    const COMPATIBILITY: [char; 5] = ['\u{133}', '\u{140}', '\u{149}', '\u{17f}', '\u{c7}'];
    match c {
        'a'..='z' | '0'..='9' | '-' => true,
        'ß'..='ö' | 'ø'..='\u{17f}' => c.is_lowercase() && !COMPATIBILITY.contains(&c),
        'ά'..='ώ' | 'а'..='џ' => c.is_lowercase(),
        '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{4e00}'..='\u{9fff}' => true,
        _ => false,
    }
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
