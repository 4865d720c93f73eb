//! Ports: the first address that this machine has, and who holds one that is taken.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, bail};
use nix::sys::socket::{Backlog, listen};

/// How many new connections may wait to be accepted, as in hubd.socket. With the 128 of the standard library, some
/// of 500 people who come at once had to try again after a second. The kernel's own limit is
/// net.core.somaxconn, see listen(2).
const BACKLOG: i32 = 4096;

/// Opens the first of `addresses` that this machine has. `option` is what sets the port, for the error.
pub fn open(addresses: &[SocketAddr], option: &str) -> anyhow::Result<TcpListener> {
    let mut last = None;
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => {
                let waiting = Backlog::new(BACKLOG).and_then(|backlog| listen(&listener, backlog));
                waiting.with_context(|| format!("listening on {address}"))?;
                return Ok(listener);
            }
            // A machine without IPv6: the next address is IPv4's.
            Err(error)
                if address.is_ipv6()
                    && addresses.len() > 1
                    && error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) =>
            {
                last = Some(failure(address, &error, option));
            }
            Err(error) => bail!(failure(address, &error, option)),
        }
    }
    bail!(last.unwrap_or_else(|| format!("{option}: there is no address to listen on")))
}

/// Why a port cannot be opened, and the cure on a line of its own.
pub fn failure(address: &SocketAddr, error: &std::io::Error, option: &str) -> String {
    let cure = match error.kind() {
        ErrorKind::AddrInUse => {
            let holder = holder(address).unwrap_or_else(|| "another program".to_owned());
            format!(
                "{holder} listens on port {0} already; end it (`ss -ltnp 'sport = :{0}'` as root shows the process), or choose another port with {option}",
                address.port()
            )
        }
        ErrorKind::PermissionDenied if address.port() < 1024 => format!(
            "ports below 1024 need a privilege that hubd does not have: let systemd open port {} (hubd.socket, see hubd(8)), or choose a higher one with {option}",
            address.port()
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: see `ip address`, and correct the one in the configuration, --ip for the \
             public one"
                .to_owned()
        }
        _ => format!("check {option}"),
    };
    format!("cannot listen on {address}: {error}\n    cure: {cure}")
}

/// Who listens on the port, as far as an ordinary user may see: process for own ones, account for all.
fn holder(address: &SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let (uid, inode) = tables.iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| listening(line, address.port()))
    })?;
    let name = users::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned());
    let account = name.unwrap_or_else(|| format!("uid {uid}"));
    Some(match process_with(&inode) {
        Some(process) => format!("{process} of user {account}"),
        None => format!("a program of user {account}"),
    })
}

/// Uid and inode of a line of /proc/net/tcp (proc(5)), if it is a listening socket on `port`.
fn listening(line: &str, port: u16) -> Option<(u32, String)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state) = (fields.get(1)?, fields.get(3)?);
    let listening = *state == LISTEN && u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()? == port;
    listening.then(|| Some((fields.get(7)?.parse().ok()?, (*fields.get(9)?).to_owned())))?
}

/// Name and pid of the process that holds a socket; nothing if it is not ours to see.
fn process_with(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().into_string().ok().filter(|name| name.parse::<u32>().is_ok())?;
        let mut descriptors = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        descriptors
            .find(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_names_address_holder_and_cure() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = held.local_addr().unwrap();
        let error = open(&[address], "--port").unwrap_err().to_string();
        assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        assert!(error.contains("--port") && error.contains("ss -ltnp"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let error = open(&["192.0.2.1:0".parse().unwrap()], "--ip").unwrap_err().to_string();
        assert!(error.contains("no such address") && error.contains("--ip"), "{error}");
    }
}
