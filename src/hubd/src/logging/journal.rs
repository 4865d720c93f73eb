//! Lines with fields for the journal, in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::MESSAGE_BYTES_MAX;
use super::queue::{Queue, Sink};

/// Where journald takes them.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends events to the journal.
pub struct JournalLayer(pub Arc<Queue>);

/// The connection.
///
/// # Errors
/// No journal listens.
pub fn connect() -> std::io::Result<Sink> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SOCKET)?;
    Ok(Box::new(move |_, message| {
        // A journal that was restarted has a new socket. If there is none, there is nowhere left to report to.
        if socket.send(message).is_err() && socket.connect(SOCKET).is_ok() {
            let _ = socket.send(message);
        }
    }))
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut message = Message::default();
        message.add("SYSLOG_IDENTIFIER", "hubd");
        message.add("PRIORITY", priority(*metadata.level()));
        message.add("TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            message.add("CODE_FILE", file);
            message.add("CODE_LINE", &line.to_string());
        }
        event.record(&mut message);
        self.0.put(*metadata.level(), message.0);
    }
}

/// Severities of syslog(3): error, warning, notice, informational, debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

/// Fields, each as its name, the length of its value in eight bytes, and the value.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn add(&mut self, name: &str, value: &str) {
        let end = (0..=MESSAGE_BYTES_MAX.min(value.len())).rev().find(|&end| value.is_char_boundary(end));
        let value = value.get(..end.unwrap_or(0)).unwrap_or_default();
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(&field.name().to_ascii_uppercase().replace('.', "_"), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_long_as_they_say_and_never_endless() {
        let mut message = Message::default();
        message.add("A", "x\ny");
        assert_eq!(message.0, b"A\n\x03\0\0\0\0\0\0\0x\ny\n");
        let mut message = Message::default();
        message.add("A", &"ä".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(message.0.len(), 1 + 1 + 8 + MESSAGE_BYTES_MAX + 1);
    }
}
