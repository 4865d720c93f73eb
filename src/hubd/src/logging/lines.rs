//! Lines in JupyterHub's look, which nobody outside can fake.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::ACCESS;

/// Longest log message, in bytes: the rest is cut, so that nobody can fill a disk with one request.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// `[I 2026-11-21 20:29:38.542 JupyterHub app:3493] text`, as JupyterHub writes it.
pub struct JupyterHubLines;

impl<S, N> FormatEvent<S, N> for JupyterHubLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (letter, colour) = match *metadata.level() {
            Level::ERROR => ('E', 31),
            Level::WARN => ('W', 33),
            Level::INFO => ('I', 32),
            Level::DEBUG | Level::TRACE => ('D', 34),
        };
        let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S.%3f").to_string();
        let module = metadata.target().rsplit("::").next().unwrap_or_default();
        let line = metadata.line().unwrap_or(0);
        let head = format!("[{letter} {time} JupyterHub {module}:{line}]");
        if writer.has_ansi_escapes() {
            write!(writer, "\x1b[{colour}m{head}\x1b[0m ")?;
        } else {
            write!(writer, "{head} ")?;
        }
        writeln!(writer, "{}", text_of(event))
    }
}

/// Message and fields as one text, with control characters made visible and continuation lines indented, so that
/// what a stranger sent cannot look like a line of its own.
pub fn text_of(event: &Event<'_>) -> String {
    let mut text = Text { message_only: event.metadata().target() == ACCESS, ..Text::default() };
    event.record(&mut text);
    let mut safe = String::with_capacity(text.text.len());
    // A text that is indented already, as an error with its cure, is not indented twice.
    for c in text.text.replace("\n    ", "\n").chars() {
        if safe.len() > MESSAGE_BYTES_MAX {
            safe.push('…');
            break;
        }
        match c {
            '\n' => safe.push_str("\n    "),
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

#[derive(Default)]
struct Text {
    text: String,
    message_only: bool,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        // Writing to a String does not fail.
        if field.name() == "message" {
            let fields = std::mem::take(&mut self.text);
            write!(self.text, "{value:?}{fields}").ok();
        } else if !self.message_only {
            write!(self.text, " {}={value:?}", field.name()).ok();
        }
    }
}
