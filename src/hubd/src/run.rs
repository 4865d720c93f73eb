//! The life of the daemon, from the configuration to the end. Start reading here.
//!
//! Everything that can be wrong is found before anything is changed: the configuration as a whole, then the ports,
//! then the secrets, then the database. Servers that run already are taken back before the first request is answered.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hubd_hub::Hub;
use hubd_hub::helper::HelperClient;
use hubd_proxy::{
    Api, Endpoint, Listener, PairFiles, Proxy, ProxySettings, Redirect, RouteData, Routes, Target, Tls,
    TlsSettings,
};
use hubd_store::{Store, StoreError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::app::{HubApp, InnerApp};
use crate::cli::CommandLine;
use crate::config::access;
use crate::config::plan::{self, Plan, TlsPlan};
use crate::config::problem::Problems;
use crate::control::{Control, ControlSocket};
use crate::machine::{SystemAccounts, SystemClock, SystemRandom};
use crate::reload::Reloader;
use crate::sockets::Sockets;
use crate::{certificate, config, database_commands, listen, logging, privileges, sandbox, service_manager};

/// How long requests in progress may take after the signal to end. WebSockets always use all of it.
const DRAIN: Duration = Duration::from_secs(3);
/// How long all servers together may take to stop with `cleanup_servers`.
const STOP_ALL: Duration = Duration::from_secs(60);
/// The longest wait for an answer of the helper that needs no person.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// The login cookie: it is for the hub alone.
const LOGIN_COOKIE: &str = "jupyterhub-hub-login";

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
    /// `JUPYTERHUB_METRICS_PREFIX`.
    pub metrics_prefix: Option<String>,
}

/// Reads and checks the configuration.
pub fn configured(
    file: Option<&Path>,
    arguments: &[config::Argument],
    environment: &Environment,
) -> Result<(config::Values, Plan), Problems> {
    let mut problems = Vec::new();
    let mut values = config::load(file, arguments, &mut problems);
    let plan = plan::plan(&mut values, environment, &mut problems);
    if problems.is_empty() { Ok((values, plan)) } else { Err(Problems(problems)) }
}

/// What a reload starts from.
struct Loaded {
    values: config::Values,
    log: logging::Log,
    file: Option<std::path::PathBuf>,
    arguments: Vec<config::Argument>,
    environment: Environment,
}

