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
use hubd_hub::auth::TICKET_COOKIE;
use hubd_hub::edge::{EDGE_COOKIE, STATE_COOKIE};
use hubd_proxy::{App, Proxy, ProxySettings, Redirect, Routes, Tls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{HubApp, InnerApp};
use crate::cli::CommandLine;
use crate::config::access;
use crate::config::plan::{self, Plan, TlsPlan};
use crate::config::problem::Problems;
pub use crate::environment::Environment;
use crate::listen::{Open, Place, SocketFile};
use crate::reload::Reloader;
use crate::signals::wait_for_the_end;
use crate::sockets::Sockets;
pub use crate::start::{PidFile, by_record};
use crate::{config, database_commands, logging, privileges, sandbox, service_manager, start};

/// How long requests in progress may take after the signal to end. WebSockets always use all of it.
const DRAIN: Duration = Duration::from_secs(3);
/// How long all servers together may take to stop with `cleanup_servers`.
const STOP_ALL: Duration = Duration::from_secs(60);
/// The login cookie: it is for the hub alone.
const LOGIN_COOKIE: &str = "jupyterhub-hub-login";

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
    let last_lines = log.detach();
    let sockets = Sockets::of_service_manager(environment.socket_names.as_deref(), environment.keeps_sockets);
    let loaded = Loaded { values, log, file, arguments, environment };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let ended = match runtime.block_on(serve(plan, loaded, sockets, began)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    };
    last_lines.flush();
    Ok(ended)
}

/// Locks the process in, before the first thread is there to stay outside.
fn shut_in(plan: &Plan) {
    let files =
        [Some(&plan.database), plan.pid_file.as_ref(), plan.log_file.as_ref(), Some(&plan.control_socket)];
    let places = [Some(&plan.public), Some(&plan.inner), plan.routes_api.as_ref()];
    let sockets = places.into_iter().flatten().filter_map(Place::path);
    let directory = |path: &&Path| !path.as_os_str().is_empty();
    let files = files.into_iter().flatten().map(std::path::PathBuf::as_path).chain(sockets);
    let parents = files.filter_map(Path::parent).filter(directory);
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

/// What is listened on.
struct Doors {
    public: Open,
    inner: Open,
    /// The REST API for routes, if it has a place of its own.
    routes_api: Option<Open>,
    /// Plain HTTP, and the port of https that it leads to.
    redirect: Option<(Open, u16)>,
}

impl Doors {
    /// Opens all of them, or takes those that the service manager holds.
    fn open(plan: &Plan, mut sockets: Sockets) -> anyhow::Result<Self> {
        let mut open = |place: &Place, option| place.take_or_open(&mut sockets, option);
        let doors = Self {
            public: open(&plan.public, "--port")?,
            inner: open(&plan.inner, "--JupyterHub.hub_port")?,
            routes_api: plan
                .routes_api
                .as_ref()
                .map(|place| open(place, "--ConfigurableHTTPProxy.api_url"))
                .transpose()?,
            redirect: match &plan.redirect {
                Some((place, to)) => Some((open(place, "--JupyterHub.redirect_port")?, *to)),
                None => None,
            },
        };
        sockets.close_unused();
        Ok(doors)
    }
}

/// Opens everything, answers requests, and closes everything.
async fn serve(plan: Plan, loaded: Loaded, sockets: Sockets, began: Instant) -> anyhow::Result<()> {
    let doors = Doors::open(&plan, sockets)?;
    let tls = start::tls(&plan)?;
    let proxy_token = plan.proxy_token.load()?;
    plan.upgrade_database.then(|| database_commands::upgrade_for_start(&plan.database)).transpose()?;
    let hub = start::hub(plan.settings, &plan.cookie_secret, &plan.database, plan.helper_socket)?;
    let _pid_file = plan.pid_file.map(PidFile::write).transpose()?;
    let adopting = Instant::now();
    let running = hub.adopt().await;
    hub.metrics.adopted(adopting.elapsed());
    hub.begin_services();
    start::look_at_people(&hub);
    start::add_routes(&hub, &plan.extra_routes);
    let reloader = Arc::new(loaded.reloader(hub.clone(), tls.clone()));
    let control = start::start_control(&plan.control_socket, &reloader, &plan.public_url, began);

    let app = HubApp::new(hub.clone());
    let (mut outside, mut inside) = (Served::default(), Served::default());
    if let Some((open, port)) = doors.redirect {
        let proxy = Proxy::new(plan.proxy.clone(), Arc::default(), Arc::new(Redirect { port }));
        outside.start(open, None, proxy);
    }
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.watch(outside.stop.clone()));
    }
    let settings = ProxySettings { target_tls: hub.settings.services.target_tls.clone(), ..plan.proxy };
    let routed = Proxy::new(with_hub_cookies(settings), hub.routes.clone(), app.clone());
    outside.start(doors.public, tls, routed);
    // User servers speak to the hub itself here; no route leads from here to another server.
    let api = start::routes_api(&hub, doors.inner.endpoint()?, proxy_token);
    let within: Arc<dyn App> = match doors.routes_api {
        None => Arc::new(InnerApp::new(api, app)),
        Some(open) => {
            inside.app(open, Arc::new(api));
            app
        }
    };
    inside.app(doors.inner, within);
    let watching = tokio::spawn(hub.clone().watch_servers(inside.stop.clone()));
    let tending = tokio::spawn(hub.clone().tend_records(inside.stop.clone()));
    tokio::spawn(hub.clone().cull_idle(inside.stop.clone()));

    announce(&hub, &plan.public_url, running, began);

    wait_for_the_end(&reloader).await?;
    service_manager::stopping();
    end_control(control).await;
    let end = async {
        outside.end().await;
        hub.end_services(plan.cleanup_services, STOP_ALL).await;
        if hub.ending.stops_servers(plan.cleanup_servers) {
            tracing::info!("Cleaning up single-user servers...");
            hub.stop_all(STOP_ALL).await;
        } else {
            tracing::info!("Leaving single-user servers running");
        }
        let _ = tokio::join!(inside.end(), watching, tending);
    };
    let mut impatient = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::select! {
        () = end => tracing::info!("...done"),
        _ = impatient.recv() => tracing::warn!("a second SIGINT: ending at once"),
    }
    how_it_ended(&hub)
}

