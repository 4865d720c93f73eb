//! Listening sockets that the service manager holds: those of a socket unit, and those kept over a restart.
//!
//! systemd opens the sockets of `hubd.socket` itself, so port 443 needs no capability here; every other one that hubd
//! opens is put into its descriptor store (`FDSTORE=1`, sd_notify(3)). Either way the next process finds it open
//! (`LISTEN_FDS`, sd_listen_fds(3)), and whoever connects while hubd restarts waits instead of being refused.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::service_manager;

/// What the names of sockets in the descriptor store begin with. A socket unit's are called after the unit.
const KEPT: &str = "kept-";

/// The sockets that this process was started with and has not used yet.
#[derive(Default)]
pub struct Sockets(Vec<Given>);

struct Given {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Sockets {
    /// Those that the environment speaks of. `names` is `LISTEN_FDNAMES`.
    pub fn of_service_manager(names: Option<&str>) -> Self {
        let mut names = names.unwrap_or_default().split(':');
        let mut descriptors = ListenFd::from_env();
        let mut given = Vec::new();
        for number in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match descriptors.take_tcp_listener(number) {
                Ok(Some(listener)) => match listener.local_addr() {
                    Ok(address) => given.push(Given { name, address, listener }),
                    Err(error) => tracing::warn!("socket {name} of the service manager: {error}"),
                },
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        "socket {name} of the service manager is no listening TCP socket: {error}"
                    );
                }
            }
        }
        Self(given)
    }

    /// The one that listens on one of `addresses` already.
    pub fn take(&mut self, addresses: &[SocketAddr]) -> Option<TcpListener> {
        let at = self.0.iter().position(|given| addresses.contains(&given.address))?;
        let given = self.0.swap_remove(at);
        tracing::info!(
            "listening on {} through the socket {} of the service manager",
            given.address,
            given.name
        );
        Some(given.listener)
    }

    /// Closes what no option asks for, and says so where an admin can do something about it.
    pub fn close_unused(self) {
        for Given { name, address, .. } in self.0 {
            if name.starts_with(KEPT) {
                service_manager::tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
            } else {
                tracing::warn!(
                    "{name} hands over a socket on {address}, which no option names, and it is closed\n\
                     cure: set port = {} in [JupyterHub], or correct ListenStream= (systemctl edit {name})",
                    address.port()
                );
            }
        }
    }
}

/// Gives the service manager a copy of a socket, under the name of the option that says where it listens.
pub fn keep(listener: &TcpListener, option: &str) {
    let name = format!("{KEPT}{}", option.trim_start_matches('-'));
    let states = [NotifyState::FdStore, NotifyState::FdName(&name)];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[listener.as_fd()]) {
        tracing::debug!("cannot give the service manager a socket: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, listener: TcpListener) -> Given {
        Given { name: name.to_owned(), address: listener.local_addr().unwrap(), listener }
    }

    #[test]
    fn a_given_socket_is_used_for_its_own_address_alone_and_once() {
        let (one, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (wanted, elsewhere) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let mut sockets = Sockets(vec![given("kept-port", one)]);
        assert!(sockets.take(&[elsewhere]).is_none());
        assert_eq!(sockets.take(&[elsewhere, wanted]).unwrap().local_addr().unwrap(), wanted);
        assert!(sockets.take(&[wanted]).is_none());
    }

    #[test]
    fn a_socket_that_nobody_asked_for_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Sockets(vec![given("hubd.socket", listener)]).close_unused();
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
