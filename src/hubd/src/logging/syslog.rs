//! Lines for syslog(3).

use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::text_of;
use super::queue::{Queue, Sink};

/// Lines to /dev/log.
pub struct SyslogLayer(pub Arc<Queue>);

/// Connects to /dev/log or where else syslog listens.
///
/// # Errors
/// Nobody listens there.
pub fn connect() -> Result<Sink, syslog::Error> {
    let formatter = syslog::Formatter3164 {
        facility: syslog::Facility::LOG_DAEMON,
        hostname: None,
        process: "hubd".into(),
        pid: std::process::id(),
    };
    let mut logger = syslog::unix(formatter)?;
    Ok(Box::new(move |level, line| {
        let text = String::from_utf8_lossy(line);
        let sent = match level {
            Level::ERROR => logger.err(text),
            Level::WARN => logger.warning(text),
            Level::INFO => logger.info(text),
            Level::DEBUG | Level::TRACE => logger.debug(text),
        };
        // There is nowhere left to report to.
        sent.ok();
    }))
}

impl<S: Subscriber> Layer<S> for SyslogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let text = text_of(event).replace('\n', " ");
        self.0.put(*event.metadata().level(), text.into_bytes());
    }
}
