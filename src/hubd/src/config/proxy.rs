//! What the checked configuration means for the proxy: its [`ProxySettings`], certificates and redirect.

use std::path::PathBuf;
use std::time::Duration;

use hubd_proxy::{Limits, PairFiles, ProxySettings};

use super::Values;
use super::plan::{HUB, TlsPlan};
use super::problem::{Origin, Problem};
use crate::credentials::Credentials;

/// The class of the proxy's options.
const PROXY: &[&str] = &["Proxy"];
/// One for the browser, one for the server.
const DESCRIPTORS_PER_CONNECTION: usize = 2;
/// A year: what scanners and browsers' preload lists want at least. Names with a real certificate rarely go back.
const HSTS_SECONDS: u64 = 31_536_000;

/// The public side's settings; cookies of the hub are added later.
pub fn settings(values: &Values, tls: &TlsPlan, problems: &mut Vec<Problem>) -> ProxySettings {
    let settings = ProxySettings {
        trusted_proxies: trusted_proxies(values, problems),
        proxy_protocol: values.yes(HUB, "proxy_protocol"),
        hsts: hsts(values, tls),
        limits: limits(values),
        connect_timeout: seconds(values, "connect_timeout"),
        answer_timeout: Some(seconds(values, "answer_timeout")).filter(|time| !time.is_zero()),
        ..ProxySettings::default()
    };
    if settings.proxy_protocol && settings.trusted_proxies.is_empty() {
        let text = "JupyterHub.proxy_protocol is set, but no trusted_proxies: nobody could connect";
        let cure = "name the front proxy's address in trusted_proxies";
        problems.push(Problem::new(&values.origin(HUB, "proxy_protocol"), text, cure));
    }
    settings
}

fn limits(values: &Values) -> Limits {
    let count = |key| usize::try_from(values.integer(PROXY, key)).unwrap_or(usize::MAX);
    let connections = match count("max_connections") {
        0 => crate::privileges::descriptors() / DESCRIPTORS_PER_CONNECTION,
        connections => connections,
    };
    Limits {
        connections,
        connections_per_address: count("max_connections_per_address"),
        header_bytes: count("max_header_bytes"),
        headers: count("max_headers"),
        header_timeout: seconds(values, "header_timeout"),
        http1_idle_timeout: seconds(values, "http1_idle_timeout"),
        idle_timeout: seconds(values, "idle_timeout"),
        minimum_rate: u64::try_from(values.integer(PROXY, "minimum_rate")).unwrap_or(0),
        http2_streams: u32::try_from(values.integer(PROXY, "http2_streams")).unwrap_or(1),
    }
}

fn seconds(values: &Values, key: &str) -> Duration {
    Duration::from_secs(u64::try_from(values.integer(PROXY, key)).unwrap_or(0))
}

/// Whether HTTP/2 is offered.
pub fn http2(values: &Values) -> bool {
    values.yes(PROXY, "http2")
}

/// A browser that has accepted a self-signed certificate would not be let in any more once it knows of HSTS, and
/// without TLS it is for the front proxy to say.
fn hsts(values: &Values, tls: &TlsPlan) -> Option<Duration> {
    let seconds = match tls {
        TlsPlan::Plain => 0,
        _ if values.is_set(HUB, "hsts_seconds") => {
            u64::try_from(values.integer(HUB, "hsts_seconds")).unwrap_or(0)
        }
        TlsPlan::Files(_) => HSTS_SECONDS,
        TlsPlan::SelfSigned => 0,
    };
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn trusted_proxies(values: &Values, problems: &mut Vec<Problem>) -> Vec<hubd_proxy::Network> {
    let mut networks = Vec::new();
    for text in values.list(HUB, "trusted_proxies") {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => problems.push(Problem::new(
                &values.origin(HUB, "trusted_proxies"),
                format!("JupyterHub.trusted_proxies: {text}: {error}"),
                "write each proxy's address or network, for instance [\"127.0.0.1\", \"10.0.0.0/8\"]",
            )),
        }
    }
    networks
}

