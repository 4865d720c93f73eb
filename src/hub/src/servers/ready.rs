//! Waiting for a server's first answer.

use std::time::Duration;

use hubd_proxy::{BackendFailure, Endpoint, Target};
use tokio::time::{Instant, sleep, timeout_at};

use crate::hub::JUPYTERHUB_VERSION;

/// Shortest pause between two probes: half of what may pass from listening to ready. A probe of a
/// socket that nobody listens on yet is one system call.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause, for servers that take very long.
const PROBE_PAUSE_MAX: Duration = Duration::from_millis(100);
/// The pause grows with the time waited, to this part of it: who has waited 8 s waits 20 ms more.
const PROBE_PAUSE_PART: u32 = 400;
/// How long one answer may take once the server has accepted the connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why a server did not become ready.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotReady {
    /// No answer in time.
    Timeout,
    /// Another user's program listens there.
    WrongPeer,
}

/// Asks `<url>api` until something below 500 comes back; returns `X-JupyterHub-Version`.
pub(super) async fn first_answer(
    target: &Target,
    url: &str,
    limit: Duration,
) -> Result<Option<String>, NotReady> {
    let path = format!("{url}api");
    let began = Instant::now();
    let mut complained = false;
    loop {
        let probe = hubd_proxy::probe(target, &path, ANSWER_LIMIT);
        match timeout_at(began + limit, probe).await {
            Err(_) => return Err(NotReady::Timeout),
            Ok(Ok(answer)) if !answer.status.is_server_error() => {
                let version = answer.headers.get("x-jupyterhub-version");
                return Ok(version.and_then(|value| value.to_str().ok()).map(str::to_owned));
            }
            Ok(Ok(answer)) => {
                if !complained {
                    tracing::warn!(
                        "Server at {} responded with error: {}",
                        shown(target, &path),
                        answer.status
                    );
                    complained = true;
                }
            }
            Ok(Err(BackendFailure::WrongPeer)) => return Err(NotReady::WrongPeer),
            Ok(Err(_)) => {}
        }
        let pause = began.elapsed() / PROBE_PAUSE_PART;
        if timeout_at(began + limit, sleep(pause.clamp(PROBE_PAUSE_MIN, PROBE_PAUSE_MAX))).await.is_err() {
            return Err(NotReady::Timeout);
        }
    }
}

/// A server's address for log lines: its URL, or the socket and the path.
pub(super) fn shown(target: &Target, path: &str) -> String {
    match &target.endpoint {
        Endpoint::Name(name, port) => format!("http://{name}:{port}{path}"),
        Endpoint::Tls(name, port) => format!("https://{name}:{port}{path}"),
        Endpoint::Tcp(address) => format!("http://{address}{path}"),
        Endpoint::Unix(socket) if path.is_empty() => format!("unix:{}", socket.display()),
        Endpoint::Unix(socket) => format!("unix:{}:{path}", socket.display()),
    }
}

/// What to say about the version that a server reports; nothing when it fits.
pub(super) fn version_warning(version: Option<&str>) -> Option<String> {
    let Some(version) = version else {
        return Some(format!(
            "Single-user server has no version header, which means it is likely < 0.8. Expected {JUPYTERHUB_VERSION}"
        ));
    };
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    (major(version) != major(JUPYTERHUB_VERSION)).then(|| {
        format!(
            "jupyterhub version {JUPYTERHUB_VERSION} != jupyterhub-singleuser version {}. This could cause failure to authenticate and result in redirect loops!",
            version.escape_debug()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_major_version_is_worth_a_warning() {
        assert_eq!(version_warning(Some("6.0.0")), None);
        assert!(version_warning(Some("5.4.0")).is_some_and(|text| {
            text.starts_with("jupyterhub version 6.1.1 != jupyterhub-singleuser version 5.4.0. This")
        }));
        assert!(
            version_warning(None)
                .is_some_and(|text| text.starts_with("Single-user server has no version header"))
        );
    }
}
