//! What a checked configuration means: the value that the rest of the program works with.

use std::path::PathBuf;

use hubd_hub::Settings;
use hubd_proxy::{PairFiles, ProxySettings};
use tracing::level_filters::LevelFilter;

use super::problem::{Origin, Problem};
use super::{Values, keys, places, proxy};
use crate::listen::Place;
use crate::logging::{Destination, Levels, Part};
use crate::run::Environment;
use crate::secrets::{CookieSecret, ProxyToken};

/// The class of the hub's own options.
pub const HUB: &[&str] = &["JupyterHub"];

/// Bounds for the time that starts take.
pub const SPAWN_BUCKETS: &str = "JUPYTERHUB_SERVER_SPAWN_DURATION_SECONDS_BUCKETS";
/// Bounds for the time that stops take.
pub const STOP_BUCKETS: &str = "JUPYTERHUB_SERVER_STOP_DURATION_SECONDS_BUCKETS";

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsPlan {
    /// No TLS: a front proxy does it, or nobody.
    Plain,
    /// These files, the first pair for browsers that ask for no known name.
    Files(Vec<PairFiles>),
    /// A certificate of hubd's own, in the working directory.
    SelfSigned,
}

/// Where and how hubd runs.
pub struct Plan {
    /// Where the public side listens.
    pub public: Place,
    /// The URL for the log and for people: `http://127.0.0.1:8000/`.
    pub public_url: String,
    /// Where the inner side listens.
    pub inner: Place,
    /// Where the REST API for routes listens, if not on the inner side.
    pub routes_api: Option<Place>,
    /// TLS on the public side.
    pub tls: TlsPlan,
    /// Whether browsers are offered HTTP/2.
    pub http2: bool,
    /// How the proxy behaves on the public side.
    pub proxy: ProxySettings,
    /// Where browsers are sent from plain HTTP to https, and the port of https.
    pub redirect: Option<(Place, u16)>,
    /// The database file.
    pub database: PathBuf,
    /// Whether a database of an older JupyterHub is upgraded.
    pub upgrade_database: bool,
    /// Where the cookie secret is.
    pub cookie_secret: CookieSecret,
    /// The token of the REST API for routes.
    pub proxy_token: ProxyToken,
    /// File for the process id.
    pub pid_file: Option<PathBuf>,
    /// Where operators ask the daemon.
    pub control_socket: PathBuf,
    /// More routes: prefix and URL.
    pub extra_routes: Vec<(String, String)>,
    /// The helper's socket.
    pub helper_socket: PathBuf,
    /// Whether all servers are stopped at the end.
    pub cleanup_servers: bool,
    /// Whether managed services are stopped at the end.
    pub cleanup_services: bool,
    /// Whether all servers run as the helper's own user.
    pub simple_spawner: bool,
    /// How much is logged.
    pub log_levels: Levels,
    /// A file for log lines.
    pub log_file: Option<PathBuf>,
    /// Where to.
    pub log_to: Destination,
    /// What the hub has to know; its cookie secret is still empty.
    pub settings: Settings,
}

/// Works out what the values mean, with the secrets that the environment has.
pub fn plan(values: &mut Values, environment: &Environment, problems: &mut Vec<Problem>) -> Plan {
    let public = places::public_side(values, problems);
    let inner = places::inner_side(values, problems);
    let routes_api = places::api_side(values, &inner, problems);
    let tls = proxy::tls(values, &environment.credentials, problems);
    places::check_public_socket(values, &public, &tls, problems);
    let simple_spawner = spawner_is_simple(values);
    let mut settings = super::hub::settings(values, &public, &inner, problems);
    settings.crypt_keys = keys::crypt_keys(values, environment, problems);
    if let Some(prefix) = environment.metrics_prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
        // Anything else would break Prometheus' text.
        settings.metrics_prefix =
            prefix.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
    }
    settings.spawn_buckets = buckets(SPAWN_BUCKETS, environment.spawn_buckets.as_deref(), problems);
    settings.stop_buckets = buckets(STOP_BUCKETS, environment.stop_buckets.as_deref(), problems);
    Plan {
        public_url: format!("{}{}", public.origin(tls != TlsPlan::Plain), public.prefix),
        public: places::public_place(values, &public, problems),
        inner: places::inner_place(values, &inner, problems),
        routes_api: routes_api.map(|url| places::api_place(values, &url, problems)),
        http2: proxy::http2(values),
        proxy: proxy::settings(values, &tls, problems),
        redirect: places::redirect(values, &public, &tls, problems),
        tls,
        database: database(values, problems),
        upgrade_database: values.yes(HUB, "upgrade_db"),
        cookie_secret: keys::cookie_secret(values, environment, problems),
        proxy_token: keys::proxy_token(values, environment, problems),
        pid_file: Some(values.text(HUB, "pid_file")).filter(|path| !path.is_empty()).map(PathBuf::from),
        control_socket: values.text(HUB, "control_socket").into(),
        extra_routes: values
            .table(&["Proxy"], "extra_routes")
            .into_iter()
            .filter_map(|(prefix, url)| Some((prefix, url.as_str()?.to_owned())))
            .collect(),
        helper_socket: values.text(HUB, "helper_socket").into(),
        cleanup_servers: values.yes(HUB, "cleanup_servers"),
        cleanup_services: values.yes(HUB, "cleanup_services"),
        simple_spawner,
        log_levels: log_levels(values, problems),
        log_file: Some(values.text(HUB, "log_file")).filter(|path| !path.is_empty()).map(PathBuf::from),
        log_to: Destination::named(&values.text(HUB, "log_to")),
        settings,
    }
}

