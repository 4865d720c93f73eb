//! One task lives through one run of a server, from the request or the adoption to the end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hubd_proto::message::Exited;
use hubd_proxy::{Guarded, RouteData, Target};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::launch::{self, Session, with_store};
use super::life::{LogQuestion, Orders, Server, started_at};
use super::names::Which;
use super::ready::{NotReady, first_answer, shown, version_warning};
use super::{Failure, NotBegun, Progress, StartRequest, adopt, room};
use crate::Hub;
use crate::edge::{Place, guarded};
use crate::helper::{Event, HelperError};
use crate::pages::language::text;
use crate::settings::SpawnerSettings;

/// The longest wait for the end of a server that was told to stop. The helper kills it long before
/// (`stop_seconds`, 30 unless root says otherwise); if even that does not help, the hub gives up.
const STOP_LIMIT: Duration = Duration::from_secs(600);

/// How long the hub lives on when too many starts have failed, as in JupyterHub.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
        self.remove_route().await;
        self.phase = Phase::Ending;
        self.stop_began = Some(Instant::now());
        self.failure = failure;
        // A broken connection shows in the next event.
        let _ = session.control.stop().await;
    }

    /// Takes the route away, if it is there, and keeps what it knows of the last activity.
    async fn remove_route(&mut self) {
        let last = self.hub.routes.last_activity(&self.route);
        let began = std::time::Instant::now();
        let removed = self.hub.routes.remove(&self.route);
        self.hub.metrics.route_deleted(removed, began.elapsed());
        if !removed {
            return;
        }
        let which = self.server.which.clone();
        tracing::info!("Removing user {which} from proxy ({})", self.route);
        if let Some(last) = last {
            let written = with_store(&self.hub, move |hub| {
                hub.store.record_activity(&[(which.user.to_string(), which.server.to_string(), last)])
            });
            if let Err(error) = written.await {
                tracing::error!("cannot record the last activity of {}: {error}", self.server.which);
            }
        }
    }

    /// Rows and state of a run that is over.
    async fn settle(mut self, end: Option<End>) {
        self.remove_route().await;
        self.conclude(end);
        self.look_at_home().await;
        self.tell();
        if let Err(error) = clean(&self.hub, &self.server.which).await {
            tracing::error!("cannot clean the records of {}, trying again later: {error}", self.server.which);
            self.hub.servers.remember_unclean(self.server.which.clone());
        }
        if let Some(failure) = self.failure.as_ref().filter(|_| !self.served) {
            let status = if failure.status < 500 { "failure" } else { "error" };
            self.hub.metrics.start(status, &failure.code, self.began.elapsed());
            if status == "error" {
                self.count_failure();
            }
        }
        self.server.stopped(self.failure.take());
        self.hub.servers.forget(&self.server);
    }

    /// One more start that failed; with `consecutive_failure_limit` the hub ends when there are too many in a row.
    fn count_failure(&self) {
        let failures = self.hub.servers.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let limit = self.spawner.consecutive_failure_limit;
        if limit == 0 || failures < limit {
            if limit > 0 && failures > 1 {
                tracing::warn!(
                    "{failures} consecutive spawns failed.  Hub will exit if failure count reaches {limit} before succeeding"
                );
            }
            return;
        }
        tracing::error!("Aborting due to {failures} consecutive spawn failures");
        let hub = Arc::clone(&self.hub);
        tokio::spawn(async move {
            // Whoever waits for this start hears why it failed.
            tokio::time::sleep(LAST_WORDS).await;
            hub.ending.give_up();
        });
    }

    /// Says how full a full home is.
    async fn look_at_home(&mut self) {
        if let (Some(failure), Some(request)) = (&mut self.failure, &self.request)
            && failure.is_home_full()
            && let Some(room) = room::of_full_home(&self.hub, request).await
        {
            failure.tell_room(room);
        }
    }

    /// Why it ended.
    fn conclude(&mut self, end: Option<End>) {
        let which = &self.server.which;
        match (end, &self.phase) {
            (Some(End::Exited(exited)), Phase::Waiting) if !exited.stopped => {
                self.failure = Some(Failure::exited_early(&exited));
            }
            (Some(End::Exited(exited)), Phase::Serving) => {
                let code = exited.code.or(exited.signal.map(|signal| -signal));
                let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                tracing::warn!("User {which} server stopped, with exit code: {code}");
                // Status 0 is somebody who chose "Shut Down" in the server's own menu.
                if !exited.stopped && exited.code != Some(0) {
                    self.failure = Some(Failure::died(&exited));
                }
            }
            (Some(End::Exited(exited)), _) => {
                if let Some(failure) = &mut self.failure {
                    failure.log = exited.log;
                } else if let Some(began) = self.stop_began {
                    let took = began.elapsed();
                    tracing::info!("User {which} server took {:.3} seconds to stop", took.as_secs_f64());
                    self.hub.metrics.stop(took);
                    self.hub.server_event("stop", which.user.as_str(), which.server.as_str());
                }
            }
            (Some(End::Lost(error)), _) => self.failure = Some(Failure::lost(&error)),
            (Some(End::Immortal), _) => {
                tracing::error!("User {which} server never died although hubd-helper was asked to stop it");
            }
            (None, _) => {}
        }
        if self.orders.stop.is_cancelled() {
            self.failure = None;
        }
    }

    /// Tells a failure once, in the log.
    fn tell(&self) {
        if let Some(failure) = &self.failure {
            failure.tell(&self.server.which, &self.place, &self.spawner);
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

/// Cleans the rows of a server that has ended.
pub(super) async fn clean(hub: &Arc<Hub>, which: &Which) -> Result<(), String> {
    let which = which.clone();
    with_store(hub, move |hub| {
        hub.store.server_stopped(which.user.as_str(), which.server.as_str(), hub.clock.now())
    })
    .await
}
