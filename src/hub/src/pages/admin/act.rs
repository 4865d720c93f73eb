//! `POST /hub/admin/act`: one button for one server, or one action on all users that were chosen.

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt;
use http::{Method, StatusCode};
use minijinja::context;
use minijinja::value::{Serde, Value};
use serde_json::json;

use super::{back, check, page};
use crate::api::inside::Called;
use crate::pages::errors::PageError;
use crate::pages::form::Form;
use crate::pages::language::text;
use crate::pages::urls;
use crate::pages::visit::Visit;

/// Most users of one action: as many as a page shows.
pub const USERS_MAX: usize = 200;
/// Calls at once; starting is bounded by `concurrent_spawn_limit` anyway.
pub const CALLS_AT_ONCE: usize = 8;

/// An action on users.
struct Action {
    name: &'static str,
    title: &'static str,
    /// What is said of each user for whom it worked.
    done: &'static str,
}

/// What the page offers.
const ACTIONS: &[Action] = &[
    Action { name: "start", title: text!("Start servers"), done: text!("started") },
    Action { name: "stop", title: text!("Stop servers"), done: text!("stopped") },
    Action { name: "delete", title: text!("Delete users"), done: text!("deleted") },
    Action { name: "join", title: text!("Add to group"), done: text!("added") },
    Action { name: "leave", title: text!("Remove from group"), done: text!("removed") },
];

/// `POST /hub/admin/act`.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let back = back(&visit, form.get("back"));
    if let Some(wish) = form.get("do") {
        return one(&visit, wish, &back).await;
    }
    let asked = form.get("action").unwrap_or_default();
    // No name has a slash.
    let shown = form.get("shown").unwrap_or_default().split('/').filter(|name| !name.is_empty());
    let (name, users): (_, Vec<&str>) = match asked.strip_suffix("-all") {
        Some(name) => (name, shown.collect()),
        None => (asked, form.all("user").collect()),
    };
    let action = ACTIONS.iter().find(|action| action.name == name);
    let action = action.ok_or_else(|| PageError::new(StatusCode::BAD_REQUEST, "No such action"))?;
    let users: Vec<String> = users.into_iter().take(USERS_MAX).map(str::to_owned).collect();
    if users.is_empty() {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "Choose at least one user first."));
    }
    if action.name == "delete" && form.get("sure").is_none() {
        return Ok(ask(&visit, &users, &back));
    }
    many(&visit, action, users, &form, &back).await
}

/// One server: `start/alice/lab`.
async fn one(visit: &Visit, wish: &str, back: &str) -> Result<Response, PageError> {
    let mut parts = wish.splitn(3, '/');
    let mut next = || parts.next().unwrap_or_default();
    let (action, user, server) = (next(), next(), next());
    let path = server_path(user, server);
    let (method, body) = match action {
        "start" => (Method::POST, None),
        "stop" => (Method::DELETE, None),
        "forget" => (Method::DELETE, Some(json!({ "remove": true }))),
        _ => return Err(PageError::new(StatusCode::BAD_REQUEST, "No such action")),
    };
    let called = visit.api((method, &path), body).await?;
    if called.is_ok() {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, back));
    }
    let name = if server.is_empty() { user.to_owned() } else { format!("{user}/{server}") };
    let title = if action == "start" { text!("Start servers") } else { text!("Stop servers") };
    Ok(results(visit, title, vec![outcome(&name, "", &called)], back))
}

/// Many users, a few at once; one result each.
async fn many(
    visit: &Visit,
    action: &'static Action,
    users: Vec<String>,
    form: &Form,
    back: &str,
) -> Result<Response, PageError> {
    let group = form.get("to_group").unwrap_or_default();
    let call = |name: String| async move {
        let user = urls::segment(&name);
        let members = || Some(json!({ "users": [name] }));
        let group = format!("/groups/{}/users", urls::segment(group));
        let called = match action.name {
            "start" => visit.api((Method::POST, &server_path(&name, "")), None).await,
            "stop" => stop_all(visit, &name).await,
            "delete" => visit.api((Method::DELETE, &format!("/users/{user}")), None).await,
            "join" => visit.api((Method::POST, &group), members()).await,
            _ => visit.api((Method::DELETE, &group), members()).await,
        };
        called.map(|called| outcome(&name, action.done, &called))
    };
    let calls = futures_util::stream::iter(users.into_iter().map(call)).buffered(CALLS_AT_ONCE);
    let all: Vec<Result<Value, PageError>> = calls.collect().await;
    let all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(results(visit, action.title, all, back))
}

/// Stops all of a user's servers; the first refusal is the answer.
async fn stop_all(visit: &Visit, name: &str) -> Result<Called, PageError> {
    let mut answer = visit.api((Method::DELETE, &server_path(name, "")), None).await?;
    let Ok(owner) = hubd_proto::UserName::new(name) else { return Ok(answer) };
    for (server, snapshot) in visit.hub.servers_of(&owner) {
        if !server.is_default() && snapshot.state.is_active() && answer.is_ok() {
            answer = visit.api((Method::DELETE, &server_path(name, server.as_str())), None).await?;
        }
    }
    Ok(answer)
}

/// Asks before users are deleted.
fn ask(visit: &Visit, users: &[String], back: &str) -> Response {
    let answer = [("action", "delete"), ("sure", "1"), ("back", back)];
    let fields: Vec<(&str, &str)> = users.iter().map(|name| ("user", name.as_str())).chain(answer).collect();
    let extra = context! {
        title => text!("Delete these users?"),
        text => text!("Stops their servers and forgets their tokens, shares and groups. The account of the machine and its files stay."),
        listed => users.join(", "),
        action => visit.hub_url("admin/act"),
        fields => Serde(&fields),
        button => text!("Delete"),
        danger => true,
        cancel_url => back,
    };
    visit.page(StatusCode::OK, "ask.html", extra)
}

/// The API's path of a server.
fn server_path(user: &str, server: &str) -> String {
    let user = urls::segment(user);
    match server {
        "" => format!("/users/{user}/server"),
        server => format!("/users/{user}/servers/{}", urls::segment(server)),
    }
}

/// What a call did for one user.
fn outcome(name: &str, done: &str, called: &Called) -> Value {
    let text = if called.is_ok() { done.to_owned() } else { called.message() };
    result(name, called.is_ok(), &text)
}

/// One line of the results.
pub fn result(name: &str, ok: bool, text: &str) -> Value {
    context! { name => name, ok => ok, text => text }
}

/// The page of what became of each.
pub fn results(visit: &Visit, title: &str, all: Vec<Value>, back: &str) -> Response {
    let done = all.iter().filter(|result| result.get_attr("ok").is_ok_and(|ok| ok.is_true())).count();
    let failed = all.len() - done;
    let extra = context! {
        tab => "users", title => title, results => all, done => done, failed => failed, back => back,
    };
    page(visit, StatusCode::OK, "admin_results.html", extra)
}
