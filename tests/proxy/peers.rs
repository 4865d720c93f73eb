//! Who listens is checked before the first byte: a stolen port or a replaced socket gets nothing.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hubd_proxy::{BackendFailure, Endpoint, Target, probe};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};

use crate::support::{LIMIT, eventually, start};

/// Nobody, who certainly does not run these tests.
const OTHER_UID: u32 = 65_534;

fn own_uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

#[tokio::test]
async fn a_unix_socket_of_another_user_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let proxy = start().await;
    let target = |uid| Target { endpoint: Endpoint::Unix(path.clone()), uid: Some(uid) };
    proxy.routes.add("/user/a/", target(own_uid() + 1));
    let answer = proxy.get("/user/a/", "Cookie: secret=1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("WrongPeer"), "{answer}");
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"", "nothing was sent");
    let result = probe(&target(own_uid() + 1), "/", LIMIT).await;
    assert_eq!(result.unwrap_err(), BackendFailure::WrongPeer);
}

#[tokio::test]
async fn a_port_of_another_user_gets_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    let target = |uid| Target { endpoint: Endpoint::Tcp(listener.local_addr().unwrap()), uid: Some(uid) };
    proxy.routes.add("/user/a/", target(own_uid() + 1));
    let answer = proxy.get("/user/a/", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("WrongPeer"), "{answer}");
    let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepted.is_err(), "nobody connected");
    let result = probe(&target(own_uid()), "/", Duration::from_millis(100)).await;
    assert_eq!(result.unwrap_err(), BackendFailure::Timeout, "the owner's is connected to");
}

#[tokio::test]
async fn sockets_of_their_owner_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tokio::io::BufReader::new(stream);
        crate::support::read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
    });
    let proxy = start().await;
    proxy.routes.add("/user/a/", Target { endpoint: Endpoint::Unix(path), uid: Some(own_uid()) });
    assert!(proxy.get("/user/a/", "").await.ends_with("hi"));
}

/// A program of another user that listens; ends with this value.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn real_strangers_are_recognised() {
    if own_uid() != 0 {
        eprintln!("skipped: only root can listen as somebody else");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open_to_all).unwrap();
    let (path, ready) = (directory.path().join("s"), directory.path().join("port"));
    let program = "import socket,sys,time\n\
        u=socket.socket(socket.AF_UNIX); u.bind(sys.argv[1]); u.listen()\n\
        t=socket.socket(); t.bind(('127.0.0.1',0)); t.listen()\n\
        open(sys.argv[2]+'~','w').write(str(t.getsockname()[1]))\n\
        import os; os.rename(sys.argv[2]+'~',sys.argv[2]); time.sleep(600)";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", program]).arg(&path).arg(&ready).stdin(Stdio::null());
    become_other(&mut command);
    let _stranger = Stranger(command.spawn().unwrap());
    eventually("the stranger listens", || ready.exists()).await;
    let port: u16 = std::fs::read_to_string(&ready).unwrap().parse().unwrap();
    let tcp = Endpoint::Tcp(([127, 0, 0, 1], port).into());
    for endpoint in [Endpoint::Unix(path), tcp] {
        let result = probe(&Target { endpoint: endpoint.clone(), uid: Some(1000) }, "/", LIMIT).await;
        assert_eq!(result.unwrap_err(), BackendFailure::WrongPeer, "{endpoint:?}");
        let target = Target { endpoint, uid: Some(OTHER_UID) };
        let result = probe(&target, "/", Duration::from_millis(200)).await;
        assert_eq!(result.unwrap_err(), BackendFailure::Timeout, "the owner is the one who was meant");
    }
}

fn become_other(command: &mut Command) {
    command.uid(OTHER_UID).gid(OTHER_UID);
}
