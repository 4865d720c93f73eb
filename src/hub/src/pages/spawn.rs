//! `/hub/spawn[/NAME[/SERVER]]`: starting a server.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::{Method, StatusCode};
use hubd_proto::{ServerName, UserName};
use minijinja::context;
use serde_json::Value;

use super::errors::PageError;
use super::language::text;
use super::user_url::server_path;
use super::visit::Visit;
use super::{guard, outside, pending, spawn_form, urls};
use crate::api::check_startable;
use crate::error::HttpError;
use crate::servers::{NotBegun, StartRequest, State};

/// How long the answer waits for a start that fails at once, so that the failure is the answer. A start that
/// goes on is shown by the progress page, which should come soon; JupyterHub waits one second.
const QUICK_FAILURE_WAIT: Duration = Duration::from_millis(600);
/// The scope that starting needs.
const SCOPE: &str = "servers";

/// Whose server, and which one.
pub struct Target {
    /// The owner.
    pub owner: UserName,
    /// The server.
    pub server: ServerName,
}

/// Reads a target from the URL's segments and checks that the person may use `scope` on it.
pub fn target(visit: &Visit, segments: &[(String, String)], scope: &str) -> Result<Target, PageError> {
    let browser = visit.person()?;
    let mut segments = segments.iter().map(|(_, value)| value.as_str());
    let owner = outside::owner(visit, segments.next())?;
    let server = segments.next().unwrap_or_default();
    if !visit.hub.may(browser, scope, &owner, server) {
        return Err(PageError::no_access());
    }
    if owner != browser.name && visit.hub.store.user(owner.as_str())?.is_none() {
        return Err(PageError::new(StatusCode::NOT_FOUND, format!("No such user: {owner}")));
    }
    let server = ServerName::new(server).map_err(|_| bad_server_name(server))?;
    Ok(Target { owner, server })
}

/// `GET /hub/spawn…`: shows the form if there is one, else starts, unless another page sent the browser here.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let target = target(&visit, &segments, SCOPE)?;
    check_server_name(&visit, &target)?;
    let options = user_options(&visit.query())?;
    if let Some(answer) = already(&visit, &target) {
        return Ok(answer);
    }
    let asks = visit.hub.settings.spawner.options.asks();
    if options.is_none() && asks {
        return spawn_form::page(&visit, &target, None, None);
    }
    if !guard::went_here(&visit.parts.headers) {
        return Ok(ask(&visit, &target));
    }
    match start(&visit, &target, options.clone()).await {
        Err(Refused::Begin(error)) if asks => form_again(&visit, &target, options.as_ref(), &error),
        answer => answer.map_err(Refused::into),
    }
}

/// `POST /hub/spawn…`: starts.
pub async fn post(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, PageError> {
    let form = visit.form(body).await?;
    let target = target(&visit, &segments, SCOPE)?;
    check_server_name(&visit, &target)?;
    let spawner = &visit.hub.settings.spawner.options;
    let options = match spawner.asks() && form.fields().any(|(name, _)| name != "_xsrf") {
        true => Some(spawner.of_form(form.fields())),
        false => user_options(&visit.query())?,
    };
    match start(&visit, &target, options.clone()).await {
        Err(Refused::Begin(error)) if spawner.asks() && !is_pending(&error) => {
            form_again(&visit, &target, options.as_ref(), &error)
        }
        answer => answer.map_err(Refused::into),
    }
}

/// Why there is no start.
enum Refused {
    /// It could not be begun.
    Begin(NotBegun),
    /// A page of its own says it.
    Page(PageError),
}

impl From<Refused> for PageError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Begin(error) => HttpError::from(error).into(),
            Refused::Page(error) => error,
        }
    }
}

/// Whether there is nothing to choose, because the server runs or is about to.
fn is_pending(error: &NotBegun) -> bool {
    matches!(error, NotBegun::Running(_) | NotBegun::Pending(..))
}

/// The form with what was chosen, and why it did not start.
fn form_again(
    visit: &Visit,
    target: &Target,
    options: Option<&Value>,
    error: &NotBegun,
) -> Result<Response, PageError> {
    let status = HttpError::from(error.clone()).status;
    spawn_form::page(visit, target, options, Some((status, &error.to_string())))
}

/// The answer when there is nothing to start.
fn already(visit: &Visit, target: &Target) -> Option<Response> {
    match visit.hub.server(&target.owner, &target.server).state {
        State::Ready => {
            let url = visit.server_url(target.owner.as_str(), target.server.as_str());
            Some(visit.found(&visit.next_or(url)))
        }
        State::Starting | State::Stopping => Some(visit.found(&pending_url(visit, target))),
        State::Stopped { .. } => None,
    }
}

