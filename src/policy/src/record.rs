//! The audit record: one structured line for each decision.

use std::net::IpAddr;

use hubd_proto::message::{Authenticate, SessionStatus};

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

impl<'a> Record<'a> {
    /// About a login.
    pub fn of_login(request: &'a Authenticate, verdict: &'a str, reason: &'a str) -> Self {
        let (user, source) = (request.user.as_str(), request.source);
        Self { request: "authenticate", verdict, user, source, reason, ..Self::default() }
    }

    /// About a session.
    pub fn of_session(status: &'a SessionStatus, request: &'a str, verdict: &'a str) -> Self {
        let (user, uid, session) = (status.user.as_str(), Some(status.uid), status.session.as_str());
        Self { request, verdict, user, uid, session, ..Self::default() }
    }

    /// Whether nothing was refused.
    pub fn is_good(&self) -> bool {
        matches!(self.verdict, "accepted" | "ended")
    }

    /// The record as one line, and as what systemd.journal-fields(7) describes.
    pub fn texts(&self) -> (String, String) {
        let uid = self.uid.map(|uid| uid.to_string()).unwrap_or_default();
        let source = self.source.map(|source| source.to_string()).unwrap_or_default();
        let told = [
            ("USER", self.user),
            ("UID", &uid),
            ("SOURCE", &source),
            ("SESSION", self.session),
            ("REASON", self.reason),
        ];
        let priority = if self.is_good() { 6 } else { 4 };
        let mut line = format!("{} {}", self.request, self.verdict);
        let mut fields = format!("HUBD_REQUEST={}\nHUBD_VERDICT={}\n", self.request, self.verdict);
        for (name, value) in told.iter().filter(|(_, value)| !value.is_empty()) {
            line.push_str(&format!(" {}={}", name.to_lowercase(), escaped(value)));
            fields.push_str(&format!("HUBD_{name}={}\n", escaped(value)));
        }
        let head = format!("MESSAGE={line}\nPRIORITY={priority}\nSYSLOG_FACILITY=10\n");
        (line, head + "SYSLOG_IDENTIFIER=hubd-helper\n" + &fields)
    }
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
        let (line, fields) = Record { request: "start", user: "a\nUID=0", ..Record::default() }.texts();
        assert_eq!(line, "start  user=a\\nUID=0");
        assert!(fields.lines().all(|field| !field.starts_with("UID=")), "{fields}");
    }
}
