//! Log lines: in JupyterHub's look on a terminal or in a file, with fields in the journal, to syslog where there is
//! neither, or as JSON.

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Longest log message, in bytes: the rest is cut, so that nobody can fill a disk with one request.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The journal if standard error is connected to it, syslog if there is no standard error, else standard error.
    Auto,
    /// Lines on standard error.
    Stderr,
    /// JSON on standard error.
    Json,
    /// The journal, with fields.
    Journal,
    /// syslog(3).
    Syslog,
}

impl Destination {
    /// The destination that `log_to` names.
    pub fn named(word: &str) -> Self {
        match word {
            "stderr" => Self::Stderr,
            "json" => Self::Json,
            "journal" => Self::Journal,
            "syslog" => Self::Syslog,
            _ => Self::Auto,
        }
    }

    /// What `Auto` means here; `journal_stream` is `$JOURNAL_STREAM`.
    fn decided(self, journal_stream: Option<&str>) -> Self {
        match self {
            Self::Auto if stderr_is(journal_stream) => Self::Journal,
            Self::Auto if stderr_is_gone() => Self::Syslog,
            Self::Auto => Self::Stderr,
            decided => decided,
        }
    }
}

/// Starts logging. A destination that is not there is replaced by standard error, with a warning.
pub fn start(destination: Destination, level: LevelFilter, journal_stream: Option<&str>) {
    let registry = || tracing_subscriber::registry().with(level);
    let lost = match destination.decided(journal_stream) {
        Destination::Json => {
            let layer = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
            registry().with(layer).init();
            return;
        }
        Destination::Journal => match tracing_journald::layer() {
            Ok(layer) => {
                let layer = layer.with_field_prefix(None).with_syslog_identifier("hubd".to_owned());
                registry().with(layer).init();
                return;
            }
            Err(error) => Some(format!("the journal cannot be reached: {error}")),
        },
        Destination::Syslog => match SyslogLayer::connect() {
            Ok(layer) => {
                registry().with(layer).init();
                return;
            }
            Err(error) => Some(format!("syslog cannot be reached: {error}")),
        },
        Destination::Stderr | Destination::Auto => None,
    };
    let colour = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(JupyterHubLines)
        .with_ansi(colour)
        .with_writer(std::io::stderr);
    registry().with(layer).init();
    if let Some(lost) = lost {
        tracing::warn!("{lost}; logging to standard error");
    }
}

/// Whether standard error is the journal's stream `device:inode`.
fn stderr_is(journal_stream: Option<&str>) -> bool {
    let Some((device, inode)) = journal_stream.and_then(|text| text.split_once(':')) else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stat| stat.dev().to_string() == device && stat.ino().to_string() == inode)
}

/// Whether standard error leads nowhere, as for a daemon started without a terminal.
fn stderr_is_gone() -> bool {
    let (stderr, null) = (std::fs::metadata("/proc/self/fd/2"), std::fs::metadata("/dev/null"));
    match (stderr, null) {
        (Ok(stderr), Ok(null)) => stderr.file_type().is_char_device() && stderr.rdev() == null.rdev(),
        (Err(_), _) => true,
        _ => false,
    }
}

/// `[I 2026-11-21 20:29:38.542 JupyterHub app:3493] text`, as JupyterHub writes it.
struct JupyterHubLines;

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
    let mut text = Text::default();
    event.record(&mut text);
    let mut safe = String::with_capacity(text.0.len());
    // A text that is indented already, as an error with its cure, is not indented twice.
    for c in text.0.replace("\n    ", "\n").chars() {
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
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        // Writing to a String does not fail.
        if field.name() == "message" {
            let fields = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{fields}").ok();
        } else {
            write!(self.0, " {}={value:?}", field.name()).ok();
        }
    }
}

/// Lines to /dev/log.
struct SyslogLayer(Mutex<syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>>);

impl SyslogLayer {
    fn connect() -> Result<Self, syslog::Error> {
        let formatter = syslog::Formatter3164 {
            facility: syslog::Facility::LOG_DAEMON,
            hostname: None,
            process: "hubd".into(),
            pid: std::process::id(),
        };
        syslog::unix(formatter).map(|logger| Self(Mutex::new(logger)))
    }
}

impl<S: Subscriber> Layer<S> for SyslogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let text = text_of(event).replace('\n', " ");
        let mut logger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match *event.metadata().level() {
            Level::ERROR => logger.err(text),
            Level::WARN => logger.warning(text),
            Level::INFO => logger.info(text),
            Level::DEBUG | Level::TRACE => logger.debug(text),
        };
        // There is nowhere left to report to.
        sent.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JupyterHubLines)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_have_jupyterhubs_look() {
        let line = logged(|| tracing::warn!(user = "alice", "User logged in"));
        let (head, rest) = line.split_once("] ").unwrap();
        assert!(head.starts_with("[W 20") && head.contains(" JupyterHub tests:"), "{line}");
        assert_eq!(head.split(' ').nth(2).unwrap().len(), "20:29:38.542".len());
        assert_eq!(rest, "User logged in user=alice\n");
    }

    #[test]
    fn what_strangers_send_cannot_fake_a_line_or_colour_a_terminal() {
        let line = logged(|| tracing::info!("name \x1b[31m\r\n[I fake] line"));
        assert_eq!(line.lines().count(), 2);
        assert!(
            line.contains("\\u{1b}") && line.contains("\\r") && line.contains("\n    [I fake]"),
            "{line}"
        );
        assert!(logged(|| tracing::info!("{}", "x".repeat(100_000))).len() < 9_000);
    }

    #[test]
    fn destinations_are_decided_once() {
        assert_eq!(Destination::named("json").decided(None), Destination::Json);
        assert_ne!(Destination::Auto.decided(Some("0:0")), Destination::Journal);
        assert_ne!(Destination::Auto.decided(Some("nonsense")), Destination::Journal);
    }
}
