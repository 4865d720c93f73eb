//! Lines for syslog(3).

use std::sync::{Mutex, PoisonError};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::text_of;

/// Lines to /dev/log.
pub struct SyslogLayer(Mutex<syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>>);

impl SyslogLayer {
    /// Connects to /dev/log or where else syslog listens.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect() -> Result<Self, syslog::Error> {
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
