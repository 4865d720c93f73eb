//! A server behind the proxy that says what reached it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What depends on the connection or on chance, and is no part of what a target is told.
const LEFT_OUT: [&str; 5] =
    ["connection", "content-length", "transfer-encoding", "sec-websocket-key", "keep-alive"];

/// Starts it; it lives as long as the test.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Answers one request and closes.
fn answer(stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let get = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let body = body(&mut stream, get("content-length"), get("transfer-encoding"))?;
    let path = first.split(' ').nth(1)?.to_owned();
    let upgrade = get("upgrade");
    headers.retain(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    headers.sort();
    let mut text = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned() + "\n";
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&String::from_utf8_lossy(&body));
    let head = match path.split(['?', '/']).next_back()? {
        _ if upgrade.is_some() => {
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_owned()
        }
        "hang-up" => return None,
        "redirect" => {
            let host = stream.get_ref().local_addr().ok()?;
            format!("HTTP/1.1 302 Found\r\nLocation: http://{host}/there?a=b\r\nConnection: close\r\n\r\n")
        }
        "cookies" => "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Answer: one\r\n\
                      X-Answer: two\r\nConnection: close\r\n\r\n"
            .to_owned(),
        "418" => "HTTP/1.1 418 I am a teapot\r\nX-Answer: tea\r\nConnection: close\r\n\r\n".to_owned(),
        "404" | "503" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/x-page\r\nX-Answer: no\r\nConnection: close\r\n\r\n"
                .to_owned()
        }
        _ => "HTTP/1.1 200 OK\r\nContent-Type: text/x-told\r\nConnection: close\r\n\r\n".to_owned(),
    };
    let stream = stream.get_mut();
    stream.write_all(format!("{head}{text}").as_bytes()).ok()
}

fn body(stream: &mut impl BufRead, length: Option<String>, coding: Option<String>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if coding.is_some() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut piece = vec![0; length + 2];
            stream.read_exact(&mut piece).ok()?;
            body.extend_from_slice(piece.get(..length)?);
            if length == 0 {
                return Some(body);
            }
        }
    }
    body.resize(length.map_or(Some(0), |length| length.parse().ok())?, 0);
    stream.read_exact(&mut body).ok()?;
    Some(body)
}
