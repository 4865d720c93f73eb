//! What running servers use: asked of their session processes when somebody looks, not before.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hubd_proto::UserName;
use hubd_proto::message::SessionStatus;

use super::Figures;
use super::life::Server;
use super::sessions::SOCKET_SUFFIX;
use crate::Hub;

/// How long a figure is taken to be true; pages look again after a few seconds.
const KEPT: Duration = Duration::from_secs(2);
/// Longest wait for a session process: a page does without figures rather than being late.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// Session processes that are asked at once.
const ASKED_AT_ONCE: usize = 32;

/// One look at a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    at: Instant,
    cpu_microseconds: Option<u64>,
}

impl Figures {
    /// What a status says. Processor time becomes a share with the look before.
    fn of(status: &SessionStatus, now: Sample, before: Option<Sample>) -> Self {
        let cpu_percent =
            match (before, before.and_then(|before| before.cpu_microseconds), now.cpu_microseconds) {
                (Some(before), Some(then), Some(used)) => {
                    let passed = now.at.duration_since(before.at).as_secs_f64() * 1e6;
                    (passed > 0.0).then(|| used.saturating_sub(then) as f64 * 100.0 / passed)
                }
                _ => None,
            };
        Self { memory_bytes: status.memory_bytes, memory_limit_bytes: status.memory_limit_bytes, cpu_percent }
    }
}

impl Hub {
    /// Brings the figures of the running servers of `users` up to date.
    pub async fn look_at_figures(&self, users: &[UserName]) {
        let mut running = Vec::new();
        for user in users {
            running.extend(self.servers.of(user).into_iter().map(|(_, server)| server));
        }
        let mut looks = Vec::with_capacity(running.len());
        for server in &running {
            looks.push(self.look(server));
        }
        futures_util::stream::iter(looks).buffer_unordered(ASKED_AT_ONCE).collect::<Vec<()>>().await;
    }

    async fn look(&self, server: &Server) {
        let Some(session) = server.session() else { return };
        let before = server.sample();
        if before.is_some_and(|sample| sample.at.elapsed() < KEPT) {
            return;
        }
        let socket = self.helper.sessions().join(format!("{session}{SOCKET_SUFFIX}"));
        let asked = tokio::time::timeout(ANSWER_WAIT, self.helper.session(&socket)).await;
        let Ok(Ok((status, _))) = asked else { return };
        let now = Sample { at: Instant::now(), cpu_microseconds: status.cpu_microseconds };
        server.uses(Figures::of(&status, now, before), now);
    }
}

#[cfg(test)]
mod tests {
    use crate::test_support::{TestHub, server, started, user};

    #[tokio::test]
    async fn figures_are_there_when_somebody_looks() {
        let test = TestHub::new().await;
        started(&test.hub, "alice").await;
        assert!(test.hub.server(&user("alice"), &server("")).figures.is_none());
        test.hub.look_at_figures(&[user("alice"), user("nobody")]).await;
        let figures = test.hub.server(&user("alice"), &server("")).figures;
        let figures = figures.expect("somebody has looked");
        assert_eq!((figures.memory_bytes, figures.memory_limit_bytes), (Some(300 << 20), Some(1 << 30)));
    }
}
