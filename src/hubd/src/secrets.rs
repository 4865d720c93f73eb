//! The cookie secret: from the configuration, the environment, or its file, which is made at the first start.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::config::of_service;
use crate::config::problem::Origin;

/// The environment variable with the secret in hex, as JupyterHub calls it.
pub const COOKIE_SECRET_VARIABLE: &str = "JPY_COOKIE_SECRET";
/// The environment variable with the keys that encrypt `auth_state`, as JupyterHub calls it.
pub const CRYPT_KEY_VARIABLE: &str = "JUPYTERHUB_CRYPT_KEY";
/// The environment variable with the token of the proxy's REST API, as configurable-http-proxy calls it.
pub const PROXY_TOKEN_VARIABLE: &str = "CONFIGPROXY_AUTH_TOKEN";
/// Length of a secret that hubd makes, in bytes, as JupyterHub's.
const SECRET_BYTES: usize = 32;
/// Largest secret file, in bytes: `openssl rand -hex 1024` of old manuals and room for more.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Permission bits of everybody but owner and group.
const OTHERS: u32 = 0o007;

/// Where the secret is.
pub enum CookieSecret {
    /// Given, with its place.
    Given(Zeroizing<Vec<u8>>, Origin),
    /// In this file, made if it does not exist.
    File(PathBuf),
}

impl CookieSecret {
    /// The raw bytes.
    pub fn load(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Given(bytes, origin) => {
                refuse_public_file(origin, "cookie_secret")?;
                tracing::info!("Loading cookie_secret from {origin}");
                Ok(bytes.clone())
            }
            Self::File(path) => match read(path) {
                Ok(bytes) => {
                    tracing::info!("Loading cookie_secret from {}", path.display());
                    Ok(bytes)
                }
                Err(error) if is(&error, ErrorKind::NotFound) => make(path),
                Err(error) => Err(error.context(format!("cookie secret file {}", path.display()))),
            },
        }
    }

    /// Whether [`CookieSecret::load`] would take it; nothing is made, and a file that only the daemon may read is
    /// not judged.
    ///
    /// # Errors
    /// What the start would say.
    pub fn examine(&self) -> anyhow::Result<()> {
        match self {
            Self::Given(_, origin) => refuse_public_file(origin, "cookie_secret"),
            Self::File(path) => match read(&of_service(path)) {
                Err(error)
                    if !is(&error, ErrorKind::NotFound) && !is(&error, ErrorKind::PermissionDenied) =>
                {
                    Err(error.context(format!("cookie secret file {}", path.display())))
                }
                _ => Ok(()),
            },
        }
    }
}

/// The token of the REST API for routes.
pub enum ProxyToken {
    /// Given, with its place.
    Given(Zeroizing<String>, Origin),
    /// None is given: it is made, and nobody knows it.
    New,
}

impl ProxyToken {
    /// The token.
    pub fn load(&self) -> anyhow::Result<Zeroizing<String>> {
        match self {
            Self::Given(token, origin) => {
                refuse_public_file(origin, "auth_token")?;
                Ok(token.clone())
            }
            Self::New => Ok(Zeroizing::new(hex(&random()?))),
        }
    }

    /// As [`CookieSecret::examine`].
    ///
    /// # Errors
    /// What the start would say.
    pub fn examine(&self) -> anyhow::Result<()> {
        match self {
            Self::Given(_, origin) => refuse_public_file(origin, "auth_token"),
            Self::New => Ok(()),
        }
    }
}

fn is(error: &anyhow::Error, kind: ErrorKind) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == kind)
}

