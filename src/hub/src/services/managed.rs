//! One task for each managed service: it is started through the helper, and started again when it dies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use hubd_proto::message::{Exited, RefusalCode, SessionStatus, StartService};
use hubd_proto::{Secret, ServerName, SessionId};
use hubd_proxy::Endpoint;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::environment::{environment, with_token};
use super::spec::Spec;
use crate::Hub;
use crate::api::python::repr;
use crate::helper::{Control, Event, HelperError};
use crate::servers::{running_services, with_store};

/// The pause before the first new start. JupyterHub looks every 30 seconds; here the end is heard at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: each one is twice the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so long a life the next pause is the first one again.
const STEADY: Duration = Duration::from_secs(60);
/// The longest wait for a start: a home directory on a file server may take as long.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A service that the hub runs.
pub(super) struct Managed {
    pub spec: Spec,
    state: Mutex<Option<SessionStatus>>,
}

/// What the session keeps for the hub.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Of all that the service was started with, so that a change of the configuration starts it anew.
    fingerprint: String,
    /// The token that was made for it, if one was.
    token_hash: Option<String>,
}

/// How one run ended.
enum End {
    Exited(Exited),
    Lost(HelperError),
}

/// Why a service was not started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    Helper(#[from] HelperError),
    #[error("the database failed: {0}")]
    Database(String),
    #[error("its name cannot be given to the helper")]
    Name,
}

type Session = (SessionStatus, Control);

impl Managed {
    pub fn new(spec: Spec) -> Self {
        Self { spec, state: Mutex::default() }
    }

    pub fn pid(&self) -> i32 {
        self.lock().as_ref().map_or(0, |status| status.pid)
    }

    pub fn session(&self) -> Option<SessionId> {
        self.lock().as_ref().map(|status| status.session.clone())
    }

    /// Where it listens and as whom, while it runs.
    pub fn target(&self) -> Option<(Endpoint, u32)> {
        let uid = self.lock().as_ref().map(|status| status.uid)?;
        Some((self.spec.endpoint.clone()?, uid))
    }

