//! Services: reading them, adding external ones and removing those again.

use axum::body::Body;
use http::StatusCode;
use hubd_proto::Secret;
use hubd_proxy::Endpoint;
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, empty, json_answer, read_answer};
use super::ask::Ask;
use super::models::Viewer;
use super::{body, python};
use crate::auth::scopes::{Access, Owner, Target, expand, intersect, known};
use crate::auth::{Caller, CallerKind};
use crate::error::HttpError;
use crate::services::{AddError, Spec};

/// `GET /services`: a dict by name, never in parts.
pub async fn list(ask: Ask) -> Answer {
    let caller = ask.somebody()?;
    if ask.access(caller, "list:services", Target::All) == Access::Denied {
        ask.need(&["list:services"], Target::All)?;
    }
    let viewer = Viewer { hub: &ask.hub, scopes: &caller.scopes };
    let mut models = Map::new();
    for service in ask.hub.store.services()? {
        let listed = ask.access(caller, "list:services", Target::Service(&service.name)) == Access::Allowed;
        if let Some(model) = viewer.service(&service).filter(|_| listed) {
            models.insert(service.name.clone(), model);
        }
    }
    Ok(read_answer(&ask.parts.headers, &Value::Object(models)))
}

/// `GET /services/NAME`.
pub async fn read(ask: Ask) -> Answer {
    let name = ask.path("service");
    let scopes = ["read:services", "read:services:name", "read:roles:services"];
    let caller = ask.need(&scopes, Target::Service(name))?;
    let service = ask.hub.store.service(name)?;
    let service = service.ok_or_else(|| HttpError::not_found(format!("No such service: {name}")))?;
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.service(&service);
    Ok(read_answer(&ask.parts.headers, &json!(model)))
}

/// What the API takes of a service: name and Python type, as JupyterHub checks them.
const FIELDS: [(&str, &str); 14] = [
    ("name", "str"),
    ("admin", "bool"),
    ("url", "str"),
    ("oauth_client_allowed_scopes", "list"),
    ("api_token", "str"),
    ("info", "dict"),
    ("display", "bool"),
    ("oauth_no_confirm", "bool"),
    ("command", "list"),
    ("cwd", "str"),
    ("environment", "dict"),
    ("user", "str"),
    ("oauth_client_id", "str"),
    ("oauth_redirect_uri", "str"),
];

/// `POST /services/NAME`: adds an external service. Nobody gives it more than they have.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let name = ask.path("service");
    let caller = ask.need(&["admin:services"], Target::Service(name))?;
    if ask.hub.store.service(name)?.is_some() {
        return Err(HttpError::new(StatusCode::CONFLICT, format!("Service {name} already exists")).into());
    }
    let mut data = match body::json(body).await? {
        Value::Object(data) if !data.is_empty() => data,
        _ => return Err(HttpError::bad_request("Invalid service data").into()),
    };
    data.insert("name".to_owned(), name.into());
    check_fields(&data)?;
    check_scopes(&ask, caller, &data)?;
    if data.get("command").and_then(Value::as_array).is_some_and(|words| !words.is_empty()) {
        let text = format!("Can not create managed service {name} at runtime");
        return Err(HttpError::bad_request(text).into());
    }
    let failed = |why: &dyn std::fmt::Display| {
        tracing::error!("Failed to create service {name}: {why}");
        ApiError::from(HttpError::bad_request(format!("Failed to create service {name}")))
    };
    let token = match data.get_mut("api_token") {
        Some(Value::String(token)) => Some(Secret::new(std::mem::take(token))),
        _ => None,
    };
    if token.is_some() {
        data.remove("api_token");
    }
    let spec = Spec::read(&data.into_iter().collect(), token).map_err(|error| failed(&error))?;
    // A socket's path would be the caller's choice of any file that hubd may open.
    if matches!(spec.endpoint, Some(Endpoint::Unix(_))) {
        return Err(failed(&"url must begin with http://"));
    }
    match ask.hub.add_service(&spec) {
        Ok(()) => {}
        Err(AddError::Store(error)) => return Err(error.into()),
        Err(error @ (AddError::Exists | AddError::Client)) => return Err(failed(&error)),
    }
    let service = ask.hub.store.service(name)?;
    let viewer = Viewer { hub: &ask.hub, scopes: &caller.scopes };
    let model = service.and_then(|service| viewer.service(&service)).unwrap_or_else(|| json!({}));
    Ok(json_answer(StatusCode::CREATED, &model))
}

/// `DELETE /services/NAME`: one that the API added.
pub async fn delete(ask: Ask) -> Answer {
    let name = ask.path("service");
    ask.need(&["admin:services"], Target::Service(name))?;
    let service = ask.hub.store.service(name)?;
    let service = service.ok_or_else(|| HttpError::not_found(format!("Service {name} does not exist")))?;
    if service.from_config {
        let text = format!("Service {name} is not modifiable at runtime");
        return Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, text).into());
    }
    ask.hub.remove_service(name)?;
    Ok(empty(StatusCode::OK))
}

fn check_fields(data: &Map<String, Value>) -> Result<(), HttpError> {
    let unknown = data.keys().find(|key| !FIELDS.iter().any(|(known, _)| known == key));
    if unknown.is_some() {
        let keys: Vec<Value> = data.keys().map(|key| key.as_str().into()).collect();
        return Err(HttpError::bad_request(format!("Invalid JSON keys: {}", python::repr(&keys.into()))));
    }
    for (key, value) in data {
        let wanted = FIELDS.iter().find(|(known, _)| known == key).map_or("", |(_, wanted)| *wanted);
        if python::type_name(value) != wanted {
            let found = python::type_name(value);
            return Err(HttpError::bad_request(format!("service.{key} must be {wanted}, not: {found}")));
        }
    }
    Ok(())
}

/// The role and the scopes that the service would get must be the caller's too.
fn check_scopes(ask: &Ask, caller: &Caller, data: &Map<String, Value>) -> Result<(), ApiError> {
    let mut wanted = body::strings(data, "oauth_client_allowed_scopes")?.unwrap_or_default();
    if data.get("admin") == Some(&Value::Bool(true)) {
        wanted.extend(ask.hub.store.role_scopes("admin")?.unwrap_or_default());
    }
    if let Some(error) = wanted.iter().find_map(|scope| known(scope).err()) {
        return Err(HttpError::bad_request(format!("\"{error}\"")).into());
    }
    let (owner, kind) = match &caller.kind {
        CallerKind::User(user) => (Owner::User(&user.name), "User"),
        CallerKind::Service(service) => (Owner::Service(&service.name), "Service"),
    };
    let wanted = expand(&wanted, owner, None);
    let held = intersect(&wanted, &caller.scopes, ask.hub.store.as_ref());
    if held == wanted {
        return Ok(());
    }
    let missing: Vec<&str> = wanted.difference(&held).map(String::as_str).collect();
    let text =
        format!("Not assigning requested scopes {} not held by {kind} {}", missing.join(","), caller.name());
    Err(HttpError::bad_request(text).into())
}
