//! What is known of one server, and the only place where it changes.
//!
//! ```text
//! Stopped --start/adopt--> Starting --ready--> Ready --stop--> Stopping --stopped--> Stopped
//!                             `------------stop or stopped-------^--------------------^
//! ```
//!
//! Every change is one closure on a `watch` channel: two requests at once see one another, and
//! everybody who watches wakes up. No lock is held across an `await`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hubd_proto::SessionId;
use hubd_proto::message::SessionStatus;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::figures::Sample;
use super::names::Which;
use super::{Failure, Figures, NotBegun, Progress, Snapshot, State};
use crate::pages::language::text;

/// Most questions for a server's log that wait for its session process.
const LOG_QUESTIONS_MAX: usize = 16;

/// Where the answer to "what did the server print last?" goes.
pub(super) type LogQuestion = oneshot::Sender<Vec<String>>;

/// One server; exists while it is not stopped, or while its last failure is worth telling.
pub(super) struct Server {
    /// Its names.
    pub which: Which,
    live: watch::Sender<Live>,
}

/// What watchers see.
#[derive(Clone)]
pub(super) struct Live {
    pub snapshot: Snapshot,
    /// The process above the server, once it runs.
    session: Option<SessionId>,
    /// How to reach the task that lives through this run.
    handle: Option<Handle>,
    /// The last look at what it uses.
    sample: Option<Sample>,
    /// When it was stopped last.
    stopped_at: Instant,
    /// Stands for the state it is in: it is another one after each change.
    mark: Mark,
}

/// See [`Live::mark`]; compared by where it is.
pub(crate) type Mark = Arc<()>;

impl Live {
    fn turn(&mut self, state: State) {
        self.snapshot.state = state;
        self.mark = Mark::default();
    }
}

/// What others may ask of the task that lives through a run.
#[derive(Clone)]
struct Handle {
    stop: CancellationToken,
    log: mpsc::Sender<LogQuestion>,
}

/// The task's end of a [`Handle`].
pub(super) struct Orders {
    /// Cancelled when the server shall stop.
    pub stop: CancellationToken,
    /// Questions for the log.
    pub log: mpsc::Receiver<LogQuestion>,
}

fn orders() -> (Handle, Orders) {
    let (sender, receiver) = mpsc::channel(LOG_QUESTIONS_MAX);
    let stop = CancellationToken::new();
    (Handle { stop: stop.clone(), log: sender }, Orders { stop, log: receiver })
}

impl Server {
    pub fn new(which: Which) -> Arc<Self> {
        let live = Live {
            snapshot: Snapshot::stopped(),
            session: None,
            handle: None,
            sample: None,
            stopped_at: Instant::now(),
            mark: Mark::default(),
        };
        Arc::new(Self { which, live: watch::Sender::new(live) })
    }

    /// Stopped → Starting, or why not. Forgets the last failure.
    pub fn start(&self) -> Result<Orders, NotBegun> {
        let mut begun = Err(NotBegun::Running(self.which.to_string()));
        self.live.send_if_modified(|live| {
            match &live.snapshot.state {
                State::Stopped { .. } => {}
                State::Ready => return false,
                pending @ (State::Starting | State::Stopping) => {
                    let action = pending.pending().unwrap_or_default();
                    begun = Err(NotBegun::Pending(self.which.to_string(), action));
                    return false;
                }
            }
            let (handle, orders) = orders();
            begun = Ok(orders);
            live.handle = Some(handle);
            live.session = None;
            live.snapshot = Snapshot {
                progress: vec![Progress::step(0, text!("Server requested"))],
                ..Snapshot::stopped()
            };
            live.turn(State::Starting);
            true
        });
        begun
    }

    /// A process runs: remembers which. The state stays.
    pub fn running(&self, status: &SessionStatus) {
        self.live.send_modify(|live| {
            live.session = Some(status.session.clone());
            live.snapshot.pid = Some(status.pid);
            live.snapshot.started = Some(started_at(status));
        });
    }

    /// A process of another hub's runs. The state stays.
    pub fn inherited(&self, started: SystemTime, pid: Option<i32>) {
        self.live.send_modify(|live| {
            live.snapshot.pid = pid;
            live.snapshot.started = Some(started);
        });
    }

    /// Adds an event to the present start.
    pub fn progress(&self, event: Progress) {
        self.live.send_modify(|live| live.snapshot.progress.push(event));
    }

    /// Starting → Ready. False if a stop came in between.
    pub fn ready(&self, url: &str) -> bool {
        self.live.send_if_modified(|live| {
            let starting = live.snapshot.state == State::Starting;
            if starting {
                live.turn(State::Ready);
                live.snapshot.progress.push(Progress::ready(url));
            }
            starting
        })
    }

    /// Starting or Ready → Stopping; the task that lives through the run is told. Otherwise nothing,
    /// and false.
    pub fn stop(&self) -> bool {
        self.live.send_if_modified(|live| {
            let stops = matches!(live.snapshot.state, State::Starting | State::Ready);
            if stops {
                live.turn(State::Stopping);
                if let Some(handle) = &live.handle {
                    handle.stop.cancel();
                }
            }
            stops
        })
    }