/// The bounds of a histogram, in seconds: numbers with commas between them, each larger than the one before.
fn buckets(variable: &'static str, text: Option<&str>, problems: &mut Vec<Problem>) -> Vec<f64> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Vec::new();
    }
    let numbers: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    let rises =
        |numbers: &Vec<f64>| numbers.is_sorted_by(|a, b| a < b) && !numbers.iter().any(|n| n.is_nan());
    numbers.filter(rises).unwrap_or_else(|| {
        let cure = "write rising numbers of seconds, such as 0.5,1,2.5,10";
        let text = format!("{text} are no bounds of a histogram");
        problems.push(Problem::new(&Origin::Environment(variable), text, cure));
        Vec::new()
    })
}

fn database(values: &Values, problems: &mut Vec<Problem>) -> PathBuf {
    let url = values.text(HUB, "db_url");
    let path = match url.split_once("://") {
        None => Ok(url.as_str()),
        Some(("sqlite", rest)) => rest.strip_prefix('/').ok_or("sqlite:// needs three slashes, or four"),
        Some(_) => Err("this version of hubd has SQLite only"),
    };
    match path {
        Ok(":memory:" | "") => {
            let text = "JupyterHub.db_url: a database in memory is lost at every restart; hubd has none";
            problems.push(Problem::new(&values.origin(HUB, "db_url"), text, "name a file"));
            PathBuf::new()
        }
        Ok(path) => path.into(),
        Err(text) => {
            let cure = "write sqlite:///jupyterhub.sqlite, or sqlite:////absolute/path.sqlite";
            let origin = values.origin(HUB, "db_url");
            problems.push(Problem::new(&origin, format!("JupyterHub.db_url: {text}"), cure));
            PathBuf::new()
        }
    }
}

fn log_levels(values: &Values, problems: &mut Vec<Problem>) -> Levels {
    let mut parts = Vec::new();
    for (part, level) in values.table(HUB, "log_levels") {
        let level = level.as_str().unwrap_or_default().to_ascii_uppercase();
        let known = ["DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"].contains(&level.as_str());
        match Part::named(&part).filter(|_| known) {
            Some(part) => parts.push((part, log_level(&level))),
            None => {
                let text = format!("JupyterHub.log_levels: {part} = \"{level}\" is no part and its level");
                let cure = "for instance { proxy = \"DEBUG\", requests = \"WARN\" }; see hubd.toml(5)";
                problems.push(Problem::new(&values.origin(HUB, "log_levels"), text, cure));
            }
        }
    }
    Levels { all: log_level(&values.text(HUB, "log_level")), parts }
}