/// Asks before a start that another page caused.
fn ask(visit: &Visit, target: &Target) -> Response {
    let extra = context! {
        title => text!("Start your server?"),
        text => text!("A link on another page leads here. Your notebook server will start when you say so."),
        action => visit.uri(),
        button => text!("Start server"),
        server_name => target.server.as_str(),
        cancel_url => visit.hub_url("home"),
    };
    visit.page(StatusCode::OK, "ask.html", extra)
}

/// Begins the start and leads to its progress.
async fn start(visit: &Visit, target: &Target, user_options: Option<Value>) -> Result<Response, Refused> {
    let browser = visit.person().map_err(Refused::Page)?;
    let own = target.owner == browser.name;
    let request = StartRequest {
        user: target.owner.clone(),
        server: target.server.clone(),
        // A ticket and a PAM handle are one person's: they never start somebody else's server.
        session_id: browser.session_id.clone().filter(|_| own),
        ticket: visit.hub.ticket(&visit.parts.headers).filter(|_| own),
        user_options,
    };
    if let Some(name) = visit.argument("display_name").filter(|_| !target.server.is_default()) {
        crate::api::check_display_name(&name).map_err(|error| Refused::Page(error.into()))?;
        let kept = visit.hub.store.ensure_spawner(target.owner.as_str(), target.server.as_str(), Some(&name));
        kept.map_err(|error| Refused::Page(error.into()))?;
    }
    if !own {
        tracing::info!("User {} requesting spawn on behalf of {}", browser.name, target.owner);
    }
    visit.hub.start_server(request).await.map_err(Refused::Begin)?;
    match visit.hub.wait_server(&target.owner, &target.server, QUICK_FAILURE_WAIT).await {
        State::Stopped { failure: Some(failure) } => Ok(pending::failed(visit, target, &failure)),
        _ => Ok(visit.found(&pending_url(visit, target))),
    }
}

/// The progress page, with the rest of the query; `next` comes last, as in JupyterHub.
fn pending_url(visit: &Visit, target: &Target) -> String {
    let path = visit.hub_url(&format!("spawn-pending/{}", server_path(&target.owner, &target.server)));
    let (next, mut query): (Vec<_>, Vec<_>) = visit.query().into_iter().partition(|(name, _)| name == "next");
    if visit.parts.method == Method::POST {
        query.retain(|(name, _)| name != "_xsrf");
    }
    query.extend(next.into_iter().take(1));
    urls::with_query(&path, &query)
}

/// Named servers must be switched on, and a new one have a good name.
fn check_server_name(visit: &Visit, target: &Target) -> Result<(), PageError> {
    let name = target.server.as_str();
    if target.server.is_default() {
        return Ok(());
    }
    if !crate::servers::is_slug(name) && visit.hub.store.spawner(target.owner.as_str(), name)?.is_none() {
        return Err(bad_server_name(name));
    }
    check_startable(&visit.hub, &target.server)?;
    if !visit.hub.settings.allow_named_servers {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "Named servers are not enabled."));
    }
    let limit = visit.hub.settings.named_server_limit_per_user;
    let rows = visit.hub.store.spawners_of(target.owner.as_str())?;
    let others = rows.iter().filter(|row| !row.name.is_empty()).count();
    let exists = rows.iter().any(|row| row.name == name);
    if limit > 0 && !exists && u32::try_from(others).unwrap_or(u32::MAX) >= limit {
        let text = format!(
            "User {} already has the maximum of {limit} named servers.  One must be deleted before a new server can be created",
            target.owner
        );
        return Err(PageError::new(StatusCode::BAD_REQUEST, text));
    }
    Ok(())
}

/// 400 for a name that no server can have.
fn bad_server_name(name: &str) -> PageError {
    PageError::new(StatusCode::BAD_REQUEST, format!("Invalid server_name: '{name}'"))
}

/// The query's `opt-…` parameters as `user_options`: each is a list of texts.
fn user_options(query: &[(String, String)]) -> Result<Option<Value>, PageError> {
    let mut options = serde_json::Map::new();
    for (name, value) in query {
        let Some(option) = name.strip_prefix("opt-") else { continue };
        if option.is_empty() {
            return Err(PageError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("Invalid user-option name {name}"),
            ));
        }
        let list = options.entry(option).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::String(value.clone()));
        }
    }
    Ok((!options.is_empty()).then_some(Value::Object(options)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_from_the_query() {
        let query = urls::pairs("opt-env=zz&opt-env=y&next=%2Fx&foo=1");
        assert_eq!(user_options(&query).ok().flatten(), Some(serde_json::json!({"env": ["zz", "y"]})));
        assert_eq!(user_options(&urls::pairs("next=%2Fx")).ok().flatten(), None);
    }

    #[test]
    fn an_option_without_a_name_is_refused() {
        assert!(matches!(
            user_options(&urls::pairs("opt-=1")),
            Err(PageError::Http(error)) if error.status == StatusCode::UNPROCESSABLE_ENTITY
        ));
    }
}
