//! Who is at the other end of a socket, as the kernel says.

use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::setup::Setup;

/// Whether the peer is the daemon.
///
/// # Errors
/// Who it is instead.
pub fn check(setup: &Setup, stream: &UnixStream) -> Result<(), String> {
    let peer =
        getsockopt(stream, PeerCredentials).map_err(|error| format!("no peer credentials: {error}"))?;
    if peer.uid() == setup.daemon_uid.as_raw() {
        return Ok(());
    }
    Err(format!("the peer is uid {}, process {}, not the daemon", peer.uid(), peer.pid()))
}