/// A configuration file with a secret in it must not be readable by everybody.
fn refuse_public_file(origin: &Origin, key: &str) -> anyhow::Result<()> {
    let Origin::File(path, ..) = origin else { return Ok(()) };
    if std::fs::metadata(path)?.mode() & OTHERS != 0 {
        bail!(
            "{origin}: {key} stands in a file that everybody can read\n    cure: chmod 640 {0}, and change the secret",
            path.display()
        );
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    let mode = file.metadata()?.mode();
    if mode & OTHERS != 0 {
        bail!(
            "it can be read or written by anybody (mode {:04o})\n    cure: chmod 600 {1}; if others may have read it, delete it and start again: everybody logs in anew",
            mode & 0o7777,
            path.display()
        );
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    let secret = from_hex(text.trim()).or_else(|| from_base64(text.trim()));
    secret.filter(|bytes| !bytes.is_empty()).with_context(|| {
        format!("it holds neither hex nor base64\n    cure: openssl rand -hex 32 > {}", path.display())
    })
}

fn make(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let bytes = random()?;
    let text = Zeroizing::new(hex(&bytes) + "\n");
    tracing::info!("Writing cookie_secret to {}", path.display());
    write_private(path, text.as_bytes())?;
    Ok(bytes)
}

fn random() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
    let filled = aws_lc_rs::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a file of mode 0600 that did not exist, complete or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}\n    cure: let the daemon's user write there; hubd keeps its files in the working directory, /srv/jupyterhub as a service", path.display()))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // A half-written secret would be refused at the next start.
        std::fs::remove_file(path).ok();
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Bytes from hex digits; nothing if the text is anything else.
pub fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits: Option<Zeroizing<Vec<u8>>> = text
        .trim()
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<Vec<u8>>>()
        .map(Zeroizing::new);
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    Some(Zeroizing::new(
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect(),
    ))
}

/// Bytes from the base64 that JupyterHub wrote before 0.8, with line breaks.
fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    use base64::Engine;
    let joined = Zeroizing::new(text.split_whitespace().collect::<String>());
    base64::engine::general_purpose::STANDARD.decode(joined.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_missing_file_is_made_private_in_jupyterhubs_format_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jupyterhub_cookie_secret");
        let secret = CookieSecret::File(path.clone());
        let made = secret.load().unwrap();
        assert_eq!(made.len(), 32);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() == 65 && text.ends_with('\n') && text.to_lowercase() == text);
        assert_eq!(*secret.load().unwrap(), *made);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "00".repeat(32)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = format!("{:#}", CookieSecret::File(path.clone()).load().unwrap_err());
        assert!(error.contains("anybody") && error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(CookieSecret::File(path).load().is_ok());
    }

    #[test]
    fn a_secret_in_a_configuration_file_that_everybody_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, "").unwrap();
        let secret = CookieSecret::Given(Zeroizing::new(vec![1; 32]), Origin::File(path.clone(), 2, 1));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(secret.load().unwrap_err().to_string().contains("hubd.toml:2:1"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(secret.load().is_ok());
    }

    #[test]
    fn a_token_that_is_not_given_is_made_anew_each_time() {
        let (one, two) = (ProxyToken::New.load().unwrap(), ProxyToken::New.load().unwrap());
        assert!(one.len() == 64 && *one != *two);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let given = ProxyToken::Given(Zeroizing::new("x".into()), Origin::File(path, 2, 1));
        assert!(given.load().unwrap_err().to_string().contains("auth_token"));
    }

    #[test]
    fn nonsense_and_emptiness_are_refused_with_the_cure() {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in [("empty", ""), ("nonsense", "not a secret!")] {
            let path = directory.path().join(name);
            write_private(&path, content.as_bytes()).unwrap();
            let error = format!("{:#}", CookieSecret::File(path).load().unwrap_err());
            assert!(error.contains("openssl rand -hex 32"), "{name}: {error}");
        }
    }

    #[test]
    fn secrets_of_old_installations_are_read() {
        assert_eq!(*from_hex(&"ab".repeat(1024)).unwrap(), [0xab; 1024]);
        assert_eq!(*from_base64("AAEC\nAwQF\n").unwrap(), [0, 1, 2, 3, 4, 5]);
        assert!(from_hex("abc").is_none() && from_hex("").is_none() && from_hex("xy").is_none());
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_private(&path, b"first").unwrap();
        assert!(write_private(&path, b"second").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
    }
}
