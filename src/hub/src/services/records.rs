//! The rows of services, and the tokens that the configuration gives to services and users.

use std::collections::BTreeSet;

use hubd_proto::Secret;
use hubd_proxy::Endpoint;
use hubd_store::{
    CLIENT_SECRET_ROUNDS, GENERATED_ROUNDS, NewService, NewToken, STARTUP_NOTE, ServiceClient, ServiceServer,
    ServiceWritten, StoreError, TokenOwner, hash_token, token_matches, token_prefix,
};
use serde_json::json;

use super::spec::Spec;
use crate::Hub;

/// Note of a token from the configuration, as JupyterHub's.
const CONFIGURED_NOTE: &str = "from config";

/// Whose a token of the configuration is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    User,
    Service,
}

impl Hub {
    /// Brings the rows of services and configured tokens up to date with the configuration. For the start,
    /// after users and groups and before roles are assigned.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn prepare_services(&self) -> Result<(), StoreError> {
        let settings = &self.settings.services;
        let mut kept = Vec::new();
        for spec in &settings.specs {
            kept.push(spec.name.as_str());
            self.write_service(spec, true)?;
        }
        kept.extend(settings.service_tokens.iter().map(|(_, name)| name.as_str()));
        for name in self.store.remove_other_services(&kept)? {
            tracing::info!("Service {name} is not configured any more, its records are deleted");
        }
        for (token, name) in &settings.service_tokens {
            if !settings.specs.iter().any(|spec| spec.name == *name) {
                tracing::warn!(
                    "service {name} not in services, creating implicitly. It is recommended to register services using services list."
                );
            }
            self.add_token(token, Kind::Service, name)?;
        }
        for spec in &settings.specs {
            if let Some(token) = &spec.api_token {
                self.add_token(token, Kind::Service, &spec.name)?;
            }
        }
        for (token, name) in &settings.user_tokens {
            self.add_token(token, Kind::User, name)?;
        }
        Ok(())
    }

    /// Writes the rows of one service.
    ///
    /// # Errors
    /// The database cannot be written.
    pub(super) fn write_service(&self, spec: &Spec, from_config: bool) -> Result<ServiceWritten, StoreError> {
        let (name, base_url) = (&spec.name, &self.settings.base_url);
        let client = if spec.uses_oauth() {
            tracing::info!("Creating service {name} with oauth_client_id={}", spec.client_id());
            Some(self.client_of(spec)?)
        } else {
            tracing::info!("Creating service {name} without oauth.");
            None
        };
        let written = self.store.write_service(&NewService {
            name: name.clone(),
            from_config,
            admin: spec.admin,
            url: spec.url.clone(),
            info: spec.info.clone(),
            display: spec.display,
            oauth_no_confirm: spec.oauth_no_confirm,
            oauth_client_allowed_scopes: spec.oauth_client_allowed_scopes.clone(),
            command: spec.command.clone(),
            cwd: spec.cwd.clone(),
            environment: spec.environment.as_ref().map(|table| json!(table)),
            user: spec.user.as_ref().map(ToString::to_string),
            timeout_seconds: spec.timeout_seconds,
            server: spec.endpoint.as_ref().map(|endpoint| server_of(spec, endpoint, base_url)),
            client,
        })?;
        match written {
            ServiceWritten::Created if spec.admin => tracing::warn!(
                "Service {name} sets `admin: True`, which is deprecated in JupyterHub 2.0. You can assign now assign roles via `JupyterHub.load_roles` configuration. If you specify services in the admin role configuration, the Service admin flag will be ignored."
            ),
            ServiceWritten::Foreign if from_config => tracing::error!(
                "The service {name} from the config file is trying to modify a runtime-created service with the same name"
            ),
            ServiceWritten::Foreign => tracing::error!(
                "The runtime-created service {name} is trying to modify a config-based service with the same name"
            ),
            _ => {}
        }
        if spec.oauth_no_confirm == Some(true) && written != ServiceWritten::Foreign {
            tracing::warn!(
                "Allowing service {name} to complete OAuth without confirmation on an authorization web page"
            );
        }
        Ok(written)
    }

    fn client_of(&self, spec: &Spec) -> Result<ServiceClient, StoreError> {
        let identifier = spec.client_id();
        let present = self.store.oauth_client(&identifier)?;
        let verb = if present.is_some() { "Updating" } else { "Creating" };
        tracing::info!("{verb} oauth client {identifier}");
        let mut allowed: BTreeSet<String> =
            spec.oauth_client_allowed_scopes.iter().flatten().cloned().collect();
        if allowed.is_empty() {
            for role in &spec.oauth_roles {
                allowed.extend(self.store.role_scopes(role)?.unwrap_or_default());
            }
        } else if !spec.oauth_roles.is_empty() {
            tracing::warn!(
                "Ignoring oauth_roles for {}: {:?}, using oauth_client_allowed_scopes={allowed:?}.",
                spec.name,
                spec.oauth_roles
            );
        }
        allowed.insert(format!("access:services!service={}", spec.name));
        let unchanged = |token: &Secret| {
            present.as_ref().is_some_and(|client| token_matches(token.expose(), &client.secret_hash))
        };
        // A managed service without a token of the operator's gets its secret when it starts.
        let new_secret = spec.api_token.as_ref().filter(|token| !unchanged(token));
        Ok(ServiceClient {
            identifier,
            secret_hash: new_secret.map(|token| self.hashed(token, CLIENT_SECRET_ROUNDS)),
            redirect_uri: spec.redirect_uri(&self.settings),
            allowed_scopes: allowed.into_iter().collect(),
        })
    }

    fn hashed(&self, token: &Secret, rounds: u32) -> String {
        let mut salt = [0; 8];
        self.random.fill(&mut salt);
        hash_token(token.expose(), rounds, salt)
    }

    /// Adds a token that the operator chose, unless it is there.
    fn add_token(&self, token: &Secret, kind: Kind, name: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.store.token(token.expose(), now)?.is_some() {
            tracing::debug!("Not duplicating a token of {name}");
            return Ok(());
        }
        let (word, owner) = match kind {
            Kind::Service => ("service", TokenOwner::Service(self.store.ensure_service(name)?)),
            Kind::User => {
                let id = self.store.ensure_user_without_roles(name, &self.new_token(), now)?;
                ("user", TokenOwner::User(id))
            }
        };
        tracing::info!("Adding API token for {word}: {name}");
        let rounds =
            if self.settings.services.trust_tokens { GENERATED_ROUNDS } else { CLIENT_SECRET_ROUNDS };
        self.store.create_token(&self.new_row(token, owner, rounds, CONFIGURED_NOTE)?)?;
        Ok(())
    }

    /// Adds the token of a service that the API makes, which comes with the request.
    pub(super) fn add_service_token(&self, token: &Secret, name: &str) -> Result<(), StoreError> {
        self.add_token(token, Kind::Service, name)
    }

    /// A new token for a service that starts; gives it with its hash.
    pub(super) fn startup_token(&self, spec: &Spec) -> Result<(Secret, String), StoreError> {
        let token = Secret::new(self.new_token());
        let owner = TokenOwner::Service(self.store.ensure_service(&spec.name)?);
        let row = self.new_row(&token, owner, GENERATED_ROUNDS, STARTUP_NOTE)?;
        let client = spec.uses_oauth().then(|| (spec.client_id(), self.hashed(&token, CLIENT_SECRET_ROUNDS)));
        let client = client.as_ref().map(|(id, hash)| (id.as_str(), hash.as_str()));
        self.store.service_starting(&row, client)?;
        Ok((token, row.hashed))
    }

    fn new_row(
        &self,
        token: &Secret,
        owner: TokenOwner,
        rounds: u32,
        note: &str,
    ) -> Result<NewToken, StoreError> {
        Ok(NewToken {
            owner,
            hashed: self.hashed(token, rounds),
            prefix: token_prefix(token.expose()),
            client_id: "jupyterhub".to_owned(),
            session_id: None,
            note: note.to_owned(),
            scopes: self.store.role_scopes("token")?.unwrap_or_default(),
            created: self.clock.now(),
            expires_at: None,
        })
    }
}

/// The row of `servers`.
fn server_of(spec: &Spec, endpoint: &Endpoint, base_url: &str) -> ServiceServer {
    let https = spec.url.as_deref().is_some_and(|url| url.to_ascii_lowercase().starts_with("https:"));
    let (ip, port) = match endpoint {
        Endpoint::Tcp(address) => (address.ip().to_string(), i64::from(address.port())),
        Endpoint::Name(name, port) | Endpoint::Tls(name, port) => (name.to_string(), i64::from(*port)),
        Endpoint::Unix(path) => (path.display().to_string(), 0),
    };
    ServiceServer {
        proto: if https { "https" } else { "http" }.to_owned(),
        ip,
        port,
        base_url: spec.prefix(base_url),
    }
}
