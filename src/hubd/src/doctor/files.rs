//! Files: secrets, certificates, root's policy.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;

use super::profiles::profiles;
use super::{Finding, Machine};
use crate::config::Values;
use crate::config::plan::{Plan, TlsPlan};
use crate::config::{of_service, problem::Origin};
use crate::secrets::CookieSecret;

/// How long before its end a certificate is worth a word: certbot renews 30 days before.
const EXPIRES_SOON: Duration = Duration::from_secs(21 * 86_400);
/// Permission bits of everybody but owner and group.
const OTHERS: u32 = 0o007;

/// Files with secrets are for the daemon alone.
pub fn secrets(plan: &Plan, values: &Values, found: &mut Vec<Finding>) {
    let mut files = vec![of_service(&plan.database)];
    if let CookieSecret::File(path) = &plan.cookie_secret {
        files.push(of_service(path));
    }
    if let TlsPlan::Files(pairs) = &plan.tls {
        files.extend(pairs.iter().map(|pair| pair.key.clone()));
    }
    if let CookieSecret::Given(_, Origin::File(path, ..)) = &plan.cookie_secret {
        files.push(path.clone());
    }
    for file in &files {
        let Ok(metadata) = std::fs::metadata(file) else { continue };
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            let path = file.display();
            let what = format!("{path} can be read or written by anybody (mode {mode:04o})");
            found.push(Finding::bad(
                what,
                format!("chmod o= {path}; who may have read it knows the secret in it"),
            ));
        }
    }
    if values.files.is_empty() {
        let cure = "hubd --generate-config -f /etc/jupyterhub/hubd.toml";
        found.push(Finding::warning("there is no configuration file; all options have their defaults", cure));
    }
}

/// Keys and secrets that the start refuses for another reason than who can read them, which is told already.
pub fn usable(plan: &Plan, found: &mut Vec<Finding>) {
    if super::is_ill(found) {
        return;
    }
    if let Err(error) = crate::start::examine(plan) {
        let text = format!("{error:#}");
        let (what, cure) = text.split_once("\n    cure: ").unwrap_or((&text, ""));
        found.push(Finding::bad(what, cure));
    }
}

/// Certificates that have ended or end soon.
pub fn certificates(plan: &Plan, machine: &Machine, found: &mut Vec<Finding>) {
    let TlsPlan::Files(pairs) = &plan.tls else { return };
    for pair in pairs {
        let path = pair.certificate.display();
        let end = std::fs::read_to_string(&pair.certificate).ok().and_then(|pem| not_after(&pem));
        let Some(end) = end else {
            found.push(Finding::warning(
                format!("{path}: no end of validity found"),
                format!("openssl x509 -in {path} -noout -dates"),
            ));
            continue;
        };
        let cure = "renew it: certbot renew; hubd notices new files by itself";
        match end.duration_since(machine.now) {
            Err(_) => found.push(Finding::bad(format!("the certificate {path} has expired"), cure)),
            Ok(left) if left < EXPIRES_SOON => {
                let days = left.as_secs() / 86_400;
                found.push(Finding::warning(format!("the certificate {path} expires in {days} days"), cure));
            }
            Ok(left) => found.push(Finding::good(format!(
                "the certificate {path} is good for {} days",
                left.as_secs() / 86_400
            ))),
        }
    }
}

/// The end of validity of the first certificate of a PEM file (RFC 5280, 4.1.2.5).
fn not_after(pem: &str) -> Option<SystemTime> {
    let body = pem.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END")?.0;
    let joined: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(joined).ok()?;
    // Validity is the first place with two times, one after the other.
    (0..der.len()).find_map(|at| {
        let rest = der.get(at..)?;
        let (_, rest) = time(rest)?;
        Some(time(rest)?.0)
    })
}

/// A UTCTime or GeneralizedTime at the start of `der`, and what follows it.
fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (digits, rest) = match der {
        [0x17, 13, rest @ ..] => (rest.get(..13)?, rest.get(13..)?),
        [0x18, 15, rest @ ..] => (rest.get(..15)?, rest.get(15..)?),
        _ => return None,
    };
    let text = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    // Years of two digits are 1950 to 2049.
    let text = match (text.len(), text.get(..2)?) {
        (12, year) if year < "50" => format!("20{text}"),
        (12, _) => format!("19{text}"),
        _ => text.to_owned(),
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", &text)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()?;
    Some((time.timestamp().into(), rest))
}

/// What of root's policy matters here.
pub struct Policy {
    /// The PAM service.
    pub pam_service: String,
}

