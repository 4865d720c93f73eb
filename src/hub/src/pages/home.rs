//! The home page: the person's servers, and buttons to start and stop them.

use axum::response::Response;
use http::StatusCode;
use hubd_proto::{ServerName, UserName};
use hubd_store::{Page, Share, ShareOf};
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::language::text;
use super::urls;
use super::user_url::server_path;
use super::visit::Visit;
use crate::servers::{Figures, Snapshot, State};

/// Most servers of others that the page lists.
const SHARED_SHOWN_MAX: i64 = 100;
/// Longest name of a server, in characters, as JupyterHub.
const SLUG_CHARACTERS_MAX: usize = 30;

/// `GET /hub/home`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    let name = visit.person()?.name.clone();
    let default = ServerName::default();
    visit.hub.look_at_figures(std::slice::from_ref(&name)).await;
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
        may_share => visit.hub.may(visit.person()?, "shares", &name, ""),
        shared => shared(&visit)?,
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

/// Servers of others that the person may use.
fn shared(visit: &Visit) -> Result<Vec<Value>, PageError> {
    let page = Page { offset: 0, limit: SHARED_SHOWN_MAX };
    let of = ShareOf::User(visit.person()?.user.id);
    let (shares, _) = visit.hub.store.shares(of, page, visit.hub.clock.now())?;
    let row = |share: &Share| {
        let url = visit.server_url(&share.owner, &share.server);
        context! { owner => share.owner.as_str(), server => share.server.as_str(), url => url }
    };
    Ok(shares.iter().map(row).collect())
}

/// `GET /hub/home/new?name=…`: on to the start of a new server. The name is free text; the server's own name
/// is made of it.
pub async fn new_server(visit: Visit) -> Result<Response, PageError> {
    let owner = visit.person()?.name.clone();
    let title: String = visit.argument("name").unwrap_or_default();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let slug = slug(&title);
    if slug.is_empty() {
        return Err(PageError::new(StatusCode::BAD_REQUEST, format!("Invalid server_name: '{title}'")));
    }
    let server = ServerName::new(slug)
        .map_err(|_| PageError::new(StatusCode::BAD_REQUEST, format!("Invalid server_name: '{title}'")))?;
    let spawn = visit.hub_url(&format!("spawn/{}", server_path(&owner, &server)));
    let mut query = Vec::new();
    if title != server.as_str() {
        query.push(("display_name".to_owned(), title));
    }
    Ok(visit.found(&urls::with_query(&spawn, &query)))
}

/// A name that a server can have: small letters, digits and single dashes, a letter first.
fn slug(title: &str) -> String {
    let words = title.to_lowercase();
    let words: Vec<&str> =
        words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut slug = words.join("-");
    if slug.starts_with(|c: char| c.is_ascii_digit()) {
        slug.insert_str(0, "s-");
    }
    slug.truncate(SLUG_CHARACTERS_MAX);
    slug.trim_end_matches('-').to_owned()
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
            message => failure.message_in(visit.language),
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
        figures => snapshot.figures.as_ref().and_then(figures),
        started => snapshot.started.map(iso_time),
        culled_at => visit.hub.culled_at(owner, server).map(iso_time),
        url => visit.server_url(owner.as_str(), server.as_str()),
        spawn_url => visit.hub_url(&format!("spawn/{path}")),
        pending_url => visit.hub_url(&format!("spawn-pending/{path}")),
        stop_url => visit.hub_url(&format!("stop/{path}")),
        log_url => visit.hub_url(&format!("log/{path}")),
        share_url => visit.hub_url(&format!("share/{path}")),
        delete_url => visit.hub_url(&format!("delete/{path}")),
        open_url => visit.hub_url(&format!("admin/open/{path}")),
    }
}

/// What a server uses, in words; nothing where the kernel does not count.
pub fn figures(figures: &Figures) -> Option<Value> {
    if figures.memory_bytes.is_none() && figures.cpu_percent.is_none() {
        return None;
    }
    let share = match (figures.memory_bytes, figures.memory_limit_bytes) {
        (Some(used), Some(limit)) if limit > 0 => Some(used as f64 / limit as f64),
        _ => None,
    };
    Some(context! {
        memory => figures.memory_bytes.map(size),
        memory_limit => figures.memory_limit_bytes.map(size),
        memory_share => share,
        cpu => figures.cpu_percent.map(|percent| format!("{percent:.0} %")),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_becomes_the_name_of_a_server() {
        for (title, name) in [
            ("gpu", "gpu"),
            ("My Server!", "my-server"),
            ("2 GPUs", "s-2-gpus"),
            ("a--b__c", "a-b-c"),
            ("日本", ""),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa bcd", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ] {
            assert_eq!(slug(title), name);
            assert!(name.is_empty() || crate::servers::is_slug(name), "{name}");
        }
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1500, "1.5 KB"),
            (150 << 20, "150 MB"),
            (3 << 29, "1.5 GB"),
            (5 << 40, "5.0 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
