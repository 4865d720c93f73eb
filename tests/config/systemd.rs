//! What systemd hears of the daemon (sd_notify(3)): when it is ready, reloads and ends, that it lives, and which sockets
//! it shall keep.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use hubd_tests::free_port;
use nix::sys::signal::Signal;

use crate::daemon::{Daemon, health, local};

/// How long a message may take.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);
/// The period of the watchdog, in microseconds: the daemon speaks twice in each.
const WATCHDOG_MICROSECONDS: &str = "400000";

/// Where systemd would listen.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// Waits for a message with such a line, and gives the whole of it.
    fn hears(&self, line: &str) -> String {
        let end = Instant::now() + MESSAGE_LIMIT;
        let mut bytes = [0; 4096];
        while Instant::now() < end {
            let Ok(length) = self.socket.recv(&mut bytes) else { continue };
            let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if message.lines().any(|said| said.starts_with(line)) {
                return message;
            }
        }
        panic!("systemd did not hear {line}");
    }
}

#[test]
fn systemd_hears_when_hubd_is_ready_reloads_lives_and_ends() {
    let mut daemon = Daemon::configured("");
    let path = daemon.path("notify");
    let manager = Manager { socket: UnixDatagram::bind(&path).unwrap() };
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let port = free_port();
    daemon.configure(&format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n", free_port()));
    let notify = path.to_str().unwrap().to_owned();
    let environment = [("NOTIFY_SOCKET", notify.as_str()), ("WATCHDOG_USEC", WATCHDOG_MICROSECONDS)];
    daemon.start(&[], &environment, || health(&local(port)));
    let kept = manager.hears("FDSTORE=1");
    assert!(kept.contains("FDNAME=kept-"), "{kept}");
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=") && ready.contains("servers running"), "{ready}");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    daemon.process().signal(Signal::SIGHUP);
    let reloading = manager.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hears("READY=1");
    daemon.process().signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
}
