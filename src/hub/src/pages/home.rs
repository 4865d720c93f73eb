//! The home page: the person's servers, and buttons to start and stop them.

use axum::response::Response;
use http::StatusCode;
use hubd_proto::{ServerName, UserName};
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::language::text;
use super::user_url::server_path;
use super::visit::Visit;
use crate::servers::{Figures, Snapshot, State};

/// `GET /hub/home`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    let name = visit.person()?.name.clone();
    let default = ServerName::default();
    let snapshot = visit.hub.server(&name, &default);
    let url = match snapshot.state.is_active() {
        true => visit.server_url(name.as_str(), "").trim_end_matches('/').to_owned(),
        false => visit.hub_url(&format!("spawn/{}", server_path(&name, &default))),
    };
    let settings = &visit.hub.settings;
    let extra = context! {
        url => url,
        default_server => spawner_value(&visit, &name, &default, &snapshot),
        allow_named_servers => settings.allow_named_servers,
        named_server_limit_per_user => settings.named_server_limit_per_user,
        spawners => named_servers(&visit, &name)?,
    };
    Ok(visit.page(StatusCode::OK, "home.html", extra))
}

/// A person's servers with the one named `first` at the start: those in the database, and those that only run.
pub fn servers_of(visit: &Visit, owner: &UserName, first: &ServerName) -> Result<Vec<Value>, PageError> {
    let rows = visit.hub.store.spawners_of(owner.as_str())?;
    let mut names: Vec<ServerName> =
        rows.iter().filter_map(|row| ServerName::new(row.name.as_str()).ok()).collect();
    names.extend(visit.hub.servers_of(owner).into_iter().map(|(name, _)| name));
    names.push(first.clone());
    names.sort();
    names.dedup();
    names.sort_by_key(|name| name != first);
    Ok(names
        .iter()
        .map(|name| {
            let row = rows.iter().find(|row| row.name == name.as_str());
            let display = row.and_then(|row| row.display_name.clone());
            let value = spawner_value(visit, owner, name, &visit.hub.server(owner, name));
            context! {
                display_name => display.unwrap_or_else(|| name.to_string()),
                last_activity => row.and_then(|row| row.last_activity).map(iso_time),
                ..value
            }
        })
        .collect())
}

/// The named servers, as far as there may be some.
fn named_servers(visit: &Visit, owner: &UserName) -> Result<Vec<Value>, PageError> {
    if !visit.hub.settings.allow_named_servers {
        return Ok(Vec::new());
    }
    let mut all = servers_of(visit, owner, &ServerName::default())?;
    all.remove(0);
    Ok(all)
}

/// A server as templates know it.
pub fn spawner_value(visit: &Visit, owner: &UserName, server: &ServerName, snapshot: &Snapshot) -> Value {
    let state = match &snapshot.state {
        State::Stopped { failure: None } => text!("stopped"),
        State::Stopped { failure: Some(_) } => text!("failed"),
        State::Starting => text!("starting"),
        State::Ready => text!("running"),
        State::Stopping => text!("stopping"),
    };
    let failure = match &snapshot.state {
        State::Stopped { failure: Some(failure) } => Some(context! {
            code => failure.code.as_str(),
            step => failure.step.as_str(),
            message => failure.message.as_str(),
        }),
        _ => None,
    };
    let path = server_path(owner, server);
    context! {
        name => server.as_str(),
        owner => owner.as_str(),
        state => state,
        active => snapshot.state.is_active(),
        ready => snapshot.state == State::Ready,
        pending => snapshot.state.pending(),
        failure => failure,
        figures => snapshot.figures.as_ref().map(figures),
        started => snapshot.started.map(iso_time),
        url => visit.server_url(owner.as_str(), server.as_str()),
        spawn_url => visit.hub_url(&format!("spawn/{path}")),
        pending_url => visit.hub_url(&format!("spawn-pending/{path}")),
        stop_url => visit.hub_url(&format!("stop/{path}")),
        log_url => visit.hub_url(&format!("log/{path}")),
        share_url => visit.hub_url(&format!("share/{path}")),
        open_url => visit.hub_url(&format!("admin/open/{path}")),
    }
}

/// What a server uses, in words.
pub fn figures(figures: &Figures) -> Value {
    let share = match (figures.memory_bytes, figures.memory_limit_bytes) {
        (Some(used), Some(limit)) if limit > 0 => Some(used as f64 / limit as f64),
        _ => None,
    };
    context! {
        memory => figures.memory_bytes.map(size),
        memory_limit => figures.memory_limit_bytes.map(size),
        memory_share => share,
        cpu => figures.cpu_percent.map(|percent| format!("{percent:.0} %")),
    }
}

/// A number of bytes as people read it: `1.4 GB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KB", "MB", "GB"] {
        if value < 1000.0 {
            return if value < 10.0 && unit != "bytes" {
                format!("{value:.1} {unit}")
            } else {
                format!("{value:.0} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TB")
}

/// A time as scripts and `<time>` read it: `2026-11-21T20:00:00Z`.
pub fn iso_time(time: std::time::SystemTime) -> Option<String> {
    let seconds = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let stamp = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(stamp.to_string())
}
