//! The addresses and sockets that `hubd proxy` listens on.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hubd_proxy::Listener;
use tokio::net::UnixListener;

use crate::config::address;
use crate::listen;

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// An address (empty is all of them) and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// An open one. A socket's file is removed in the end.
pub struct Open {
    /// What connections come from.
    pub listener: Listener,
    /// Removes the file.
    pub file: Option<SocketFile>,
}

/// A socket's file.
pub struct SocketFile(PathBuf);

impl Side {
    /// The one that flags name.
    pub fn new(socket: Option<&Path>, ip: &str, port: u16) -> Self {
        match socket {
            Some(path) => Self::Unix(path.to_owned()),
            // An old way to write "all addresses".
            None if ip == "*" => Self::Tcp(String::new(), port),
            None => Self::Tcp(ip.to_owned(), port),
        }
    }

    /// Listens. `option` is what sets the port, for the error.
    pub fn open(&self, option: &str) -> anyhow::Result<Open> {
        match self {
            Self::Tcp(host, port) => {
                let addresses = address::addresses(host, *port).map_err(anyhow::Error::msg)?;
                Ok(Open { listener: Listener::Tcp(listen::bind(&addresses, option)?), file: None })
            }
            Self::Unix(path) => {
                remove_stale(path)?;
                // Who may connect is decided by the umask, as with every program that is started by another.
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("{option}: cannot listen on {}", path.display()))?;
                Ok(Open { listener: Listener::Unix(listener), file: Some(SocketFile(path.clone())) })
            }
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.is_empty() => write!(f, "*:{port}"),
            Self::Tcp(host, port) => write!(f, "{}:{port}", address::in_url(host)),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Removes a socket at which nobody listens any more, and nothing else.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("another program listens on {} already", path.display()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the old socket {}", path.display())),
        Err(_) => Ok(()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_every_address_and_a_socket_wins() {
        assert_eq!(Side::new(None, "*", 1), Side::Tcp(String::new(), 1));
        assert_eq!(Side::new(None, "::1", 1).to_string(), "[::1]:1");
        assert_eq!(Side::new(Some(Path::new("/s")), "::1", 1).to_string(), "/s");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_removed_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let open = Side::Unix(path.clone()).open("--socket").unwrap();
        assert!(Side::Unix(path.clone()).open("--socket").is_err(), "it is in use");
        drop(open);
        assert!(!path.exists());
        std::fs::write(&path, "a file of somebody's").unwrap();
        assert!(Side::Unix(path.clone()).open("--socket").is_err());
        assert!(path.exists());
    }
}