    /// Anything → Stopped.
    pub fn stopped(&self, failure: Option<Failure>) {
        self.live.send_modify(|live| {
            let was_ready = live.snapshot.progress.last().is_some_and(|event| event.ready);
            match &failure {
                Some(failure) if !was_ready => {
                    live.snapshot.progress.push(Progress::failed(&failure.message));
                }
                None if !was_ready => live.snapshot.progress.push(Progress::failed("Spawn cancelled")),
                _ => {}
            }
            live.handle = None;
            live.session = None;
            live.stopped_at = Instant::now();
            live.snapshot.pid = None;
            live.snapshot.figures = None;
            live.sample = None;
            live.snapshot.started = None;
            live.turn(State::Stopped { failure: failure.map(Arc::new) });
        });
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.live.borrow().snapshot.clone()
    }

    /// Its state, without the rest of what is known.
    pub fn state(&self) -> State {
        self.live.borrow().snapshot.state.clone()
    }

    /// Stands for its present state.
    pub fn mark(&self) -> Mark {
        Arc::clone(&self.live.borrow().mark)
    }

    /// Remembers what it uses.
    pub fn uses(&self, figures: Figures, sample: Sample) {
        self.live.send_modify(|live| {
            live.snapshot.figures = Some(figures);
            live.sample = Some(sample);
        });
    }

    /// The last look at what it uses.
    pub fn sample(&self) -> Option<Sample> {
        self.live.borrow().sample
    }

    /// The session that runs it.
    pub fn session(&self) -> Option<SessionId> {
        self.live.borrow().session.clone()
    }

    /// Whether it is stopped without a failure, or has been stopped since before `limit`.
    pub fn is_forgettable(&self, limit: Option<Instant>) -> bool {
        let live = self.live.borrow();
        match &live.snapshot.state {
            State::Stopped { failure } => {
                failure.is_none() || limit.is_some_and(|limit| live.stopped_at < limit)
            }
            _ => false,
        }
    }

    /// Says so in the log if the server is still in its present pending state after `limit`.
    pub fn tell_when_slow(self: &Arc<Self>, limit: Duration) {
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let mut live = server.watch();
            let pending = live.borrow().snapshot.state.clone();
            let changed = live.wait_for(|live| live.snapshot.state != pending);
            if tokio::time::timeout(limit, changed).await.is_ok() {
                return;
            }
            let (which, seconds) = (&server.which, limit.as_secs());
            match (pending, server.snapshot().pid) {
                (State::Starting, None) => {
                    tracing::warn!("User {which} is slow to start (timeout={seconds})")
                }
                (State::Starting, Some(_)) => {
                    tracing::warn!("User {which} is slow to become responsive (timeout={seconds})");
                }
                _ if which.server.is_default() => {
                    tracing::warn!("User {which}: server is slow to stop (timeout={seconds})");
                }
                _ => tracing::warn!("User {which} server is slow to stop (timeout={seconds})"),
            }
        });
    }

    /// A view that wakes up with every change.
    pub fn watch(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }

    /// Asks the task that lives through the run for the server's last lines.
    pub async fn ask_log(&self) -> Option<Vec<String>> {
        let log = self.live.borrow().handle.as_ref().map(|handle| handle.log.clone())?;
        let (question, answer) = oneshot::channel();
        log.try_send(question).ok()?;
        answer.await.ok()
    }
}

/// When a session was started.
pub(super) fn started_at(status: &SessionStatus) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(status.started_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Arc<Server> {
        Server::new(Which {
            user: "alice".parse().expect("a user"),
            server: "lab".parse().expect("a server"),
        })
    }

    #[test]
    fn a_server_is_started_once() {
        let server = server();
        assert!(server.start().is_ok());
        assert_eq!(server.start().err(), Some(NotBegun::Pending("alice:lab".into(), "spawn")));
        assert!(server.ready("/user/alice/lab/"));
        assert_eq!(server.start().err(), Some(NotBegun::Running("alice:lab".into())));
        server.stop();
        assert_eq!(server.start().err(), Some(NotBegun::Pending("alice:lab".into(), "stop")));
        server.stopped(None);
        assert!(server.start().is_ok());
    }

    #[test]
    fn a_stop_during_a_start_wins_over_ready() {
        let server = server();
        let orders = server.start().expect("begun");
        server.stop();
        assert!(orders.stop.is_cancelled());
        assert!(!server.ready("/user/alice/lab/"));
        assert_eq!(server.snapshot().state, State::Stopping);
        server.stopped(None);
        assert_eq!(
            server.snapshot().progress.last().map(|event| event.message.clone()).as_deref(),
            Some("Spawn cancelled")
        );
    }

    #[test]
    fn a_failure_is_kept_until_the_next_start() {
        let server = server();
        let _orders = server.start().expect("begun");
        server.stopped(Some(Failure::database("disk full")));
        assert!(!server.is_forgettable(None));
        assert!(server.is_forgettable(Some(Instant::now() + Duration::from_secs(60))));
        let failed = server.snapshot().progress.last().cloned().expect("an event");
        assert!(failed.failed && failed.message.starts_with("Spawn failed: The hub's database"));
        let _orders = server.start().expect("begun again");
        assert_eq!(server.snapshot().state, State::Starting);
    }
}
