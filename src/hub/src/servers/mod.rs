//! The life of user servers: requested, started, ready, stopping, gone.
//!
//! One value exists per server that is not stopped, or whose last start failed (`registry.rs`). Its
//! state changes in one place (`life.rs`), everybody else watches. One task lives through each run
//! (`run.rs`): it gets a process (`launch.rs`) or finds one that runs already (`adopt.rs`), waits for
//! its first answer (`ready.rs`), and stays with it until it has ended.

mod adopt;
mod environment;
mod failure;
mod figures;
mod idle;
mod inherited;
mod invalid_names;
mod launch;
mod life;
mod names;
mod note;
mod options;
mod overrides;
mod overview;
mod progress;
mod ready;
mod registry;
mod room;
mod run;
mod scopes;
mod sessions;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use hubd_proto::{Secret, ServerName, UserName};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Hub;
use crate::error::HttpError;

pub(crate) use adopt::running_services;
pub(crate) use environment::{origin, python_json};
pub use failure::Failure;
pub use idle::CullerSettings;
pub(crate) use launch::with_store;
pub(crate) use life::Mark;
pub use names::{is_slug, url_escape};
pub use options::{Attribute, Chosen, PROFILE, ProfileOption, SpawnOptions, SpawnProfile};
pub use overrides::{GroupOverride, SpawnerOverride, Variable};
pub use registry::Servers;

use names::Which;
use registry::Limits;
use run::Run;

/// How long those wait who are told to try again, in seconds: 30 to 59, as in JupyterHub.
const RETRY_SECONDS_MIN: u32 = 30;
const RETRY_SECONDS_SPREAD: u32 = 30;

/// What JupyterHub's models and pages show of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not running. `failure` says why, if the last start failed or the server died.
    Stopped {
        /// The last failure, until the next start.
        failure: Option<Arc<Failure>>,
    },
    /// Pending `spawn`.
    Starting,
    /// Running and routed.
    Ready,
    /// Pending `stop`.
    Stopping,
}

impl State {
    /// JupyterHub's `pending`: `spawn`, `stop` or nothing.
    pub fn pending(&self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("spawn"),
            Self::Stopping => Some("stop"),
            Self::Stopped { .. } | Self::Ready => None,
        }
    }

    /// JupyterHub's `active`: pending or ready.
    pub fn is_active(&self) -> bool {
        !matches!(self, Self::Stopped { .. })
    }
}

/// One line of a start's progress, as `GET …/progress` sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Percent, 0 to 100.
    pub progress: u8,
    /// What happens.
    pub message: String,
    /// The same as HTML, escaped already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html_message: Option<String>,
    /// True in the last event of a start that succeeded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// True in the last event of a start that failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The server's URL, when ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A snapshot of one server for models and pages.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// State now.
    pub state: State,
    /// When the running process was started.
    pub started: Option<SystemTime>,
    /// Process id, when running.
    pub pid: Option<i32>,
    /// All progress events of the present or last start.
    pub progress: Vec<Progress>,
    /// What the server uses, if that is known.
    pub figures: Option<Figures>,
}

/// What a running server uses.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Memory of all its processes, in bytes.
    pub memory_bytes: Option<u64>,
    /// As much memory as it may use, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Processor time in the last seconds, in percent of one core.
    pub cpu_percent: Option<f64>,
}

/// Who asks for a start, and with what right.
pub struct StartRequest {
    /// Whose server.
    pub user: UserName,
    /// Which one.
    pub server: ServerName,
    /// The browser's session id: a PAM handle held under it is used.
    pub session_id: Option<String>,
    /// The ticket from the person's cookie.
    pub ticket: Option<Secret>,
    /// `user_options`; `None` uses the stored ones.
    pub user_options: Option<serde_json::Value>,
}

/// Why a start or stop was not even begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// Already running.
    #[error("{0} is already running")]
    Running(String),
    /// Another action is pending: `spawn` or `stop`.
    #[error("{0} is pending {1}")]
    Pending(String, &'static str),
    /// Too many servers are starting: `JupyterHub.concurrent_spawn_limit`. Try again in so many seconds.
    #[error("Too many users trying to log in right now. Try again in {}0 seconds.", .0.div_ceil(10))]
    Throttled(u32),
    /// There are as many servers as there may be: `JupyterHub.active_server_limit`.
    #[error("Active user limit exceeded. Try again in a few minutes.")]
    Full,
    /// `user_options` name what there is not, or not for this person.
    #[error("{0}")]
    Options(String),
    /// The configuration lets servers ask for roles that there are not: `Spawner.oauth_roles`.
    #[error("No such role(s): {0}")]
    Roles(String),
    /// The database could not be written.
    #[error("the database cannot be written: {0}")]
    Database(String),
}