    fn lock(&self) -> MutexGuard<'_, Option<SessionStatus>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a service running until `stop`. `found` is its session, if it was running already.
pub(super) async fn run(
    hub: Arc<Hub>,
    managed: Arc<Managed>,
    found: Option<Session>,
    stop: CancellationToken,
) {
    let name = &managed.spec.name;
    let mut found = match found {
        Some(session) => as_configured(&hub, &managed.spec, session).await,
        None => None,
    };
    let (mut pause, mut complaint) = (FIRST_PAUSE, String::new());
    while !stop.is_cancelled() {
        let session = match found.take() {
            Some(session) => Ok(session),
            None => start(&hub, &managed.spec).await,
        };
        match session {
            Ok((status, control)) => {
                complaint.clear();
                let began = Instant::now();
                began_running(&hub, &managed, status);
                let end = attend(control, &stop).await;
                *managed.lock() = None;
                if stop.is_cancelled() {
                    return;
                }
                tell_end(name, &end);
                if began.elapsed() > STEADY {
                    pause = FIRST_PAUSE;
                }
            }
            Err(StartError::Helper(HelperError::Refused(refused)))
                if refused.code == RefusalCode::AlreadyRunning =>
            {
                let all = running_services(&hub).await;
                found = all.into_iter().find(|(status, _)| status.server.as_str() == name);
            }
            Err(error) => {
                // The same reason is told once; root may mend the policy meanwhile, so it is tried again.
                let text = in_words(&managed.spec, &error);
                if text != complaint {
                    tracing::error!("Failed to start service {name}: {text}");
                    complaint = text;
                }
            }
        }
        let _ = stop.run_until_cancelled(sleep(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tells a session to end and waits for it.
pub(super) async fn end(mut control: Control) {
    // One that cannot be told has ended.
    if control.stop().await.is_ok() {
        while let Ok(event) = control.event().await {
            if matches!(event, Event::Exited(_)) {
                break;
            }
        }
    }
}

/// The session, unless it was started with something else than is configured now, or its token is gone.
async fn as_configured(hub: &Arc<Hub>, spec: &Spec, session: Session) -> Option<Session> {
    let note: Option<Note> = serde_json::from_str(&session.0.note).ok();
    let same = note.as_ref().is_some_and(|note| {
        note.fingerprint == fingerprint(hub, spec, &environment(&hub.settings, spec)) && !session.0.stopping
    });
    let token_hash = note.and_then(|note| note.token_hash);
    let has_token = match token_hash {
        Some(hash) => with_store(hub, move |hub| hub.store.has_token(&hash)).await.unwrap_or(true),
        None => true,
    };
    if same && has_token {
        tracing::info!("Service {} still running", spec.name);
        return Some(session);
    }
    tracing::info!("Service {} runs with another configuration, it is started anew", spec.name);
    end(session.1).await;
    None
}

fn began_running(hub: &Arc<Hub>, managed: &Managed, status: SessionStatus) {
    let uid = status.uid;
    *managed.lock() = Some(status);
    let spec = &managed.spec;
    if let Some(endpoint) = &spec.endpoint {
        hub.route_service(&spec.name, endpoint, Some(uid));
        hub.watch_for_first_answer(spec, Some(uid));
    }
}

async fn start(hub: &Arc<Hub>, spec: &Spec) -> Result<Session, StartError> {
    let command = spec.command.clone().unwrap_or_default();
    let place = spec.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    tracing::info!("Starting managed service {}{place}", spec.name);
    tracing::info!("Starting service {}: {}", repr(&json!(spec.name)), repr(&json!(command)));
    let (token, token_hash) = match &spec.api_token {
        Some(token) => (token.clone(), None),
        None => {
            let of = spec.clone();
            let made = with_store(hub, move |hub| hub.startup_token(&of)).await;
            made.map(|(token, hash)| (token, Some(hash))).map_err(StartError::Database)?
        }
    };
    let variables = environment(&hub.settings, spec);
    let note = Note { fingerprint: fingerprint(hub, spec, &variables), token_hash };
    let request = StartService {
        service: ServerName::new(spec.name.as_str()).map_err(|_| StartError::Name)?,
        user: spec.user.clone(),
        command,
        directory: spec.cwd.clone(),
        environment: with_token(variables, &token),
        note: serde_json::to_string(&note).unwrap_or_default(),
    };
    Ok(hub.helper.start_service(request, START_LIMIT).await?)
}

/// Stays with a running service until its end; tells it to end when `stop` says so.
async fn attend(mut control: Control, stop: &CancellationToken) -> End {
    let mut told = false;
    loop {
        tokio::select! {
            event = control.event() => match event {
                Ok(Event::Exited(exited)) => return End::Exited(exited),
                Ok(_) => {}
                Err(error) => return End::Lost(error),
            },
            () = stop.cancelled(), if !told => {
                told = true;
                if let Err(error) = control.stop().await {
                    return End::Lost(error);
                }
            }
        }
    }
}

fn tell_end(name: &str, end: &End) {
    match end {
        End::Exited(exited) => {
            // As Python's `returncode` has it.
            let status = exited.code.or(exited.signal.map(|signal| -signal)).unwrap_or(0);
            let words: String = exited.log.iter().map(|line| format!("\n    {line}")).collect();
            tracing::error!("Service {name} exited with status {status}{words}");
        }
        End::Lost(error) => tracing::error!("Service {name} is lost: {error}"),
    }
}

/// Why a start failed, with what root has to write where that is the cure.
fn in_words(spec: &Spec, error: &StartError) -> String {
    match error {
        StartError::Helper(HelperError::Refused(refused)) if refused.code == RefusalCode::ProfileUnknown => {
            format!("{}\ncure: root has to allow it in helper.toml:\n{}", refused.message, policy_lines(spec))
        }
        error => error.to_string(),
    }
}

/// The lines of helper.toml(5) that allow a service. JSON texts are TOML texts too.
fn policy_lines(spec: &Spec) -> String {
    let user = spec.user.as_ref().map_or("ACCOUNT", |user| user.as_str());
    let words: Vec<String> = spec.command.iter().flatten().map(|word| json!(word).to_string()).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = if spec.name.chars().all(plain) { spec.name.clone() } else { json!(spec.name).to_string() };
    let directory = spec.cwd.as_ref().map(|cwd| format!("\ndirectory = {}", json!(cwd))).unwrap_or_default();
    format!("[service.{name}]\nuser = {}\ncommand = [{}]{directory}", json!(user), words.join(", "))
}

/// Changes with everything that a service is started with. A secret key makes it useless for guessing the token.
fn fingerprint(hub: &Hub, spec: &Spec, variables: &BTreeMap<String, String>) -> String {
    let token = spec.api_token.as_ref().map(Secret::expose);
    let all = json!([spec.command, spec.user.as_ref().map(|user| user.as_str()), spec.cwd, token, variables]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &hub.settings.cookie_secret);
    let text = zeroize::Zeroizing::new(all.to_string());
    hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
