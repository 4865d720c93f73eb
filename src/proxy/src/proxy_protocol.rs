//! The PROXY protocol, version 2: what a front proxy that does not look into the connection says before its
//! first byte (haproxy's proxy-protocol.txt, section 2.2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and the length of what follows.
const HEAD_BYTES: usize = 16;
/// Addresses take 36 bytes; what a front proxy may add takes some hundreds.
const REST_BYTES_MAX: usize = 4096;
/// The front proxy speaks for itself, for instance to see whether hubd is there.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// The upper half of the family.
const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// Reads the header, and not a byte more. None if it names no address.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let Some(&[command, family, high, low]) = head.strip_prefix(SIGNATURE) else {
        return Err(invalid("no PROXY protocol header of version 2"));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(invalid("the PROXY protocol header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match command {
        LOCAL => Ok(None),
        PROXY => source(family >> 4, &rest),
        _ => Err(invalid("unknown command in the PROXY protocol header")),
    }
}

fn source(family: u8, rest: &[u8]) -> io::Result<Option<IpAddr>> {
    let short = || invalid("the PROXY protocol header is too short");
    match family {
        IPV4 => {
            let bytes: &[u8; 4] = rest.first_chunk().ok_or_else(short)?;
            Ok(Some(Ipv4Addr::from(*bytes).into()))
        }
        IPV6 => {
            let bytes: &[u8; 16] = rest.first_chunk().ok_or_else(short)?;
            Ok(Some(Ipv6Addr::from(*bytes).into()))
        }
        _ => Ok(None),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    async fn read_of(bytes: &[u8]) -> Result<Option<String>, String> {
        let mut stream = bytes;
        let address = read(&mut stream).await.map_err(|error| error.to_string())?;
        assert_eq!(stream, b"GET", "not a byte more is read");
        Ok(address.map(|address| address.to_string()))
    }

    #[tokio::test]
    async fn the_source_address_is_read_and_additions_are_skipped() {
        let mut rest = [192, 0, 2, 7, 127, 0, 0, 1, 1, 2, 3, 4].to_vec();
        rest.extend(b"\x03\x00\x04abcd");
        let bytes = [header(PROXY, 0x11, &rest), b"GET".to_vec()].concat();
        assert_eq!(read_of(&bytes).await, Ok(Some("192.0.2.7".to_owned())));
        let mut rest = [0; 36];
        rest[15] = 1;
        let bytes = [header(PROXY, 0x21, &rest), b"GET".to_vec()].concat();
        assert_eq!(read_of(&bytes).await, Ok(Some("::1".to_owned())));
    }

    #[tokio::test]
    async fn a_front_proxy_may_speak_for_itself() {
        let bytes = [header(LOCAL, 0, b""), b"GET".to_vec()].concat();
        assert_eq!(read_of(&bytes).await, Ok(None));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = header(PROXY, 0x11, &[0; 5000]);
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n".to_vec(),
            header(0x22, 0x11, &[0; 12]),
            header(PROXY, 0x11, &[0; 3]),
            header(PROXY, 0x21, &[0; 12]),
            header(PROXY, 0x11, &[0; 12])[..20].to_vec(),
            long,
        ] {
            assert!(read(&mut &bytes[..]).await.is_err(), "{bytes:?}");
        }
    }
}
