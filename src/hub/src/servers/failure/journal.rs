//! Failures in the journal, in JupyterHub's words where it has some.

use super::super::names::Which;
use super::{Failure, OUT_OF_MEMORY};
use crate::settings::SpawnerSettings;

impl Failure {
    /// Tells the journal, in JupyterHub's words where it has some. `place` is where the server was
    /// to listen.
    pub(in crate::servers) fn tell(&self, which: &Which, place: &str, limits: &SpawnerSettings) {
        let (user, message, advice) = (&which.user, self.message.trim_end_matches('.'), &self.advice);
        let last = self.log.last().map(String::as_str).unwrap_or_default();
        let code = &self.code;
        match code.as_str() {
            "start-timeout" => {
                let seconds = limits.start_timeout.as_secs();
                tracing::warn!(
                    code,
                    "{user}'s server failed to start in {seconds} seconds, giving up. {advice}"
                );
            }
            "http-timeout" => {
                let seconds = limits.http_timeout.as_secs();
                tracing::warn!(
                    code,
                    last,
                    "{user}'s server never showed up at {place} after {seconds} seconds. Giving up. {advice}"
                );
            }
            "died" | OUT_OF_MEMORY => tracing::error!(code, "{which}'s server: {message}. {advice}"),
            _ if self.status < 500 => {
                tracing::warn!(code, "Not starting {user}'s server {}: {message}. {advice}", which.server);
            }
            _ => tracing::error!(code, last, "Error starting {which}'s server: {message}. {advice}"),
        }
    }
}
