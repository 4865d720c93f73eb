//! TLS towards browsers, with certificates that can be replaced while connections live.
//!
//! With `certificate`, the only place that knows rustls' types.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certificate::{PairFiles, Stamp, TlsError, read_pair};
use crate::target_tls::client_verifier;

/// How often the files are looked at: a renewed certificate may wait a minute.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// HTTP/2 over TLS (RFC 9113 section 3.2).
pub(crate) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What TLS is set up with.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Each handshake gets the first pair whose certificate is for the name that the browser asks for, or the
    /// first of all.
    pub pairs: Vec<PairFiles>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// Certificates and keys that can be replaced while connections live.
pub struct Tls {
    files: Vec<PairFiles>,
    provider: Arc<CryptoProvider>,
    pairs: Arc<Pairs>,
    /// The state of the files at the last attempt to load them, good or bad.
    stamps: Mutex<Vec<Stamp>>,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Loads one chain and key from PEM files, which may be the same file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let pair = PairFiles { certificate: certificate.into(), key: key.into() };
        Self::set_up(TlsSettings { pairs: vec![pair], http2: true })
    }

    /// Loads what the settings say.
    pub fn set_up(settings: TlsSettings) -> Result<Arc<Self>, TlsError> {
        Self::build(settings, Arc::new(provider()), WebPkiClientVerifier::no_client_auth())
    }

    /// The same for clients that have to show a certificate of one of the authorities in a PEM file, or without
    /// that of one of the system's.
    pub fn checking_clients(
        settings: TlsSettings,
        authorities: Option<&Path>,
    ) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(provider());
        let verifier = client_verifier(authorities, &provider)?;
        Self::build(settings, provider, verifier)
    }

    fn build(
        settings: TlsSettings,
        provider: Arc<CryptoProvider>,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<Self>, TlsError> {
        let files = settings.pairs;
        let stamps = files.iter().map(Stamp::of).collect();
        let pairs = Arc::new(Pairs(ArcSwap::from_pointee(read_all(&files, &provider)?)));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Library)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(pairs.clone());
        config.alpn_protocols = vec![HTTP1.to_vec()];
        if settings.http2 {
            config.alpn_protocols.insert(0, HTTP2.to_vec());
        }
        // The order here is by strength; all of them are good, and scanners want somebody to decide.
        config.ignore_client_order = true;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Arc::new(Self { files, provider, pairs, stamps: Mutex::new(stamps), acceptor }))
    }

    /// Loads the files again; on an error all present pairs stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.note_stamps();
        self.pairs.0.store(Arc::new(read_all(&self.files, &self.provider)?));
        Ok(())
    }

    /// Loads the files again if they are others than at the last attempt. None if they are the same.
    pub fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        self.note_stamps().then(|| self.reload())
    }

    /// Looks at the files each minute and takes new ones, until `stop`. What cannot be used, for instance because
    /// it is half written, is told once, and looked at again when it changes.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let tls = self.clone();
            // Files may lie on a slow disk.
            match tokio::task::spawn_blocking(move || tls.reload_if_changed()).await {
                Ok(None) => {}
                Ok(Some(Ok(()))) => tracing::info!("the certificate files have changed and were loaded"),
                Ok(Some(Err(error))) => {
                    tracing::error!(
                        "the certificate files have changed; the old certificate stays in use: {error}"
                    );
                }
                Err(error) => tracing::error!("cannot look at the certificate files: {error}"),
            }
        }
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Notes the state of the files; says whether it is another one.
    fn note_stamps(&self) -> bool {
        let now: Vec<Stamp> = self.files.iter().map(Stamp::of).collect();
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *stamps != now;
        *stamps = now;
        changed
    }
}

fn read_all(files: &[PairFiles], provider: &CryptoProvider) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
    files.iter().map(|files| read_pair(files, provider).map(Arc::new)).collect()
}

/// aws-lc-rs, with the key exchange that also stands against quantum computers first.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519MLKEM768);
    provider.kx_groups.insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
    provider
}

/// The present pairs, asked by rustls for each handshake.
#[derive(Debug)]
struct Pairs(ArcSwap<Vec<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Pairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.0.load();
        if pairs.len() < 2 {
            return pairs.first().cloned();
        }
        let signs = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = |pair: &&Arc<CertifiedKey>| name.as_ref().is_some_and(|name| is_for(pair, name));
        let usable = || pairs.iter().filter(signs);
        usable().find(named).or_else(|| usable().next()).or_else(|| pairs.first()).cloned()
    }
}

fn is_for(pair: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = pair.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| rustls::client::verify_server_name(&certificate, name).is_ok())
}
