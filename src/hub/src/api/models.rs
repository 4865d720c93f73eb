//! What the API tells of users, servers, groups, services and tokens: as much as the caller may know.

use hubd_proto::{ServerName, UserName};
use hubd_store::{ApiToken, Group, Service, Spawner, StoreError, User};
use serde_json::{Map, Value, json};

use super::timestamps;
use crate::Hub;
use crate::auth::scopes::{Access, Held, Target, access};
use crate::auth::{Caller, CallerKind};
use crate::servers::{Snapshot, State};

/// Which fields of a user each scope shows, beside kind and name.
const USER_FIELDS: &[(&str, &[&str])] = &[
    (
        "read:users",
        &["admin", "roles", "groups", "server", "pending", "created", "last_activity", "user_info"],
    ),
    ("read:users:name", &["admin", "user_info"]),
    ("read:users:groups", &["groups"]),
    ("read:users:activity", &["last_activity"]),
    ("read:roles:users", &["roles", "admin"]),
    ("admin:auth_state", &["auth_state"]),
];
/// Which fields of a group each scope shows, beside kind and name.
const GROUP_FIELDS: &[(&str, &[&str])] = &[
    ("read:groups", &["properties", "users"]),
    ("read:groups:name", &[]),
    ("read:roles:groups", &["roles"]),
];
/// Which fields of a service each scope shows, beside kind and name.
const SERVICE_FIELDS: &[(&str, &[&str])] = &[
    ("read:services", &["admin", "url", "prefix", "command", "pid", "info", "display"]),
    ("read:services:name", &["admin"]),
    ("read:roles:services", &["roles", "admin"]),
];

/// Which servers a user's model lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Servers {
    /// Those that run, start or stop.
    Active,
    /// Also those that are stopped.
    All,
}

/// Whose eyes a model is for.
pub struct Viewer<'a> {
    /// The hub.
    pub hub: &'a Hub,
    /// What they may do.
    pub scopes: &'a Held,
}

