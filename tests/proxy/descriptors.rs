//! At the limit of descriptors whoever comes is told so, and served as soon as there is one again.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use hubd_tests::{free_port, programs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{LIMIT, talk};

const GET: &str = "GET /_chp_healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
/// What the proxy needs for itself, and for a few connections.
const DESCRIPTORS: usize = 40;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `hubd proxy` with so few descriptors that they run out.
async fn start() -> (Running, SocketAddr) {
    let (port, api_port) = (free_port(), free_port());
    let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited]).arg(&programs().hubd).args(["proxy", "--ip", "127.0.0.1", "--port"]);
    command.arg(port.to_string()).arg("--api-port").arg(api_port.to_string()).process_group(0);
    let running = Running(command.stdout(Stdio::null()).spawn().unwrap());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let wait = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the proxy listens");
    (running, address)
}

/// Asks on a new connection, which stays open; says how the answer begins, nothing if there is none.
async fn ask(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(b"GET /_chp_healthz HTTP/1.1\r\nHost: hub\r\n\r\n").await;
    let mut answer = [0; 12];
    let read = tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await.expect("nobody hangs");
    let text = read.map_or(String::new(), |_| String::from_utf8_lossy(&answer).into_owned());
    (stream, text)
}

#[tokio::test]
async fn whoever_comes_without_a_descriptor_left_is_told_so() {
    let (_running, address) = start().await;
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..2 * DESCRIPTORS {
        let (stream, answer) = ask(address).await;
        match answer.as_str() {
            "HTTP/1.1 200" => open.push(stream),
            "HTTP/1.1 503" => refused += 1,
            // The kernel may have reset the connection before the answer was read.
            "" => {}
            other => panic!("{other}"),
        }
    }
    assert!(open.len() > 5 && refused > 5, "{} served, {refused} refused", open.len());
    let first = open.first_mut().unwrap();
    first.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("HTTP/1.1 200"), "who is there goes on: {answer}");
    drop(open);
    let again = async { while !talk(address, GET).await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(LIMIT, again).await.expect("everybody is served again");
}
