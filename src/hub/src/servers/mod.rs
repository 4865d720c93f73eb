//! The life of user servers: requested, started, ready, stopping, gone.
//!
//! One [`Server`] value exists per server that is not stopped, or whose last start failed. Its state
//! changes in one place (`life.rs`), everybody else watches.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hubd_proto::{Secret, ServerName, UserName};
use serde::Serialize;

use crate::Hub;

/// All servers that are not stopped, or whose last start failed.
#[derive(Default)]
pub struct Servers {}

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

/// Why a server does not run: told to the person, the API and the journal in the same words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Stable code: one of the helper's (`program-missing`, …) or `exited-early`, `start-timeout`,
    /// `http-timeout`, `helper-unreachable`, `died`, `database`.
    pub code: String,
    /// Which step failed, in words for the person: `starting the notebook program`.
    pub step: String,
    /// What happened.
    pub message: String,
    /// What to do, and whom to ask.
    pub advice: String,
    /// The last lines that the server printed, oldest first.
    pub log: Vec<String>,
    /// HTTP status that fits: 403, 429, 500, 503.
    pub status: u16,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
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
    /// The database could not be written.
    #[error("the database cannot be written: {0}")]
    Database(String),
}

impl Hub {
    /// Begins a start and returns at once; watch it with [`Hub::wait_server`] or [`Hub::progress`].
    /// A missing user or spawner row is created.
    pub async fn start_server(self: &Arc<Self>, request: StartRequest) -> Result<(), NotBegun> {
        todo!()
    }

    /// Begins a stop and returns at once. Stopping a stopped server does nothing; a pending start is cancelled.
    pub async fn stop_server(self: &Arc<Self>, user: &UserName, server: &ServerName) -> Result<(), NotBegun> {
        todo!()
    }

    /// Waits until nothing is pending, at most `limit`, and returns the state then.
    pub async fn wait_server(&self, user: &UserName, server: &ServerName, limit: Duration) -> State {
        todo!()
    }

    /// What is known of a server; a server never heard of is `Stopped` without failure.
    pub fn server(&self, user: &UserName, server: &ServerName) -> Snapshot {
        todo!()
    }

    /// Names and snapshots of a user's servers that are not stopped, or failed last.
    pub fn servers_of(&self, user: &UserName) -> Vec<(ServerName, Snapshot)> {
        todo!()
    }

    /// Waits until a server has more than `seen` progress events, or nothing is pending; returns the new ones.
    pub async fn progress(&self, user: &UserName, server: &ServerName, seen: usize) -> Vec<Progress> {
        todo!()
    }

    /// The last lines a running server printed, from its session process.
    pub async fn server_log(&self, user: &UserName, server: &ServerName) -> Vec<String> {
        todo!()
    }

    /// Finds every running server in the helper's sessions directory and has it back, whatever the
    /// database knows; settles records of servers that are gone. Returns how many run.
    pub async fn adopt(self: &Arc<Self>) -> usize {
        todo!()
    }

    /// Stops all servers, for `cleanup_servers`; waits at most `limit`.
    pub async fn stop_all(self: &Arc<Self>, limit: Duration) {
        todo!()
    }

    /// Watches over running servers until `stop`: death is noticed through the session's connection,
    /// activity is carried from the proxy into the database every five minutes.
    pub async fn watch_servers(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        todo!()
    }
}
