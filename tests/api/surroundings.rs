//! What is around the hub: a disk without room, and services that speak https.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hubd_tests::until;
use rustls::pki_types::PrivateKeyDer;

use crate::logged_in;
use crate::routes::dashboard;
use crate::trial::Trial;

/// A user server that starts at once.
const SERVER: &str = include_str!("../compare/server.py");

/// Room for the database and its log when they are new, and for a few rows more.
const DISK_BYTES: usize = 3 << 20;
/// Tokens that are made until nothing fits any more; each takes some pages of 4 KiB.
const TOKENS_MAX: usize = 2000;
/// Until writing works again when there is room.
const RECOVERY_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_full_disk_stops_nothing_but_writes() {
    let tables = format!(
        "db_url = \"sqlite:///data/jupyterhub.sqlite\"\n[Proxy]\nextra_routes = {{ \"/dash/\" = \"http://{}\" }}\n",
        dashboard()
    );
    let mut trial = Trial::prepared(&tables);
    if !trial.small_directory("data", DISK_BYTES) {
        return;
    }
    trial.write("server.py", SERVER, 0o755);
    let policy = "[profile.default]\nprogram = [\"PLACE\"]\nauth = \"oauth\"\n";
    let policy = policy.replace("PLACE", &trial.path("server.py").to_string_lossy());
    trial.write("helper.toml", &policy, 0o644);
    trial.run();
    let alice = logged_in(&trial, "alice");
    let started = alice.api("POST", "users/alice/server", "");
    assert!(matches!(started.status, 201 | 202), "{}", started.text());
    let events = alice.api("GET", "users/alice/server/progress", "");
    assert!(events.text().contains("\"ready\": true"), "{}", events.text());
    let token = alice.api("POST", "users/alice/tokens", "").json()["token"].as_str().unwrap().to_owned();

    let fill = trial.path("data/fill");
    let mut file = std::fs::File::create(&fill).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    // Room that the log has already is used up.
    let refused = (0..TOKENS_MAX).find_map(|_| {
        let made = alice.api("POST", "users/alice/tokens", "");
        assert!([201, 503].contains(&made.status), "{} {}", made.status, made.text());
        (made.status == 503).then_some(made)
    });
    let message = refused.unwrap().json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("database cannot be used"), "{message}");

    let authorization = format!("token {token}");
    let headers = [("Authorization", authorization.as_str())];
    for _ in 0..3 {
        assert_eq!(alice.get("/user/alice/lab").status, 200, "the way to the server");
        assert_eq!(alice.get("/dash/x").status, 200, "the way to others");
        let owner = trial.web().request("GET", "/hub/api/user", &headers, b"");
        assert_eq!((owner.status, &owner.json()["name"]), (200, &"alice".into()), "a token");
        assert_eq!(alice.api("GET", "users/alice", "").json()["servers"][""]["ready"], true, "a cookie");
        assert_eq!(alice.get("/hub/home").status, 200, "a page");
        assert_eq!(alice.api("POST", "users/alice/tokens", "").status, 503, "a write");
    }
    let log = trial.logs();
    assert!(!log.contains("panicked"), "{log}");

    std::fs::remove_file(fill).unwrap();
    until("writing works again", RECOVERY_LIMIT, || {
        (alice.api("POST", "users/alice/tokens", "").status == 201).then_some(())
    });
    assert_eq!(trial.web().log_in("bob", "").status, 302);
}

/// A service that speaks TLS and answers every request with its head.
fn secure(certificate: rcgen::CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut bytes) {
                    Ok(length @ 1..) => head.extend_from_slice(&bytes[..length]),
                    // Whoever does not believe the certificate goes.
                    _ => break,
                }
            }
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", head.len());
            // The test sees what is missing.
            let _ = stream.write_all(&[answer.as_bytes(), &head].concat());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

#[test]
fn a_service_on_https_is_reached_if_its_certificate_is_good() {
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (good, stranger) = (made("localhost"), made("localhost"));
    let authority = good.cert.pem();
    let (good, stranger) = (secure(good).port(), secure(stranger).port());
    let tables = format!(
        "[[JupyterHub.services]]\nname = \"good\"\nurl = \"https://localhost:{good}\"\n\
         [[JupyterHub.services]]\nname = \"stranger\"\nurl = \"https://localhost:{stranger}\"\n"
    );
    let mut trial = Trial::prepared(&tables);
    trial.write("authority.pem", &authority, 0o644);
    if !trial.trust_only("authority.pem") {
        return;
    }
    trial.run();
    let web = trial.web();
    let answer = web.get("/services/good/x?y");
    assert_eq!(answer.status, 200, "{}\n{}", answer.words(), trial.logs());
    assert!(answer.text().starts_with("GET /services/good/x?y HTTP/1.1\r\n"), "{}", answer.text());
    let refused = web.get("/services/stranger/x");
    assert_eq!(refused.status, 502, "{}", refused.words());
}
