//! The local socket for an operator: `hubd status`, `users`, `servers`, `reload`.
//!
//! A connection is one line with a command, and one answer in JSON. The socket lies in the daemon's own directory and
//! is for the daemon's user and root; the peer's uid is checked as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hubd_proto::UserName;
use hubd_store::{Page, UserFilter};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::reload::Reloader;

/// Longest command, in bytes: a word and a name of 255 bytes.
const COMMAND_BYTES_MAX: u64 = 512;
/// How long a command may take to come.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Most users in one answer: more than any one machine has.
const USERS_MAX: i64 = 1_000_000;

/// What answers on the socket.
pub struct Control {
    /// The configuration and the hub.
    pub reloader: Arc<Reloader>,
    /// The address for people.
    pub public_url: String,
    /// When the daemon began.
    pub began: Instant,
}

/// The socket's file, removed at the end.
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ControlSocket {
    /// Opens the socket; one that a dead daemon left behind is replaced.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot listen on the control socket {}", path.display());
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            anyhow::bail!(
                "{}: another hubd listens there\n    cure: stop it, or set control_socket",
                context()
            );
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(context);
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).with_context(context)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .with_context(context)?;
        Ok(Self { path: path.to_path_buf(), listener })
    }

    /// Answers until it is dropped.
    pub async fn serve(self, control: Arc<Control>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let control = control.clone();
                    tokio::spawn(async move {
                        if let Err(error) = control.connection(stream).await {
                            tracing::debug!("control socket: {error}");
                        }
                    });
                }
                // Out of descriptors: the next one may find some.
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

impl Control {
    async fn connection(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let (read, mut write) = stream.split();
        let mut line = String::new();
        let mut lines = BufReader::new(read.take(COMMAND_BYTES_MAX));
        tokio::time::timeout(COMMAND_TIMEOUT, lines.read_line(&mut line)).await??;
        let answer = if uid == 0 || uid == nix::unistd::geteuid().as_raw() {
            self.answer(line.trim()).await
        } else {
            json!({ "error": "only root and the daemon's user may ask" })
        };
        write.write_all(format!("{answer}\n").as_bytes()).await
    }

    async fn answer(&self, command: &str) -> Value {
        let answer = match command.split_once(' ').unwrap_or((command, "")) {
            ("status", "") => self.status(),
            ("servers", "") => self.servers(),
            ("users", "") => self.users(),
            ("remove", name) => self.remove(name),
            ("reload", "") => {
                let reloader = self.reloader.clone();
                let done = tokio::task::spawn_blocking(move || {
                    let report = reloader.reload();
                    report.log();
                    json!(report)
                });
                done.await.map_err(|error| error.to_string())
            }
            _ => Err("unknown command: this hubd is of another version".to_owned()),
        };
        answer.unwrap_or_else(|error| json!({ "error": error }))
    }

    fn status(&self) -> Result<Value, String> {
        let hub = &self.reloader.hub;
        let (active, starting) = hub.servers.count();
        let (_, users) = hub
            .store
            .users(&UserFilter::default(), Page { offset: 0, limit: 1 })
            .map_err(|error| error.to_string())?;
        let since = hub.clock.now().checked_sub(hub.settings.active_user_window);
        let since = since.unwrap_or(std::time::SystemTime::UNIX_EPOCH);
        let (_, [active_users]) = hub.store.user_counts([since]).map_err(|error| error.to_string())?;
        let helper = std::os::unix::net::UnixStream::connect(&hub.helper.socket).is_ok();
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "jupyterhub": hubd_hub::hub::JUPYTERHUB_VERSION,
            "pid": std::process::id(),
            "url": self.public_url,
            "up_seconds": self.began.elapsed().as_secs(),
            "users": users,
            "users_active": active_users,
            "servers": active,
            "servers_starting": starting,
            "helper_reachable": helper,
        }))
    }

    fn servers(&self) -> Result<Value, String> {
        let servers = self.reloader.hub.active_servers().map_err(|error| error.to_string())?;
        let rows = servers.iter().map(|server| {
            json!({
                "user": server.user.as_str(),
                "server": server.server.as_str(),
                "state": server.state,
                "started": server.started.map(text),
                "last_activity": server.last_activity.map(text),
            })
        });
        Ok(rows.collect())
    }

    fn users(&self) -> Result<Value, String> {
        let page = Page { offset: 0, limit: USERS_MAX };
        let hub = &self.reloader.hub;
        let (users, _) = hub.store.users(&UserFilter::default(), page).map_err(|error| error.to_string())?;
        let by_record = hub.admitted_by_record().map_err(|error| error.to_string())?;
        let rows = users.iter().map(|user| {
            json!({
                "name": user.name,
                "admin": user.admin,
                "last_activity": user.last_activity.map(text),
                "only_by_record": by_record.contains(&user.name),
            })
        });
        Ok(rows.collect())
    }

    fn remove(&self, name: &str) -> Result<Value, String> {
        let user = UserName::new(name).map_err(|error| format!("{name}: {error}"))?;
        if !self.reloader.hub.remove_person(&user)? {
            return Err(format!("there is no user {name}"));
        }
        tracing::info!("removed user {name} by the control socket");
        Ok(json!({ "removed": name }))
    }
}

fn text(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Asks a running daemon; for the commands.
pub fn ask(path: &Path, command: &str) -> anyhow::Result<Value> {
    use std::io::{Read, Write};
    let service = Path::new(crate::config::SERVICE_DIRECTORY).join(path);
    let paths = [path, &service];
    let found = paths.iter().find_map(|path| std::os::unix::net::UnixStream::connect(path).ok());
    let mut stream = found.with_context(|| {
        format!(
            "no hubd answers at {}\n    cure: run this as root or as the daemon's user; is it running? systemctl status hubd",
            service.display()
        )
    })?;
    stream.write_all(format!("{command}\n").as_bytes()).context("cannot ask hubd")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("cannot read hubd's answer")?;
    let answer: Value = serde_json::from_str(&text).context("hubd's answer is not JSON")?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => anyhow::bail!("{error}"),
        None => Ok(answer),
    }
}
