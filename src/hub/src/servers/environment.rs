//! The environment of a user server, as JupyterHub gives it to `jupyterhub-singleuser`.
//!
//! `USER`, `HOME`, `SHELL` and `PATH` are missing on purpose: the helper sets them from the account.

use std::collections::BTreeMap;

use hubd_proto::Secret;
use hubd_proto::message::Listen;

use super::names::{Which, url_escape};
use crate::Settings;
use crate::settings::SpawnerSettings;

/// The port in `JUPYTERHUB_SERVICE_URL` of a server on a Unix socket: jupyter_server's own default,
/// any other one "is mutually exclusive" with a socket.
const UNIX_SOCKET_PORT: u16 = 8888;

/// All variables for one start. `token` is the server's API token.
pub(super) fn environment(
    settings: &Settings,
    spawner: &SpawnerSettings,
    which: &Which,
    token: &Secret,
    listen: Listen,
) -> BTreeMap<String, Secret> {
    let url = which.url(&settings.base_url);
    let (user, server) = (which.user.as_str(), which.server.as_str());
    let port = match listen {
        Listen::Unix => UNIX_SOCKET_PORT,
        Listen::Tcp(port) => port,
    };
    let scopes = format!(
        "[{}, {}]",
        python_json(&format!("access:servers!server={user}/{server}")),
        python_json(&format!("access:servers!user={user}")),
    );
    let host = settings.public_url.as_deref().map(origin).unwrap_or_default();
    let server_url = which.public_url(settings);
    let public = |path: &str| match host {
        "" => String::new(),
        _ if path.contains("://") => path.to_owned(),
        host => format!("{host}{path}"),
    };

    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        variables.insert(name.to_owned(), Secret::new(value));
    };
    set("JUPYTERHUB_API_TOKEN", token.expose().to_owned());
    set("JPY_API_TOKEN", token.expose().to_owned());
    set("JUPYTERHUB_CLIENT_ID", which.client_id());
    // A cookie of that kind is for a whole host: on one that people share it would reach everybody's servers.
    let prefixed = settings.cookie_host_prefix && settings.subdomains.is_some();
    set("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", u8::from(prefixed).to_string());
    set("JUPYTERHUB_HOST", host.to_owned());
    set("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{server_url}oauth_callback"));
    set("JUPYTERHUB_OAUTH_SCOPES", scopes.clone());
    set("JUPYTERHUB_OAUTH_ACCESS_SCOPES", scopes);
    let allowed: Vec<String> =
        spawner.oauth_client_allowed_scopes.iter().map(|scope| python_json(scope)).collect();
    set("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", format!("[{}]", allowed.join(", ")));
    set("JUPYTERHUB_USER", user.to_owned());
    set("JUPYTERHUB_SERVER_NAME", server.to_owned());
    set("JUPYTERHUB_API_URL", spawner.hub_api_url.clone());
    let activity = format!("{}/users/{}/activity", spawner.hub_api_url, url_escape(user));
    set("JUPYTERHUB_ACTIVITY_URL", activity);
    set("JUPYTERHUB_BASE_URL", settings.base_url.clone());
    set("JUPYTERHUB_SERVICE_URL", format!("http://127.0.0.1:{port}{url}"));
    set("JUPYTERHUB_PUBLIC_URL", public(&server_url));
    set("JUPYTERHUB_PUBLIC_HUB_URL", public(&settings.hub_prefix()));
    set("JUPYTERHUB_SERVICE_PREFIX", url);
    if settings.admin_access {
        set("JUPYTERHUB_ADMIN_ACCESS", "1".to_owned());
    }
    if !spawner.notebook_dir.is_empty() {
        set("JUPYTERHUB_ROOT_DIR", filled(&spawner.notebook_dir, user, &settings.base_url));
    }
    if !spawner.default_url.is_empty() {
        set("JUPYTERHUB_DEFAULT_URL", filled(&spawner.default_url, user, &settings.base_url));
    }
    if spawner.debug {
        set("JUPYTERHUB_DEBUG", "1".to_owned());
    }
    if spawner.disable_user_config {
        set("JUPYTERHUB_DISABLE_USER_CONFIG", "1".to_owned());
    }
    for (name, value) in &spawner.environment {
        set(name, value.clone());
    }
    variables
}

/// JupyterHub's `format_string` of `notebook_dir` and `default_url`.
fn filled(template: &str, user: &str, base_url: &str) -> String {
    template.replace("{username}", user).replace("{base_url}", base_url)
}

/// `https://hub.example.org` of `https://hub.example.org/path`.
pub(crate) fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + "://".len());
    let end =
        url.get(after_scheme..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after_scheme + at);
    url.get(..end).unwrap_or(url)
}

