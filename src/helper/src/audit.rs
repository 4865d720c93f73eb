//! Writes audit records where only root can forge or erase them.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hubd_policy::record::Record;
use syslog::{Facility, Formatter3164, LoggerBackend};

/// Where journald takes structured records, see systemd.journal-fields(7).
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Longest time that a log which is stuck is waited for; a busy one takes the record within milliseconds.
const LOG_TIME_MAX: Duration = Duration::from_secs(1);

/// Writes a record to the journal, else to syslog, else (and on a terminal also) to stderr.
pub fn write(record: &Record) {
    let (line, fields) = record.texts();
    let send = |text: &[u8], to: &std::ffi::OsStr| {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(LOG_TIME_MAX))?;
        socket.send_to(text, to)
    };
    let taken = send(fields.as_bytes(), JOURNAL_SOCKET.as_ref()).is_ok()
        || to_syslog(&line, record.is_good()).is_ok();
    // `systemctl status` of this process's unit shows it, see sd_notify(3); nothing depends on it.
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = send(format!("STATUS={line}").as_bytes(), &socket);
    }
    if !taken || io::stderr().is_terminal() {
        // In one piece, since others write there, too. Nobody is left to tell when even stderr is closed.
        let _ = io::stderr().write_all(format!("hubd-helper: {line}\n").as_bytes());
    }
}

fn to_syslog(line: &str, good: bool) -> syslog::Result<()> {
    let (facility, process, pid) = (Facility::LOG_AUTHPRIV, "hubd-helper".into(), std::process::id());
    let mut logger = syslog::unix(Formatter3164 { facility, hostname: None, process, pid })?;
    if let LoggerBackend::Unix(socket) = &logger.backend {
        socket.set_write_timeout(Some(LOG_TIME_MAX))?;
    }
    if good { logger.info(line) } else { logger.warning(line) }
}
