//! Having running servers back: the helper's sessions directory is the truth about what runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use hubd_proto::SessionId;
use hubd_proto::message::SessionStatus;
use hubd_store::{AdoptedServer, Spawner};
use tokio::sync::oneshot;

use super::inherited;
use super::launch::{Session, address, state_column, with_store};
use super::life::started_at;
use super::names::Which;
use super::note::Note;
use super::run::Run;
use super::sessions::{ASKED_AT_ONCE, SOCKET_SUFFIX, Sockets, running, sockets};
use crate::Hub;
use crate::helper::Control;

/// The longest wait for a session's answer; only one that is still being opened takes longer.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait for one that is, when the hub starts and wants to know what is gone.
const BUSY_LIMIT: Duration = Duration::from_secs(4);
/// How many scans pass until a session that did not answer is asked again: about five minutes.
const ASK_AGAIN_AFTER: u32 = 150;
/// What is known after patient asking.
struct Asked {
    sessions: HashMap<Which, Session>,
    /// Whether every session said what it is.
    certain: bool,
}

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
        let sockets = match sockets(self).await {
            Ok(sockets) => sockets,
            Err(error) => {
                let directory = self.helper.sessions();
                tracing::error!("cannot list the running servers in {}: {error}", directory.display());
                return 0;
            }
        };
        let Asked { sessions, certain } = self.ask_all(sockets).await;
        let mut count = sessions.len();
        for which in sessions.keys() {
            tracing::info!("{which} still running");
        }
        let (mut rows, mut missing) = (HashMap::new(), Vec::new());
        for row in active {
            match of_row(&row).filter(|which| sessions.contains_key(which)) {
                Some(which) => {
                    rows.insert(which, row);
                }
                None => missing.push(row),
            }
        }
        take(self, sessions, rows).await;
        let looked = missing.into_iter().map(|row| async move {
            let found = match of_row(&row) {
                Some(which) => inherited::look(self, &which, &row).await,
                None => None,
            };
            found.ok_or((row.user, row.name))
        });
        let mut looked = futures_util::stream::iter(looked).buffer_unordered(ASKED_AT_ONCE);
        let mut gone = Vec::new();
        while let Some(found) = looked.next().await {
            match found {
                Ok(inherited) => {
                    inherited.take(self);
                    count += 1;
                }
                Err(names) => gone.push(names),
            }
        }
        if certain {
            settle(self, gone).await;
        } else if !gone.is_empty() {
            // One of them may be a session that did not say what it is: its token must not be lost.
            tracing::warn!("{} servers seem to have stopped, their records are kept for now", gone.len());
        }
        count
    }

    /// Asks sessions what they are, and those that are busy a second time with more patience.
    async fn ask_all(self: &Arc<Self>, sockets: Sockets) -> Asked {
        let mut first = running(self, sockets, ASK_LIMIT).await;
        let second = running(self, first.busy, BUSY_LIMIT).await;
        first.found.extend(second.found);
        let certain = second.busy.is_empty() && first.odd + second.odd == 0;
        Asked { sessions: first.found, certain }
    }

    /// Looks for sessions that the hub does not know: a start that took longer than its limit, or
    /// one that an earlier hub had asked for. Whoever is seen a second time is taken: at first sight
    /// it may be on its way out, or the start in progress may be about to hear of it. `seen` counts.
    pub(super) async fn rescan(self: &Arc<Self>, seen: &mut HashMap<SessionId, u32>) {
        let mut known = self.servers.sessions();
        known.extend(self.services.sessions());
        // Whoever cannot list now could not at the start, and was told so then.
        let Ok(mut unknown) = sockets(self).await else { return };
        unknown.retain(|(id, _)| !known.contains(id));
        let before = std::mem::take(seen);
        for (id, _) in &unknown {
            seen.insert(id.clone(), before.get(id).map_or(0, |count| count.saturating_add(1)));
        }
        // Who does not answer is asked again now and then only, each attempt being a line in the log.
        unknown.retain(|(id, _)| seen.get(id).is_some_and(|count| count % ASK_AGAIN_AFTER == 1));
        if !unknown.is_empty() {
            let asked = running(self, unknown, ASK_LIMIT).await;
            for (id, _) in asked.busy {
                seen.insert(id, 0);
            }
            take(self, asked.found, HashMap::new()).await;
        }
    }
}

/// The sessions of services, whoever knows them.
pub(crate) async fn running_services(hub: &Arc<Hub>) -> Vec<(SessionStatus, Control)> {
    let known = hub.servers.sessions();
    let sockets = sockets(hub).await.unwrap_or_default();
    let unknown = sockets.into_iter().filter(|(id, _)| !known.contains(id)).collect();
    running(hub, unknown, BUSY_LIMIT).await.services
}

