//! Certificates and keys as files: reading them, and noticing that they have changed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Anybody may read, write or execute.
const MODE_OTHERS: u32 = 0o007;
/// Chains and keys are a few KiB; a larger file is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a certificate with its chain and its key are, as PEM. It may be one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The server's own certificate, then those of the authorities.
    pub certificate: PathBuf,
    /// The key; nobody but its owner and group may have any right to it.
    pub key: PathBuf,
}

/// Which state of the files this is: it differs whenever one was written, replaced or given other rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp([Option<FileStamp>; 2]);

/// Device, inode, length, seconds and nanoseconds of the last change of contents or rights.
type FileStamp = (u64, u64, u64, i64, i64);

impl Stamp {
    /// The state now. A file that is not there has one, too.
    pub(crate) fn of(files: &PairFiles) -> Self {
        let stamp = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
        };
        Self([stamp(&files.certificate), stamp(&files.key)])
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

/// Reads chain and key and makes sure that they belong together.
pub(crate) fn read_pair(files: &PairFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let (certificate, key) = (files.certificate.as_path(), files.key.as_path());
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

/// The certificates of a PEM file; at least one.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut text.as_slice()).collect();
    let chain = chain.map_err(|error| TlsError::Damaged(path.into(), error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.into())) } else { Ok(chain) }
}

/// The private key of a PEM file that not everybody can read.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
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
