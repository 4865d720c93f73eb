//! The client against a peer that answers with chosen bytes.

use std::io;
use std::path::Path;
use std::time::Duration;

use hubd_proto::message::{RefusalCode, Refused};
use hubd_proto::{FrameError, Reply, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{HelperClient, HelperError};
use crate::test_support::user;

/// A client of a peer that reads one request, writes `chunks` one by one, and closes if told so.
async fn peer(chunks: Vec<Vec<u8>>, closes: bool) -> (HelperClient, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("helper.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let _ = stream.read(&mut [0; 256]).await;
        for chunk in chunks {
            stream.write_all(&chunk).await.expect("written");
            tokio::task::yield_now().await;
        }
        if !closes {
            std::future::pending::<()>().await;
        }
    });
    (HelperClient { socket, timeout: Duration::from_secs(5) }, dir)
}

async fn error_of(chunks: Vec<Vec<u8>>) -> HelperError {
    let (client, _dir) = peer(chunks, true).await;
    client.check_account(&user("alice"), None).await.expect_err("an error")
}

#[tokio::test]
async fn a_helper_of_another_version_is_told_with_what_to_do() {
    let error = error_of(vec![b"hub\x01\0\0\0\x06".to_vec()]).await;
    assert!(matches!(error, HelperError::Frame(FrameError::Version(1))));
    assert!(error.to_string().contains("install both programs from one package"), "{error}");
}

#[tokio::test]
async fn what_is_no_frame_is_refused() {
    assert!(matches!(
        error_of(vec![b"HTTP/1.1 200 OK\r\n".to_vec()]).await,
        HelperError::Frame(FrameError::NotAFrame)
    ));
    assert!(matches!(
        error_of(vec![b"hub\x04\0\x01\0\0".to_vec()]).await,
        HelperError::Frame(FrameError::TooLong(65536))
    ));
    assert!(matches!(
        error_of(vec![b"hub\x04\0\0\0\0".to_vec()]).await,
        HelperError::Frame(FrameError::Malformed(_))
    ));
    assert!(matches!(
        error_of(vec![b"hub\x04\0\0\0\x02{}".to_vec()]).await,
        HelperError::Frame(FrameError::Malformed(_))
    ));
}

#[tokio::test]
async fn an_end_without_an_answer_is_an_error_whenever_it_comes() {
    assert!(matches!(error_of(Vec::new()).await, HelperError::Frame(_)));
    assert!(matches!(error_of(vec![b"hub\x04".to_vec()]).await, HelperError::Frame(FrameError::Io(_))));
    assert!(matches!(
        error_of(vec![b"hub\x04\0\0\0\x06\"do".to_vec()]).await,
        HelperError::Frame(FrameError::Io(_))
    ));
}

#[tokio::test]
async fn an_answer_to_another_request_is_an_error() {
    let bytes = frame::encode(&Reply::Done).expect("short enough").to_vec();
    assert!(matches!(error_of(vec![bytes]).await, HelperError::Unexpected("check_account")));
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together() {
    let refused = Refused {
        code: RefusalCode::AccountUnknown,
        message: "There is no account alice.".into(),
        notices: Vec::new(),
        retry_after_seconds: None,
    };
    let bytes = frame::encode(&Reply::Refused(refused)).expect("short enough");
    let error = error_of(bytes.iter().map(|byte| vec![*byte]).collect()).await;
    let HelperError::Refused(refused) = error else { panic!("{error}") };
    assert_eq!(refused.code, RefusalCode::AccountUnknown);
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let (mut client, _dir) = peer(Vec::new(), false).await;
    client.timeout = Duration::from_millis(50);
    let error = client.check_account(&user("alice"), None).await.expect_err("an error");
    assert!(matches!(error, HelperError::Timeout(_)), "{error}");
}

#[test]
fn a_socket_that_cannot_be_used_is_told_with_what_to_do() {
    let socket = Path::new("/run/hubd/helper.sock");
    let text = |kind: io::ErrorKind| HelperError::connect(socket, kind.into()).to_string();
    for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
        assert!(text(kind).contains("is hubd-helper running? See: systemctl status hubd-helper.socket"));
    }
    assert!(text(io::ErrorKind::PermissionDenied).contains("root and the group of hubd"));
    assert!(text(io::ErrorKind::OutOfMemory).contains("cannot connect to /run/hubd/helper.sock"));
}
