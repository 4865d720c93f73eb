//! Where secrets come from: the configuration, then the environment, then credentials of systemd.

use hubd_store::CryptKeys;
use zeroize::Zeroizing;

use super::Values;
use super::places::ROUTES_API;
use super::plan::HUB;
use super::problem::{Origin, Problem};
use crate::run::Environment;
use crate::secrets::{
    COOKIE_SECRET_VARIABLE, CRYPT_KEY_VARIABLE, CookieSecret, PROXY_TOKEN_VARIABLE, ProxyToken,
};

/// What signs cookies.
pub fn cookie_secret(
    values: &Values,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> CookieSecret {
    let configured = exposed(values.secret(HUB, "cookie_secret"));
    let given = if configured.is_empty() {
        let variable = (&environment.cookie_secret, COOKIE_SECRET_VARIABLE);
        elsewhere(variable, "cookie_secret", environment, problems)
    } else {
        Some((configured, values.origin(HUB, "cookie_secret")))
    };
    let Some((text, origin)) = given else {
        return CookieSecret::File(values.text(HUB, "cookie_secret_file").into());
    };
    match crate::secrets::from_hex(&text) {
        Some(bytes) => CookieSecret::Given(bytes, origin),
        None => {
            let cure = "make one with: openssl rand -hex 32";
            problems.push(Problem::new(&origin, "the cookie secret is not hex", cure));
            CookieSecret::Given(Zeroizing::new(Vec::new()), origin)
        }
    }
}

/// The keys for `auth_state`. Without any it cannot be enabled, as in JupyterHub.
pub fn crypt_keys(values: &Values, environment: &Environment, problems: &mut Vec<Problem>) -> CryptKeys {
    let variable = (&environment.crypt_key, CRYPT_KEY_VARIABLE);
    let given = elsewhere(variable, "crypt_keys", environment, problems);
    let class = &["Authenticator"];
    if values.yes(class, "enable_auth_state") && given.is_none() {
        let origin = values.origin(class, "enable_auth_state");
        let text = "auth_state is enabled, but encryption is not available: Encryption keys must be specified in \
                    JUPYTERHUB_CRYPT_KEY env";
        let cure = "make a key with: openssl rand -hex 32; a credential crypt_keys of systemd will do, too";
        problems.push(Problem::new(&origin, text, cure));
    }
    let Some((text, origin)) = given else { return CryptKeys::default() };
    // A file may have each key on a line of its own.
    let text = Zeroizing::new(text.trim().replace('\n', ";"));
    CryptKeys::parse(&text).unwrap_or_else(|error| {
        let cure = "make one with: openssl rand -hex 32; several are separated by ;";
        problems.push(Problem::new(&origin, error.to_string(), cure));
        CryptKeys::default()
    })
}

/// The token of the REST API for routes.
pub fn proxy_token(values: &Values, environment: &Environment, problems: &mut Vec<Problem>) -> ProxyToken {
    let configured = exposed(values.secret(ROUTES_API, "auth_token"));
    if !configured.is_empty() {
        return ProxyToken::Given(configured, values.origin(ROUTES_API, "auth_token"));
    }
    let variable = (&environment.proxy_token, PROXY_TOKEN_VARIABLE);
    match elsewhere(variable, "auth_token", environment, problems) {
        Some((token, origin)) => ProxyToken::Given(token, origin),
        None => ProxyToken::New,
    }
}

/// A secret of the environment, or else the credential of this name; nothing that is empty.
fn elsewhere(
    (variable, variable_name): (&Option<Zeroizing<String>>, &'static str),
    credential: &'static str,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(Zeroizing<String>, Origin)> {
    let is_empty = |text: &Zeroizing<String>| text.trim().is_empty();
    if let Some(text) = variable.clone().filter(|text| !is_empty(text)) {
        return Some((text, Origin::Environment(variable_name)));
    }
    let origin = Origin::Credential(credential);
    match environment.credentials.secret(credential) {
        Ok(text) => text.filter(|text| !is_empty(text)).map(|text| (text, origin)),
        Err(error) => {
            let cure = format!("correct LoadCredential={credential}: of the unit, see systemd.exec(5)");
            problems.push(Problem::new(&origin, format!("cannot be read: {error}"), cure));
            None
        }
    }
}

/// The text of a configured secret, empty if there is none.
fn exposed(secret: Option<hubd_proto::Secret>) -> Zeroizing<String> {
    Zeroizing::new(secret.map(|secret| secret.expose().to_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;

    /// What a configuration, the environment and credentials (name and text) give together.
    fn with<T>(
        text: &str,
        environment: Environment,
        credentials: &[(&str, &str)],
        look: impl Fn(&Values, &Environment, &mut Vec<Problem>) -> T,
    ) -> (T, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, text).unwrap();
        for (name, text) in credentials {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let credentials = Credentials::new(Some(directory.path().to_owned()));
        let environment = Environment { credentials, ..environment };
        let mut problems = Vec::new();
        let values = crate::config::load(Some(&path), &[], &mut problems);
        let seen = look(&values, &environment, &mut problems);
        (seen, problems.iter().map(ToString::to_string).collect())
    }

    fn text(text: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn the_token_of_the_routes_comes_from_the_configuration_then_the_environment_then_a_credential() {
        let given = |configured: &str, variable: &str, credentials: &[(&str, &str)]| {
            let environment = Environment { proxy_token: text(variable), ..Environment::default() };
            let (token, problems) = with(configured, environment, credentials, proxy_token);
            assert_eq!(problems, "");
            match token {
                ProxyToken::Given(token, origin) => format!("{} from {origin}", token.as_str()),
                ProxyToken::New => "new".to_owned(),
            }
        };
        let configured = "[JupyterHub]\nproxy_auth_token = \"a\"\n";
        let credential = [("auth_token", "c\n")];
        assert!(given(configured, "b", &credential).starts_with("a from /"));
        assert_eq!(given("", "b", &credential), "b from environment variable CONFIGPROXY_AUTH_TOKEN");
        assert_eq!(given("", "", &credential), "c from systemd credential auth_token");
        assert_eq!(given("", "", &[("auth_token", " \n")]), "new");
        assert_eq!(given("", "", &[]), "new");
    }

    #[test]
    fn the_cookie_secret_may_be_a_credential_and_is_not_shown() {
        let hex = "ab".repeat(32);
        let (secret, problems) =
            with("", Environment::default(), &[("cookie_secret", &format!("{hex}\n"))], cookie_secret);
        assert_eq!(problems, "");
        assert!(matches!(secret, CookieSecret::Given(bytes, Origin::Credential(_)) if *bytes == [0xab; 32]));
        let wrong = [("cookie_secret", "zzsecretzz")];
        let (_, problems) = with("", Environment::default(), &wrong, cookie_secret);
        assert!(
            problems.starts_with("systemd credential cookie_secret: the cookie secret is not hex"),
            "{problems}"
        );
        assert!(!problems.contains("zzsecretzz"));
        let (secret, _) = with("", Environment::default(), &[], cookie_secret);
        assert!(matches!(secret, CookieSecret::File(path) if path.ends_with("jupyterhub_cookie_secret")));
    }

    #[test]
    fn auth_state_needs_keys_and_they_are_checked_and_not_shown() {
        let planned = |enabled: bool, variable: Option<&str>, credentials: &[(&str, &str)]| {
            let configured = format!("[Authenticator]\nenable_auth_state = {enabled}\n");
            let crypt_key = variable.map(|key| Zeroizing::new(key.to_owned()));
            let environment = Environment { crypt_key, ..Environment::default() };
            let (keys, problems) = with(&configured, environment, credentials, crypt_keys);
            (keys.len(), problems)
        };
        let two = format!("{};{}", "k".repeat(32), "ab".repeat(32));
        assert_eq!(planned(false, None, &[]), (0, String::new()));
        assert!(planned(true, None, &[]).1.contains("JUPYTERHUB_CRYPT_KEY"));
        assert_eq!(planned(true, Some(&two), &[]), (2, String::new()));
        assert_eq!(planned(true, None, &[("crypt_keys", &two.replace(';', "\n"))]), (2, String::new()));
        let (_, refused) = planned(true, Some("tooshort"), &[]);
        assert!(refused.contains("must be 32 bytes") && !refused.contains("tooshort"), "{refused}");
        let (_, refused) = planned(true, None, &[("crypt_keys", "tooshort")]);
        assert!(
            refused.contains("systemd credential crypt_keys") && !refused.contains("tooshort"),
            "{refused}"
        );
    }
}