fn log_level(word: &str) -> LevelFilter {
    match word {
        "DEBUG" | "10" | "0" => LevelFilter::DEBUG,
        "WARN" | "WARNING" | "30" => LevelFilter::WARN,
        "ERROR" | "40" | "CRITICAL" | "50" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

/// Whether all servers run as the helper's own user.
pub fn spawner_is_simple(values: &Values) -> bool {
    values.text(HUB, "spawner_class").to_lowercase().contains("simple")
}

#[cfg(test)]
mod tests {
    use hubd_hub::settings::{AuthenticatorKind, SocketKind};
    use hubd_proto::UserName;

    use super::*;

    fn planned(text: &str) -> (Plan, Vec<String>, Vec<Problem>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let mut values = crate::config::load(Some(&path), &[], &mut problems);
        let plan = plan(&mut values, &Environment::default(), &mut problems);
        (plan, problems.iter().map(ToString::to_string).collect(), values.warnings)
    }

    fn refused(text: &str, wanted: &str) {
        let (_, problems, _) = planned(text);
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}: {problems:?}");
    }

    #[test]
    fn defaults_are_jupyterhubs() {
        let (plan, problems, _) = planned("");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(plan.public_url, "http://:8000/");
        let Place::Tcp(addresses) = plan.public else { panic!("a port") };
        assert_eq!(addresses[0].to_string(), "[::]:8000");
        assert_eq!(plan.inner, Place::Tcp(vec!["127.0.0.1:8081".parse().unwrap()]));
        assert_eq!(plan.routes_api, None);
        assert_eq!(plan.settings.hub_api_url, "http://127.0.0.1:8081/hub/api");
        assert_eq!(plan.database, PathBuf::from("jupyterhub.sqlite"));
        assert!(plan.settings.authenticator.allow_all && !plan.settings.authenticator.allow_existing_users);
        assert!(matches!(plan.settings.authenticator.kind, AuthenticatorKind::Pam));
        assert_eq!(plan.settings.spawner.socket, SocketKind::Unix);
        assert!(!plan.cleanup_servers && !plan.simple_spawner);
    }

    #[test]
    fn ip_port_and_base_url_win_over_bind_url_with_a_warning() {
        let (plan, _, warnings) = planned(
            "[JupyterHub]\nbind_url = \"http://10.0.0.1:80/a\"\nip = \"::1\"\nport = 9\nbase_url = \"b\"\n",
        );
        assert_eq!(plan.public_url, "http://[::1]:9/b/");
        assert_eq!(plan.settings.hub_api_url, "http://127.0.0.1:8081/b/hub/api");
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn people_get_hosts_below_the_hubs() {
        let settings = |text: &str| planned(&format!("[JupyterHub]\n{text}\n")).0.settings;
        let hosts = settings("subdomain_host = \"hub.example.org:8000\"\nbase_url = \"/pre/\"");
        assert_eq!(hosts.public_url.as_deref(), Some("https://hub.example.org:8000/pre"));
        let alice =
            |settings: &Settings| settings.subdomains.as_ref().map(|hosts| hosts.origin_of_user("alice_b"));
        assert_eq!(alice(&hosts).as_deref(), Some("https://u-aliceb--ea2c7da.hub.example.org:8000"));
        let legacy = settings("subdomain_host = \"http://hub\"\nsubdomain_hook = \"legacy\"");
        assert_eq!(alice(&legacy).as_deref(), Some("http://alice_5fb.hub"));
        let moved = settings("subdomain_host = \"https://a.org\"\npublic_url = \"https://hub.a.org:444/\"");
        assert_eq!(moved.public_url.as_deref(), Some("https://hub.a.org:444"));
        assert_eq!(alice(&moved).as_deref(), Some("https://u-aliceb--ea2c7da.hub.a.org"));
        assert!(settings("").subdomains.is_none());
    }

    #[test]
    fn allowed_users_restrict_and_include_admins() {
        let (plan, _, _) = planned("[Authenticator]\nallowed_users = [\"Alice\"]\nadmin_users = [\"bob\"]\n");
        let authenticator = plan.settings.authenticator;
        assert!(!authenticator.allow_all && authenticator.allow_existing_users);
        let names: Vec<_> = authenticator.allowed_users.iter().map(UserName::as_str).collect();
        assert_eq!(names, ["alice", "bob"]);
    }

    #[test]
    fn one_file_may_hold_certificate_and_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_path_buf();
        let (plan, problems, _) = planned(&format!("[JupyterHub]\nssl_cert = {:?}\n", path));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(plan.tls, TlsPlan::Files(vec![PairFiles { certificate: path.clone(), key: path }]));
        assert_eq!(plan.public_url, "https://:8000/");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        refused(
            "[JupyterHub]\nssl_cert = \"/nonexistent.pem\"\n",
            "hubd.toml:2:1: JupyterHub.ssl_cert: /nonexi",
        );
        refused("[JupyterHub]\nssl_key = \"/dev/null\"\n", "no ssl_cert");
        refused("[JupyterHub]\nbind_url = \"https://:443\"\n", "there is no certificate");
        refused("[JupyterHub]\nbind_url = \"localhost\"\n", "JupyterHub.bind_url: expected http://");
        refused("[JupyterHub]\nhub_bind_url = \"https://:1\"\n", "no TLS in this version");
        refused("[JupyterHub]\ndb_url = \"postgresql://db/hub\"\n", "SQLite only");
        refused("[JupyterHub]\ndb_url = \"sqlite:///:memory:\"\n", "in memory");
        refused("[JupyterHub]\ntornado_settings = { headers = {} }\n", "headers cannot be used");
        refused("[JupyterHub]\ntornado_settings = { slow_spawn_timeout = -1 }\n", "number of seconds");
        refused("[JupyterHub]\ncookie_secret = \"zz\"\n", "the cookie secret is not hex");
        refused("[JupyterHub]\npublic_url = \"hub.example.org\"\n", "is not a URL");
        refused("[JupyterHub]\nsubdomain_host = \"http://127.0.0.1\"\n", "has no name of a host");
        refused("[Authenticator]\nadmin_users = [\"a/b\"]\n", "is not a user name");
        refused("[Spawner]\nprofile = \"../x\"\n", "Spawner.profile");
    }

    #[test]
    fn a_refused_cookie_secret_is_not_shown() {
        let (_, problems, _) = planned("[JupyterHub]\ncookie_secret = \"zzsecretzz\"\n");
        assert!(!problems.concat().contains("zzsecretzz"));
    }
}
