//! What of the environment decides anything: variables, and files that systemd hands over.

use zeroize::Zeroizing;

use crate::config::plan::{SPAWN_BUCKETS, STOP_BUCKETS};
use crate::credentials::{self, Credentials};
use crate::secrets;

/// What of the environment decides anything.
#[derive(Default)]
pub struct Environment {
    /// `JPY_COOKIE_SECRET`.
    pub cookie_secret: Option<Zeroizing<String>>,
    /// `CONFIGPROXY_AUTH_TOKEN`.
    pub proxy_token: Option<Zeroizing<String>>,
    /// `JUPYTERHUB_CRYPT_KEY`.
    pub crypt_key: Option<Zeroizing<String>>,
    /// `JOURNAL_STREAM`.
    pub journal_stream: Option<String>,
    /// `LISTEN_FDNAMES`.
    pub socket_names: Option<String>,
    /// Whether a service manager is there that keeps sockets over a restart (`NOTIFY_SOCKET`).
    pub keeps_sockets: bool,
    /// What is in `CREDENTIALS_DIRECTORY`.
    pub credentials: Credentials,
    /// `JUPYTERHUB_METRICS_PREFIX`.
    pub metrics_prefix: Option<String>,
    /// `JUPYTERHUB_SERVER_SPAWN_DURATION_SECONDS_BUCKETS`.
    pub spawn_buckets: Option<String>,
    /// `JUPYTERHUB_SERVER_STOP_DURATION_SECONDS_BUCKETS`.
    pub stop_buckets: Option<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let text = |variable: &str| std::env::var(variable).ok();
        let secret = |variable: &str| text(variable).map(Zeroizing::new);
        Self {
            cookie_secret: secret(secrets::COOKIE_SECRET_VARIABLE),
            proxy_token: secret(secrets::PROXY_TOKEN_VARIABLE),
            crypt_key: secret(secrets::CRYPT_KEY_VARIABLE),
            journal_stream: text("JOURNAL_STREAM"),
            socket_names: text("LISTEN_FDNAMES"),
            keeps_sockets: std::env::var_os("NOTIFY_SOCKET").is_some(),
            credentials: Credentials::new(std::env::var_os(credentials::VARIABLE).map(Into::into)),
            metrics_prefix: text("JUPYTERHUB_METRICS_PREFIX"),
            spawn_buckets: text(SPAWN_BUCKETS),
            stop_buckets: text(STOP_BUCKETS),
        }
    }
}