/// An error, if the hub gave up.
fn how_it_ended(hub: &Hub) -> anyhow::Result<()> {
    anyhow::ensure!(!hub.ending.has_failed(), "too many starts of servers have failed in a row");
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

/// What answers on some doors, until it is ended.
#[derive(Default)]
struct Served {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// Files of sockets, which go in the end.
    files: Vec<SocketFile>,
}

impl Served {
    fn start(&mut self, open: Open, tls: Option<Arc<Tls>>, proxy: Arc<Proxy>) {
        self.files.extend(open.file);
        self.tasks.push(tokio::spawn(hubd_proxy::serve(open.listener, tls, proxy, self.stop.clone(), DRAIN)));
    }

    /// An app without a route to anybody else.
    fn app(&mut self, open: Open, app: Arc<dyn App>) {
        let settings = with_hub_cookies(ProxySettings::default());
        self.start(open, None, Proxy::new(settings, Arc::new(Routes::default()), app));
    }

    /// Stops, and waits for requests in progress.
    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.ok();
        }
    }
}

fn with_hub_cookies(settings: ProxySettings) -> ProxySettings {
    let names = [LOGIN_COOKIE, TICKET_COOKIE, EDGE_COOKIE, STATE_COOKIE];
    ProxySettings { hub_cookies: names.map(str::to_owned).to_vec(), ..settings }
}

impl Loaded {
    fn reloader(self, hub: Arc<Hub>, tls: Option<Arc<Tls>>) -> Reloader {
        let Self { values, log, file, arguments, environment } = self;
        Reloader { file, arguments, environment, values: std::sync::Mutex::new(values), log, hub, tls }
    }
}
