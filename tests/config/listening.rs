//! Where the daemon listens: addresses, prefixes, TLS, Unix sockets.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hubd_tests::{Web, free_port};

use crate::daemon::{Daemon, health, local, over_socket};

/// Another address of this machine than 127.0.0.1.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn listens(address: impl Into<SocketAddr>) -> bool {
    TcpStream::connect(address.into()).is_ok()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn address_port_and_certificate_of_the_command_line_win() {
    let mut daemon = Daemon::configured("port = 1\nhub_port = 1\n");
    daemon.certificate("my_ssl.cert", "my_ssl.key");
    let (port, inner) = (free_port(), free_port());
    let web = Web::tls(SocketAddr::from((OTHER, port)), &daemon.path("my_ssl.cert"));
    let (port_text, inner_text) = (port.to_string(), format!("--JupyterHub.hub_port={inner}"));
    let flags =
        ["--ip", "127.0.0.2", "--port", &port_text, "--ssl-key", "my_ssl.key", "--ssl-cert", "my_ssl.cert"];
    daemon.start(&[&flags[..], &[&inner_text]].concat(), &[], || health(&web));
    assert!(!listens((Ipv4Addr::LOCALHOST, port)), "one address means that one alone");
    assert_eq!(web.get("/hub/login").status, 200);
}

#[test]
fn address_and_port_of_the_file_are_used_and_one_file_may_hold_certificate_and_key() {
    let daemon = Daemon::nothing();
    daemon.certificate("cert", "key");
    let both = ["cert", "key"].map(|name| std::fs::read_to_string(daemon.path(name)).unwrap()).concat();
    daemon.write("both.pem", &both, 0o600);
    let (port, inner) = (free_port(), free_port());
    let web = Web::tls(SocketAddr::from((OTHER, port)), &daemon.path("cert"));
    daemon.configure(&format!(
        "ip = \"127.0.0.2\"\nport = {port}\nhub_port = {inner}\nssl_cert = \"both.pem\""
    ));
    let mut daemon = daemon;
    daemon.start(&[], &[], || health(&web));
    assert!(!listens((Ipv4Addr::LOCALHOST, port)));
}

#[test]
fn the_inner_side_and_the_routes_api_listen_where_their_options_say() {
    let [public, inner, api] = [free_port(), free_port(), free_port()];
    let web = local(public);
    let mut daemon = Daemon::configured(&format!(
        "bind_url = \"http://127.0.0.1:{public}\"\nhub_ip = \"127.0.0.2\"\nhub_port = {inner}\n\
         [ConfigurableHTTPProxy]\napi_url = \"http://127.0.0.2:{api}\"\nauth_token = \"t0ken\"\n"
    ));
    daemon.start(&[], &[], || health(&web));
    assert!(!listens((Ipv4Addr::LOCALHOST, inner)) && !listens((Ipv4Addr::LOCALHOST, api)));
    let (inner, api) = (SocketAddr::from((OTHER, inner)), SocketAddr::from((OTHER, api)));
    let routes = |address| {
        Web::plain(address).request("GET", "/api/routes", &[("Authorization", "token t0ken")], b"").status
    };
    // The hub leads a path that it does not know to its own pages.
    assert_eq!((routes(api), routes(inner)), (200, 302));
    assert_eq!(Web::plain(inner).get("/hub/health").status, 200);
    assert_eq!(Web::plain(api).get("/hub/health").status, 404);
    assert_eq!(Web::plain(api).get("/api/routes").status, 403);
}

#[test]
fn the_old_options_of_the_routes_api_still_place_it() {
    let [public, inner, api] = [free_port(), free_port(), free_port()];
    let web = local(public);
    let hub = format!(
        "bind_url = \"http://127.0.0.1:{public}\"\nhub_port = {inner}\nproxy_api_ip = \"127.0.0.2\"\nproxy_api_port = {api}"
    );
    let _daemon = Daemon::running(&hub, &web);
    assert_eq!(Web::plain(SocketAddr::from((OTHER, api))).get("/api/routes").status, 403);
    assert_eq!(local(inner).get("/api/routes").status, 302);
}

#[test]
fn everything_is_below_the_base_url() {
    let (port, inner) = (free_port(), free_port());
    for hub in [
        "bind_url = \"http://127.0.0.1:{port}/jupyter/\"",
        "ip = \"127.0.0.1\"\nport = {port}\nbase_url = \"/jupyter/\"",
    ] {
        let web = local(port);
        let mut daemon =
            Daemon::configured(&format!("{}\nhub_port = {inner}", hub.replace("{port}", &port.to_string())));
        daemon.start(&[], &[], || {
            web.try_request("GET", "/jupyter/hub/health", &[], b"").is_ok_and(|answer| answer.status == 200)
        });
        assert_eq!(local(inner).get("/jupyter/hub/api/").status, 200);
        let login = web.follow("/jupyter/");
        assert!(login.text().contains("/jupyter/hub/login"), "{}", login.text());
        assert_eq!(web.get("/hub/login").status, 404);
    }
}

#[test]
fn unix_sockets_are_listened_on_with_the_modes_of_their_options_and_go_in_the_end() {
    let mut daemon = Daemon::nothing();
    daemon.directory("sockets");
    let path = |name: &str| daemon.path(&format!("sockets/{name}"));
    let (public, inner, api) = (path("public"), path("inner"), path("api"));
    let encoded = |path: &Path| format!("http+unix://{}", path.display().to_string().replace('/', "%2F"));
    daemon.configure(&format!(
        "bind_url = \"{}/pre\"\nhub_bind_url = \"unix:{}\"\nhub_connect_url = \"http://127.0.0.1:1/\"\nhub_socket_mode = 0o660\n\
         [ConfigurableHTTPProxy]\napi_url = \"{}\"\nauth_token = \"t0ken\"\ncommand_umask = 0o027\n",
        encoded(&public),
        inner.display(),
        encoded(&api)
    ));
    daemon.start(&[], &[], || {
        over_socket(&public, "GET /pre/hub/health HTTP/1.1")
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    assert_eq!((mode(&public), mode(&inner), mode(&api)), (0o750, 0o660, 0o750));
    assert!(over_socket(&inner, "GET /pre/hub/api/ HTTP/1.1").unwrap().starts_with("HTTP/1.1 200"));
    let routes = over_socket(&api, "GET /api/routes HTTP/1.1\r\nAuthorization: token t0ken").unwrap();
    assert!(routes.starts_with("HTTP/1.1 200") && routes.contains(&encoded(&inner)), "{routes}");
    // A front proxy on the socket is believed.
    let redirect = over_socket(&public, "GET /pre/ HTTP/1.1\r\nX-Forwarded-Proto: https").unwrap();
    let cookie = over_socket(&public, "GET /pre/hub/login HTTP/1.1\r\nX-Forwarded-Proto: https").unwrap();
    assert!(redirect.starts_with("HTTP/1.1 302") && cookie.contains("Secure"), "{cookie}");
    let second = daemon.hubd(&["-f", "hubd.toml"]);
    assert!(!second.0 && second.2.contains("another program listens on"), "{second:?}");
    daemon.stop();
    assert!(!public.exists() && !inner.exists() && !api.exists());
}

#[test]
fn a_socket_of_the_command_line_is_listened_on() {
    let mut daemon = Daemon::configured(&format!("hub_port = {}", free_port()));
    let path = daemon.path("web.sock");
    daemon.start(&["--url", &format!("unix:{}", path.display())], &[], || {
        over_socket(&path, "GET /hub/health HTTP/1.1").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    assert_eq!(mode(&path), 0o770);
}
