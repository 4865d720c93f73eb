//! One task lives through one run of a server, from the request or the adoption to the end; `settle.rs` is what
//! comes then.

mod settle;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use hubd_proto::message::Exited;
use hubd_proxy::{Guarded, RouteData, Target};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::launch::{self, Session, with_store};
use super::life::{LogQuestion, Orders, Server, started_at};
use super::names::Which;
use super::ready::{NotReady, first_answer, shown, version_warning};
use super::{Failure, NotBegun, Progress, StartRequest, adopt};
use crate::Hub;
use crate::edge::{Place, guarded};
use crate::helper::{Event, HelperError};
use crate::pages::language::text;
use crate::settings::SpawnerSettings;
pub(super) use settle::clean;

/// The longest wait for the end of a server that was told to stop. The helper kills it long before
/// (`stop_seconds`, 30 unless root says otherwise); if even that does not help, the hub gives up.
const STOP_LIMIT: Duration = Duration::from_secs(600);

/// Where a run stands.
enum Phase {
    /// The process runs, its first answer is awaited.
    Waiting,
    /// It is routed.
    Serving,
    /// It was told to end, by a person or because of a failure.
    Ending,
}

/// How a run ended.
enum End {
    /// The process has ended.
    Exited(Exited),
    /// The process above it has gone without a word.
    Lost(HelperError),
    /// It did not end although it was killed.
    Immortal,
}

/// A run in progress.
pub(super) struct Run {
    hub: Arc<Hub>,
    server: Arc<Server>,
    orders: Orders,
    /// The settings for its owner, who may be in groups with their own.
    spawner: SpawnerSettings,
    /// The server's path.
    url: String,
    /// The prefix of its route.
    route: String,
    /// Where it listens, for the log; empty until it runs.
    place: String,
    /// When it was requested.
    began: Instant,
    phase: Phase,
    /// When the stop was requested.
    stop_began: Option<Instant>,
    /// Whether it was ever routed.
    served: bool,
    /// Why it ends, if not because somebody wanted it to.
    failure: Option<Failure>,
    /// Who asked for it, if it was started and not found.
    request: Option<StartRequest>,
    /// Who waits for the log.
    questions: Vec<LogQuestion>,
    /// Who waits for the route of an adopted server.
    settled: Option<oneshot::Sender<()>>,
}

impl Run {
    pub fn new(hub: Arc<Hub>, server: Arc<Server>, orders: Orders) -> Self {
        let url = server.which.url(&hub.settings.base_url);
        let route = server.which.route(&hub.settings);
        let spawner = hub.spawner_of(&server.which);
        Self {
            hub,
            spawner,
            server,
            orders,
            url,
            route,
            place: String::new(),
            began: Instant::now(),
            phase: Phase::Waiting,
            served: false,
            stop_began: None,
            failure: None,
            request: None,
            questions: Vec::new(),
            settled: None,
        }
    }

