//! The routes of the proxy, which is part of the daemon: hub and proxy share one table.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::answer::{Answer, empty};
use super::ask::Ask;
use super::body;
use super::page::Paging;
use crate::auth::scopes::Target;
use crate::error::HttpError;

/// What marks the routes that are JupyterHub's; others are not shown here.
const MARK: &str = "jupyterhub";

/// `GET /proxy`: the hub's routes by prefix, sorted.
pub async fn list(ask: Ask) -> Answer {
    ask.need(&["proxy"], Target::All)?;
    let paging = Paging::of(&ask)?;
    let hub = &ask.hub;
    let origin = hub.settings.hub_api_url.strip_suffix("/hub/api").unwrap_or(&hub.settings.hub_api_url);
    let target = origin.strip_suffix(hub.settings.base_url.trim_end_matches('/')).unwrap_or(origin);
    let mut routes: Vec<(String, Value)> = hub
        .routes
        .shown()
        .into_iter()
        .filter_map(|(prefix, data)| {
            let spec = if prefix.ends_with('/') { prefix } else { prefix + "/" };
            Some((spec.clone(), model(&spec, serde_json::from_str(&data).ok()?)?))
        })
        .collect();
    let own = json!({ "routespec": hub.settings.base_url, "target": target, "data": { "hub": true } });
    routes.push((hub.settings.base_url.clone(), own));
    routes.sort_by(|one, other| one.0.cmp(&other.0));
    let total = i64::try_from(routes.len()).unwrap_or(i64::MAX);
    let part = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let page = routes.into_iter().skip(part(paging.page.offset)).take(part(paging.page.limit));
    Ok(paging.answer_with(&ask, Value::Object(page.collect()), total))
}

/// `POST /proxy`: compares hub and proxy. There is nothing to compare where both use one table.
pub async fn check(ask: Ask) -> Answer {
    ask.need(&["proxy"], Target::All)?;
    Ok(done())
}

/// `PATCH /proxy`: another proxy takes over. The daemon's own cannot be replaced.
pub async fn replace(ask: Ask, body: Body) -> Answer {
    ask.need(&["proxy"], Target::All)?;
    let data = match body::json(body).await {
        Ok(Value::Null) => return Err(HttpError::bad_request("need JSON body").into()),
        Ok(Value::Object(data)) => data,
        Ok(_) => return Err(HttpError::bad_request("Request body must be JSON dict").into()),
        Err(error) if error.status == StatusCode::BAD_REQUEST => {
            return Err(HttpError::bad_request("Request body must be JSON dict").into());
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(key) = ["api_url", "auth_token"].into_iter().find(|key| data.contains_key(*key)) {
        let text = format!("{key} cannot be changed: the proxy is part of hubd");
        return Err(HttpError::bad_request(text).into());
    }
    Ok(done())
}

/// Nothing to tell; JupyterHub types it all the same.
fn done() -> Response {
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// JupyterHub's form of what the proxy keeps; nothing for a route that is not the hub's.
fn model(spec: &str, mut data: Map<String, Value>) -> Option<Value> {
    data.remove(MARK)?;
    let target = data.remove("target")?;
    Some(json!({ "routespec": spec, "target": target, "data": data }))
}
