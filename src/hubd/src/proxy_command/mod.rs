//! `hubd proxy`: the proxy alone, for somebody else's JupyterHub, with configurable-http-proxy's command line.
//!
//! Start reading at [`main`]. What the flags mean to single requests is in `hubd_proxy::ForeignHub`.

mod certificates;
mod flags;
mod log;
mod metrics;
mod side;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{HeaderName, HeaderValue};
use hubd_proxy::{
    Api, App, Counters, Destination, ErrorApp, ErrorPages, ForeignHub, Proxy, ProxySettings, Redirect,
    Routes, Slashes, Tls,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::listen::{Open, SocketFile};
use crate::privileges;
use crate::start::PidFile;
use flags::Flags;
use side::Side;

/// The subcommand's name.
pub const NAME: &str = "proxy";

/// The exit status after a signal, as configurable-http-proxy's.
const ENDED_BY_SIGNAL: u8 = 2;
/// The public port if none is given, and if it is 0.
const DEFAULT_PORT: u16 = 8000;
/// Nothing is waited for in the end: JupyterHub starts the next one at once.
const DRAIN: Duration = Duration::ZERO;

/// Runs until a signal ends it. `token` is that of the REST API.
pub fn main(arguments: impl Iterator<Item = String>, token: Option<Zeroizing<String>>) -> ExitCode {
    let flags = match Flags::read(arguments) {
        Ok(flags) => flags,
        Err(error) => {
            // If nobody reads it, the exit status still says it.
            error.print().ok();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match start(&flags, token) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hubd proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: &Flags, token: Option<Zeroizing<String>>) -> anyhow::Result<ExitCode> {
    let refusals = flags.refusals();
    if !refusals.is_empty() {
        bail!(refusals.join("\n"));
    }
    let level = log::level(&flags.log_level)
        .with_context(|| format!("--log-level {}: use debug, info, warn or error", flags.log_level))?;
    let foreign = foreign(flags)?;
    privileges::harden()?;
    let last_lines = log::start(level);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let code = runtime.block_on(serve(flags, foreign, token));
    runtime.shutdown_background();
    last_lines.flush();
    code
}

/// What the flags say of single requests.
fn foreign(flags: &Flags) -> anyhow::Result<ForeignHub> {
    let headers = flags.custom_header.iter().map(|text| custom_header(text));
    Ok(ForeignHub {
        host_routing: flags.host_routing,
        include_prefix: !flags.no_include_prefix,
        prepend_path: !flags.no_prepend_path,
        x_forward: !flags.no_x_forward,
        change_origin: flags.change_origin,
        auto_rewrite: flags.auto_rewrite,
        protocol_rewrite: flags.protocol_rewrite.clone(),
        headers: headers.collect::<anyhow::Result<_>>()?,
        tls: Some(certificates::targets(flags)?),
        counters: Arc::default(),
    })
}

fn settings(flags: &Flags, foreign: Arc<ForeignHub>) -> ProxySettings {
    let waits = [flags.timeout, flags.proxy_timeout].into_iter().flatten().filter(|millis| *millis > 0);
    let mut settings = ProxySettings {
        foreign: Some(foreign),
        answer_timeout: waits.min().map(Duration::from_millis),
        ..ProxySettings::default()
    };
    // Who is in front is not known: one address may be everybody's.
    settings.limits.connections_per_address = usize::MAX;
    if let Some(millis) = flags.keep_alive_timeout.filter(|millis| *millis > 0) {
        settings.limits.http1_idle_timeout = Duration::from_millis(millis);
    }
    settings
}

fn custom_header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) =
        text.split_once(':').with_context(|| format!("A colon was expected in custom header: {text}"))?;
    let name = name.trim().parse().with_context(|| format!("--custom-header {text}: the name is none"))?;
    let value = value.trim().parse().with_context(|| format!("--custom-header {text}: the value is none"))?;
    Ok((name, value))
}

/// What runs.
struct Servers {
    stop: CancellationToken,
    files: Vec<SocketFile>,
}

async fn serve(
    flags: &Flags,
    foreign: ForeignHub,
    token: Option<Zeroizing<String>>,
) -> anyhow::Result<ExitCode> {
    let signals = Signals::watch()?;
    let tls = certificates::public(flags)?;
    let api_tls = certificates::api(flags)?;
    if flags.redirect_port.is_some() && tls.is_none() {
        bail!("HTTPS redirection specified but certificates not provided.");
    }
    if token.as_ref().is_none_or(|token| token.is_empty()) {
        tracing::warn!("REST API is not authenticated.");
    }
    let foreign = Arc::new(foreign);
    let counters = foreign.counters.clone();
    let routes = Arc::new(Routes::new(Slashes::Decoded));
    if let Some(url) = &flags.default_target {
        routes.add_url("/", url).with_context(|| format!("--default-target {url}"))?;
    }
    let mut servers = Servers { stop: CancellationToken::new(), files: Vec::new() };

    let port = flags.port.filter(|port| *port > 0).unwrap_or(DEFAULT_PORT);
    let public = Side::new(flags.socket.as_deref(), &flags.ip, port);
    let own_port = if flags.socket.is_some() { DEFAULT_PORT } else { port }.saturating_add(1);
    let api_port = flags.api_port.filter(|port| *port > 0).unwrap_or(own_port);
    let api_side = Side::new(flags.api_socket.as_deref(), &flags.api_ip, api_port);
    let public_open = public.open("--port")?;
    let api_open = api_side.open("--api-port")?;

    let api = Api::new(routes.clone(), token).counting(counters.clone()).with_https();
    let api: Arc<dyn App> = Arc::new(if foreign.host_routing { api.with_hosts() } else { api });
    servers.app(api_open, api_tls.clone(), api);
    let scheme = |tls: &Option<Arc<Tls>>| if tls.is_some() { "https" } else { "http" };
    let default = flags.default_target.as_deref().unwrap_or("(no default)");
    let pages = error_pages(flags)?;
    let app = Arc::new(ErrorApp::new(pages, foreign.clone()));
    servers.start(public_open, tls.clone(), Proxy::new(settings(flags, foreign), routes, app));
    tracing::info!("Proxying {}://{public} to {default}", scheme(&tls));
    tracing::info!("Proxy API at {}://{api_side}/api/routes", scheme(&api_tls));
    servers.metrics(flags, counters)?;
    servers.redirect(flags, port)?;
    let _pid_file = match &flags.pid_file {
        Some(path) => {
            tracing::info!("Writing pid {} to {}", std::process::id(), path.display());
            Some(PidFile::write(path.clone())?)
        }
        None => None,
    };
    signals.wait(&[tls, api_tls]).await;
    servers.stop.cancel();
    drop(servers.files);
    Ok(ExitCode::from(ENDED_BY_SIGNAL))
}

impl Servers {
    fn start(&mut self, open: Open, tls: Option<Arc<Tls>>, proxy: Arc<Proxy>) {
        self.files.extend(open.file);
        if let Some(tls) = &tls {
            tokio::spawn(tls.clone().watch(self.stop.clone()));
        }
        tokio::spawn(hubd_proxy::serve(open.listener, tls, proxy, self.stop.clone(), DRAIN));
    }

    /// An app without a route to anybody else.
    fn app(&mut self, open: Open, tls: Option<Arc<Tls>>, app: Arc<dyn App>) {
        self.start(open, tls, Proxy::new(ProxySettings::default(), Arc::new(Routes::default()), app));
    }

    fn metrics(&mut self, flags: &Flags, counters: Arc<Counters>) -> anyhow::Result<()> {
        let Some(port) = flags.metrics_port.or(flags.metrics_socket.is_some().then_some(0)) else {
            return Ok(());
        };
        let side = Side::new(flags.metrics_socket.as_deref(), &flags.metrics_ip, port);
        self.app(side.open("--metrics-port")?, None, Arc::new(metrics::Metrics(counters)));
        tracing::info!("Serve metrics at http://{side}/metrics");
        Ok(())
    }

    fn redirect(&mut self, flags: &Flags, port: u16) -> anyhow::Result<()> {
        let Some(from) = flags.redirect_port.filter(|_| flags.socket.is_none() && port != 80) else {
            return Ok(());
        };
        let to = flags.redirect_to.unwrap_or(port);
        let side = Side::new(None, "", from);
        self.app(side.open("--redirect-port")?, None, Arc::new(Redirect { port: to }));
        tracing::info!("Added HTTP to HTTPS redirection from {from} to {to}");
        Ok(())
    }
}

fn error_pages(flags: &Flags) -> anyhow::Result<ErrorPages> {
    Ok(match (&flags.error_target, &flags.error_path) {
        (Some(url), _) => {
            ErrorPages::Server(Destination::parse(url).with_context(|| format!("--error-target {url}"))?)
        }
        (None, Some(directory)) => ErrorPages::Directory(directory.clone()),
        (None, None) => ErrorPages::BuiltIn,
    })
}

/// The signals that mean something.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they do not simply end the process.
    fn watch() -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM; each SIGHUP before it loads the certificates again.
    async fn wait(mut self, sides: &[Option<Arc<Tls>>]) {
        loop {
            let word = tokio::select! {
                _ = self.interrupt.recv() => "Interrupted",
                _ = self.terminate.recv() => "Terminated",
                _ = self.hangup.recv() => {
                    sides.iter().flatten().for_each(|tls| reload(tls));
                    continue;
                }
            };
            return tracing::warn!("{word}");
        }
    }
}

fn reload(tls: &Tls) {
    match tls.reload() {
        Ok(()) => tracing::info!("SIGHUP: the certificate was loaded again"),
        Err(error) => tracing::error!("SIGHUP: the old certificate stays in use: {error}"),
    }
}