/// Runs the daemon until a signal ends it. What goes wrong after logging began is logged, not returned.
pub fn run(command_line: &CommandLine, environment: Environment) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let (file, arguments) = (command_line.config.clone(), command_line.arguments().to_vec());
    let (values, plan) = configured(file.as_deref(), &arguments, &environment)?;
    privileges::drop_all()?;
    let stream = environment.journal_stream.as_deref();
    let log = logging::start(plan.log_to, &plan.log_levels, plan.log_file.as_deref(), stream)?;
    tracing::info!(
        "hubd {}, speaks JupyterHub {}",
        env!("CARGO_PKG_VERSION"),
        hubd_hub::hub::JUPYTERHUB_VERSION
    );
    warn_about(&values, command_line, &plan);
    shut_in(&plan);
    let sockets = Sockets::of_service_manager(environment.socket_names.as_deref());
    let loaded = Loaded { values, log, file, arguments, environment };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    Ok(match runtime.block_on(serve(plan, loaded, sockets, began)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

/// Locks the process in, before the first thread is there to stay outside.
fn shut_in(plan: &Plan) {
    let files =
        [Some(&plan.database), plan.pid_file.as_ref(), plan.log_file.as_ref(), Some(&plan.control_socket)];
    let directory = |path: &&Path| !path.as_os_str().is_empty();
    let parents = files.into_iter().flatten().filter_map(|path| path.parent()).filter(directory);
    let held = sandbox::lock(parents.map(Path::to_owned).chain([".".into()]).collect());
    match held {
        Ok(said) => tracing::info!("locked in: {said}"),
        Err(error) => tracing::warn!("cannot lock itself in, which the unit file does as well: {error}"),
    }
}

fn warn_about(values: &config::Values, command_line: &CommandLine, plan: &Plan) {
    for warning in &values.warnings {
        tracing::warn!("{warning}");
    }
    if command_line.no_ssl {
        tracing::warn!("--no-ssl is deprecated and does nothing: without ssl_cert there is no TLS");
    }
    for warning in access::warnings(values, &plan.settings.authenticator) {
        tracing::warn!("{warning}");
    }
    if plan.simple_spawner {
        tracing::warn!(
            "NOT FOR PRODUCTION: spawner_class = \"simple\" runs everybody's server as one and the same user"
        );
    }
    if plan.tls == TlsPlan::Plain {
        tracing::warn!(
            "Running JupyterHub without SSL.  I hope there is SSL termination happening somewhere else..."
        );
    }
}

/// Opens everything, answers requests, and closes everything.
async fn serve(plan: Plan, loaded: Loaded, mut sockets: Sockets, began: Instant) -> anyhow::Result<()> {
    let public = listen::take_or_bind(&mut sockets, &plan.public, "--port")?;
    let inner = listen::take_or_bind(&mut sockets, &plan.inner, "--JupyterHub.hub_port")?;
    let redirect = bind_redirect(&plan, &mut sockets)?;
    sockets.close_unused();
    let tls = tls(&plan)?;
    let proxy_token = plan.proxy_token.load()?;
    plan.upgrade_database.then(|| database_commands::upgrade_for_start(&plan.database)).transpose()?;
    let hub = hub(plan.settings, &plan.cookie_secret, &plan.database, plan.helper_socket)?;
    let _pid_file = plan.pid_file.map(PidFile::write).transpose()?;
    let adopting = Instant::now();
    let running = hub.adopt().await;
    hub.metrics.adopted(adopting.elapsed());
    hub.begin_services();
    look_at_people(&hub);
    add_routes(&hub, &plan.extra_routes);
    let reloader = Arc::new(loaded.reloader(hub.clone(), tls.clone()));
    let control = start_control(&plan.control_socket, &reloader, &plan.public_url, began);

    let app = HubApp::new(hub.clone());
    let (stop_public, stop_inner) = (CancellationToken::new(), CancellationToken::new());
    if let Some((listener, port)) = redirect {
        start_redirect(listener, port, &plan.proxy, stop_public.clone());
    }
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.watch(stop_public.clone()));
    }
    let outside = Proxy::new(with_hub_cookies(plan.proxy), hub.routes.clone(), app.clone());
    // User servers speak to the hub itself here; no route leads from here to another server.
    let inner_address = inner.local_addr().context("the inner socket has no address")?;
    let api = routes_api(&hub, inner_address, proxy_token);
    let inside = Proxy::new(
        with_hub_cookies(ProxySettings::default()),
        Arc::new(Routes::default()),
        Arc::new(InnerApp::new(api, app)),
    );
    let watching = tokio::spawn(hub.clone().watch_servers(stop_inner.clone()));
    let tending = tokio::spawn(hub.clone().tend_records(stop_inner.clone()));
    tokio::spawn(hub.clone().cull_idle(stop_inner.clone()));
    let public = tokio::spawn(hubd_proxy::serve(
        Listener::Tcp(public),
        tls.clone(),
        outside,
        stop_public.clone(),
        DRAIN,
    ));
    let inner =
        tokio::spawn(hubd_proxy::serve(Listener::Tcp(inner), None, inside, stop_inner.clone(), DRAIN));

    announce(&hub, &plan.public_url, running, began);

    wait_for_the_end(&reloader).await?;
    service_manager::stopping();
    end_control(control).await;
    let end = async {
        stop_public.cancel();
        public.await.ok();
        hub.end_services(plan.cleanup_services, STOP_ALL).await;
        if hub.ending.stops_servers(plan.cleanup_servers) {
            tracing::info!("Cleaning up single-user servers...");
            hub.stop_all(STOP_ALL).await;
        } else {
            tracing::info!("Leaving single-user servers running");
        }
        stop_inner.cancel();
        let _ = tokio::join!(inner, watching, tending);
    };
    let mut impatient = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::select! {
        () = end => tracing::info!("...done"),
        _ = impatient.recv() => tracing::warn!("a second SIGINT: ending at once"),
    }
    Ok(())
}

/// Ends the control socket, so that its file goes.
async fn end_control(control: Option<tokio::task::JoinHandle<()>>) {
    if let Some(control) = control {
        control.abort();
        control.await.ok();
    }
}

