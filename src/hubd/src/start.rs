//! What the daemon opens and makes at its start, one after the other; `run.rs` has the order.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hubd_hub::Hub;
use hubd_hub::helper::HelperClient;
use hubd_proxy::{
    Api, Endpoint, PairFiles, RouteData, Routes, Target, TargetTls, TargetTrust, Tls, TlsSettings,
};
use hubd_store::{Store, StoreError};
use zeroize::Zeroizing;

use crate::certificate;
use crate::config::plan::{Plan, TlsPlan};
use crate::control::{Control, ControlSocket};
use crate::machine::{SystemAccounts, SystemClock, SystemRandom};
use crate::reload::Reloader;

/// The longest wait for an answer of the helper that needs no person.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// Certificates and keys, if the public side speaks TLS.
pub fn tls(plan: &Plan) -> anyhow::Result<Option<Arc<Tls>>> {
    let pairs = match &plan.tls {
        TlsPlan::Plain => return Ok(None),
        TlsPlan::Files(pairs) => pairs.clone(),
        TlsPlan::SelfSigned => {
            let hosts = plan.settings.subdomains.iter();
            let names: Vec<_> = hosts
                .flat_map(|hosts| [hosts.domain().to_owned(), format!("*.{}", hosts.domain())])
                .collect();
            let (certificate, key) = certificate::self_signed(Path::new(""), &names)?;
            vec![PairFiles { certificate, key }]
        }
    };
    Ok(Some(Tls::set_up(TlsSettings { pairs, http2: plan.http2 })?))
}

/// Looks for what the start would refuse although the configuration is good: keys and secrets.
///
/// # Errors
/// What the start would say.
pub fn examine(plan: &Plan) -> anyhow::Result<()> {
    // A certificate of one's own would be made.
    if plan.tls != TlsPlan::SelfSigned {
        tls(plan)?;
    }
    plan.cookie_secret.examine()?;
    plan.proxy_token.examine()
}

/// How services with `https://` are spoken to: their certificates have to be from one of the system's authorities.
fn target_tls() -> Option<TargetTls> {
    TargetTls::new(None, &TargetTrust::System)
        .inspect_err(|error| tracing::warn!("services with https:// cannot be reached: {error}"))
        .ok()
}

/// The hub over its database, with its records as the configuration wants them.
pub fn hub(
    mut settings: hubd_hub::Settings,
    cookie_secret: &crate::secrets::CookieSecret,
    database: &Path,
    helper_socket: std::path::PathBuf,
) -> anyhow::Result<Arc<Hub>> {
    settings.cookie_secret = cookie_secret.load()?;
    settings.services.target_tls = target_tls();
    let store = Store::open(database)?;
    // While a thread waits for the disk, another one takes over the requests that it served.
    store.block_with(|write| tokio::task::block_in_place(write));
    look_for_helper(&helper_socket);
    let routes = if settings.subdomains.is_some() { Routes::by_host() } else { Routes::default() };
    let hub = Hub::new(hubd_hub::hub::Parts {
        settings,
        store,
        routes: Arc::new(routes),
        helper: HelperClient { socket: helper_socket, timeout: HELPER_TIMEOUT },
        accounts: Arc::new(SystemAccounts),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    });
    match hub.prepare_records() {
        Ok(()) => {}
        Err(error @ StoreError::UndefinedService { .. }) => return Err(error.into()),
        // A full disk must not keep running servers from their people.
        Err(error) => {
            tracing::error!(%error, "cannot bring the records up to date with the configuration");
        }
    }
    Ok(hub)
}

/// Names those who get in by the database alone, and those who have no account any more.
/// In a thread of its own: accounts may come from a directory server.
pub fn look_at_people(hub: &Arc<Hub>) {
    let hub = hub.clone();
    tokio::task::spawn_blocking(move || {
        match hub.admitted_by_record() {
            Ok(names) if names.is_empty() => {}
            Ok(names) => tracing::warn!("{}", by_record(&names)),
            Err(error) => tracing::error!(%error, "cannot read the users"),
        }
        hub.check_accounts();
    });
}

/// What an operator is told about people whom only `allow_existing_users` lets in.
pub fn by_record(names: &[String]) -> String {
    const SHOWN: usize = 50;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!(
        "may log in only because the database knows them (allow_existing_users): {}{more}\n    cure: remove those who \
         should not: hubd users --remove NAME; or set allow_existing_users = false",
        shown.join(", ")
    )
}

/// Says at once if the helper is not there. hubd starts all the same: the helper may come later, and running servers
/// do not need it.
fn look_for_helper(socket: &Path) {
    let Err(error) = std::os::unix::net::UnixStream::connect(socket) else { return };
    let cure = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "the socket is for the user named daemon_user in helper.toml, and its group"
        }
        _ => "start it: systemctl start hubd-helper.socket, or hubd-helper --listen PATH",
    };
    tracing::error!(
        "nobody can log in or start a server: hubd-helper cannot be reached at {}: {error}\ncure: {cure}",
        socket.display()
    );
}

/// The REST API over the proxy's routes. The hub's own ones are shown in it, and nobody else may have them.
pub fn routes_api(hub: &Hub, inner: Endpoint, token: Zeroizing<String>) -> Api {
    let shown = match &inner {
        Endpoint::Unix(path) => path.display().to_string(),
        Endpoint::Tcp(address) => format!("http://{address}{}", hub.settings.hub_prefix()),
        Endpoint::Name(..) | Endpoint::Tls(..) => String::new(),
    };
    tracing::info!("Hub API listening on {shown}");
    let target = Target { endpoint: inner, uid: None };
    let data = RouteData::default().with("hub", true).with("jupyterhub", true);
    let api = Api::new(hub.routes.clone(), Some(token));
    let prefix = hub.settings.hub_prefix();
    match &hub.settings.subdomains {
        None => api.keeping(&hub.settings.base_url, target, data, &[prefix]),
        // The hub has what no server takes, whatever the host.
        Some(hosts) => {
            let below = [format!("/{}{prefix}", hosts.domain())];
            api.with_hosts().keeping("/", target, data, &below)
        }
    }
}

/// Routes of the configuration; the REST API can replace them.
pub fn add_routes(hub: &Hub, routes: &[(String, String)]) {
    for (prefix, url) in routes {
        if let Err(error) = hub.routes.add_url(prefix, url) {
            tracing::error!("Proxy.extra_routes: no route from {prefix} to {url}: {error}");
        }
    }
}

/// hubd works without its control socket; only `hubd status` and its like do not.
pub fn start_control(
    path: &Path,
    reloader: &Arc<Reloader>,
    public_url: &str,
    began: Instant,
) -> Option<tokio::task::JoinHandle<()>> {
    let control = Control { reloader: reloader.clone(), public_url: public_url.to_owned(), began };
    match ControlSocket::open(path) {
        Ok(socket) => Some(tokio::spawn(socket.serve(Arc::new(control)))),
        Err(error) => {
            tracing::warn!("hubd status, users, servers and reload cannot be answered: {error:#}");
            None
        }
    }
}

/// A file with the process id, removed at the end.
pub struct PidFile(std::path::PathBuf);

impl PidFile {
    /// Writes it.
    pub fn write(path: std::path::PathBuf) -> anyhow::Result<Self> {
        std::fs::write(&path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write pid_file {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
