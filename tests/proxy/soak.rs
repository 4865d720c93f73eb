//! Servers that die, uploads that break off, WebSockets that are half gone: at the end the proxy has as many
//! descriptors and as much memory as at the beginning. `HUBD_SOAK_SECONDS` makes it last longer.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hubd_tests::{free_port, programs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{LIMIT, talk};

/// How long it lasts in the suite.
const SECONDS: u64 = 6;
/// Browsers at once.
const BROWSERS: usize = 24;
/// Memory that allocators keep for the next time, in KiB.
const SLACK_KIB: u64 = 4096;
/// Bytes of an answer or upload that is not finished.
const LARGE: usize = 1_000_000;

struct Running {
    child: Child,
    address: SocketAddr,
    api: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    async fn start() -> Self {
        let (port, api_port) = (free_port(), free_port());
        let mut command = Command::new(&programs().hubd);
        command.args(["proxy", "--ip", "127.0.0.1", "--api-ip", "127.0.0.1", "--log-level", "error"]);
        command.args(["--port", &port.to_string(), "--api-port", &api_port.to_string()]);
        let child = command.env_remove("CONFIGPROXY_AUTH_TOKEN").stdout(Stdio::null()).spawn().unwrap();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let running = Self { child, address: at(port), api: at(api_port) };
        let wait = async {
            for (address, path) in [(running.address, "/_chp_healthz"), (running.api, "/api/routes")] {
                while TcpStream::connect(address).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // Whoever answers has all descriptors that it keeps.
                talk(address, format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")).await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("the proxy listens");
        running
    }

    async fn route(&self, prefix: &str, target: SocketAddr) {
        let body = format!("{{\"target\": \"http://{target}\"}}");
        let length = body.len();
        let head = format!("POST /api/routes/{prefix} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n");
        let answer = talk(self.api, format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    fn memory_kib(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// How a server behaves; all its connections end when it is dropped.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers, again and again.
    Good,
    /// Closes the connection in the middle of its answer.
    Dies,
    /// Takes the request and says nothing until it is gone.
    Silent,
    /// Agrees to a WebSocket, and goes after the first bytes.
    HalfSocket,
}

async fn server(manner: Manner) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            // A browser that goes away takes its server's connection with it.
            connections.spawn(async move { serve(stream, manner).await.unwrap_or_default() });
        }
    });
    (address, tasks)
}

async fn serve(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
        match manner {
            Manner::Good => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?,
            Manner::Dies => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                return stream.write_all(&[b'x'; 1000]).await;
            }
            Manner::Silent => {
                while stream.read(&mut buffer).await? > 0 {}
                return Ok(());
            }
            Manner::HalfSocket => {
                let head =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&buffer[..100]).await?;
                return Ok(());
            }
        }
    }
}

/// One browser's misdeed; errors are part of it.
async fn misbehave(address: SocketAddr, kind: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = [0; 4096];
    match kind % 7 {
        0 => stream.write_all(b"GET /good/x HTTP/1.1\r\nHo").await?,
        1 => {
            stream.write_all(b"GET /dies/x HTTP/1.1\r\nHost: hub\r\n\r\n").await?;
            while stream.read(&mut buffer).await? > 0 {}
        }
        2 => {
            let head = format!("POST /silent/x HTTP/1.1\r\nHost: hub\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&vec![0; LARGE / 2]).await?;
        }
        3 | 4 => {
            let ask =
                "GET /socket/x HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(ask.as_bytes()).await?;
            let _ = stream.read(&mut buffer).await?;
            stream.write_all(&[0x81, 0x80, 0, 0, 0, 0]).await?;
            if kind % 7 == 3 {
                stream.shutdown().await?;
                while stream.read(&mut buffer).await? > 0 {}
            } else {
                stream.set_zero_linger()?;
            }
        }
        5 => {
            stream.write_all(b"GET /silent/x HTTP/1.1\r\nHost: hub\r\n\r\n").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        _ => {
            for _ in 0..20 {
                stream.write_all(b"GET /good/x HTTP/1.1\r\nHost: hub\r\n\r\n").await?;
                let _ = stream.read(&mut buffer).await?;
            }
        }
    }
    Ok(())
}

/// All misdeeds at once for a while, by many; then all servers die.
async fn round(proxy: &Running, time: Duration) {
    let mut servers = Vec::new();
    let manners = [Manner::Good, Manner::Dies, Manner::Silent, Manner::HalfSocket];
    for (name, manner) in ["good", "dies", "silent", "socket"].into_iter().zip(manners) {
        let (address, tasks) = server(manner).await;
        proxy.route(name, address).await;
        servers.push(tasks);
    }
    let (end, address) = (Instant::now() + time, proxy.address);
    let browsers = (0..BROWSERS).map(|first| {
        tokio::spawn(async move {
            let mut kind = first;
            while Instant::now() < end {
                // A connection that the proxy ends early is what was asked for.
                let _ = tokio::time::timeout(LIMIT, misbehave(address, kind)).await.expect("nobody hangs");
                kind += 1;
            }
        })
    });
    for browser in browsers.collect::<Vec<_>>() {
        browser.await.unwrap();
    }
    drop(servers);
}

/// Waits until nothing is left but what was there before.
async fn settle(proxy: &Running, descriptors: usize) -> bool {
    let settled = async {
        while proxy.descriptors() > descriptors {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, settled).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks_whoever_dies() {
    let seconds = std::env::var("HUBD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let rounds = seconds.unwrap_or(SECONDS).max(2) / 2;
    let proxy = Running::start().await;
    let fresh = proxy.descriptors();
    // The first round shows how much memory the work itself takes.
    round(&proxy, Duration::from_secs(2)).await;
    assert!(settle(&proxy, fresh).await, "{} descriptors instead of {fresh}", proxy.descriptors());
    let before = proxy.memory_kib();
    for _ in 0..rounds {
        round(&proxy, Duration::from_secs(2)).await;
    }
    assert!(settle(&proxy, fresh).await, "{} descriptors instead of {fresh}", proxy.descriptors());
    let after = proxy.memory_kib();
    println!("{rounds} rounds: {fresh} descriptors, {before} KiB before and {after} KiB after");
    assert!(after <= before + SLACK_KIB, "{before} KiB of memory became {after}");
}