/// Where certificates and keys are: those of the options, or else credentials of systemd with the same names.
pub fn tls(values: &Values, credentials: &Credentials, problems: &mut Vec<Problem>) -> TlsPlan {
    let file = |key| Some(values.text(HUB, key)).filter(|text| !text.is_empty()).map(PathBuf::from);
    let more = more_pairs(values, problems);
    let certificate = file("ssl_cert").or_else(|| credentials.file("ssl_cert"));
    let key = file("ssl_key").or_else(|| credentials.file("ssl_key"));
    for (name, path) in [("ssl_cert", &certificate), ("ssl_key", &key)] {
        let Some(path) = path else { continue };
        check_file(values, name, path, problems);
    }
    match (certificate, key) {
        (Some(certificate), key) => {
            // One file may hold both, as for haproxy.
            let key = key.unwrap_or_else(|| certificate.clone());
            let mut pairs = vec![PairFiles { certificate, key }];
            pairs.extend(more);
            TlsPlan::Files(pairs)
        }
        (None, Some(_)) => {
            let text = "JupyterHub.ssl_key is set, but no ssl_cert";
            let configured = values.is_set(HUB, "ssl_key");
            let origin =
                if configured { values.origin(HUB, "ssl_key") } else { Origin::Credential("ssl_key") };
            problems.push(Problem::new(&origin, text, "set ssl_cert too"));
            TlsPlan::Plain
        }
        (None, None) if !more.is_empty() => {
            let text = "JupyterHub.ssl_more_certs is set, but no ssl_cert";
            let cure = "set ssl_cert to the certificate for browsers that ask for no known name";
            problems.push(Problem::new(&values.origin(HUB, "ssl_more_certs"), text, cure));
            TlsPlan::Plain
        }
        (None, None) if values.yes(HUB, "self_signed") => TlsPlan::SelfSigned,
        (None, None) => {
            if values.text(HUB, "bind_url").starts_with("https://") {
                let text = "JupyterHub.bind_url says https, but there is no certificate";
                let cure =
                    "set ssl_cert and ssl_key, or self_signed = true; behind a front proxy write http://";
                problems.push(Problem::new(&values.origin(HUB, "bind_url"), text, cure));
            }
            TlsPlan::Plain
        }
    }
}

fn more_pairs(values: &Values, problems: &mut Vec<Problem>) -> Vec<PairFiles> {
    let mut pairs = Vec::new();
    for (certificate, key) in values.table(HUB, "ssl_more_certs") {
        let key = key.as_str().filter(|key| !key.is_empty()).unwrap_or(&certificate).to_owned();
        let pair = PairFiles { certificate: certificate.into(), key: key.into() };
        for path in [&pair.certificate, &pair.key] {
            check_file(values, "ssl_more_certs", path, problems);
        }
        pairs.push(pair);
    }
    pairs
}

fn check_file(values: &Values, option: &str, path: &std::path::Path, problems: &mut Vec<Problem>) {
    if let Err(error) = std::fs::File::open(path) {
        let text = format!("JupyterHub.{option}: {}: {error}", path.display());
        let cure = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                format!("let the daemon's user read it: chgrp hubd {0}; chmod 640 {0}", path.display())
            }
            _ => "give the path of a PEM file, or set self_signed = true".to_owned(),
        };
        problems.push(Problem::new(&values.origin(HUB, option), text, cure));
    }
}

/// The port for plain HTTP and the port of https that it sends browsers to, if one is wanted.
pub fn redirect(
    values: &Values,
    tls: &TlsPlan,
    public_port: u16,
    problems: &mut Vec<Problem>,
) -> Option<Redirection> {
    let port = |key| u16::try_from(values.integer(HUB, key)).ok().filter(|port| *port != 0);
    let from = port("redirect_port")?;
    if *tls == TlsPlan::Plain {
        let text = "JupyterHub.redirect_port is set, but there is no certificate: nothing to redirect to";
        let cure = "set ssl_cert and ssl_key, or self_signed = true";
        problems.push(Problem::new(&values.origin(HUB, "redirect_port"), text, cure));
    }
    Some(Redirection { from, to: port("redirect_to").unwrap_or(public_port) })
}

