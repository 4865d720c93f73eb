//! A self-signed certificate, for trials and for machines whose name no authority certifies.

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::secrets::write_private;

/// How many years the certificate holds: longer than the machine's name, shorter than what browsers mistrust.
const YEARS: i32 = 10;
/// Certificate file in the working directory.
const CERTIFICATE_FILE: &str = "hubd-self-signed.crt";
/// Key file in the working directory.
const KEY_FILE: &str = "hubd-self-signed.key";

/// The paths of certificate and key, made now if they do not exist.
pub fn self_signed(directory: &Path, names: &[String]) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
    if !certificate.exists() || !key.exists() {
        make(&certificate, &key, names).context("cannot make a self-signed certificate")?;
    }
    Ok((certificate, key))
}

fn make(certificate: &Path, key: &Path, more: &[String]) -> anyhow::Result<()> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    names.extend(host.clone().filter(|name| !name.is_empty() && name != "localhost"));
    names.extend(more.iter().cloned());
    names.extend(outward_address().map(|address| address.to_string()));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, host.unwrap_or_else(|| "localhost".to_owned()));
    let today = jiff::Zoned::now();
    params.not_before = rcgen::date_time_ymd(today.year().into(), 1, 1);
    params.not_after = rcgen::date_time_ymd(i32::from(today.year()) + YEARS, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pair = KeyPair::generate()?;
    let signed = params.self_signed(&pair)?;
    // Half a pair of an interrupted start is worthless.
    for path in [certificate, key] {
        std::fs::remove_file(path).ok();
    }
    write_private(key, zeroize::Zeroizing::new(pair.serialize_pem()).as_bytes())?;
    write_private(certificate, signed.pem().as_bytes())?;
    tracing::warn!(
        "Made a self-signed certificate, {}: browsers will ask before they accept it",
        certificate.display()
    );
    Ok(())
}

/// The address that this machine uses towards the network: choosing a route sends nothing.
fn outward_address() -> Option<IpAddr> {
    // 192.0.2.1 is reserved for documentation (RFC 5737): nobody is there, and nobody is asked.
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_pair_is_made_once_and_its_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(directory.path(), &[]).unwrap();
        assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        let first = std::fs::read(&certificate).unwrap();
        self_signed(directory.path(), &[]).unwrap();
        assert_eq!(std::fs::read(&certificate).unwrap(), first);
    }

    #[test]
    fn half_a_pair_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(directory.path(), &[]).unwrap();
        let first = std::fs::read(&certificate).unwrap();
        std::fs::remove_file(key).unwrap();
        self_signed(directory.path(), &[]).unwrap();
        assert_ne!(std::fs::read(&certificate).unwrap(), first);
    }
}
