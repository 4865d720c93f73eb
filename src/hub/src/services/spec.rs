//! What is said of a service in the configuration or by the API, checked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hubd_proto::{Secret, ServerName, UserName};
use hubd_proxy::{Destination, Endpoint};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::fields::{Fields, command, environment, flag, list, seconds, table, text, user};
use crate::Settings;

/// Shortest token that JupyterHub takes from a person, in characters.
pub const TOKEN_CHARACTERS_MIN: usize = 8;
/// What an OAuth client id of a service begins with.
const CLIENT_PREFIX: &str = "service-";

/// One service. `None` is what was not said; JupyterHub keeps the difference in its database.
#[derive(Clone)]
pub struct Spec {
    /// Name, a segment of URLs.
    pub name: String,
    /// Whether it has the role `admin`; deprecated in JupyterHub.
    pub admin: bool,
    /// `http://HOST:PORT`, `https://…` or `http+unix://%2Fpath`.
    pub url: Option<String>,
    /// Where that is.
    pub endpoint: Option<Endpoint>,
    /// A token that the operator chose.
    pub api_token: Option<Secret>,
    /// The program and its arguments, if the hub runs it.
    pub command: Option<Vec<String>>,
    /// The directory that root lets it start in.
    pub cwd: Option<String>,
    /// Variables beside JupyterHub's.
    pub environment: Option<BTreeMap<String, String>>,
    /// The account that root lets it run as.
    pub user: Option<UserName>,
    /// `service-NAME`, unless said otherwise.
    pub oauth_client_id: Option<String>,
    /// `/services/NAME/oauth_callback`, unless said otherwise.
    pub oauth_redirect_uri: Option<String>,
    /// Whether nobody is asked before it learns who they are.
    pub oauth_no_confirm: Option<bool>,
    /// What it may ask for in the name of people.
    pub oauth_client_allowed_scopes: Option<Vec<String>>,
    /// Roles whose scopes it may ask for; deprecated since 3.0.
    pub oauth_roles: Vec<String>,
    /// Free information.
    pub info: Option<Value>,
    /// Whether pages list it.
    pub display: Option<bool>,
    /// How long its URL may take to answer, in seconds.
    pub timeout_seconds: i64,
}

/// Why there can be no such service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No name, or one that cannot stand in a URL.
    #[error(
        "a service needs a name that is not empty, not only dots, without slash, percent escape or spaces around it"
    )]
    Name,
    /// A field that no service has.
    #[error("No such service field: {0}")]
    Unknown(String),
    /// A field of another type.
    #[error("{0} must be {1}")]
    Type(&'static str, &'static str),
    /// A URL that leads nowhere.
    #[error("url: {0}")]
    Url(String),
    /// A client id that could be a user server's.
    #[error("oauth_client_id must begin with {CLIENT_PREFIX}")]
    ClientId,
    /// OAuth without a place to go back to.
    #[error("a service without url that uses OAuth needs oauth_redirect_uri")]
    RedirectUri,
    /// A short token.
    #[error("api_token must have at least {TOKEN_CHARACTERS_MIN} and at most 64 characters")]
    Token,
}

impl Spec {
    /// Reads and checks the fields of a service, of which `api_token` is apart.
    ///
    /// # Errors
    /// Names the field; never quotes a token.
    pub fn read(fields: &Fields, api_token: Option<Secret>) -> Result<Self, SpecError> {
        let known = |key: &&String| !FIELDS.contains(&key.as_str());
        if let Some(key) = fields.keys().find(known) {
            return Err(SpecError::Unknown(key.chars().take(100).collect()));
        }
        let url = text(fields, "url")?;
        let spec = Self {
            name: text(fields, "name")?.filter(|name| name_is_good(name)).ok_or(SpecError::Name)?,
            admin: flag(fields, "admin")?.unwrap_or(false),
            endpoint: url.as_deref().map(endpoint).transpose()?,
            url,
            api_token: api_token.or(text(fields, "api_token")?.map(Secret::new)),
            command: command(fields)?.filter(|words| !words.is_empty()),
            cwd: text(fields, "cwd")?,
            environment: environment(fields)?,
            user: user(fields)?,
            oauth_client_id: text(fields, "oauth_client_id")?,
            oauth_redirect_uri: text(fields, "oauth_redirect_uri")?,
            oauth_no_confirm: flag(fields, "oauth_no_confirm")?,
            oauth_client_allowed_scopes: list(fields, "oauth_client_allowed_scopes")?,
            oauth_roles: list(fields, "oauth_roles")?.unwrap_or_default(),
            info: table(fields, "info")?.map(Value::Object),
            display: flag(fields, "display")?,
            timeout_seconds: seconds(fields)?,
        };
        let token_good = |token: &Secret| token_is_good(token.expose());
        if !spec.api_token.as_ref().is_none_or(token_good) {
            return Err(SpecError::Token);
        }
        if !spec.oauth_client_id.as_ref().is_none_or(|id| id.starts_with(CLIENT_PREFIX)) {
            return Err(SpecError::ClientId);
        }
        if spec.uses_oauth() && spec.url.is_none() && spec.oauth_redirect_uri.is_none() {
            return Err(SpecError::RedirectUri);
        }
        Ok(spec)
    }

    /// Whether the hub runs it.
    pub fn is_managed(&self) -> bool {
        self.command.is_some()
    }