impl Viewer<'_> {
    fn may(&self, scope: &str, target: Target<'_>) -> bool {
        access(self.scopes, scope, target, self.hub.store.as_ref()) == Access::Allowed
    }

    /// The model of a user; `None` when nothing of them may be seen.
    pub fn user(&self, user: &User, servers: Servers) -> Result<Option<Value>, StoreError> {
        let target = Target::User(&user.name);
        let fields = self.fields(USER_FIELDS, target);
        let servers = self.servers(user, servers)?;
        if fields.is_none() && servers.is_none() {
            return Ok(None);
        }
        let name = UserName::new(user.name.as_str()).ok();
        let snapshot = name.as_ref().map(|name| self.hub.server(name, &ServerName::default()));
        let ready = snapshot.as_ref().is_some_and(|snapshot| snapshot.state == State::Ready);
        let url =
            name.as_ref().filter(|_| ready).map(|name| self.hub.server_url(name, &ServerName::default()));
        let mut model = Map::new();
        model.insert("kind".into(), "user".into());
        model.insert("name".into(), user.name.as_str().into());
        for field in fields.unwrap_or_default() {
            let value = match field {
                "admin" => user.admin.into(),
                "roles" => json!(user.roles),
                "groups" => json!(user.groups),
                "server" => json!(url),
                "pending" => json!(snapshot.as_ref().and_then(|snapshot| snapshot.state.pending())),
                "created" => timestamps::write(user.created),
                "last_activity" => timestamps::write(user.last_activity),
                "user_info" => json!(user.user_info),
                _ => Value::Null,
            };
            model.insert(field.into(), value);
        }
        if let Some(servers) = servers {
            model.insert("servers".into(), Value::Object(servers));
        }
        Ok(Some(Value::Object(model)))
    }

    /// The servers of a user that may be seen; `None` without any right to see them.
    fn servers(&self, user: &User, which: Servers) -> Result<Option<Map<String, Value>>, StoreError> {
        let all = self.may("read:servers", Target::User(&user.name));
        let prefix = format!("read:servers!server={}/", user.name);
        if !all && !self.scopes.iter().any(|scope| scope.starts_with(&prefix)) {
            return Ok(None);
        }
        let mut models = Map::new();
        let spawners = self.hub.store.recent_spawners_of(&user.name)?;
        let default = spawners.iter().all(|spawner| !spawner.name.is_empty());
        let default = default.then(|| Spawner::never_started(&user.name));
        for spawner in default.iter().chain(spawners.iter()) {
            let snapshot = snapshot(self.hub, spawner);
            let seen = all || self.may("read:servers", Target::Server(&user.name, &spawner.name));
            if seen && (which == Servers::All || snapshot.state.is_active()) {
                models.insert(spawner.name.clone(), self.server(spawner));
            }
        }
        Ok(Some(models))
    }

    /// The model of a server; the caller may see it.
    pub fn server(&self, spawner: &Spawner) -> Value {
        let snapshot = snapshot(self.hub, spawner);
        let base = &self.hub.settings.base_url;
        let (user, server) =
            (super::server_names::segment(&spawner.user), super::server_names::segment(&spawner.name));
        let (url, progress) = if spawner.name.is_empty() {
            (format!("{base}user/{user}/"), format!("{base}hub/api/users/{user}/server/progress"))
        } else {
            (
                format!("{base}user/{user}/{server}/"),
                format!("{base}hub/api/users/{user}/servers/{server}/progress"),
            )
        };
        let public = |path: &str| self.hub.public_origin().map(|origin| format!("{origin}{path}"));
        let hosts = self.hub.settings.subdomains.as_ref();
        let (url, full_url) = match hosts.map(|hosts| hosts.origin_of_user(&spawner.user)) {
            Some(origin) => (format!("{origin}{url}"), Some(format!("{origin}{url}"))),
            None => (url.clone(), public(&url)),
        };
        let empty = json!({});
        let mut model = json!({
            "name": spawner.name,
            "display_name": spawner.display_name,
            "full_name": format!("{}/{}", spawner.user, spawner.name),
            "last_activity": timestamps::write(spawner.last_activity),
            "started": timestamps::write(spawner.started.filter(|_| snapshot.state.is_active())),
            "pending": snapshot.state.pending(),
            "ready": snapshot.state == State::Ready,
            "stopped": !snapshot.state.is_active(),
            "full_url": full_url,
            "full_progress_url": public(&progress),
            "url": url,
            "user_options": spawner.user_options.as_ref().unwrap_or(&empty),
            "progress_url": progress,
        });
        if self.may("admin:server_state", Target::Server(&spawner.user, &spawner.name))
            && let Some(model) = model.as_object_mut()
        {
            model.insert("state".into(), json!(spawner.state.as_ref().unwrap_or(&empty)));
        }
        model
    }

    /// The model of a group; `None` when nothing of it may be seen.
    pub fn group(&self, group: &Group) -> Option<Value> {
        let mut model = Map::new();
        model.insert("kind".into(), "group".into());
        model.insert("name".into(), group.name.as_str().into());
        for field in self.fields(GROUP_FIELDS, Target::Group(&group.name))? {
            let value = match field {
                "properties" => group.properties.clone(),
                "users" => json!(group.users),
                _ => json!(group.roles),
            };
            model.insert(field.into(), value);
        }
        Some(Value::Object(model))
    }

    /// The model of a service; `None` when nothing of it may be seen.
    pub fn service(&self, service: &Service) -> Option<Value> {
        let mut model = Map::new();
        model.insert("kind".into(), "service".into());
        model.insert("name".into(), service.name.as_str().into());
        for field in self.fields(SERVICE_FIELDS, Target::Service(&service.name))? {
            let url = service.url.as_deref().unwrap_or_default();
            let value = match field {
                "admin" => service.admin.into(),
                "url" => url.into(),
                "prefix" if url.is_empty() => "".into(),
                "prefix" => {
                    let name = super::server_names::segment(&service.name);
                    format!("{}services/{name}/", self.hub.settings.base_url).into()
                }
                "command" => json!(service.command),
                "pid" => self.hub.services.pid(&service.name).into(),
                "info" => service.info.clone().unwrap_or_else(|| json!({})),
                "display" => service.display.unwrap_or(true).into(),
                _ => json!(service.roles),
            };
            model.insert(field.into(), value);
        }
        Some(Value::Object(model))
    }

    /// The fields that the viewer's scopes show; `None` without any.
    fn fields(&self, table: &[(&str, &[&'static str])], target: Target<'_>) -> Option<Vec<&'static str>> {
        let mut shown: Vec<&'static str> = Vec::new();
        let mut any = false;
        for (scope, fields) in table {
            if self.may(scope, target) {
                any = true;
                shown.extend(fields.iter());
            }
        }
        any.then_some(shown)
    }
}

/// The model of a token, whose effective scopes are given.
pub fn token(token: &ApiToken, owner: &CallerKind, scopes: &Held) -> Value {
    let (kind, name) = match owner {
        CallerKind::User(user) => ("user", user.name.as_str()),
        CallerKind::Service(service) => ("service", service.name.as_str()),
    };
    let client = token.client_description.as_deref().filter(|text| !text.is_empty());
    json!({
        kind: name,
        "id": format!("a{}", token.id),
        "kind": "api_token",
        "roles": [],
        "scopes": scopes,
        "created": timestamps::write(token.created),
        "last_activity": timestamps::write(token.last_activity),
        "expires_at": timestamps::write(token.expires_at),
        "note": token.note,
        "session_id": token.session_id,
        "oauth_client": client.or(token.client_id.as_deref()),
    })
}

/// Who a credential belongs to: the model that user servers and services ask for. Every credential may
/// tell its owner's name and groups.
pub fn identity(hub: &Hub, caller: &Caller) -> Result<Value, StoreError> {
    let owner = match &caller.kind {
        CallerKind::User(user) => crate::auth::scopes::Owner::User(&user.name),
        CallerKind::Service(service) => crate::auth::scopes::Owner::Service(&service.name),
    };
    let mut scopes = Held::clone(&caller.scopes);
    scopes.extend(owner.identify_scopes());
    let viewer = Viewer { hub, scopes: &scopes };
    let model = match &caller.kind {
        CallerKind::User(user) => viewer.user(user, Servers::Active)?,
        CallerKind::Service(service) => viewer.service(service),
    };
    let mut model = model.unwrap_or_else(|| json!({}));
    if let Some(model) = model.as_object_mut() {
        let token_id = caller.token.as_ref().map(|token| format!("a{}", token.id));
        if let CallerKind::Service(service) = &caller.kind {
            // A service that looks itself up sees what is stored, not what is made of it.
            let stored = [
                ("url", json!(service.url)),
                ("info", json!(service.info)),
                ("display", json!(service.display)),
            ];
            for (key, value) in stored {
                if let Some(shown) = model.get_mut(key) {
                    *shown = value;
                }
            }
        }
        model.insert("token_id".into(), json!(token_id));
        model.insert("session_id".into(), json!(caller.session_id));
        model.insert("scopes".into(), json!(*caller.scopes));
    }
    Ok(model)
}

fn snapshot(hub: &Hub, spawner: &Spawner) -> Snapshot {
    let names = UserName::new(spawner.user.as_str()).ok().zip(ServerName::new(spawner.name.as_str()).ok());
    match names {
        Some((user, server)) => hub.server(&user, &server),
        None => Snapshot {
            state: State::Stopped { failure: None },
            started: None,
            pid: None,
            progress: Vec::new(),
            figures: None,
        },
    }
}
