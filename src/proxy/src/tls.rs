//! TLS towards browsers, with a certificate that can be replaced while connections live.
//!
//! The only place that knows rustls' types.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Anybody may read, write or execute.
const MODE_OTHERS: u32 = 0o007;
/// Chains and keys are a few KiB; a larger file is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A certificate and key that can be replaced while connections live.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    pair: Arc<Pair>,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Loads chain and key from PEM files, which may be the same file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(provider());
        let pair = Arc::new(Pair(ArcSwap::from_pointee(read_pair(certificate, key, &provider)?)));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Library)?
            .with_no_client_auth()
            .with_cert_resolver(pair.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Arc::new(Self { certificate: certificate.into(), key: key.into(), provider, pair, acceptor }))
    }

    /// Loads the files again; on an error the present pair stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let pair = read_pair(&self.certificate, &self.key, &self.provider)?;
        self.pair.0.store(Arc::new(pair));
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// Why certificate or key cannot be used: names the file and the cure.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// The file is too large to be what it should be.
    #[error("{0} is larger than 1 MiB, so it is no PEM file of a certificate or key: check the path")]
    TooLarge(PathBuf),
    /// Others may read the key.
    #[error("{0} holds the private key and is open to every user of this machine: chmod o= {0}")]
    Permissions(PathBuf),
    /// No certificate in the file.
    #[error("no certificate in {0}: it must have a line -----BEGIN CERTIFICATE-----")]
    NoCertificate(PathBuf),
    /// No key in the file.
    #[error("no private key in {0}: it must have a line such as -----BEGIN PRIVATE KEY-----")]
    NoKey(PathBuf),
    /// The key needs a passphrase.
    #[error(
        "the private key in {0} is protected by a passphrase: remove it with openssl pkey -in {0} -out NEW, \
         and let only root and the daemon's group read NEW"
    )]
    Passphrase(PathBuf),
    /// The PEM text is damaged.
    #[error("{0} is damaged or only half written: {1}")]
    Damaged(PathBuf, io::Error),
    /// rustls cannot work with the key.
    #[error(
        "the private key in {0} cannot be used: {1}; make one with RSA (2048 bits or more), ECDSA or Ed25519"
    )]
    Key(PathBuf, rustls::Error),
    /// Key and certificate are not a pair.
    #[error(
        "the private key in {key} does not belong to the first certificate in {certificate}: the server's own \
         certificate comes first, then those of the authorities"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate is not one.
    #[error("the first certificate in {0} cannot be used: {1}")]
    Certificate(PathBuf, rustls::Error),
    /// rustls could not be set up.
    #[error("cannot set up TLS: {0}")]
    Library(rustls::Error),
}

/// aws-lc-rs, with the key exchange that also stands against quantum computers first.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519MLKEM768);
    provider.kx_groups.insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
    provider
}

/// The present pair, asked by rustls for each handshake.
#[derive(Debug)]
struct Pair(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Pair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn read_pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(certificate)?;
    let key_der = read_key(key)?;
    let signer =
        provider.key_provider.load_private_key(key_der).map_err(|error| TlsError::Key(key.into(), error))?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { certificate: certificate.into(), key: key.into() })
        }
        Err(error) => Err(TlsError::Certificate(certificate.into(), error)),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut text.as_slice()).collect();
    let chain = chain.map_err(|error| TlsError::Damaged(path.into(), error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.into())) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let metadata = std::fs::metadata(path).map_err(|error| TlsError::Read(path.into(), error))?;
    if metadata.mode() & MODE_OTHERS != 0 {
        return Err(TlsError::Permissions(path.into()));
    }
    let text = read(path)?;
    match rustls_pemfile::private_key(&mut text.as_slice()) {
        Ok(Some(key)) => Ok(key),
        Ok(None) if has_passphrase(&text) => Err(TlsError::Passphrase(path.into())),
        Ok(None) => Err(TlsError::NoKey(path.into())),
        // The old form says so in a header inside the PEM block, which is then no base64.
        Err(_) if has_passphrase(&text) => Err(TlsError::Passphrase(path.into())),
        Err(error) => Err(TlsError::Damaged(path.into(), error)),
    }
}

fn has_passphrase(text: &[u8]) -> bool {
    let is = |line: &[u8]| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY")
            || (line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
    };
    text.split(|byte| *byte == b'\n').any(|line| is(line.trim_ascii()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read(path.into(), error);
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge(path.into()));
    }
    std::fs::read(path).map_err(failed)
}
