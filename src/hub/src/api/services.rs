//! Services, as far as they can be read.

use serde_json::{Map, Value, json};

use super::answer::{Answer, read_answer};
use super::ask::Ask;
use super::models::Viewer;
use crate::auth::scopes::{Access, Target};
use crate::error::HttpError;

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