/// Root's policy: its owner and mode, and the programs that it names.
pub fn policy(path: &Path, found: &mut Vec<Finding>) -> Policy {
    let mut policy = Policy { pam_service: "hubd".to_owned() };
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            found.push(Finding::warning(format!("{shown} cannot be read by you"), "run hubd doctor as root"));
            return policy;
        }
        Err(_) => String::new(),
    };
    if let Ok(metadata) = std::fs::metadata(path)
        && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0)
    {
        let what = format!("{shown} does not belong to root alone, and hubd-helper refuses it");
        found.push(Finding::bad(what, format!("chown root:root {shown}; chmod 600 {shown}")));
    }
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            found.push(Finding::bad(format!("{shown}: {}", error.message()), "hubd-helper check"));
            return policy;
        }
    };
    if let Some(service) = table.get("pam_service").and_then(toml::Value::as_str) {
        policy.pam_service = service.to_owned();
    }
    profiles(&table, path, found);
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["hub.example.org".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 6);
        let end = not_after(&parameters.self_signed(&key).unwrap().pem()).unwrap();
        let text = jiff::Timestamp::try_from(end).unwrap().to_string();
        assert!(text.starts_with("2031-05-06T"), "{text}");
        parameters.not_after = rcgen::date_time_ymd(2060, 5, 6);
        let end = not_after(&parameters.self_signed(&key).unwrap().pem()).unwrap();
        assert!(jiff::Timestamp::try_from(end).unwrap().to_string().starts_with("2060-"));
        assert_eq!(not_after("nonsense"), None);
    }

    #[test]
    fn a_policy_that_names_a_program_that_is_not_there_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("helper.toml");
        std::fs::write(
            &path,
            "pam_service = \"x\"\n[profile.default]\nprogram = [\"/nonexistent/jupyter\"]\n",
        )
        .unwrap();
        let mut found = Vec::new();
        assert_eq!(policy(&path, &mut found).pam_service, "x");
        assert!(found.iter().any(|finding| finding.what.contains("/nonexistent/jupyter")), "{found:?}");
        std::fs::write(&path, "[profile.default]\nprogram = [\"/bin/sh\"]\n").unwrap();
        found.clear();
        policy(&path, &mut found);
        assert!(
            found.iter().any(|finding| finding.what.starts_with("profile default starts /bin/sh")),
            "{found:?}"
        );
        std::fs::write(&path, "[profile").unwrap();
        found.clear();
        policy(&path, &mut found);
        assert!(super::super::is_ill(&found));
    }

    /// What is found with a configuration in which `DIR` is a directory with these files and modes.
    fn found(
        configuration: &str,
        files: &[(&str, &str, u32)],
        look: impl Fn(&Plan, &Values, &mut Vec<Finding>),
    ) -> Vec<Finding> {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, configuration.replace("DIR", &directory.path().display().to_string())).unwrap();
        let environment = crate::run::Environment::default();
        let (values, plan) = crate::run::configured(Some(&path), &[], &environment).ok().unwrap();
        let mut found = Vec::new();
        look(&plan, &values, &mut found);
        found
    }

    #[test]
    fn files_with_secrets_that_others_can_read_are_named() {
        let configuration = "[JupyterHub]\ndb_url = \"DIR/db\"\ncookie_secret_file = \"DIR/secret\"\n\
                             ssl_cert = \"DIR/cert\"\nssl_key = \"DIR/key\"\n";
        let files = |mode: u32| ["db", "secret", "cert", "key"].map(|name| (name, "", mode));
        assert_eq!(found(configuration, &files(0o640), secrets), []);
        let told = found(configuration, &files(0o644), secrets);
        let what: Vec<&str> = told.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what.len(), 3, "{what:?}");
        for (name, what) in ["/db", "/secret", "/key"].iter().zip(what) {
            assert!(
                what.contains(&format!("{name} can be read or written by anybody (mode 0644)")),
                "{what}"
            );
        }
        assert!(told[0].cure.starts_with("chmod o= "), "{told:?}");
    }

    #[test]
    fn a_secret_that_the_start_cannot_use_is_told_with_its_cure() {
        let configuration = "[JupyterHub]\ncookie_secret_file = \"DIR/secret\"\n";
        let look = |plan: &Plan, _: &Values, found: &mut Vec<Finding>| usable(plan, found);
        let told = found(configuration, &[("secret", "not a secret!", 0o600)], look);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].what.contains("neither hex nor base64") && told[0].cure.starts_with("openssl"),
            "{told:?}"
        );
        assert_eq!(found(configuration, &[("secret", &"ab".repeat(32), 0o600)], look), []);
    }

    #[test]
    fn certificates_that_end_soon_or_have_ended_are_told_with_their_renewal() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["hub.example.org".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 6);
        let pem = parameters.self_signed(&key).unwrap().pem();
        let end = not_after(&pem).unwrap();
        let told = |now: SystemTime, text: &str| {
            let machine = Machine { root: "/".into(), now };
            let configuration = "[JupyterHub]\nssl_cert = \"DIR/cert\"\n";
            found(configuration, &[("cert", text, 0o600)], |plan, _, found| {
                certificates(plan, &machine, found)
            })
            .remove(0)
        };
        let days = |days: u64| Duration::from_secs(days * 86_400);
        assert!(told(end - days(90), &pem).what.contains("is good for 90 days"));
        let soon = told(end - days(10), &pem);
        assert!(soon.what.contains("expires in 10 days") && soon.cure.contains("certbot renew"), "{soon:?}");
        assert_eq!(soon.severity, super::super::Severity::Warning);
        let over = told(end + days(1), &pem);
        assert!(
            over.what.contains("has expired") && over.severity == super::super::Severity::Bad,
            "{over:?}"
        );
        assert!(told(end, "nonsense").what.contains("no end of validity"));
    }
}
