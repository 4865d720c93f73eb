//! One session of the fake helper: its control connections, and the server that answers on a socket.

use std::collections::HashMap;
use std::sync::Arc;

use hubd_proto::frame::{self, HEADER_BYTES};
use hubd_proto::message::{Endpoint, Exited, RefusalCode, Refused, SessionStatus};
use hubd_proto::{Reply, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

use super::OnStart;

/// One session.
pub(super) struct Session {
    pub status: SessionStatus,
    /// What the server gets, tokens included.
    pub environment: HashMap<String, String>,
    pub how: OnStart,
    pub exit: watch::Sender<Option<End>>,
    /// Changes when all control connections are cut.
    pub cut: watch::Sender<()>,
}

/// The end of a session.
#[derive(Clone)]
pub(super) enum End {
    Exited(Exited),
    /// The process above the server is killed: nobody says a word.
    Killed,
}

/// One control connection.
pub(super) async fn control(mut stream: UnixStream, session: Arc<Session>) {
    let (mut exit, mut cut) = (session.exit.subscribe(), session.cut.subscribe());
    loop {
        let reply = tokio::select! {
            request = read(&mut stream) => match request {
                Some(Request::Status) => Reply::Status(session.status.clone()),
                Some(Request::Log) => Reply::Log(vec!["a line".into()]),
                Some(Request::Stop) => {
                    session.exit.send_if_modified(|exit| {
                        let runs = exit.is_none();
                        if runs { *exit = Some(End::Exited(exited(None, Some(15), true))); }
                        runs
                    });
                    Reply::Done
                }
                _ => return,
            },
            ended = exit.wait_for(Option::is_some) => {
                match ended.expect("the session lives").clone().expect("ended") {
                    End::Exited(exited) => Reply::Exited(exited),
                    End::Killed => return,
                }
            }
            _ = cut.changed() => return,
        };
        let over = matches!(reply, Reply::Exited(_));
        write(&mut stream, &reply).await;
        if over {
            return;
        }
    }
}

pub(super) fn exited(code: Option<i32>, signal: Option<i32>, stopped: bool) -> Exited {
    Exited {
        code,
        signal,
        stopped,
        out_of_memory: None,
        log: vec!["Traceback (most recent call last):".into(), "ImportError".into()],
    }
}

/// A web server that knows one answer.
pub(super) async fn serve(endpoint: Endpoint, how: OnStart) {
    let answer: &'static str = match how {
        OnStart::Serve | OnStart::Hang => {
            "HTTP/1.1 403 Forbidden\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
        OnStart::Broken => {
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
        _ => return,
    };
    async fn one(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, answer: &'static str) {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
    match endpoint {
        Endpoint::Unix(path) => {
            let listener = UnixListener::bind(path).expect("bound");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one(stream, answer));
            }
        }
        Endpoint::Tcp(port) => {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("bound");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one(stream, answer));
            }
        }
        Endpoint::Service => {}
    }
}

pub(super) async fn refuse(stream: &mut UnixStream, code: RefusalCode) {
    let refused = Refused {
        code,
        message: "The fake helper says no.".into(),
        notices: Vec::new(),
        retry_after_seconds: (code == RefusalCode::RateLimited).then_some(7),
    };
    write(stream, &Reply::Refused(refused)).await;
}

pub(super) async fn read(stream: &mut UnixStream) -> Option<Request> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.ok()?;
    let mut body = vec![0; frame::body_length(header).ok()?];
    stream.read_exact(&mut body).await.ok()?;
    frame::decode_request(&body).ok()
}

pub(super) async fn write(stream: &mut UnixStream, reply: &Reply) {
    let bytes = frame::encode(reply).expect("short enough");
    // The hub may have gone; the session lives on.
    let _ = stream.write_all(&bytes).await;
}