    /// Lives through a run from its request. `begun` hears whether the rows could be written.
    pub async fn start(mut self, request: StartRequest, begun: oneshot::Sender<Result<(), NotBegun>>) {
        let options = request.user_options.clone();
        let rows = match launch::write_rows(&self.hub, &self.server.which, options).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!("Failed to start {}'s server: {error}", self.server.which);
                self.server.stopped(Some(Failure::database(&error)));
                // Whoever asked may have gone; nobody else has to know.
                let _ = begun.send(Err(NotBegun::Database(error)));
                return;
            }
        };
        let _ = begun.send(Ok(()));
        self.server.progress(Progress::step(20, text!("Opening a session")));
        // A start that has been asked for cannot be taken back: a stop waits for its end.
        let launched = launch::launch(&self.hub, &self.spawner, &request, &rows).await;
        self.request = Some(request);
        match launched {
            Ok(session) => self.go_on(session).await,
            Err(failure) => {
                self.failure = Some(failure);
                self.settle(None).await;
            }
        }
    }

    /// Lives on with a session that was found running, its rows written. `settled` hears when it is
    /// routed, or known to be too young for that.
    pub async fn adopted(mut self, session: Session, settled: oneshot::Sender<()>) {
        self.settled = Some(settled);
        self.go_on(session).await;
    }

    /// From a running process to its end.
    async fn go_on(mut self, mut session: Session) {
        self.place = shown(&session.target(), &self.url);
        self.server.running(&session.status);
        self.server.progress(Progress::step(50, text!("Spawning server...")));
        if let Err(error) = self.running_rows(&session).await {
            self.end(&mut session, Some(Failure::database(&error))).await;
        }
        let end = self.attend(&mut session).await;
        self.settle(Some(end)).await;
    }

    /// Writes that the process runs.
    async fn running_rows(&self, session: &Session) -> Result<(), String> {
        if session.found {
            return Ok(());
        }
        let (which, address) = (self.server.which.clone(), launch::address(&session.status, &self.url));
        let state = launch::state_column(&session.status);
        let started = started_at(&session.status);
        with_store(&self.hub, move |hub| {
            hub.store.server_running(which.user.as_str(), which.server.as_str(), &address, &state, started)
        })
        .await
    }

    /// Stays with the process until it has ended.
    async fn attend(&mut self, session: &mut Session) -> End {
        let (target, url) = (session.target(), self.url.clone());
        let limit = self.spawner.http_timeout;
        // A program that does not know its prefix is asked without.
        let strips = session.status.edge.is_some_and(|edge| edge.strip_prefix);
        let base = if strips { "/" } else { url.as_str() };
        let mut answer = pin!(first_answer(&target, base, limit));
        if adopt::is_settled(&self.hub, session) {
            self.serve(session);
        }
        if let Some(settled) = self.settled.take() {
            // Nobody waits any more if adopting was given up.
            let _ = settled.send(());
        }
        let stop = self.orders.stop.clone();
        loop {
            let deadline = self.stop_began.unwrap_or_else(Instant::now) + STOP_LIMIT;
            tokio::select! {
                event = session.control.event() => match event {
                    Ok(Event::Exited(exited)) => return End::Exited(exited),
                    Ok(Event::Log(lines)) => {
                        for question in self.questions.drain(..) {
                            // Whoever asked may have gone.
                            let _ = question.send(lines.clone());
                        }
                    }
                    Ok(Event::Done) => {}
                    Err(error) => {
                        if !self.reconnect(session).await {
                            return End::Lost(error);
                        }
                    }
                },
                answer = &mut answer, if matches!(self.phase, Phase::Waiting) => match answer {
                    Ok(version) => self.answered(session, version.as_deref()),
                    Err(why) => {
                        let failure = self.not_ready(&why);
                        self.end(session, Some(failure)).await;
                    }
                },
                () = stop.cancelled(), if !matches!(self.phase, Phase::Ending) => {
                    self.end(session, None).await;
                }
                Some(question) = self.orders.log.recv() => {
                    self.questions.push(question);
                    // A broken connection shows in the next event.
                    let _ = session.control.log().await;
                }
                () = tokio::time::sleep_until(deadline), if self.stop_began.is_some() => return End::Immortal,
            }
        }
    }

    /// Connects to the session again after its connection broke; repeats what it may have missed.
    async fn reconnect(&self, session: &mut Session) -> bool {
        let Some(mut control) = adopt::reconnect(&self.hub, &session.status.session).await else {
            return false;
        };
        if matches!(self.phase, Phase::Ending) {
            // If this one breaks too, the next event shows it.
            let _ = control.stop().await;
        }
        if !self.questions.is_empty() {
            let _ = control.log().await;
        }
        session.control = control;
        true
    }

    /// The first answer came.
    fn answered(&mut self, session: &Session, version: Option<&str>) {
        if let Some(warning) = version_warning(version).filter(|_| session.status.edge.is_none()) {
            tracing::warn!("{warning}");
        }
        if !session.found {
            let took = self.began.elapsed();
            tracing::info!("User {} took {:.3} seconds to start", self.server.which, took.as_secs_f64());
            self.hub.metrics.start("success", "", took);
            self.hub.servers.failures.store(0, Ordering::Relaxed);
            let which = &self.server.which;
            self.hub.server_event("start", which.user.as_str(), which.server.as_str());
        }
        self.serve(session);
    }

    /// Adds the route; from here on people get through.
    fn serve(&mut self, session: &Session) {
        let target = session.target();
        let which = &self.server.which;
        let began = std::time::Instant::now();
        let guarded = session.status.edge.map(|edge| {
            let place = Place::new(&self.hub, &which.user, &which.server);
            guarded(&self.hub, place, edge.strip_prefix)
        });
        add_route(&self.hub, which, target, guarded);
        self.hub.metrics.route_added(began.elapsed());
        // If a stop came in between, the order for it is seen next and takes the route away.
        self.server.ready(&which.public_url(&self.hub.settings));
        self.phase = Phase::Serving;
        self.served = true;
    }

    fn not_ready(&self, why: &NotReady) -> Failure {
        match why {
            NotReady::Timeout => Failure::http_timeout(&self.place, self.spawner.http_timeout),
            NotReady::WrongPeer => Failure::wrong_peer(&self.place),
        }
    }

    /// Takes the route away and asks for the end of the process.
    async fn end(&mut self, session: &mut Session, failure: Option<Failure>) {
        let last = self.remove_route();
        self.phase = Phase::Ending;
        self.stop_began = Some(Instant::now());
        self.failure = failure;
        // A broken connection shows in the next event.
        let _ = session.control.stop().await;
        // The process need not wait for the disk.
        self.note_activity(last).await;
    }

    /// Takes the route away, if it is there; when it was last used.
    fn remove_route(&self) -> Option<SystemTime> {
        let last = self.hub.routes.last_activity(&self.route);
        let began = std::time::Instant::now();
        let removed = self.hub.routes.remove(&self.route);
        self.hub.metrics.route_deleted(removed, began.elapsed());
        if removed {
            tracing::info!("Removing user {} from proxy ({})", self.server.which, self.route);
        }
        last.filter(|_| removed)
    }

    /// Keeps when the server was last used.
    async fn note_activity(&self, last: Option<SystemTime>) {
        let (Some(last), which) = (last, self.server.which.clone()) else { return };
        let written = with_store(&self.hub, move |hub| {
            hub.store.record_activity(&[(which.user.to_string(), which.server.to_string(), last)])
        });
        if let Err(error) = written.await {
            tracing::error!("cannot record the last activity of {}: {error}", self.server.which);
        }
    }
}

/// Routes a server.
pub(super) fn add_route(hub: &Hub, which: &Which, target: Target, guarded: Option<Guarded>) {
    let route = which.route(&hub.settings);
    tracing::info!("Adding user {which} to proxy {route} => {}", shown(&target, ""));
    let data = RouteData::default()
        .with("user", which.user.as_str())
        .with("server_name", which.server.as_str())
        .with("jupyterhub", true);
    let data = match &hub.settings.subdomains {
        Some(hosts) => data.with("host", hosts.host_of_user(which.user.as_str())),
        None => data,
    };
    hub.routes.add_guarded(&route, target, data, guarded);
}