/// Tells everybody that hubd runs.
fn announce(hub: &Hub, public_url: &str, running: usize, began: Instant) {
    tracing::info!("JupyterHub is now running at {public_url}");
    hub.metrics.hub_started(began.elapsed());
    tracing::debug!("It took {:.3} seconds for the Hub to start", began.elapsed().as_secs_f64());
    service_manager::ready(&format!("{public_url}, {running} servers running"));
    tokio::spawn(service_manager::keep_watchdog_quiet());
}

fn bind_redirect(
    plan: &Plan,
    sockets: &mut Sockets,
) -> anyhow::Result<Option<(tokio::net::TcpListener, u16)>> {
    let Some((addresses, to)) = &plan.redirect else { return Ok(None) };
    Ok(Some((listen::take_or_bind(sockets, addresses, "--JupyterHub.redirect_port")?, *to)))
}

/// Sends browsers from plain HTTP to https, until `stop`.
fn start_redirect(
    listener: tokio::net::TcpListener,
    port: u16,
    settings: &ProxySettings,
    stop: CancellationToken,
) {
    let proxy = Proxy::new(settings.clone(), Arc::new(Routes::default()), Arc::new(Redirect { port }));
    tokio::spawn(hubd_proxy::serve(Listener::Tcp(listener), None, proxy, stop, DRAIN));
}

fn tls(plan: &Plan) -> anyhow::Result<Option<Arc<Tls>>> {
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

fn hub(
    mut settings: hubd_hub::Settings,
    cookie_secret: &crate::secrets::CookieSecret,
    database: &Path,
    helper_socket: std::path::PathBuf,
) -> anyhow::Result<Arc<Hub>> {
    settings.cookie_secret = cookie_secret.load()?;
    let store = Store::open(database).with_context(|| format!("database {}", database.display()))?;
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
fn look_at_people(hub: &Arc<Hub>) {
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
fn routes_api(hub: &Hub, inner: std::net::SocketAddr, token: Zeroizing<String>) -> Api {
    tracing::info!("Hub API listening on http://{inner}{}", hub.settings.hub_prefix());
    let target = Target { endpoint: Endpoint::Tcp(inner), uid: None };
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

fn with_hub_cookies(settings: ProxySettings) -> ProxySettings {
    let hub_cookies = vec![LOGIN_COOKIE.to_owned(), hubd_hub::auth::TICKET_COOKIE.to_owned()];
    ProxySettings { hub_cookies, ..settings }
}

/// Waits for SIGTERM, SIGINT or an end that the API asks for; each SIGHUP before it reloads.
async fn wait_for_the_end(reloader: &Arc<Reloader>) -> anyhow::Result<()> {
    let watch = |kind| signal(kind).context("cannot watch for signals");
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut hangup = watch(SignalKind::hangup())?;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = reloader.hub.ending.asked() => return Ok(()),
            _ = hangup.recv() => {
                reload(reloader).await;
                continue;
            }
        };
        tracing::warn!("Received signal {name}, initiating shutdown...");
        return Ok(());
    }
}

async fn reload(reloader: &Arc<Reloader>) {
    tracing::info!("Received SIGHUP, reloading");
    service_manager::reloading();
    let reloader = reloader.clone();
    // Files and the database may be slow.
    match tokio::task::spawn_blocking(move || reloader.reload()).await {
        Ok(report) => report.log(),
        Err(error) => tracing::error!("reload: {error}"),
    }
    service_manager::reloaded();
}

impl Loaded {
    fn reloader(self, hub: Arc<Hub>, tls: Option<Arc<Tls>>) -> Reloader {
        let Self { values, log, file, arguments, environment } = self;
        Reloader { file, arguments, environment, values: std::sync::Mutex::new(values), log, hub, tls }
    }
}

/// Routes of the configuration; the REST API can replace them.
fn add_routes(hub: &Hub, routes: &[(String, String)]) {
    for (prefix, url) in routes {
        if let Err(error) = hub.routes.add_url(prefix, url) {
            tracing::error!("Proxy.extra_routes: no route from {prefix} to {url}: {error}");
        }
    }
}

/// hubd works without its control socket; only `hubd status` and its like do not.
fn start_control(
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