    /// `managed` or `external`.
    pub fn kind(&self) -> &'static str {
        if self.is_managed() { "managed" } else { "external" }
    }

    /// Whether people can log in to it.
    pub fn uses_oauth(&self) -> bool {
        self.url.is_some()
            || self.oauth_client_id.is_some()
            || self.oauth_redirect_uri.is_some()
            || self.oauth_no_confirm == Some(true)
    }

    /// Its OAuth client.
    pub fn client_id(&self) -> String {
        self.oauth_client_id.clone().unwrap_or_else(|| format!("{CLIENT_PREFIX}{}", self.name))
    }

    /// Its URL path: `/services/NAME/`, percent-encoded as far as a URL needs it.
    pub fn prefix(&self, base_url: &str) -> String {
        prefix(base_url, &self.name)
    }

    /// Where OAuth comes back to.
    pub fn redirect_uri(&self, settings: &Settings) -> String {
        let own = || format!("{}oauth_callback", self.public_path(settings));
        self.oauth_redirect_uri.clone().unwrap_or_else(own)
    }

    /// Its prefix, with scheme and host where services have hosts of their own.
    pub fn public_path(&self, settings: &Settings) -> String {
        let origin = settings.subdomains.as_ref().map(|hosts| hosts.origin_of_service(&self.name));
        format!("{}{}", origin.unwrap_or_default(), self.prefix(&settings.base_url))
    }
}

/// The URL path of a service.
pub fn prefix(base_url: &str, name: &str) -> String {
    format!("{base_url}services/{name}/")
}

/// Whether JupyterHub would take a token that a person chose.
pub fn token_is_good(token: &str) -> bool {
    token.chars().count() >= TOKEN_CHARACTERS_MIN && token.len() <= hubd_store::TOKEN_BYTES_MAX
}

/// Where a URL leads. `localhost` is this machine's IPv4 address, so that the owner of the socket behind it
/// can be checked.
///
/// # Errors
/// Not a URL of a known form.
pub fn endpoint(url: &str) -> Result<Endpoint, SpecError> {
    let found = Destination::parse(url)
        .map_err(|error| SpecError::Url(error.to_string().replace("'target'", "it")))?;
    Ok(match found.endpoint() {
        Endpoint::Name(name, port) if name.eq_ignore_ascii_case("localhost") => {
            Endpoint::Tcp((Ipv4Addr::LOCALHOST, *port).into())
        }
        other => other.clone(),
    })
}

/// Every field; anything else is refused.
const FIELDS: &[&str] = &[
    "name",
    "admin",
    "url",
    "api_token",
    "command",
    "cwd",
    "environment",
    "user",
    "oauth_client_id",
    "oauth_redirect_uri",
    "oauth_no_confirm",
    "oauth_client_allowed_scopes",
    "oauth_roles",
    "info",
    "display",
    "timeout",
];

fn name_is_good(name: &str) -> bool {
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    decoded == name && ServerName::new(name).is_ok() && !name.chars().all(|c| c == '.') && name.trim() == name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<Spec, SpecError> {
        Spec::read(&fields.as_object().expect("an object").clone().into_iter().collect(), None)
    }

    fn good(fields: Value) -> Spec {
        read(fields).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_service_has_jupyterhubs_defaults() {
        let spec = good(json!({"name": "whoami", "url": "http://127.0.0.1:10101"}));
        assert_eq!((spec.client_id().as_str(), spec.kind()), ("service-whoami", "external"));
        assert_eq!(spec.prefix("/base/"), "/base/services/whoami/");
        assert!(spec.uses_oauth() && spec.timeout_seconds == 30 && !spec.admin);
        let spec = good(json!({"name": "cull", "command": "prog", "environment": {"A": 1}}));
        assert!(spec.is_managed() && !spec.uses_oauth());
        assert_eq!(spec.environment.expect("some")["A"], "1");
    }

    #[test]
    fn localhost_and_sockets_are_endpoints() {
        assert_eq!(endpoint("http://localhost:9999"), Ok(Endpoint::Tcp(([127, 0, 0, 1], 9999).into())));
        assert_eq!(endpoint("unix+http://%2Frun%2Fs"), Ok(Endpoint::Unix("/run/s".into())));
        assert!(matches!(endpoint("ftp://x"), Err(SpecError::Url(_))));
    }

    #[test]
    fn what_no_service_can_have_is_refused_by_name() {
        for (fields, word) in [
            (json!({}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"name": ".."}), "name"),
            (json!({"name": "a/b"}), "name"),
            (json!({"name": "a%20b"}), "name"),
            (json!({"name": " a"}), "name"),
            (json!({"name": "a", "prefix": "x"}), "No such service field: prefix"),
            (json!({"name": "a", "admin": 1}), "admin must be"),
            (json!({"name": "a", "command": [1]}), "command must be"),
            (json!({"name": "a", "info": []}), "info must be"),
            (json!({"name": "a", "environment": {"A": []}}), "environment must be"),
            (json!({"name": "a", "timeout": -1}), "timeout must be"),
            (json!({"name": "a", "user": "-x"}), "user must be"),
            (json!({"name": "a", "url": "http://"}), "url:"),
            (json!({"name": "a", "oauth_client_id": "jupyterhub-user-b"}), "service-"),
            (json!({"name": "a", "oauth_no_confirm": true}), "oauth_redirect_uri"),
            (json!({"name": "a", "api_token": "hunter2"}), "at least 8"),
            (json!({"name": "a", "api_token": "x".repeat(65)}), "at most 64"),
        ] {
            let error = read(fields.clone()).err().expect("refused").to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{fields}: {error}");
        }
    }
}
