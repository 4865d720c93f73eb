//! The addresses and sockets that `hubd proxy` listens on.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::address;
use crate::listen::{Open, Place};

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// An address (empty is all of them) and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

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
        let place = match self {
            Self::Tcp(host, port) => Place::Tcp(address::addresses(host, *port).map_err(anyhow::Error::msg)?),
            Self::Unix(path) => Place::Unix(path.clone(), None),
        };
        place.open(option)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_every_address_and_a_socket_wins() {
        assert_eq!(Side::new(None, "*", 1), Side::Tcp(String::new(), 1));
        assert_eq!(Side::new(None, "::1", 1).to_string(), "[::1]:1");
        assert_eq!(Side::new(Some(Path::new("/s")), "::1", 1).to_string(), "/s");
    }
}
