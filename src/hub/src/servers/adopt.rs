//! Having running servers back: the helper's sessions directory is the truth about what runs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use hubd_proto::SessionId;
use hubd_store::Spawner;

use super::launch::{Session, with_store};
use super::life::Life;
use super::names::Which;
use super::note::Note;
use super::state::started_at;
use crate::Hub;
use crate::helper::{Control, HelperError};

/// Most control sockets that are asked at the same time; each answers within microseconds.
const ASKED_AT_ONCE: usize = 64;
/// What the name of a control socket ends with.
const SOCKET_SUFFIX: &str = ".sock";

impl Hub {
    /// Finds every running server in the helper's sessions directory and has it back, whatever the
    /// database knows; settles records of servers that are gone. Returns how many run.
    pub async fn adopt(self: &Arc<Self>) -> usize {
        let active = match with_store(self, |hub| hub.store.active_spawners()).await {
            Ok(active) => active,
            Err(error) => {
                tracing::error!("cannot read which servers ran: {error}");
                Vec::new()
            }
        };
        let sessions = running(self, sockets(self).await).await;
        let mut found = HashSet::new();
        let count = sessions.len();
        for (which, session) in sessions {
            tracing::info!("{which} still running");
            found.insert((which.user.to_string(), which.server.to_string()));
            take(self, which, session);
        }
        let gone: Vec<Spawner> =
            active.into_iter().filter(|row| !found.contains(&(row.user.clone(), row.name.clone()))).collect();
        settle(self, gone).await;
        count
    }

    /// Looks for sessions that the hub does not know: a start that took longer than its limit, or
    /// one that an earlier hub had asked for. One that is seen twice is taken.
    pub(super) async fn rescan(self: &Arc<Self>, seen: &mut BTreeSet<SessionId>) {
        let known = self.servers.sessions();
        let unknown: Vec<_> = sockets(self).await.into_iter().filter(|(id, _)| !known.contains(id)).collect();
        let again = unknown.iter().filter(|(id, _)| seen.contains(id)).cloned().collect();
        *seen = unknown.into_iter().map(|(id, _)| id).collect();
        for (which, session) in running(self, again).await {
            tracing::info!("{which} is running, started by another hub or too late for its request");
            take(self, which, session);
        }
    }
}

/// The session of a server that the helper says is running.
pub(super) async fn find(hub: &Arc<Hub>, which: &Which) -> Option<Session> {
    let known = hub.servers.sessions();
    let unknown = sockets(hub).await.into_iter().filter(|(id, _)| !known.contains(id)).collect();
    running(hub, unknown).await.into_iter().find(|(found, _)| found == which).map(|(_, session)| session)
}

/// Connects again to a session whose connection broke.
pub(super) async fn reconnect(hub: &Arc<Hub>, session: &SessionId) -> Option<Control> {
    let socket = hub.helper.sessions().join(format!("{session}{SOCKET_SUFFIX}"));
    let (status, control) = hub.helper.session(&socket).await.ok()?;
    (status.session == *session).then_some(control)
}

/// Whether a session was found and has run long enough to be ready, so that it is not asked again:
/// two thousand servers need not wake up because the hub restarted.
pub(super) fn is_settled(hub: &Hub, session: &Session) -> bool {
    let spawner = &hub.settings.spawner;
    let age = hub.clock.now().duration_since(started_at(&session.status)).unwrap_or_default();
    session.found && age > spawner.http_timeout
}

/// Writes the rows of a session that was found, unless they are there.
pub(super) async fn write_rows(hub: &Arc<Hub>, which: &Which, session: &Session) -> Result<(), String> {
    let url = which.url(&hub.settings.base_url);
    let (which, address) = (which.clone(), session.address(&url));
    let state = serde_json::json!({ "pid": session.status.pid });
    let started = started_at(&session.status);
    let note = Note::read(&session.status.note);
    with_store(hub, move |hub| {
        let (user, server) = (which.user.as_str(), which.server.as_str());
        let row = hub.store.spawner(user, server)?;
        if row.is_some_and(|row| row.active && row.state.as_ref() == Some(&state)) {
            return Ok(());
        }
        let now = hub.clock.now();
        hub.store.ensure_user(user, &hub.new_token(), now)?;
        match note {
            Some(note) => hub.store.server_adopted(&note.rows(&which, now), &address, &state, started),
            None => {
                tracing::warn!("the session of {which} has no note of the hub, its token cannot be restored");
                hub.store.server_running(user, server, &address, &state, started)
            }
        }
    })
    .await
}

/// Begins to live on with a session; nothing if the server is known already.
fn take(hub: &Arc<Hub>, which: Which, session: Session) {
    if let Some((server, orders)) = hub.servers.begin(which) {
        let life = Life::new(Arc::clone(hub), server, orders);
        tokio::spawn(life.adopted(session));
    }
}

/// Cleans the rows of servers that ended while nobody looked.
async fn settle(hub: &Arc<Hub>, gone: Vec<Spawner>) {
    let cleaned = with_store(hub, move |hub| {
        for row in gone {
            let name =
                if row.name.is_empty() { row.user.clone() } else { format!("{}:{}", row.user, row.name) };
            tracing::warn!("{name} appears to have stopped while the Hub was down");
            hub.store.server_stopped(&row.user, &row.name, hub.clock.now())?;
        }
        Ok(())
    });
    if let Err(error) = cleaned.await {
        tracing::error!("cannot clean the records of servers that are gone: {error}");
    }
}

/// The control sockets in the sessions directory.
async fn sockets(hub: &Arc<Hub>) -> Vec<(SessionId, PathBuf)> {
    let directory = hub.helper.sessions();
    let listed = tokio::task::spawn_blocking(move || list(&directory)).await;
    listed.unwrap_or_default()
}

fn list(directory: &Path) -> Vec<(SessionId, PathBuf)> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        // The helper makes the directory with its first session.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::error!("cannot list the running servers in {}: {error}", directory.display());
            return Vec::new();
        }
    };
    let id = |path: &Path| SessionId::new(path.file_name()?.to_str()?.strip_suffix(SOCKET_SUFFIX)?).ok();
    entries.flatten().map(|entry| entry.path()).filter_map(|path| Some((id(&path)?, path))).collect()
}

/// Asks sessions what they are. Those that do not answer are left to the helper.
async fn running(hub: &Arc<Hub>, sockets: Vec<(SessionId, PathBuf)>) -> HashMap<Which, Session> {
    let asked = sockets.into_iter().map(|(id, path)| async move {
        match hub.helper.session(&path).await {
            Ok((status, _)) if status.session != id => {
                tracing::error!(
                    "the control socket {} answers for session {}",
                    path.display(),
                    status.session
                );
                None
            }
            // It has been told to end; the records of it are cleaned as if it had.
            Ok((status, _)) if status.stopping => None,
            Ok((status, control)) => {
                let which = Which::new(&status.user, &status.server);
                Some((which, Session { status, control, found: true }))
            }
            Err(HelperError::Missing { .. }) => None,
            Err(error) => {
                tracing::warn!("cannot ask the session {id}, its server is left alone: {error}");
                None
            }
        }
    });
    futures_util::stream::iter(asked)
        .buffer_unordered(ASKED_AT_ONCE)
        .filter_map(|found| async move { found })
        .collect()
        .await
}
