//! Who listens on a TCP port of this machine, by the kernel's socket table (proc(5), `/proc/net/tcp`).

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `TCP_LISTEN` in the table's hexadecimal.
const LISTENING: &str = "0A";
/// Where the state stands in a line, behind number, own address and the other end's.
const STATE_FIELD: usize = 3;
/// The tables, of this network namespace. `self` also works where other processes are hidden.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcpListening {
    /// Its owner.
    pub(crate) uid: u32,
    /// Which socket it is, while it exists.
    inode: u64,
}

/// The socket that takes connections to `address`. If several could, one that is not `wanted`'s is named:
/// the connection may be its.
pub(crate) async fn tcp_listener(address: SocketAddr, wanted: u32) -> io::Result<Option<TcpListening>> {
    // The kernel writes the tables while they are read.
    let looked_up = tokio::task::spawn_blocking(move || {
        let mut found: Option<TcpListening> = None;
        for table in TABLES {
            let table = match File::open(table) {
                Ok(table) => BufReader::new(table),
                // A machine without IPv6 has no second table.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            find(table, address, |listening| {
                if found.as_ref().is_none_or(|before| before.uid == wanted) {
                    found = Some(listening);
                }
            })?;
        }
        Ok(found)
    });
    looked_up.await.map_err(io::Error::other)?
}

/// Calls `each` with the sockets of a table that may take connections to `address`. All that listen come first
/// (the kernel's Documentation/networking/proc_net_tcp.rst); the others, which may be tens of thousands, are not
/// read: with 10,000 connections that would take nine times as long.
fn find(table: impl BufRead, address: SocketAddr, mut each: impl FnMut(TcpListening)) -> io::Result<()> {
    for line in table.lines().skip(1) {
        let line = line?;
        if line.split_ascii_whitespace().nth(STATE_FIELD) != Some(LISTENING) {
            break;
        }
        if let Some(listening) = listening_on(&line, address) {
            each(listening);
        }
    }
    Ok(())
}

/// Reads one line of the table, if it is of a socket that may take connections to `address`.
fn listening_on(line: &str, address: SocketAddr) -> Option<TcpListening> {
    let mut fields = line.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    if u16::from_str_radix(port, 16).ok()? != address.port() || fields.nth(1)? != LISTENING {
        return None;
    }
    if !takes(table_address(ip)?, address.ip()) {
        return None;
    }
    // After the state: queues, timer, retransmits, then uid, timeout, inode.
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(TcpListening { uid, inode })
}

/// Whether a socket bound to `bound` may take a connection to `wanted`.
fn takes(bound: IpAddr, wanted: IpAddr) -> bool {
    let wanted = wanted.to_canonical();
    match bound {
        // A socket on :: may take IPv4, too.
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        IpAddr::V4(ip) if ip.is_unspecified() => wanted.is_ipv4(),
        ip => ip.to_canonical() == wanted,
    }
}

/// An address of the table: words of 32 bits in the machine's order, in hexadecimal.
fn table_address(text: &str) -> Option<IpAddr> {
    let word = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(text)?))),
        32 => {
            let mut bytes = Vec::with_capacity(16);
            for at in [0, 8, 16, 24] {
                bytes.extend(word(text.get(at..at + 8)?)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(address: &str, state: &str, uid: u32) -> String {
        format!(
            "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 4242 1"
        )
    }

    fn v4(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_are_read_from_the_kernels_table() {
        let expected = Some(TcpListening { uid: 1001, inode: 4242 });
        assert_eq!(listening_on(&line("0100007F:1F90", "0A", 1001), v4(8080)), expected);
        assert_eq!(listening_on(&line("00000000:1F90", "0A", 1001), v4(8080)), expected);
        let v6_any = "00000000000000000000000000000000:1F90";
        assert_eq!(listening_on(&line(v6_any, "0A", 1001), v4(8080)), expected);
        let mapped = "0000000000000000FFFF00000100007F:1F90";
        assert_eq!(listening_on(&line(mapped, "0A", 1001), v4(8080)), expected);
        let loopback = "00000000000000000000000001000000:1F90";
        assert_eq!(listening_on(&line(loopback, "0A", 1001), "[::1]:8080".parse().unwrap()), expected);
    }

    #[test]
    fn other_sockets_are_not_listeners_of_the_port() {
        assert_eq!(listening_on(&line("0100007F:1F90", "01", 1001), v4(8080)), None);
        assert_eq!(listening_on(&line("0100007F:1F91", "0A", 1001), v4(8080)), None);
        assert_eq!(listening_on(&line("0200007F:1F90", "0A", 1001), v4(8080)), None);
        assert_eq!(listening_on("  sl  local_address rem_address   st tx_queue", v4(8080)), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_is_read_up_to_the_first_connection() {
        let (mine, other) = (line("0100007F:1F90", "0A", 1001), line("00000000:1F91", "0A", 7));
        let connection = line("0100007F:1F90", "01", 8);
        let table = format!("  sl  local_address\n{other}\n{mine}\n{connection}\n\u{0}broken");
        let mut found = Vec::new();
        find(table.as_bytes(), v4(8080), |listening| found.push(listening.uid)).unwrap();
        assert_eq!(found, [1001]);
    }

    #[tokio::test]
    async fn own_listener_is_found_with_own_uid() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
        let found = tcp_listener(listener.local_addr().unwrap(), me).await.unwrap().unwrap();
        assert_eq!(found.uid, me);
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(tcp_listener(address, me).await.unwrap(), None);
    }
}
