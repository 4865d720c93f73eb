//! Log lines: in JupyterHub's look on a terminal or in a file, with fields in the journal, to syslog where there is
//! neither, or as JSON.

mod file;
mod journal;
mod levels;
mod lines;
mod queue;
mod syslog;

use std::io::{IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use file::LogFile;
use journal::JournalLayer;
pub use levels::{Levels, Part};
use lines::JupyterHubLines;
pub use lines::text_of;
use queue::Queue;
pub use queue::QueueWriter;
use syslog::SyslogLayer;

/// Longest wait in the end for whoever reads the log.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// The target of the line that each request leaves; what its fields say stands in the line too.
const ACCESS: &str = "hubd::access";

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

/// What logs, as far as it can be changed while it runs.
pub struct Log {
    set: Box<dyn Fn(Targets) + Send + Sync>,
    file: Option<Arc<LogFile>>,
    queues: Vec<Arc<Queue>>,
}

/// What is left of the log for the end of the program.
pub struct LastLines(Vec<Arc<Queue>>);

impl LastLines {
    /// From here on nobody who logs waits for whoever reads the lines of these queues.
    pub fn of(queues: Vec<Arc<Queue>>) -> Self {
        for queue in &queues {
            if let Err(error) = queue.detach() {
                tracing::warn!("the log has no thread of its own: {error}");
            }
        }
        Self(queues)
    }

    /// Waits a little until they are out.
    pub fn flush(&self) {
        let end = Instant::now() + FLUSH_WAIT;
        for queue in &self.0 {
            queue.flush(end.saturating_duration_since(Instant::now()));
        }
    }
}

impl Log {
    /// Logs more or less from now on.
    pub fn set_levels(&self, levels: &Levels) {
        (self.set)(levels.filter());
    }

    /// From here on nobody who logs waits for whoever reads it.
    pub fn detach(&self) -> LastLines {
        LastLines::of(self.queues.clone())
    }

    /// Opens the log file anew, after logrotate has moved it.
    pub fn reopen(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.reopen()) {
            tracing::error!("log_file cannot be opened again, the old one stays in use: {error}");
        }
    }
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. A destination that is not there is replaced by standard error, with a warning.
///
/// # Errors
/// The log file cannot be opened.
pub fn start(
    destination: Destination,
    levels: &Levels,
    file: Option<&Path>,
    journal_stream: Option<&str>,
) -> anyhow::Result<Log> {
    let (sink, queue, lost) = sink(destination.decided(journal_stream));
    let file = file.map(LogFile::open).transpose()?.map(Arc::new);
    let (mut sinks, mut queues) = (vec![sink], vec![queue]);
    if let Some(file) = file.clone() {
        let queue = Queue::new(Box::new(move |_, line| file.write(line)));
        let writer = QueueWriter(queue.clone());
        let layer = tracing_subscriber::fmt::layer().event_format(JupyterHubLines).with_ansi(false);
        sinks.push(layer.with_writer(move || writer.clone()).boxed());
        queues.push(queue);
    }
    let (filter, handle) = tracing_subscriber::reload::Layer::new(levels.filter());
    tracing_subscriber::registry().with(sinks).with(filter).init();
    if let Some(lost) = lost {
        tracing::warn!("{lost}; logging to standard error");
    }
    // It fails only when the subscriber is gone, and then nobody logs.
    let set = Box::new(move |filter| handle.reload(filter).unwrap_or_default());
    Ok(Log { set, file, queues })
}

/// Where lines go, and what could not be reached instead.
fn sink(destination: Destination) -> (Boxed, Arc<Queue>, Option<String>) {
    let lost = match destination {
        Destination::Json => {
            let queue = to_stderr();
            let writer = QueueWriter(queue.clone());
            let layer = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
            return (layer.boxed(), queue, None);
        }
        Destination::Journal => match journal::connect() {
            Ok(sink) => {
                let queue = Queue::new(sink);
                return (JournalLayer(queue.clone()).boxed(), queue, None);
            }
            Err(error) => Some(format!("the journal cannot be reached: {error}")),
        },
        Destination::Syslog => match syslog::connect() {
            Ok(sink) => {
                let queue = Queue::new(sink);
                return (SyslogLayer(queue.clone()).boxed(), queue, None);
            }
            Err(error) => Some(format!("syslog cannot be reached: {error}")),
        },
        Destination::Stderr | Destination::Auto => None,
    };
    let colour = std::io::stderr().is_terminal();
    let queue = to_stderr();
    let writer = QueueWriter(queue.clone());
    let layer = tracing_subscriber::fmt::layer()
        .event_format(JupyterHubLines)
        .with_ansi(colour)
        .with_writer(move || writer.clone());
    (layer.boxed(), queue, lost)
}

/// Lines for standard error.
fn to_stderr() -> Arc<Queue> {
    to_stream("/proc/self/fd/2", std::io::stderr())
}

/// Lines for standard output.
pub fn to_stdout() -> Arc<Queue> {
    to_stream("/proc/self/fd/1", std::io::stdout())
}

fn to_stream(descriptor: &str, mut stream: impl Write + Send + 'static) -> Arc<Queue> {
    let sink = Box::new(move |_, line: &[u8]| {
        // There is nowhere left to report to.
        let _ = stream.write_all(line);
    });
    let is_file = std::fs::metadata(descriptor).is_ok_and(|stream| stream.is_file());
    if is_file { Queue::to_file(sink) } else { Queue::new(sink) }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

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
    fn the_fields_of_a_request_are_for_the_journal_alone() {
        let line = logged(|| tracing::info!(target: ACCESS, user = "alice", "200 GET / (alice@::1) 1.00ms"));
        assert!(line.ends_with("] 200 GET / (alice@::1) 1.00ms\n"), "{line}");
    }

    #[test]
    fn the_log_file_is_private_and_opened_again_after_it_was_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.log");
        let file = LogFile::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o137, 0);
        file.write(b"one\n");
        std::fs::rename(&path, directory.path().join("hubd.log.1")).unwrap();
        file.reopen().unwrap();
        file.write(b"two\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert!(LogFile::open(Path::new("/nonexistent/hubd.log")).is_err());
    }

    #[test]
    fn destinations_are_decided_once() {
        assert_eq!(Destination::named("json").decided(None), Destination::Json);
        assert_ne!(Destination::Auto.decided(Some("0:0")), Destination::Journal);
        assert_ne!(Destination::Auto.decided(Some("nonsense")), Destination::Journal);
    }
}
