//! The environment of a managed service, as JupyterHub gives it.

use std::collections::BTreeMap;

use hubd_proto::Secret;

use super::spec::Spec;
use crate::Settings;
use crate::servers::{origin, python_json};

/// All variables but the token.
pub(super) fn environment(settings: &Settings, spec: &Spec) -> BTreeMap<String, String> {
    let prefix = spec.url.as_ref().map(|_| spec.prefix(&settings.base_url));
    let path = spec.url.as_ref().map(|_| spec.public_path(settings));
    let host = settings.public_url.as_deref().map(origin).unwrap_or_default();
    let public = |path: &str| match host {
        "" => String::new(),
        _ if path.contains("://") => path.to_owned(),
        host => format!("{host}{path}"),
    };
    let scopes =
        format!("[\"access:services\", {}]", python_json(&format!("access:services!service={}", spec.name)));
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("JUPYTERHUB_CLIENT_ID", spec.client_id());
    set("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0".to_owned());
    set("JUPYTERHUB_HOST", host.to_owned());
    set("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{}oauth_callback", path.as_deref().unwrap_or_default()));
    set("JUPYTERHUB_OAUTH_SCOPES", scopes.clone());
    set("JUPYTERHUB_OAUTH_ACCESS_SCOPES", scopes);
    set("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]".to_owned());
    set("JUPYTERHUB_USER", spec.user.as_ref().map(ToString::to_string).unwrap_or_default());
    set("JUPYTERHUB_SERVER_NAME", String::new());
    set("JUPYTERHUB_API_URL", settings.hub_api_url.clone());
    set("JUPYTERHUB_BASE_URL", settings.base_url.clone());
    set("JUPYTERHUB_PUBLIC_URL", path.as_deref().map(public).unwrap_or_default());
    set("JUPYTERHUB_PUBLIC_HUB_URL", public(&settings.hub_prefix()));
    // Where JupyterHub's own spawner would listen if it had been given a port.
    set("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:0/".to_owned());
    for (name, value) in spec.environment.iter().flatten() {
        set(name, value.clone());
    }
    set("JUPYTERHUB_SERVICE_NAME", spec.name.clone());
    if let (Some(url), Some(prefix)) = (&spec.url, prefix) {
        set("JUPYTERHUB_SERVICE_URL", url.clone());
        set("JUPYTERHUB_SERVICE_PREFIX", prefix);
    }
    variables
}

/// The same with the token, ready for the helper.
pub(super) fn with_token(variables: BTreeMap<String, String>, token: &Secret) -> BTreeMap<String, Secret> {
    let mut all: BTreeMap<String, Secret> =
        variables.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    for name in ["JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"] {
        all.insert(name.to_owned(), token.clone());
    }
    all
}
