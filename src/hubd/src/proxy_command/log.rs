//! Log lines in the look of configurable-http-proxy, on standard output.

use std::fmt;
use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::logging::{LastLines, QueueWriter, text_of, to_stdout};

/// The level of a name that configurable-http-proxy takes.
pub fn level(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_lowercase().as_str() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" | "http" => LevelFilter::INFO,
        "verbose" | "debug" => LevelFilter::DEBUG,
        "silly" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Starts logging; nobody who logs waits for whoever reads it.
pub fn start(level: LevelFilter) -> LastLines {
    let queue = to_stdout();
    let writer = QueueWriter(queue.clone());
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Lines)
        .with_ansi(std::io::stdout().is_terminal())
        .with_writer(move || writer.clone());
    let own = Targets::new().with_target("hubd", level).with_target("hubd_proxy", level);
    tracing_subscriber::registry().with(own).with(layer).init();
    LastLines::of(vec![queue])
}

/// `2026-11-21T20:29:39.073Z [ConfigProxy] info: text`.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
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
        let (word, colour) = match *event.metadata().level() {
            Level::ERROR => ("error", 31),
            Level::WARN => ("warn", 33),
            Level::INFO => ("info", 32),
            Level::DEBUG => ("debug", 34),
            Level::TRACE => ("silly", 35),
        };
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
        write!(writer, "{time} [ConfigProxy] ")?;
        if writer.has_ansi_escapes() {
            write!(writer, "\x1b[{colour}m{word}\x1b[39m: ")?;
        } else {
            write!(writer, "{word}: ")?;
        }
        writeln!(writer, "{}", text_of(event))
    }
}
