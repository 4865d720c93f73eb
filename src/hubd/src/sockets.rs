//! Listening sockets that the service manager holds: those of a socket unit, and those kept over a restart.
//!
//! systemd opens the sockets of `hubd.socket` itself, so port 443 needs no capability here; every other one that hubd
//! opens is put into its descriptor store (`FDSTORE=1`, sd_notify(3)). Either way the next process finds it open
//! (`LISTEN_FDS`, sd_listen_fds(3)), and whoever connects while hubd restarts waits instead of being refused.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::listen::Place;
use crate::service_manager;

/// What the names of sockets in the descriptor store begin with. A socket unit's are called after the unit.
const KEPT: &str = "kept-";

/// The sockets that this process was started with and has not used yet.
#[derive(Default)]
pub struct Sockets {
    given: Vec<Given>,
    /// Whether a service manager keeps what is opened here.
    kept: bool,
}

/// A socket that is listened on.
pub enum Socket {
    /// A port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

struct Given {
    name: String,
    address: Address,
    socket: Socket,
}

/// Where a given socket listens.
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Sockets {
    /// Those that the environment speaks of. `names` is `LISTEN_FDNAMES`, `kept` whether there is a service manager
    /// that takes sockets (`NOTIFY_SOCKET`).
    pub fn of_service_manager(names: Option<&str>, kept: bool) -> Self {
        let mut names = names.unwrap_or_default().split(':');
        let mut descriptors = ListenFd::from_env();
        let mut given = Vec::new();
        for number in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match taken(&mut descriptors, number) {
                Ok(Some((socket, address))) => given.push(Given { name, address, socket }),
                Ok(None) => {}
                Err(error) => tracing::warn!("socket {name} of the service manager cannot be used: {error}"),
            }
        }
        Self { given, kept }
    }

    /// The one that listens at this place already.
    pub fn take(&mut self, place: &Place) -> Option<Socket> {
        let at = self.given.iter().position(|given| given.address.is(place))?;
        let given = self.given.swap_remove(at);
        tracing::info!(
            "listening on {} through the socket {} of the service manager",
            given.address,
            given.name
        );
        Some(given.socket)
    }

    /// Gives the service manager a copy of a socket, under the name of the option that says where it listens; false if
    /// there is none that takes it.
    pub fn keep(&self, socket: &Socket, option: &str) -> bool {
        if !self.kept {
            return false;
        }
        let name = format!("{KEPT}{}", option.trim_start_matches('-'));
        let states = [NotifyState::FdStore, NotifyState::FdName(&name)];
        match sd_notify::notify_with_fds(&states, &[socket.as_fd()]) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!("cannot give the service manager a socket: {error}");
                false
            }
        }
    }

    /// Closes what no option asks for, and says so where an admin can do something about it.
    pub fn close_unused(self) {
        for Given { name, address, .. } in self.given {
            if name.starts_with(KEPT) {
                service_manager::tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
            } else {
                tracing::warn!(
                    "{name} hands over a socket on {address}, which no option names, and it is closed\n\
                     cure: set {} in [JupyterHub], or correct ListenStream= (systemctl edit {name})",
                    address.option()
                );
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Address {
    fn is(&self, place: &Place) -> bool {
        match (self, place) {
            (Self::Tcp(address), Place::Tcp(addresses)) => addresses.contains(address),
            (Self::Unix(path), Place::Unix(wanted, _)) => path == wanted,
            _ => false,
        }
    }

    /// What would ask for it.
    fn option(&self) -> String {
        match self {
            Self::Tcp(address) => format!("port = {}", address.port()),
            Self::Unix(path) => format!("bind_url = \"unix:{}\"", path.display()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn taken(descriptors: &mut ListenFd, number: usize) -> std::io::Result<Option<(Socket, Address)>> {
    if let Ok(listener) = descriptors.take_tcp_listener(number) {
        let Some(listener) = listener else { return Ok(None) };
        let address = listener.local_addr()?;
        return Ok(Some((Socket::Tcp(listener), Address::Tcp(address))));
    }
    let Some(listener) = descriptors.take_unix_listener(number)? else { return Ok(None) };
    let address = listener.local_addr()?;
    let path = address.as_pathname().map(PathBuf::from).unwrap_or_default();
    Ok(Some((Socket::Unix(listener), Address::Unix(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, listener: TcpListener) -> Given {
        let address = Address::Tcp(listener.local_addr().unwrap());
        Given { name: name.to_owned(), address, socket: Socket::Tcp(listener) }
    }

    #[test]
    fn a_given_socket_is_used_for_its_own_address_alone_and_once() {
        let (one, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (wanted, elsewhere) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let mut sockets = Sockets { given: vec![given("kept-port", one)], kept: false };
        assert!(sockets.take(&Place::Tcp(vec![elsewhere])).is_none());
        assert!(sockets.take(&Place::Unix("/run/s".into(), None)).is_none());
        let taken = sockets.take(&Place::Tcp(vec![elsewhere, wanted]));
        assert!(matches!(taken, Some(Socket::Tcp(listener)) if listener.local_addr().unwrap() == wanted));
        assert!(sockets.take(&Place::Tcp(vec![wanted])).is_none());
    }

    #[test]
    fn a_given_unix_socket_is_used_for_its_own_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let address = Address::Unix(path.clone());
        assert_eq!(address.option(), format!("bind_url = \"unix:{}\"", path.display()));
        let given = vec![Given { name: "hubd.socket".into(), address, socket: Socket::Unix(listener) }];
        let mut sockets = Sockets { given, kept: false };
        assert!(sockets.take(&Place::Unix("/run/other".into(), None)).is_none());
        assert!(matches!(sockets.take(&Place::Unix(path, Some(0o600))), Some(Socket::Unix(_))));
    }

    #[test]
    fn a_socket_that_nobody_asked_for_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Sockets { given: vec![given("hubd.socket", listener)], kept: false }.close_unused();
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
