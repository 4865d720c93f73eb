//! From a request to a running process: rows, token, environment, helper.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hubd_proto::Secret;
use hubd_proto::message::{Endpoint, Listen, RefusalCode, SessionStatus, Start};
use hubd_proxy::Target;
use hubd_store::{CLIENT_SECRET_ROUNDS, GENERATED_ROUNDS, ServerAddress, ServerStart};

use super::environment::environment;
use super::names::Which;
use super::note::Note;
use super::{Failure, StartRequest, adopt};
use crate::Hub;
use crate::helper::{Control, HelperError, StartError};
use crate::settings::{SocketKind, SpawnerSettings};

/// A running process and the connection to the one above it.
pub(super) struct Session {
    pub status: SessionStatus,
    pub control: Control,
    /// Whether it was found running instead of started just now.
    pub found: bool,
}

impl Session {
    /// Where its requests go, and who must be listening there.
    pub fn target(&self) -> Target {
        let endpoint = match &self.status.endpoint {
            Endpoint::Unix(path) => hubd_proxy::Endpoint::Unix(PathBuf::from(path)),
            Endpoint::Tcp(port) => hubd_proxy::Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))),
            // A session of that kind is never taken for a server; nobody listens on port 0.
            Endpoint::Service => hubd_proxy::Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        };
        Target { endpoint, uid: Some(self.status.uid) }
    }
}

/// Where a session's server is, for its row.
pub(super) fn address(status: &SessionStatus, url: &str) -> ServerAddress {
    let (ip, port) = match &status.endpoint {
        Endpoint::Unix(path) => (path.clone(), 0),
        Endpoint::Tcp(port) => (Ipv4Addr::LOCALHOST.to_string(), i64::from(*port)),
        Endpoint::Service => (String::new(), 0),
    };
    ServerAddress { ip, port, base_url: url.to_owned() }
}

/// JupyterHub's spawner state of a local process.
pub(super) fn state_column(status: &SessionStatus) -> serde_json::Value {
    serde_json::json!({ "pid": status.pid })
}

/// Runs `work` with the database on a thread that may block; durable writes wait for the disk.
pub(crate) async fn with_store<T: Send + 'static>(
    hub: &Arc<Hub>,
    work: impl FnOnce(&Hub) -> Result<T, hubd_store::StoreError> + Send + 'static,
) -> Result<T, String> {
    let hub = Arc::clone(hub);
    match tokio::task::spawn_blocking(move || work(&hub)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes the rows of a start; returns them with the server's token.
pub(super) async fn write_rows(
    hub: &Arc<Hub>,
    which: &Which,
    user_options: Option<serde_json::Value>,
) -> Result<(ServerStart, Secret), String> {
    let which = which.clone();
    with_store(hub, move |hub| {
        let token = Secret::new(hub.new_token());
        let now = hub.clock.now();
        let url = which.url(&hub.settings.base_url);
        let hash = |rounds| {
            let mut salt = [0; 8];
            hub.random.fill(&mut salt);
            hubd_store::hash_token(token.expose(), rounds, salt)
        };
        hub.store.ensure_user(which.user.as_str(), &hub.new_token(), now)?;
        let start = ServerStart {
            user: which.user.to_string(),
            server: which.server.to_string(),
            token_hash: hash(GENERATED_ROUNDS),
            token_prefix: hubd_store::token_prefix(token.expose()),
            client_secret_hash: hash(CLIENT_SECRET_ROUNDS),
            client_id: which.client_id(),
            redirect_uri: format!("{}oauth_callback", which.public_url(&hub.settings)),
            server_url: url,
            token_scopes: hub.server_token_scopes(&which)?,
            client_scopes: hub.client_scopes(&which)?,
            user_options,
            now,
        };
        tracing::info!("Creating oauth client {}", start.client_id);
        hub.store.server_starting(&start)?;
        Ok((start, token))
    })
    .await
}

/// Asks the helper for a process.
pub(super) async fn launch(
    hub: &Arc<Hub>,
    spawner: &SpawnerSettings,
    request: &StartRequest,
    (rows, token): &(ServerStart, Secret),
) -> Result<Session, Failure> {
    let which = Which::new(&request.user, &request.server);
    let listen =
        match hub.settings.spawner.socket {
            SocketKind::Unix => Listen::Unix,
            SocketKind::Tcp => Listen::Tcp(free_port().await.map_err(|error| {
                Failure::from_helper(HelperError::Frame(hubd_proto::FrameError::Io(error)))
            })?),
        };
    let chosen = hub
        .chosen(&which.user, &which.server, request.user_options.as_ref())
        .map_err(|error| Failure::options(&error))?;
    let variables = || {
        let mut variables = environment(&hub.settings, spawner, &which, token, listen);
        chosen.apply(which.user.as_str(), &hub.settings.base_url, &mut variables);
        variables
    };
    let message = || Start {
        user: request.user.clone(),
        ticket: request.ticket.clone(),
        server: request.server.clone(),
        profile: chosen.profile.clone().or_else(|| spawner.profile.clone()),
        listen,
        arguments: spawner.args.clone(),
        environment: variables(),
        note: Note::of(rows).text(),
    };
    match ask_helper(hub, spawner.start_timeout, request, message).await {
        Ok((status, control)) => Ok(Session { status, control, found: false }),
        Err(HelperError::Refused(refused)) if refused.code == RefusalCode::AlreadyRunning => {
            // The hub had lost sight of it; what runs is what was wanted.
            let found = adopt::find(hub, &which).await;
            found.ok_or_else(|| Failure::from_helper(HelperError::Refused(refused)))
        }
        Err(HelperError::Timeout(_)) => Err(Failure::start_timeout(spawner.start_timeout)),
        Err(error) => Err(Failure::from_helper(error)),
    }
}

/// With the PAM handle of this browser session's login if it is still held, otherwise with the ticket.
async fn ask_helper(
    hub: &Arc<Hub>,
    limit: Duration,
    request: &StartRequest,
    message: impl Fn() -> Start,
) -> Result<(SessionStatus, Control), HelperError> {
    let held = request.session_id.as_deref().and_then(|id| hub.logins.take_held(id, &request.user));
    if let Some(held) = held {
        match hub.helper.start_held(held, message(), limit).await {
            Ok(started) => return Ok(started),
            Err(StartError::Failed(error)) => return Err(error),
            Err(StartError::HeldLoginGone) => {}
        }
    }
    hub.helper.start(Box::new(message()), limit).await
}

/// A port of 127.0.0.1 that nobody uses now. Somebody may take it before the server does; then the
/// server ends, and the proxy's check of the peer's uid keeps everything else away from it.
async fn free_port() -> std::io::Result<u16> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(listener.local_addr()?.port())
}
