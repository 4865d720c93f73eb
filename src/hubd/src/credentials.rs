//! Credentials of systemd: files of `LoadCredential=` and `SetCredentialEncrypted=` in `$CREDENTIALS_DIRECTORY`, which
//! nobody but this service can read. Each has the name of the option that it stands for (systemd.exec(5)).

use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The variable that names the directory.
pub const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// Largest credential that is read into memory, in bytes: some hundred keys.
const BYTES_MAX: u64 = 64 * 1024;

/// What systemd handed over.
#[derive(Debug, Default, Clone)]
pub struct Credentials(Option<PathBuf>);

impl Credentials {
    /// Those in a directory, if there is one.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self(directory.filter(|directory| !directory.as_os_str().is_empty()))
    }

    /// The file of a credential, if it was handed over. One that cannot be looked at counts as there: who reads it
    /// hears why, instead of going on with another secret.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.0.as_ref()?.join(name);
        let is_there = match path.metadata() {
            Ok(found) => found.is_file(),
            Err(error) => error.kind() != ErrorKind::NotFound,
        };
        is_there.then_some(path)
    }

    /// The text of a credential without the white space around it, if it was handed over.
    ///
    /// # Errors
    /// It cannot be read, is no text, or is larger than [`BYTES_MAX`].
    pub fn secret(&self, name: &str) -> std::io::Result<Option<Zeroizing<String>>> {
        let Some(path) = self.file(name) else { return Ok(None) };
        let mut text = Zeroizing::new(String::new());
        std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(std::io::Error::other(format!("it is larger than {BYTES_MAX} bytes")));
        }
        Ok(Some(Zeroizing::new(text.trim().to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_the_text_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("auth_token"), "t0ken\n").unwrap();
        std::fs::write(directory.path().join("large"), "x".repeat(70_000)).unwrap();
        std::fs::write(directory.path().join("binary"), [0xff, 0xfe]).unwrap();
        let credentials = Credentials::new(Some(directory.path().to_owned()));
        assert_eq!(credentials.secret("auth_token").unwrap().unwrap().as_str(), "t0ken");
        assert!(credentials.secret("none").unwrap().is_none() && credentials.file("none").is_none());
        assert!(credentials.secret("large").is_err() && credentials.secret("binary").is_err());
        // A directory that cannot be searched: here, because it is none.
        let closed = Credentials::new(Some(directory.path().join("auth_token")));
        assert!(closed.secret("auth_token").is_err());
        assert!(Credentials::new(None).secret("auth_token").unwrap().is_none());
        assert!(Credentials::new(Some(PathBuf::new())).file("auth_token").is_none());
    }
}