/// From plain HTTP to https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirection {
    /// The port that speaks plain HTTP.
    pub from: u16,
    /// The port that browsers reach https at.
    pub to: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings, the redirect, and all problems; `CERT` and `MORE` stand for files that exist.
    fn planned(text: &str) -> (ProxySettings, TlsPlan, Option<Redirection>, String) {
        let directory = tempfile::tempdir().unwrap();
        let mut text = text.to_owned();
        for name in ["CERT", "MORE"] {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            text = text.replace(name, &path.display().to_string());
        }
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, format!("[JupyterHub]\n{text}\n")).unwrap();
        let mut problems = Vec::new();
        let values = crate::config::load(Some(&path), &[], &mut problems);
        let credentials = Credentials::new(Some(directory.path().join("credentials")));
        let tls = tls(&values, &credentials, &mut problems);
        let settings = settings(&values, &tls, &mut problems);
        let redirect = redirect(&values, &tls, 8000, &mut problems);
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        (settings, tls, redirect, problems.concat())
    }

    #[test]
    fn browsers_are_told_to_insist_on_https_only_with_a_certificate_that_they_accept() {
        let hsts = |text| planned(text).0.hsts.map(|time| time.as_secs());
        assert_eq!(hsts(""), None);
        assert_eq!(hsts("hsts_seconds = 60"), None);
        assert_eq!(hsts("self_signed = true"), None);
        assert_eq!(hsts("self_signed = true\nhsts_seconds = 60"), Some(60));
        assert_eq!(hsts("ssl_cert = \"CERT\""), Some(31_536_000));
        assert_eq!(hsts("ssl_cert = \"CERT\"\nhsts_seconds = 0"), None);
    }

    #[test]
    fn limits_have_defaults_and_can_be_set() {
        let limits = planned("").0.limits;
        assert!(limits.connections > 100 && limits.connections < usize::MAX);
        assert_eq!((limits.connections_per_address, limits.headers), (1000, 100));
        let (settings, ..) =
            planned("\n[Proxy]\nmax_connections = 7\nanswer_timeout = 0\nheader_timeout = 3\n");
        assert_eq!(settings.limits.connections, 7);
        assert_eq!((settings.answer_timeout, settings.limits.header_timeout.as_secs()), (None, 3));
        assert!(
            planned("\n[Proxy]\nmax_headers = 1")
                .3
                .contains("Proxy.max_headers: expected a whole number from 20")
        );
    }

    #[test]
    fn several_certificates_keep_the_first_one_first() {
        let (_, tls, _, problems) = planned("ssl_cert = \"CERT\"\nssl_more_certs = { \"MORE\" = \"\" }");
        assert_eq!(problems, "");
        let TlsPlan::Files(pairs) = tls else { panic!("{tls:?}") };
        assert_eq!(pairs.len(), 2);
        assert!(pairs[0].certificate.ends_with("CERT") && pairs[0].key.ends_with("CERT"));
        assert!(pairs[1].certificate.ends_with("MORE") && pairs[1].key.ends_with("MORE"));
    }

    #[test]
    fn a_redirect_needs_tls_and_leads_to_the_public_port() {
        let to = |text| planned(text).2.map(|redirection| redirection.to);
        assert_eq!(to("ssl_cert = \"CERT\""), None);
        assert_eq!(to("ssl_cert = \"CERT\"\nredirect_port = 80"), Some(8000));
        assert_eq!(to("ssl_cert = \"CERT\"\nredirect_port = 80\nredirect_to = 443"), Some(443));
        assert!(planned("redirect_port = 80").3.contains("no certificate"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, wanted) in [
            ("trusted_proxies = [\"10.0.0.1/8\"]", "trusted_proxies: 10.0.0.1/8: expected an address"),
            ("trusted_proxies = [\"hub\"]", "trusted_proxies: hub"),
            ("proxy_protocol = true", "nobody could connect"),
            ("ssl_more_certs = { \"MORE\" = \"\" }", "but no ssl_cert"),
            ("ssl_cert = \"CERT\"\nssl_more_certs = { \"/nonexistent\" = \"\" }", "/nonexistent"),
        ] {
            let problems = planned(text).3;
            assert!(problems.contains(wanted), "{text}: {problems}");
        }
        assert_eq!(planned("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nproxy_protocol = true").3, "");
    }
}
