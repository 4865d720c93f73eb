//! The sessions directory: which sessions there are, and what they say when they are asked.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hubd_proto::message::{Endpoint, SessionStatus};
use hubd_proto::{SessionId, UserName};
use tokio::time::timeout;

use super::launch::Session;
use super::names::Which;
use crate::Hub;
use crate::helper::{Control, HelperError};

/// Most control sockets that are asked at the same time; each answers within microseconds.
pub(super) const ASKED_AT_ONCE: usize = 64;
/// What the name of a control socket ends with.
pub(super) const SOCKET_SUFFIX: &str = ".sock";

/// Control sockets and the sessions they belong to.
pub(super) type Sockets = Vec<(SessionId, PathBuf)>;

/// What sessions say when they are asked what they are.
#[derive(Default)]
pub(super) struct Answers {
    /// Those that run a server.
    pub found: HashMap<Which, Session>,
    /// Those that run a service.
    pub services: Vec<(SessionStatus, Control)>,
    /// Those that did not answer in time: PAM still opens them.
    pub busy: Sockets,
    /// How many gave an answer that means nothing to the hub.
    pub odd: usize,
}

/// The control sockets in the sessions directory.
pub(super) async fn sockets(hub: &Arc<Hub>) -> io::Result<Sockets> {
    let directory = hub.helper.sessions();
    tokio::task::spawn_blocking(move || list(&directory)).await?
}

fn list(directory: &Path) -> io::Result<Sockets> {
    let entries = match std::fs::read_dir(directory) {
        // The helper makes the directory when it starts; without it nothing can run.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let id = |path: &Path| SessionId::new(path.file_name()?.to_str()?.strip_suffix(SOCKET_SUFFIX)?).ok();
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter_map(|path| Some((id(&path)?, path))).collect())
}

/// Asks sessions what they are, each for at most `limit`. Who does not answer is left to the helper.
pub(super) async fn running(hub: &Arc<Hub>, sockets: Sockets, limit: Duration) -> Answers {
    let asked = sockets.into_iter().map(|(id, path)| async move {
        let answer = timeout(limit, hub.helper.session(&path)).await;
        (id, path, answer)
    });
    let mut answers = futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
    let mut answers_so_far = Answers::default();
    let Answers { found, services, busy, odd } = &mut answers_so_far;
    while let Some((id, path, answer)) = answers.next().await {
        match answer {
            Err(_) => busy.push((id, path)),
            // It has ended, and its socket is about to go or was left behind by a kill.
            Ok(Err(HelperError::Missing { .. })) => {}
            Ok(Err(error)) => {
                tracing::warn!("cannot ask the session {id}, its server is left alone: {error}");
                *odd += 1;
            }
            Ok(Ok((status, _))) if status.session != id => {
                tracing::error!(
                    "the control socket {} answers for session {}",
                    path.display(),
                    status.session
                );
                *odd += 1;
            }
            Ok(Ok((status, control))) if status.endpoint == Endpoint::Service => {
                services.push((status, control));
            }
            // It has been told to end; the records of it are cleaned as if it had.
            Ok(Ok((status, _))) if status.stopping => {}
            // The hub knows people in lower case, whatever the directory does.
            Ok(Ok((status, control))) => match UserName::new(status.user.as_str().to_lowercase()) {
                Ok(user) => {
                    let which = Which::new(&user, &status.server);
                    found.insert(which, Session { status, control, found: true });
                }
                Err(error) => {
                    tracing::warn!("the session {id} belongs to nobody the hub can know: {error}");
                    *odd += 1;
                }
            },
        }
    }
    answers_so_far
}