impl From<NotBegun> for HttpError {
    fn from(error: NotBegun) -> Self {
        let text = error.to_string();
        match error {
            NotBegun::Running(_) | NotBegun::Pending(..) | NotBegun::Options(_) => Self::bad_request(text),
            NotBegun::Throttled(seconds) => {
                Self { retry_after_seconds: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, text) }
            }
            NotBegun::Full => Self::new(StatusCode::TOO_MANY_REQUESTS, text),
            NotBegun::Roles(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text),
            NotBegun::Database(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The hub's database cannot be written at the moment. Try again soon.",
            ),
        }
    }
}

impl Hub {
    /// Begins a start and returns at once; watch it with [`Hub::wait_server`] or [`Hub::progress`].
    /// A missing user or spawner row is created.
    ///
    /// # Errors
    /// The server is not stopped, there are too many, or the database cannot be written.
    pub async fn start_server(self: &Arc<Self>, request: StartRequest) -> Result<(), NotBegun> {
        self.chosen(&request.user, &request.server, request.user_options.as_ref())
            .map_err(NotBegun::Options)?;
        let missing = self.missing_oauth_roles().map_err(|error| NotBegun::Database(error.to_string()))?;
        if !missing.is_empty() {
            tracing::error!("Failed to start {}'s server: no such role(s): {missing:?}", request.user);
            return Err(NotBegun::Roles(missing.join(", ")));
        }
        let limits = Limits {
            starting: self.settings.concurrent_spawn_limit as usize,
            active: self.settings.active_server_limit as usize,
            retry_seconds: self.retry_seconds(),
        };
        let (server, orders) =
            self.servers.start_within(Which::new(&request.user, &request.server), limits)?;
        server.tell_when_slow(self.settings.slow_spawn_timeout);
        let (begun, answer) = oneshot::channel();
        // A task of its own: a browser that goes away must not leave a start half done.
        tokio::spawn(Run::new(Arc::clone(self), server, orders).start(request, begun));
        answer.await.unwrap_or_else(|_| Err(NotBegun::Database("the start was interrupted".to_owned())))
    }

    /// A time to try again that spreads those who are told to.
    fn retry_seconds(&self) -> u32 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        RETRY_SECONDS_MIN + u32::from_le_bytes(bytes) % RETRY_SECONDS_SPREAD
    }

    /// Begins a stop and returns at once. Stopping a stopped server does nothing, nor does stopping
    /// one that stops already; a pending start is cancelled.
    ///
    /// # Errors
    /// None at present.
    pub async fn stop_server(self: &Arc<Self>, user: &UserName, server: &ServerName) -> Result<(), NotBegun> {
        if let Some(server) = self.servers.get(user, server)
            && server.stop()
        {
            server.tell_when_slow(self.settings.slow_stop_timeout);
        }
        Ok(())
    }

    /// Waits until nothing is pending, at most `limit`, and returns the state then.
    pub async fn wait_server(&self, user: &UserName, server: &ServerName, limit: Duration) -> State {
        let Some(server) = self.servers.get(user, server) else {
            return State::Stopped { failure: None };
        };
        let mut live = server.watch();
        let settled = live.wait_for(|live| live.snapshot.state.pending().is_none());
        match timeout(limit, settled).await {
            Ok(Ok(live)) => live.snapshot.state.clone(),
            _ => server.snapshot().state,
        }
    }

    /// What is known of a server; a server never heard of is `Stopped` without failure.
    pub fn server(&self, user: &UserName, server: &ServerName) -> Snapshot {
        self.servers.get(user, server).map_or_else(Snapshot::stopped, |server| server.snapshot())
    }

    /// Names and snapshots of a user's servers that are not stopped, or failed last.
    pub fn servers_of(&self, user: &UserName) -> Vec<(ServerName, Snapshot)> {
        self.servers.of(user).into_iter().map(|(name, server)| (name, server.snapshot())).collect()
    }

    /// Names of the users who have a server in a state that `wanted` accepts.
    pub fn users_with(&self, wanted: impl Fn(&State) -> bool) -> Vec<String> {
        let servers = self.servers.all().into_iter().filter(|server| wanted(&server.snapshot().state));
        let mut names: Vec<String> = servers.map(|server| server.which.user.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Waits until a server has more than `seen` progress events, or nothing is pending; returns the new ones.
    pub async fn progress(&self, user: &UserName, server: &ServerName, seen: usize) -> Vec<Progress> {
        let Some(server) = self.servers.get(user, server) else { return Vec::new() };
        let mut live = server.watch();
        let news = live
            .wait_for(|live| live.snapshot.progress.len() > seen || live.snapshot.state.pending().is_none());
        match news.await {
            Ok(live) => live.snapshot.progress.iter().skip(seen).cloned().collect(),
            Err(_) => Vec::new(),
        }
    }

    /// The last lines a running server printed, from its session process.
    pub async fn server_log(&self, user: &UserName, server: &ServerName) -> Vec<String> {
        let Some(server) = self.servers.get(user, server) else { return Vec::new() };
        timeout(self.helper.timeout, server.ask_log()).await.ok().flatten().unwrap_or_default()
    }
}
