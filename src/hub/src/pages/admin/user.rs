//! `/hub/admin/user/NAME`: one user, and `/hub/admin/open/NAME[/SERVER]`: into their server.

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::{Method, StatusCode};
use hubd_proto::{ServerName, UserName};
use hubd_store::User;
use minijinja::context;
use minijinja::value::Value;
use serde_json::{Map, json};

use super::{check, group_names, page, succeeded, user_url};
use crate::pages::errors::PageError;
use crate::pages::home::{iso_time, servers_of};
use crate::pages::language::text;
use crate::pages::spawn::{self, Target};
use crate::pages::urls;
use crate::pages::visit::Visit;

/// The scope that opening a server needs.
const ACCESS: &str = "access:servers";

/// `GET /hub/admin/user/NAME`.
pub async fn get(visit: Visit, Path(name): Path<String>) -> Result<Response, PageError> {
    check(&visit)?;
    user_page(&visit, &find(&visit, &name).await?, None).await
}

/// `POST /hub/admin/user/NAME`: name, admin, groups.
pub async fn post(visit: Visit, Path(name): Path<String>, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let user = find(&visit, &name).await?;
    let new_name = form.get("name").unwrap_or(&user.name).trim().to_lowercase();
    let admin = form.get("admin").is_some();
    let mut groups: Vec<&str> = form.all("group").filter(|name| !name.is_empty()).collect();
    groups.sort_unstable();
    // Only what is different is asked for: not everybody may change everything.
    let mut change = Map::new();
    if new_name != user.name {
        change.insert("name".into(), json!(new_name));
    }
    if admin != user.admin {
        change.insert("admin".into(), json!(admin));
    }
    let mut present = user.groups.clone();
    present.sort_unstable();
    if groups != present {
        change.insert("groups".into(), json!(groups));
    }
    if change.is_empty() {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &user_url(&visit, &user.name)));
    }
    let path = format!("/users/{}", urls::segment(&user.name));
    let called = visit.api((Method::PATCH, &path), Some(change.into())).await?;
    if called.is_ok() {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &user_url(&visit, &new_name)));
    }
    user_page(&visit, &user, Some((called.status, called.message()))).await
}

/// `GET /hub/admin/open/NAME[/SERVER]`: says whose server it is before the person is in it.
pub async fn open(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    check(&visit)?;
    let Target { owner, server } = spawn::target(&visit, &segments, ACCESS)?;
    let who = if server.is_default() { owner.to_string() } else { format!("{owner}/{server}") };
    let extra = context! {
        title => text!("Open somebody else's server?"),
        listed => who,
        text => text!("You will see and can change their files as if you were them. Be there with their consent. The log of the hub notes it."),
        action => visit.uri(),
        button => text!("Access Server"),
        cancel_url => visit.hub_url("admin"),
    };
    Ok(visit.page(StatusCode::OK, "ask.html", extra))
}

/// `POST /hub/admin/open/NAME[/SERVER]`: notes it and goes there.
pub async fn enter(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, PageError> {
    check(&visit)?;
    visit.form(body).await?;
    let Target { owner, server } = spawn::target(&visit, &segments, ACCESS)?;
    tracing::warn!("{} opens the server {owner}/{server}", visit.person()?.name);
    Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.server_url(owner.as_str(), server.as_str())))
}

/// The user of a name, if the person may read them.
async fn find(visit: &Visit, name: &str) -> Result<User, PageError> {
    succeeded(visit.api((Method::GET, &format!("/users/{}", urls::segment(name))), None).await?)?;
    let user = visit.hub.store.user(name)?;
    user.ok_or_else(|| PageError::new(StatusCode::NOT_FOUND, format!("No such user: {name}")))
}

async fn user_page(
    visit: &Visit,
    user: &User,
    problem: Option<(StatusCode, String)>,
) -> Result<Response, PageError> {
    let owner = UserName::new(user.name.as_str()).map_err(|_| PageError::no_access())?;
    visit.hub.look_at_figures(std::slice::from_ref(&owner)).await;
    let mut groups = group_names(visit).await?;
    groups.extend(user.groups.iter().cloned());
    groups.sort_unstable();
    groups.dedup();
    let groups = groups.into_iter().map(|name| {
        let member = user.groups.contains(&name);
        context! { name => name, member => member }
    });
    let extra = context! {
        tab => "users",
        problem => problem.as_ref().map(|(_, text)| text.as_str()),
        name => user.name.as_str(),
        admin => user.admin,
        roles => user.roles.clone(),
        groups => groups.collect::<Vec<Value>>(),
        created => user.created.map(iso_time),
        last_activity => user.last_activity.map(iso_time),
        user_url => user_url(visit, &user.name),
        servers => servers_of(visit, &owner, &ServerName::default())?,
    };
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    Ok(page(visit, status, "admin_user.html", extra))
}
