//! Where secrets come from, and what is refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use hubd_tests::{Web, free_port, until};

use crate::daemon::{Daemon, health, local};

/// Two ports, a browser for the first, and the options that name them.
fn ports() -> (u16, u16, Web, String) {
    let (port, inner) = (free_port(), free_port());
    (port, inner, local(port), format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {inner}\n"))
}

fn routes(inner: u16, token: &str) -> u16 {
    let value = format!("token {token}");
    local(inner).request("GET", "/api/routes", &[("Authorization", &value)], b"").status
}

/// Whether somebody is logged in.
fn is_in(web: &Web) -> bool {
    web.get("/hub/home").status == 200
}

#[test]
fn the_token_of_the_routes_is_the_configurations_or_the_environments_or_nobodys() {
    let (_, inner, web, hub) = ports();
    for (table, variable, token, status) in [
        ("[ConfigurableHTTPProxy]\nauth_token = \"abc123\"", "", "abc123", 200),
        ("", "0123456789abcdef", "0123456789abcdef", 200),
        ("", "", "", 403),
    ] {
        let mut daemon = Daemon::configured(&format!("{hub}{table}"));
        daemon.start(&[], &[("CONFIGPROXY_AUTH_TOKEN", variable)], || health(&web));
        assert_eq!((routes(inner, token), routes(inner, "wrong")), (status, 403), "{table} {variable}");
    }
}

#[test]
fn a_login_outlives_a_restart_as_long_as_the_cookie_secret_is_the_same() {
    let (_, _, web, hub) = ports();
    let secret = "0123456789abcdef".repeat(4);
    let in_file = format!("{hub}cookie_secret = \"{secret}\"");
    let mut daemon = Daemon::configured(&in_file);
    daemon.start(&[], &[], || health(&web));
    assert_eq!(web.log_in("ann", "").status, 302);
    assert!(is_in(&web));
    // The same secret from the environment, then from a file as `openssl rand -hex 32` writes it.
    daemon.stop();
    daemon.configure(&hub);
    daemon.start(&[], &[("JPY_COOKIE_SECRET", &secret)], || health(&web));
    assert!(is_in(&web));
    daemon.stop();
    daemon.write("my_secret", &format!("{secret}\n"), 0o600);
    daemon.configure(&format!("{hub}cookie_secret_file = \"my_secret\""));
    daemon.start(&[], &[], || health(&web));
    assert!(is_in(&web));
    daemon.stop();
    // None is named: one is made, for the daemon alone, and nobody is logged in any more.
    daemon.configure(&hub);
    daemon.start(&[], &[], || health(&web));
    let made = daemon.path("jupyterhub_cookie_secret");
    let text = std::fs::read_to_string(&made).unwrap();
    assert_eq!((text.trim().len(), made.metadata().unwrap().permissions().mode() & 0o777), (64, 0o600));
    assert!(!is_in(&web));
}

#[test]
fn secrets_and_certificates_may_be_credentials_of_systemd() {
    let daemon = Daemon::nothing();
    daemon.directory("credentials");
    daemon.certificate("credentials/ssl_cert", "credentials/ssl_key");
    daemon.write("credentials/auth_token", "t0ken-of-systemd\n", 0o400);
    daemon.write("credentials/cookie_secret", &format!("{}\n", "ab".repeat(32)), 0o400);
    daemon.write("credentials/crypt_keys", &format!("{}\n", "cd".repeat(32)), 0o400);
    let (port, inner, _, hub) = ports();
    daemon.configure(&format!("{hub}[Authenticator]\nenable_auth_state = true\n"));
    let web = Web::tls(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &daemon.path("credentials/ssl_cert"));
    let mut daemon = daemon;
    daemon.start(&[], &[("CREDENTIALS_DIRECTORY", "credentials")], || health(&web));
    assert_eq!(routes(inner, "t0ken-of-systemd"), 200);
    assert!(!daemon.path("jupyterhub_cookie_secret").exists(), "a secret was made beside the credential");
    let log = daemon.process().log();
    assert!(log.contains("Loading cookie_secret from systemd credential cookie_secret"), "{log}");
    assert!(!log.contains("t0ken") && !log.contains("abab") && !log.contains("cdcd"), "{log}");
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_cure() {
    let (_, _, _, hub) = ports();
    let daemon = Daemon::configured(&format!("{hub}cookie_secret_file = \"open\""));
    daemon.write("open", &"ab".repeat(32), 0o644);
    let (good, _, error) = daemon.hubd(&["-f", "hubd.toml"]);
    assert!(
        !good && error.contains("cookie secret file open") && error.contains("chmod 600 open"),
        "{error}"
    );
    daemon.write(
        "hubd.toml",
        &format!("[JupyterHub]\n{hub}cookie_secret = \"{}\"\n", "ab".repeat(32)),
        0o644,
    );
    let (good, _, error) = daemon.hubd(&["-f", "hubd.toml"]);
    assert!(!good && error.contains("hubd.toml:4:1") && error.contains("chmod 640"), "{error}");
}

#[test]
fn check_refuses_keys_and_secrets_that_the_start_refuses() {
    let (_, _, _, hub) = ports();
    let daemon = Daemon::nothing();
    daemon.certificate("cert.pem", "key.pem");
    daemon.certificate("other.pem", "other.key");
    daemon.write("nonsense", "not a secret!", 0o600);
    daemon.write("open", &"ab".repeat(32), 0o644);
    let tls = |key: &str| format!("{hub}ssl_cert = \"cert.pem\"\nssl_key = \"{key}\"");
    let secret = |file: &str| format!("{hub}cookie_secret_file = \"{file}\"");
    for (hub, refused) in [
        (tls("key.pem"), None),
        (secret("not-made-yet"), None),
        (tls("other.key"), Some("other.key")),
        (tls("cert.pem"), Some("cert.pem")),
        (secret("open"), Some("chmod 600 open")),
        (secret("nonsense"), Some("openssl rand -hex 32")),
    ] {
        daemon.configure(&hub);
        let (good, _, error) = daemon.hubd(&["-f", "hubd.toml", "check"]);
        assert_eq!(good, refused.is_none(), "{hub}{error}");
        assert!(error.contains(refused.unwrap_or_default()), "{error}");
    }
    assert!(!daemon.path("not-made-yet").exists(), "a check made a file");
    daemon.configure(&tls("key.pem"));
    daemon.write("key.pem", &std::fs::read_to_string(daemon.path("key.pem")).unwrap(), 0o644);
    for words in [&["-f", "hubd.toml", "check"][..], &["-f", "hubd.toml"]] {
        let (good, _, error) = daemon.hubd(words);
        assert!(!good && error.contains("open to every user of this machine: chmod o= key.pem"), "{error}");
    }
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_no_connection_ends() {
    use std::io::{Read as _, Write as _};
    let daemon = Daemon::nothing();
    daemon.certificate("cert.pem", "key.pem");
    let (port, _, _, hub) = ports();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    daemon.configure(&format!("{hub}ssl_cert = \"cert.pem\"\nssl_key = \"key.pem\""));
    let old = Web::tls(address, &daemon.path("cert.pem"));
    let mut daemon = daemon;
    daemon.start(&[], &[], || health(&old));
    // A connection from before: it says nothing until the certificate is another one.
    let mut open = old.connect().unwrap();
    open.write_all(b"GET /hub/health HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    std::fs::copy(daemon.path("cert.pem"), daemon.path("old.pem")).unwrap();
    daemon.certificate("cert.pem", "key.pem");
    let new = Web::tls(address, &daemon.path("cert.pem"));
    daemon.process().signal(nix::sys::signal::Signal::SIGHUP);
    until("the new certificate", Duration::from_secs(20), || health(&new).then_some(()));
    // A browser of its own: the first one could resume its session without looking at the certificate.
    assert!(!health(&Web::tls(address, &daemon.path("old.pem"))), "the old certificate is still shown");
    open.write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).ok();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let log = daemon.process().log();
    assert!(log.contains("reload: applied certificates and keys"), "{log}");
}
