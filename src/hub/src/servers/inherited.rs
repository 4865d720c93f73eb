//! Servers that another hub left running: JupyterHub's own, which the database tells of and no session stands above.
//!
//! They listen on a port of 127.0.0.1. Before the first byte, and on every connection, the kernel's socket table must
//! say that the port belongs to the account's uid. Nobody tells when such a server ends, so it is asked now and then;
//! and nobody here can signal it, so a stop is asked of the server itself, in its owner's name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hubd_proto::Secret;
use hubd_proxy::{BackendFailure, Endpoint, Target};
use hubd_store::{GENERATED_ROUNDS, NewToken, Spawner, TokenOwner};
use tokio::time::{Instant, sleep};

use super::launch::with_store;
use super::life::{Orders, Server};
use super::names::Which;
use super::run::{add_route, clean};
use crate::Hub;

/// The longest wait for the first answer: the hub's port opens after it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether the server is still there.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often while it is stopping.
const LOOK_AT_STOP_EVERY: Duration = Duration::from_millis(200);
/// The longest wait for the end of a server that was told to stop: as with sessions.
const STOP_LIMIT: Duration = Duration::from_secs(600);
/// How long the token holds with which a server is told to stop.
const STOP_TOKEN_LIFE: Duration = Duration::from_secs(60);

/// A server that was found.
pub(super) struct Inherited {
    which: Which,
    target: Target,
    url: String,
    started: SystemTime,
    pid: Option<i32>,
}

/// Looks whether the server that a row tells of answers, as its owner.
pub(super) async fn look(hub: &Arc<Hub>, which: &Which, row: &Spawner) -> Option<Inherited> {
    let (user, name) = (row.user.clone(), row.name.clone());
    let address = with_store(hub, move |hub| hub.store.server_address(&user, &name)).await.ok()??;
    // Servers of this hub's on Unix sockets have a path there; they have sessions, or are gone.
    let ip: IpAddr = address.ip.parse().ok().filter(IpAddr::is_loopback)?;
    let port = u16::try_from(address.port).ok().filter(|port| *port != 0)?;
    let uid = match hub.helper.check_account(&which.user, None).await {
        Ok(account) => account.uid,
        Err(error) => {
            tracing::warn!("{which} may be running on port {port}, but cannot be taken over: {error}");
            return None;
        }
    };
    let target = Target { endpoint: Endpoint::Tcp(SocketAddr::from((ip, port))), uid: Some(uid) };
    let url = which.url(&hub.settings.base_url);
    match hubd_proxy::probe(&target, &format!("{url}api"), ANSWER_LIMIT).await {
        Ok(answer) if !answer.status.is_server_error() => {}
        Ok(_) | Err(BackendFailure::Refused) => return None,
        Err(error) => {
            tracing::warn!("{which} may be running on port {port}, but cannot be taken over: {error:?}");
            return None;
        }
    }
    let pid = row.state.as_ref().and_then(|state| state.get("pid")?.as_i64());
    Some(Inherited {
        which: which.clone(),
        target,
        url,
        started: row.started.unwrap_or_else(|| hub.clock.now()),
        pid: pid.and_then(|pid| i32::try_from(pid).ok()),
    })
}

impl Inherited {
    /// Routes it, and begins to live on with it.
    pub(super) fn take(self, hub: &Arc<Hub>) {
        let Some((server, orders)) = hub.servers.begin(self.which.clone()) else { return };
        tracing::info!("{} still running", self.which);
        server.inherited(self.started, self.pid);
        add_route(hub, &self.which, self.target.clone(), None);
        server.ready(&self.which.public_url(&hub.settings));
        tokio::spawn(self.attend(Arc::clone(hub), server, orders));
    }

    /// Stays with it until it has ended.
    async fn attend(self, hub: Arc<Hub>, server: Arc<Server>, orders: Orders) {
        let mut stop_began = None;
        let mut every = LOOK_EVERY;
        loop {
            tokio::select! {
                () = orders.stop.cancelled(), if stop_began.is_none() => {
                    hub.routes.remove(&self.which.route(&hub.settings));
                    stop_began = Some(Instant::now());
                    every = LOOK_AT_STOP_EVERY;
                    if let Err(why) = self.ask_to_stop(&hub).await {
                        tracing::error!("{} cannot be stopped: {why}", self.which);
                    }
                }
                () = sleep(every) => {}
            }
            if self.is_gone().await {
                break;
            }
            if stop_began.is_some_and(|began: Instant| began.elapsed() > STOP_LIMIT) {
                tracing::error!("User {} server never ended although it was asked to", self.which);
                break;
            }
        }
        if stop_began.is_none() {
            tracing::warn!("User {} server stopped, with exit code: unknown", self.which);
            hub.routes.remove(&self.which.route(&hub.settings));
        }
        if clean(&hub, &self.which).await.is_err() {
            hub.servers.remember_unclean(self.which.clone());
        }
        server.stopped(None);
        hub.servers.forget(&server);
    }

    /// Whether nobody listens there any more, or somebody else does. A server that is only slow is still there.
    async fn is_gone(&self) -> bool {
        let answer = hubd_proxy::probe(&self.target, &format!("{}api", self.url), ANSWER_LIMIT).await;
        matches!(answer, Err(BackendFailure::Refused | BackendFailure::WrongPeer))
    }

    /// Asks the server to end, with a token of its owner's that is good for that server alone.
    async fn ask_to_stop(&self, hub: &Arc<Hub>) -> Result<(), String> {
        let (which, token) = (self.which.clone(), Secret::new(hub.new_token()));
        let raw = token.expose().to_owned();
        let id = with_store(hub, move |hub| {
            let now = hub.clock.now();
            let mut salt = [0; 8];
            hub.random.fill(&mut salt);
            let Some(user) = hub.store.user(which.user.as_str())? else { return Ok(None) };
            let new = NewToken {
                owner: TokenOwner::User(user.id),
                hashed: hubd_store::hash_token(&raw, GENERATED_ROUNDS, salt),
                prefix: hubd_store::token_prefix(&raw),
                client_id: "jupyterhub".to_owned(),
                session_id: None,
                note: format!("Stopping the server at {}", which.url(&hub.settings.base_url)),
                scopes: vec![format!("access:servers!server={}/{}", which.user, which.server)],
                created: now,
                expires_at: Some(now + STOP_TOKEN_LIFE),
            };
            hub.store.create_token(&new).map(Some)
        });
        id.await?.ok_or("its owner is not in the database")?;
        let path = format!("{}api/shutdown", self.url);
        let answer = hubd_proxy::post(&self.target, &path, token.expose(), ANSWER_LIMIT).await;
        match answer {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("it answered {}", answer.status)),
            // It may have ended before it answered; whether it has is looked at next.
            Err(_) => Ok(()),
        }
    }
}
