//! What the flags say of TLS on the three sides: browsers, REST API, targets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use hubd_proxy::{PairFiles, TargetTls, TargetTrust, Tls, TlsSettings};

use super::flags::Flags;

/// Towards browsers, if there is a certificate.
pub fn public(flags: &Flags) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some(pair) = pair("ssl", flags.ssl_cert.as_ref(), flags.ssl_key.as_ref())? else { return Ok(None) };
    listening(pair, flags.ssl_request_cert, flags.ssl_ca.as_deref()).map(Some)
}

/// On the REST API, if there is a certificate.
pub fn api(flags: &Flags) -> anyhow::Result<Option<Arc<Tls>>> {
    let pair = pair("api-ssl", flags.api_ssl_cert.as_ref(), flags.api_ssl_key.as_ref())?;
    let Some(pair) = pair else { return Ok(None) };
    listening(pair, flags.api_ssl_request_cert, flags.api_ssl_ca.as_deref()).map(Some)
}

/// Towards targets with `https://`.
pub fn targets(flags: &Flags) -> anyhow::Result<TargetTls> {
    let own = pair("client-ssl", flags.client_ssl_cert.as_ref(), flags.client_ssl_key.as_ref())?;
    let trust = match &flags.client_ssl_ca {
        _ if flags.insecure => TargetTrust::Anybody,
        Some(path) => TargetTrust::File(path.clone()),
        None => TargetTrust::System,
    };
    Ok(TargetTls::new(own.as_ref(), &trust)?)
}

/// As in Node, asking for a certificate means to refuse who has no good one.
fn listening(pair: PairFiles, ask: bool, authorities: Option<&Path>) -> anyhow::Result<Arc<Tls>> {
    let settings = TlsSettings { pairs: vec![pair], http2: true };
    Ok(if ask { Tls::checking_clients(settings, authorities)? } else { Tls::set_up(settings)? })
}

fn pair(
    flag: &str,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> anyhow::Result<Option<PairFiles>> {
    let Some(certificate) = certificate.cloned() else {
        if key.is_some() {
            bail!("--{flag}-key is given, but no --{flag}-cert");
        }
        return Ok(None);
    };
    // One file may hold both.
    let key = key.cloned().unwrap_or_else(|| certificate.clone());
    Ok(Some(PairFiles { certificate, key }))
}
