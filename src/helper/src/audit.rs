//! The audit record: one structured line for each decision, where only root can forge or erase it.

use std::io::{IsTerminal, Write};
use std::{net::IpAddr, os::unix::net::UnixDatagram};

/// Where journald takes structured records, see systemd.journal-fields(7).
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Longest value in a record, in bytes; names are up to 255, reasons are a sentence.
const VALUE_BYTES_MAX: usize = 512;

/// What happened to one request. Never holds a secret.
#[derive(Debug, Default)]
pub struct Record<'a> {
    /// The request, or `exit` for a server's end.
    pub request: &'a str,
    /// `accepted`, `refused`, `violation`, `ended`.
    pub verdict: &'a str,
    /// Who it is about, as asked.
    pub user: &'a str,
    /// Whose uid that is, if known.
    pub uid: Option<u32>,
    /// The browser's address, as the daemon says.
    pub source: Option<IpAddr>,
    /// Why.
    pub reason: &'a str,
    /// Which session.
    pub session: &'a str,
}

impl Record<'_> {
    /// Writes the record to the journal, else to syslog, else (and on a terminal also) to stderr.
    pub fn write(&self) {
        let uid = self.uid.map(|uid| uid.to_string()).unwrap_or_default();
        let source = self.source.map(|source| source.to_string()).unwrap_or_default();
        let told = [
            ("USER", self.user),
            ("UID", &uid),
            ("SOURCE", &source),
            ("SESSION", self.session),
            ("REASON", self.reason),
        ];
        let good = matches!(self.verdict, "accepted" | "ended");
        let mut line = format!("{} {}", self.request, self.verdict);
        let mut fields = format!("HUBD_REQUEST={}\nHUBD_VERDICT={}\n", self.request, self.verdict);
        for (name, value) in told.iter().filter(|(_, value)| !value.is_empty()) {
            line.push_str(&format!(" {}={}", name.to_lowercase(), escaped(value)));
            fields.push_str(&format!("HUBD_{name}={}\n", escaped(value)));
        }
        let taken = to_journal(&line, &fields, good).is_ok() || to_syslog(&line, good);
        // `systemctl status` of this process's unit shows it, see sd_notify(3); nothing depends on it.
        if let (Some(socket), Ok(sender)) = (std::env::var_os("NOTIFY_SOCKET"), UnixDatagram::unbound()) {
            let _ = sender.send_to(format!("STATUS={line}").as_bytes(), socket);
        }
        if !taken || std::io::stderr().is_terminal() {
            // Nobody is left to tell when even stderr is closed.
            let _ = writeln!(std::io::stderr(), "hubd-helper: {line}");
        }
    }
}

fn to_journal(line: &str, fields: &str, good: bool) -> std::io::Result<()> {
    let priority = if good { 6 } else { 4 };
    let text = format!(
        "MESSAGE={line}\nPRIORITY={priority}\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=hubd-helper\n{fields}"
    );
    UnixDatagram::unbound()?.send_to(text.as_bytes(), JOURNAL_SOCKET).map(drop)
}

fn to_syslog(line: &str, good: bool) -> bool {
    let format = syslog::Formatter3164 {
        facility: syslog::Facility::LOG_AUTHPRIV,
        hostname: None,
        process: "hubd-helper".into(),
        pid: std::process::id(),
    };
    syslog::unix(format)
        .and_then(|mut logger| if good { logger.info(line) } else { logger.warning(line) })
        .is_ok()
}

/// The value on one line and bounded: no value can add a field or a line of its own.
pub fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        if text.len() >= VALUE_BYTES_MAX {
            text.push('…');
            break;
        }
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_add_a_line_and_is_bounded() {
        assert_eq!(escaped("a\nMESSAGE=b\u{1b}"), "a\\nMESSAGE=b\\u{1b}");
        assert!(escaped(&"x".repeat(10_000)).len() < VALUE_BYTES_MAX + 8);
    }
}
