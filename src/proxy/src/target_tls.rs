//! TLS towards targets, with a certificate of this proxy's own if they ask for one; and the authorities that both
//! sides' certificates are checked against.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{PairFiles, TlsError, read_chain, read_key};
use crate::stream::Socket;
use crate::tls::provider;

/// Where Debian and Red Hat keep the authorities that everybody trusts.
const SYSTEM_AUTHORITIES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Whose certificates of targets are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetTrust {
    /// Those of the system's authorities.
    System,
    /// Those of the authorities in a PEM file.
    File(PathBuf),
    /// Anybody's: whoever answers is believed.
    Anybody,
}

/// How `https://` targets are spoken to.
#[derive(Clone)]
pub struct TargetTls(Arc<ClientConfig>);

impl TargetTls {
    /// With the certificate to show, if there is one.
    pub fn new(own: Option<&PairFiles>, trust: &TargetTrust) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Library)?;
        let builder = match trust {
            TargetTrust::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            }
            TargetTrust::File(path) => builder.with_root_certificates(authorities(path)?),
            TargetTrust::System => builder.with_root_certificates(system_authorities()?),
        };
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(files) => builder
                .with_client_auth_cert(read_chain(&files.certificate)?, read_key(&files.key)?)
                .map_err(|error| TlsError::Key(files.key.clone(), error))?,
        };
        Ok(Self(Arc::new(config)))
    }

    /// The handshake with the target of this name or address.
    pub(crate) async fn connect(&self, host: &str, stream: Socket) -> std::io::Result<TlsStream<Socket>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(std::io::Error::other)?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}

impl fmt::Debug for TargetTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TargetTls")
    }
}

/// Checks the certificates that clients have to show.
pub(crate) fn client_verifier(
    path: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = path.map_or_else(system_authorities, authorities)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    builder.build().map_err(|error| TlsError::Library(Error::General(error.to_string())))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|error| TlsError::Certificate(path.into(), error))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
    if let Some(path) = found {
        // One that rustls cannot read, among some hundred, makes the others no worse.
        roots.add_parsable_certificates(read_chain(path)?);
    }
    Ok(roots)
}

/// Takes every certificate, but not a handshake by somebody who does not have its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