/// A JSON string as Python writes it: everything outside ASCII as `\uXXXX`.
pub(crate) fn python_json(text: &str) -> String {
    let mut json = String::new();
    for unit in serde_json::Value::from(text).to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => json.push(char::from(byte)),
            _ => json.push_str(&format!("\\u{unit:04x}")),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::settings;

    fn which(user: &str, server: &str) -> Which {
        Which { user: user.parse().expect("a user"), server: server.parse().expect("a server") }
    }

    fn shown(settings: &Settings, which: &Which, listen: Listen) -> Vec<String> {
        environment(settings, &settings.spawner, which, &Secret::new("0123".into()), listen)
            .iter()
            .map(|(name, value)| format!("{name}={}", value.expose()))
            .collect()
    }

    #[test]
    fn the_default_server_gets_what_jupyterhub_gives() {
        // Captured from JupyterHub 6.1.1 with hub_ip 127.0.0.1, hub_port 8081, base_url "/".
        let captured = r#"JPY_API_TOKEN=0123
JUPYTERHUB_ACTIVITY_URL=http://127.0.0.1:8081/hub/api/users/alice/activity
JUPYTERHUB_API_TOKEN=0123
JUPYTERHUB_API_URL=http://127.0.0.1:8081/hub/api
JUPYTERHUB_BASE_URL=/
JUPYTERHUB_CLIENT_ID=jupyterhub-user-alice
JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED=0
JUPYTERHUB_HOST=
JUPYTERHUB_OAUTH_ACCESS_SCOPES=["access:servers!server=alice/", "access:servers!user=alice"]
JUPYTERHUB_OAUTH_CALLBACK_URL=/user/alice/oauth_callback
JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES=[]
JUPYTERHUB_OAUTH_SCOPES=["access:servers!server=alice/", "access:servers!user=alice"]
JUPYTERHUB_PUBLIC_HUB_URL=
JUPYTERHUB_PUBLIC_URL=
JUPYTERHUB_SERVER_NAME=
JUPYTERHUB_SERVICE_PREFIX=/user/alice/
JUPYTERHUB_SERVICE_URL=http://127.0.0.1:54677/user/alice/
JUPYTERHUB_USER=alice"#;
        let got = shown(&settings(), &which("alice", ""), Listen::Tcp(54677));
        assert_eq!(got.join("\n"), captured);
    }

    #[test]
    fn a_named_server_on_a_unix_socket_has_its_own_prefix_and_the_default_port() {
        let got = shown(&settings(), &which("alice", "srv"), Listen::Unix).join("\n");
        for line in [
            "JUPYTERHUB_CLIENT_ID=jupyterhub-user-alice-srv",
            "JUPYTERHUB_SERVICE_PREFIX=/user/alice/srv/",
            "JUPYTERHUB_SERVER_NAME=srv",
            "JUPYTERHUB_SERVICE_URL=http://127.0.0.1:8888/user/alice/srv/",
            r#"JUPYTERHUB_OAUTH_SCOPES=["access:servers!server=alice/srv", "access:servers!user=alice"]"#,
        ] {
            assert!(got.lines().any(|got| got == line), "{line} in {got}");
        }
    }

    #[test]
    fn a_person_with_a_host_is_told_of_it() {
        use crate::subdomains::{SubdomainHook, Subdomains};
        let mut settings = settings();
        settings.subdomains = Subdomains::new("http://hub.localhost:9100", None, SubdomainHook::Idna);
        settings.public_url = Some("http://hub.localhost:9100".into());
        let got = shown(&settings, &which("erin", ""), Listen::Unix).join("\n");
        for line in [
            "JUPYTERHUB_HOST=http://hub.localhost:9100",
            "JUPYTERHUB_OAUTH_CALLBACK_URL=http://erin.hub.localhost:9100/user/erin/oauth_callback",
            "JUPYTERHUB_PUBLIC_HUB_URL=http://hub.localhost:9100/hub/",
            "JUPYTERHUB_PUBLIC_URL=http://erin.hub.localhost:9100/user/erin/",
            "JUPYTERHUB_SERVICE_PREFIX=/user/erin/",
            "JUPYTERHUB_SERVICE_URL=http://127.0.0.1:8888/user/erin/",
        ] {
            assert!(got.lines().any(|got| got == line), "{line} in {got}");
        }
    }

    #[test]
    fn options_become_variables_and_spawner_environment_wins() {
        let mut settings = settings();
        settings.public_url = Some("https://hub.example.org".into());
        settings.admin_access = true;
        settings.spawner.notebook_dir = "~/{username}".into();
        settings.spawner.default_url = "/lab".into();
        settings.spawner.debug = true;
        settings.spawner.disable_user_config = true;
        settings.spawner.environment = BTreeMap::from([("JUPYTERHUB_USER".into(), "other".into())]);
        let got = shown(&settings, &which("alice", ""), Listen::Unix).join("\n");
        for line in [
            "JUPYTERHUB_HOST=https://hub.example.org",
            "JUPYTERHUB_PUBLIC_URL=https://hub.example.org/user/alice/",
            "JUPYTERHUB_PUBLIC_HUB_URL=https://hub.example.org/hub/",
            "JUPYTERHUB_ADMIN_ACCESS=1",
            "JUPYTERHUB_ROOT_DIR=~/alice",
            "JUPYTERHUB_DEFAULT_URL=/lab",
            "JUPYTERHUB_DEBUG=1",
            "JUPYTERHUB_DISABLE_USER_CONFIG=1",
            "JUPYTERHUB_USER=other",
        ] {
            assert!(got.lines().any(|got| got == line), "{line} in {got}");
        }
        assert!(!got.contains("\nHOME=") && !got.contains("\nPATH=") && !got.contains("\nUSER="));
    }

    #[test]
    fn scopes_of_names_outside_ascii_are_escaped_as_python_does() {
        assert_eq!(python_json("ü\"😀"), r#""\u00fc\"\ud83d\ude00""#);
        assert_eq!(origin("https://a.example:8443/x/y"), "https://a.example:8443");
    }
}
