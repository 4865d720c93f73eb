//! Opening what is listened on: ports and Unix sockets, each with an error that says who is in the way and what to do.

mod port;
mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hubd_proxy::{Endpoint, Listener};

use crate::sockets::{Socket, Sockets};

pub use port::failure;
pub use socket::{SocketFile, in_the_way};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first of these addresses that this machine has.
    Tcp(Vec<SocketAddr>),
    /// A Unix socket, with the mode of its file; without one the umask decides who may connect.
    Unix(PathBuf, Option<u32>),
}

/// An open one. A socket's file is removed with it.
pub struct Open {
    /// What connections come from.
    pub listener: Listener,
    /// Removes the file.
    pub file: Option<SocketFile>,
}

impl Open {
    /// Where it listens.
    ///
    /// # Errors
    /// The socket has no address, which the kernel does not do.
    pub fn endpoint(&self) -> anyhow::Result<Endpoint> {
        match &self.listener {
            Listener::Tcp(listener) => {
                listener.local_addr().map(Endpoint::Tcp).context("a listening socket has no address")
            }
            Listener::Unix(listener) => {
                let address = listener.local_addr().context("a listening socket has no address")?;
                let path = address.as_pathname().context("a listening socket has no path")?;
                Ok(Endpoint::Unix(path.to_owned()))
            }
        }
    }
}

impl Place {
    /// The path of a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path, _) => Some(path),
            Self::Tcp(_) => None,
        }
    }

    /// Takes the socket that the service manager holds for this place, or opens one and keeps it open over a restart.
    /// `option` is what sets the place, for the error.
    pub fn take_or_open(&self, sockets: &mut Sockets, option: &str) -> anyhow::Result<Open> {
        if let Some(given) = sockets.take(self) {
            sockets.keep(&given, option);
            return into_tokio(given, None);
        }
        let (socket, file) = self.bind(option)?;
        // What the service manager holds is still listened on after the end, so its file stays.
        let file = if sockets.keep(&socket, option) { None } else { file };
        into_tokio(socket, file)
    }

    /// Opens it. `option` is what sets the place, for the error.
    pub fn open(&self, option: &str) -> anyhow::Result<Open> {
        let (socket, file) = self.bind(option)?;
        into_tokio(socket, file)
    }

    fn bind(&self, option: &str) -> anyhow::Result<(Socket, Option<SocketFile>)> {
        match self {
            Self::Tcp(addresses) => Ok((Socket::Tcp(port::open(addresses, option)?), None)),
            Self::Unix(path, mode) => {
                let (listener, file) = socket::open(path, *mode, option)?;
                Ok((Socket::Unix(listener), Some(file)))
            }
        }
    }
}

fn into_tokio(socket: Socket, file: Option<SocketFile>) -> anyhow::Result<Open> {
    let blocking = "cannot make a listening socket non-blocking";
    let watching = "cannot watch a listening socket";
    let listener = match socket {
        Socket::Tcp(listener) => {
            listener.set_nonblocking(true).context(blocking)?;
            Listener::Tcp(tokio::net::TcpListener::from_std(listener).context(watching)?)
        }
        Socket::Unix(listener) => {
            listener.set_nonblocking(true).context(blocking)?;
            Listener::Unix(tokio::net::UnixListener::from_std(listener).context(watching)?)
        }
    };
    Ok(Open { listener, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_means_ipv4_too() {
        let addresses = crate::config::address::addresses("", 0).unwrap();
        let Endpoint::Tcp(address) = Place::Tcp(addresses).open("--ip").unwrap().endpoint().unwrap() else {
            panic!("a port is TCP");
        };
        // The listener is closed again, so only the address is looked at: all of them, both families.
        assert!(address.ip().is_unspecified() && address.port() > 0);
    }

    #[tokio::test]
    async fn a_socket_says_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let open = Place::Unix(path.clone(), Some(0o660)).open("--url").unwrap();
        assert_eq!(open.endpoint().unwrap(), Endpoint::Unix(path));
    }
}