/// The session of a server that the helper says is running.
pub(super) async fn find(hub: &Arc<Hub>, which: &Which) -> Option<Session> {
    let known = hub.servers.sessions();
    let unknown = sockets(hub).await.ok()?.into_iter().filter(|(id, _)| !known.contains(id)).collect();
    let session = running(hub, unknown, ASK_LIMIT).await.found.remove(which)?;
    write_rows(hub, vec![(which.clone(), session.status.clone())]).await;
    Some(session)
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

/// Writes the rows of sessions that were found, all at once. A database that cannot be written does not keep
/// anybody from a server that runs.
async fn write_rows(hub: &Arc<Hub>, sessions: Vec<(Which, SessionStatus)>) {
    let count = sessions.len();
    let written = with_store(hub, move |hub| {
        let now = hub.clock.now();
        let found: Vec<_> = sessions.iter().map(|(which, status)| rows_of(hub, which, status, now)).collect();
        let Err(error) = hub.store.servers_adopted(&found, now) else { return Ok(()) };
        if found.len() == 1 {
            return Err(error);
        }
        // One of them must not cost the others their rows.
        for one in &found {
            if let Err(error) = hub.store.servers_adopted(std::slice::from_ref(one), now) {
                let (user, server) = (&one.user, &one.server);
                tracing::error!("cannot write the records of {user}/{server}, which is running: {error}");
            }
        }
        Ok(())
    });
    if let Err(error) = written.await {
        tracing::error!("cannot write the records of {count} running servers: {error}");
    }
}

fn rows_of(hub: &Hub, which: &Which, status: &SessionStatus, now: SystemTime) -> AdoptedServer {
    let note = Note::read(&status.note);
    if note.is_none() {
        tracing::warn!("the session of {which} has no note of the hub, its token cannot be restored");
    }
    // The owner's row may be lost, too. A token never may do more than its owner, whatever stands with it.
    let token_scopes = hub.wanted_token_scopes(which).unwrap_or_default().into_iter().collect();
    let client_scopes = hub.client_scopes(which).unwrap_or_default();
    AdoptedServer {
        user: which.user.to_string(),
        server: which.server.to_string(),
        new_cookie_id: hub.new_token(),
        start: note.map(|note| note.rows(which, token_scopes, client_scopes, now)),
        address: address(status, &which.url(&hub.settings.base_url)),
        state: state_column(status),
        started: started_at(status),
    }
}

/// Begins to live on with sessions, and waits until each is routed or known to need time. Those of
/// servers that the hub knows already are left alone, and so are `rows` that tell of them.
async fn take(hub: &Arc<Hub>, sessions: HashMap<Which, Session>, rows: HashMap<Which, Spawner>) {
    let (mut taken, mut unwritten) = (Vec::new(), Vec::new());
    for (which, session) in sessions {
        let is_written = rows.get(&which).is_some_and(|row| tells_of(row, &session.status));
        if let Some((server, orders)) = hub.servers.begin(which.clone()) {
            if !is_written {
                unwritten.push((which, session.status.clone()));
            }
            taken.push((server, orders, session));
        }
    }
    write_rows(hub, unwritten).await;
    let mut waiting = Vec::new();
    for (server, orders, session) in taken {
        let (settled, is_settled) = oneshot::channel();
        let run = Run::new(Arc::clone(hub), server, orders);
        tokio::spawn(run.adopted(session, settled));
        waiting.push(is_settled);
    }
    for is_settled in waiting {
        // One that ended meanwhile needs no waiting for.
        let _ = is_settled.await;
    }
}

/// Whether a row tells of this very process, so that nothing has to be written.
fn tells_of(row: &Spawner, status: &SessionStatus) -> bool {
    row.active && row.state.as_ref() == Some(&state_column(status))
}

/// The server that a row is about, if the hub can know its names.
fn of_row(row: &Spawner) -> Option<Which> {
    Some(Which { user: row.user.parse().ok()?, server: row.name.parse().ok()? })
}

/// Cleans the rows of servers that ended while nobody looked.
async fn settle(hub: &Arc<Hub>, gone: Vec<(String, String)>) {
    if gone.is_empty() {
        return;
    }
    for (user, name) in &gone {
        let name = if name.is_empty() { String::new() } else { format!(":{name}") };
        tracing::warn!("{user}{name} appears to have stopped while the Hub was down");
    }
    let cleaned = with_store(hub, move |hub| hub.store.servers_stopped(&gone, hub.clock.now()));
    if let Err(error) = cleaned.await {
        tracing::error!("cannot clean the records of servers that are gone: {error}");
    }
}
