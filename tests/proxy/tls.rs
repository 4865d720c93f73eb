//! TLS: real handshakes, and certificate files of every broken kind.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hubd_proxy::{PairFiles, ProxySettings, Tls, TlsError, TlsSettings};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{header, read_all, settings, start_with, talk};
use crate::websockets::echo_server;

/// A certificate and key in files, and what a browser must trust.
pub struct Files {
    directory: tempfile::TempDir,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub root: CertificateDer<'static>,
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn files() -> Files {
    files_of(&pair())
}

fn files_of(pair: &CertifiedKey<KeyPair>) -> Files {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    write(&certificate, &pair.cert.pem(), 0o644);
    write(&key, &pair.signing_key.serialize_pem(), 0o640);
    Files { directory, certificate, key, root: pair.cert.der().clone() }
}

/// A browser that trusts `root`.
fn browser(root: &CertificateDer<'static>) -> ClientConfig {
    browser_with(root, rustls::DEFAULT_VERSIONS)
}

fn browser_with(
    root: &CertificateDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    // Like today's browsers, which offer both ways at once.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519MLKEM768);
    provider.kx_groups.insert(0, rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768);
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn connect(
    address: SocketAddr,
    root: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(address, root, &[b"http/1.1"]).await
}

/// With these protocols offered, the best one first.
pub async fn connect_with(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = browser(root);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

#[tokio::test]
async fn browsers_are_served_over_tls() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let proxy = start_with(settings(), Some(tls)).await;
    let mut stream = connect(proxy.address, &files.root).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    stream.write_all(b"GET /hub/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.contains("app GET /hub/ https=true host=localhost"), "{answer}");
}

#[tokio::test]
async fn websockets_work_over_tls() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let proxy = start_with(settings(), Some(tls)).await;
    proxy.route("/user/a/", echo_server().await);
    let stream = connect(proxy.address, &files.root).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/user/a/ws", stream).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![7; 3_000_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_told_what_to_do() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let proxy = start_with(settings(), Some(tls)).await;
    let answer = talk(proxy.address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("https://localhost\n"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_used_and_a_bad_one_keeps_the_old() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let proxy = start_with(settings(), Some(tls.clone())).await;
    let mut open = connect(proxy.address, &files.root).await.unwrap();
    write(&files.certificate, "-----BEGIN CERTIFICATE-----\nhalf", 0o644);
    assert!(tls.reload().is_err());
    connect(proxy.address, &files.root).await.unwrap();
    let new = pair();
    write(&files.certificate, &new.cert.pem(), 0o644);
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    connect(proxy.address, &files.root).await.unwrap();
    write(&files.key, &new.signing_key.serialize_pem(), 0o600);
    tls.reload().unwrap();
    connect(proxy.address, new.cert.der()).await.unwrap();
    assert!(connect(proxy.address, &files.root).await.is_err());
    open.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_all(&mut open).await.starts_with("HTTP/1.1 200"), "open connections live on");
}

#[test]
fn chain_and_key_may_be_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let both = directory.path().join("both.pem");
    let pair = pair();
    let text = format!("a comment\n{}{}", pair.signing_key.serialize_pem(), pair.cert.pem());
    write(&both, &text, 0o600);
    Tls::load(&both, &both).unwrap();
}

/// The words of the error, which must name the file.
fn error(certificate: &Path, key: &Path, named: &Path) -> String {
    let Err(error) = Tls::load(certificate, key) else { panic!("{certificate:?} {key:?} were accepted") };
    let text = error.to_string();
    assert!(text.contains(&named.display().to_string()), "{text}");
    text
}

#[test]
fn every_error_names_the_file_and_the_cure() {
    let files = files();
    let Files { certificate, key, .. } = &files;
    let file = |name: &str, text: &str| {
        let path = files.directory.path().join(name);
        write(&path, text, 0o600);
        path
    };
    let pem = std::fs::read_to_string(key).unwrap();
    let missing = files.directory.path().join("missing");
    assert!(error(&missing, key, &missing).contains("cannot read"));
    assert!(error(certificate, &missing, &missing).contains("cannot read"));
    let empty = file("empty", "");
    assert!(error(&empty, key, &empty).contains("no certificate"));
    assert!(error(certificate, &empty, &empty).contains("no private key"));
    assert!(
        error(certificate, certificate_only(&files), certificate_only(&files)).contains("no private key")
    );
    assert!(error(key, key, key).contains("no certificate"));
    let open = file("open", &pem);
    for mode in [0o644, 0o602, 0o601] {
        write(&open, &pem, mode);
        assert!(error(certificate, &open, &open).contains("chmod o= "), "{mode:o}");
    }
    let half = file("half", &pem[..pem.len() / 2]);
    assert!(error(certificate, &half, &half).contains("half written"));
    let other = file("other", &pair().signing_key.serialize_pem());
    assert!(error(certificate, &other, certificate).contains("does not belong"));
    let nonsense = file("nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(error(certificate, &nonsense, &nonsense).contains("cannot be used"));
    let no_certificate = file("nocert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(error(&no_certificate, key, &no_certificate).contains("cannot be used"));
    let large = file("large", &"x".repeat(2_000_000));
    assert!(error(&large, key, &large).contains("larger than 1 MiB"));
    assert!(error(files.directory.path(), key, files.directory.path()).contains("cannot read"));
}

/// The certificate's file, as private as a key's.
fn certificate_only(files: &Files) -> &Path {
    let text = std::fs::read_to_string(&files.certificate).unwrap();
    write(&files.certificate, &text, 0o600);
    &files.certificate
}

#[test]
fn a_key_with_a_passphrase_is_recognised() {
    let files = files();
    let locked = files.directory.path().join("locked.pem");
    for form in [&["pkey", "-aes256"][..], &["ec", "-aes256"][..]] {
        let status = Command::new("openssl")
            .args(form)
            .args(["-passout", "pass:secret", "-in"])
            .arg(&files.key)
            .arg("-out")
            .arg(&locked)
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(error(&files.certificate, &locked, &locked).contains("openssl pkey -in"));
    }
}

/// Protocol and cipher that openssl's client agrees on when it offers only what the options say.
async fn agreed(address: SocketAddr, options: &str) -> Option<(String, String)> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", "-servername", "localhost", "-connect", &address.to_string()]);
    command.args(options.split(' ')).stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
    Some((line("Protocol version:")?, line("Ciphersuite:")?))
}

#[tokio::test]
async fn only_strong_protocols_and_ciphers_are_agreed_on() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let address = start_with(settings(), Some(tls)).await.address;
    for weak in [
        "-tls1 -cipher ALL:@SECLEVEL=0",
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0",
        "-tls1_2 -cipher AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0",
        "-tls1_2 -cipher ECDHE-ECDSA-AES256-CCM8:@SECLEVEL=0",
        "-tls1_2 -cipher ADH:AECDH:NULL:@SECLEVEL=0",
        "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256",
    ] {
        assert_eq!(agreed(address, weak).await, None, "{weak}");
    }
    for (strong, protocol, cipher) in [
        ("-tls1_3", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        (
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384",
            "TLSv1.2",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        (
            "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384",
            "TLSv1.3",
            "TLS_AES_256_GCM_SHA384",
        ),
    ] {
        assert_eq!(agreed(address, strong).await, Some((protocol.to_owned(), cipher.to_owned())), "{strong}");
    }
}

/// A pair for `name` in files of its own.
fn files_for(name: &str) -> (Files, PairFiles) {
    let pair = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let files = files_of(&pair);
    let paths = PairFiles { certificate: files.certificate.clone(), key: files.key.clone() };
    (files, paths)
}

/// Whether a browser that asks for `name` and trusts `root` gets through.
async fn accepts(address: SocketAddr, name: &str, root: &CertificateDer<'static>) -> bool {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(browser(root))).connect(name, stream).await.is_ok()
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_unknown_ones_the_first() {
    let ((first, one), (second, two)) = (files_for("hub.example"), files_for("*.lab.example"));
    let tls = Tls::set_up(TlsSettings { pairs: vec![one, two], http2: true }).unwrap();
    let proxy = start_with(settings(), Some(tls)).await;
    assert!(accepts(proxy.address, "hub.example", &first.root).await);
    assert!(accepts(proxy.address, "a.lab.example", &second.root).await);
    assert!(!accepts(proxy.address, "a.lab.example", &first.root).await);
    assert!(!accepts(proxy.address, "elsewhere.example", &second.root).await, "the first one is shown");
}

#[tokio::test]
async fn a_returning_browser_resumes_its_session() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let proxy = start_with(settings(), Some(tls.clone())).await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let config = Arc::new(browser_with(&files.root, versions));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = TcpStream::connect(proxy.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{versions:?}");
            // The tickets come with the first bytes of the answer.
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            read_all(&mut stream).await;
            tls.reload().unwrap();
        }
    }
}

#[tokio::test]
async fn changed_files_are_noticed_and_half_written_ones_told_once() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let proxy = start_with(settings(), Some(tls.clone())).await;
    assert!(tls.reload_if_changed().is_none());
    let new = pair();
    write(&files.certificate, &new.cert.pem(), 0o644);
    assert!(matches!(tls.reload_if_changed(), Some(Err(TlsError::Mismatch { .. }))));
    assert!(tls.reload_if_changed().is_none());
    assert!(accepts(proxy.address, "localhost", &files.root).await, "the old pair stays");
    write(&files.key, &new.signing_key.serialize_pem(), 0o600);
    assert!(matches!(tls.reload_if_changed(), Some(Ok(()))));
    assert!(accepts(proxy.address, "localhost", new.cert.der()).await);
    std::fs::remove_file(&files.key).unwrap();
    assert!(matches!(tls.reload_if_changed(), Some(Err(TlsError::Read(..)))));
}

#[tokio::test]
async fn browsers_are_told_to_insist_on_https_over_tls_only() {
    let files = files();
    let tls = Tls::load(&files.certificate, &files.key).unwrap();
    let settings = ProxySettings { hsts: Some(Duration::from_secs(60)), ..settings() };
    let secure = start_with(settings.clone(), Some(tls)).await;
    let plain = start_with(settings, None).await;
    for request in
        ["GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut stream = connect(secure.address, &files.root).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert_eq!(header(&answer, "strict-transport-security").as_deref(), Some("max-age=60"), "{answer}");
    }
    assert_eq!(header(&plain.get("/", "").await, "strict-transport-security"), None);
}
