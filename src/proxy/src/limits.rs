//! How many connections there may be, in all and from one address; whoever comes too many is told so.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::origin::Peer;

/// Limits on browsers; defaults are safe.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address, or from one network of 64 bits with IPv6. Front proxies have no limit.
    pub connections_per_address: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// How long a request's head may take, and how long a new connection may be without a request.
    pub header_timeout: Duration,
    /// How long a connection of HTTP/1.1 may be without a request after the first one.
    pub http1_idle_timeout: Duration,
    /// How long a connection of HTTP/2 may be without a request.
    pub idle_timeout: Duration,
    /// Bytes per second below which a request's body or the reader of an answer is given up, after a while.
    pub minimum_rate: u64,
    /// Requests in progress on one connection of HTTP/2.
    pub http2_streams: u32,
}

/// Up to so many are read without asking for memory.
pub(crate) const HEADERS: usize = 100;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            connections_per_address: 1000,
            header_bytes: 64 * 1024,
            headers: HEADERS,
            header_timeout: Duration::from_secs(10),
            http1_idle_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            minimum_rate: 100,
            http2_streams: 100,
        }
    }
}

/// Counts connections.
pub(crate) struct Gate {
    connections: usize,
    per_address: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: usize,
    addresses: HashMap<u128, usize>,
}

/// A connection that is counted, until it is dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    address: Option<u128>,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections: limits.connections,
            per_address: limits.connections_per_address,
            state: Mutex::default(),
        })
    }

    /// Counts one more connection, if there may be one more.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.lock();
        if state.connections >= self.connections {
            return None;
        }
        state.connections += 1;
        Some(Pass { gate: self.clone(), address: None })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Counts the connection for its address, too; None if that has enough.
    pub(crate) fn of(mut self, peer: Peer) -> Option<Self> {
        let Some(address) = peer.address.filter(|_| !peer.trusted) else { return Some(self) };
        let address = network(address);
        let may = {
            let mut state = self.gate.lock();
            let count = state.addresses.entry(address).or_default();
            let may = *count < self.gate.per_address;
            if may {
                *count += 1;
            }
            may
        };
        self.address = may.then_some(address);
        may.then_some(self)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.connections -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = state.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                state.addresses.remove(&address);
            }
        }
    }
}

/// Whoever has IPv6 has all addresses of a network of 64 bits.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
    }
}

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 49\r\nRetry-After: 10\r\nConnection: close\r\n\r\n\
    There are too many connections. Try again later.\n";
/// What was said is taken before closing, or the kernel resets the connection and the answer is lost.
const BUSY_TIME: Duration = Duration::from_millis(100);
const BUSY_BYTES: usize = 4096;

/// Tells somebody who speaks plain HTTP that there is no place for them.
pub(crate) async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let talk = async {
        stream.write_all(BUSY).await?;
        stream.shutdown().await?;
        stream.read(&mut [0; BUSY_BYTES]).await
    };
    // Whoever does not take the answer does not need it.
    let _ = tokio::time::timeout(BUSY_TIME, talk).await;
}

/// A descriptor kept for the moment when there are no others: with it a waiting connection can be taken and
/// refused, instead of being left to wait.
pub(crate) struct Spare(Option<File>);

impl Spare {
    pub(crate) fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Gives the descriptor up; false if there is none.
    pub(crate) fn give(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Whether the process or the machine has no more descriptors: `EMFILE` and `ENFILE` of errno(3).
pub(crate) fn is_shortage_of_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProxySettings;

    fn peer(address: &str) -> Peer {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let settings = ProxySettings { trusted_proxies, ..ProxySettings::default() };
        Peer::new(Some(address.parse().unwrap()), false, &settings)
    }

    fn gate(connections: usize, connections_per_address: usize) -> Arc<Gate> {
        Gate::new(&Limits { connections, connections_per_address, ..Limits::default() })
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let gate = gate(2, 1);
        let first = gate.enter().unwrap().of(peer("192.0.2.1")).unwrap();
        assert!(gate.enter().unwrap().of(peer("192.0.2.1")).is_none());
        let second = gate.enter().unwrap().of(peer("192.0.2.2")).unwrap();
        assert!(gate.enter().is_none());
        drop(first);
        assert!(gate.enter().unwrap().of(peer("192.0.2.1")).is_some());
        drop(second);
        assert_eq!(gate.lock().connections, 0);
        assert!(gate.lock().addresses.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_front_proxies_have_no_limit() {
        let gate = gate(9, 1);
        let _one = gate.enter().unwrap().of(peer("2001:db8::1")).unwrap();
        assert!(gate.enter().unwrap().of(peer("2001:db8::2")).is_none());
        assert!(gate.enter().unwrap().of(peer("2001:db8:0:1::1")).is_some());
        let front = [(); 3].map(|()| gate.enter().unwrap().of(peer("10.0.0.1")));
        assert!(front.iter().all(Option::is_some));
    }

    #[test]
    fn the_refusal_is_an_answer_of_http() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
