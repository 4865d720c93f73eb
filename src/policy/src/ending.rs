//! How a session ends, step by step: SIGTERM, SIGKILL, then the same for what the server leaves behind.

use std::time::{Duration, Instant};

/// How long what a server left behind has between SIGTERM and SIGKILL.
const LEFTOVER_TIME: Duration = Duration::from_secs(5);
/// How long SIGKILL is repeated before the session gives up and says so.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often leftovers are looked for while they are being ended.
const LEFTOVER_INTERVAL: Duration = Duration::from_millis(50);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The server runs, and nobody wants its end.
    Runs,
    /// SIGTERM was sent; SIGKILL follows then.
    Stopping(Instant),
    /// The server is gone; what it left behind is being ended since then.
    Leftovers(Instant),
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    /// Wait.
    Nothing,
    /// Send the server SIGTERM.
    Stop,
    /// Send the server SIGKILL.
    Kill,
    /// Send what is left SIGKILL, and kill its control group.
    KillLeftovers,
    /// The session is over.
    End,
}

impl Phase {
    /// The step that is due at `now`: whether a stop was asked for, how long the server has for it, and whether anything
    /// is left of the session.
    pub fn step(&mut self, now: Instant, stopping: bool, stop_time: Duration, left: bool) -> Do {
        match *self {
            Self::Runs if stopping => {
                *self = Self::Stopping(now + stop_time);
                Do::Stop
            }
            Self::Stopping(kill_at) if now >= kill_at => {
                *self = Self::Stopping(now + KILL_TIME_MAX);
                Do::Kill
            }
            Self::Leftovers(since) if !left || now - since > LEFTOVER_TIME + KILL_TIME_MAX => Do::End,
            Self::Leftovers(since) if now - since > LEFTOVER_TIME => Do::KillLeftovers,
            _ => Do::Nothing,
        }
    }

    /// How long nothing is due unless something happens; for ever, if `None`.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        match *self {
            Self::Runs => None,
            Self::Stopping(until) => Some(until.saturating_duration_since(now)),
            Self::Leftovers(_) => Some(LEFTOVER_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP_TIME: Duration = Duration::from_secs(30);

    #[test]
    fn a_stop_is_sigterm_then_sigkill_again_and_again() {
        let (begin, mut phase) = (Instant::now(), Phase::Runs);
        assert_eq!(phase.step(begin, false, STOP_TIME, true), Do::Nothing);
        assert_eq!(phase.pause(begin), None);
        assert_eq!(phase.step(begin, true, STOP_TIME, true), Do::Stop);
        assert_eq!(phase.step(begin, true, STOP_TIME, true), Do::Nothing);
        assert_eq!(phase.pause(begin), Some(STOP_TIME));
        for round in 0..3 {
            let now = begin + STOP_TIME + KILL_TIME_MAX * round;
            assert_eq!(phase.step(now, true, STOP_TIME, true), Do::Kill);
            assert_eq!(phase.step(now, true, STOP_TIME, true), Do::Nothing);
        }
    }

    #[test]
    fn leftovers_have_five_seconds_and_are_given_up_after_ten_more() {
        let begin = Instant::now();
        let mut phase = Phase::Leftovers(begin);
        assert_eq!(phase.step(begin, true, STOP_TIME, false), Do::End);
        assert_eq!(phase.step(begin + LEFTOVER_TIME, true, STOP_TIME, true), Do::Nothing);
        let late = begin + LEFTOVER_TIME + LEFTOVER_INTERVAL;
        assert_eq!(phase.step(late, false, STOP_TIME, true), Do::KillLeftovers);
        assert_eq!(phase.step(late, false, STOP_TIME, false), Do::End);
        assert_eq!(phase.step(late + KILL_TIME_MAX, false, STOP_TIME, true), Do::End);
    }
}
