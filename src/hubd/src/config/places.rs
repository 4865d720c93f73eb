//! Where hubd listens, and what others are told of it.

use super::Values;
use super::address::{self, BindUrl};
use super::plan::{HUB, TlsPlan};
use super::problem::{Origin, Problem};
use super::proxy;
use crate::listen::Place;

/// The class of the REST API for routes.
pub const ROUTES_API: &[&str] = &["ConfigurableHTTPProxy"];
/// The bits of a file's mode.
const MODE_BITS: u32 = 0o777;

/// The public side, as its options together say.
pub fn public_side(values: &mut Values, problems: &mut Vec<Problem>) -> BindUrl {
    let mut url = bind_url(values, "bind_url", problems);
    if values.is_set(HUB, "bind_url") && ["ip", "port", "base_url"].iter().any(|key| values.is_set(HUB, key))
    {
        let origin = values.origin(HUB, "bind_url");
        let text = "both bind_url and ip, port or base_url are set; the latter win";
        values.warnings.push(Problem::new(&origin, text, "use just one or the other"));
    }
    for key in ["ip", "port"] {
        if values.is_set(HUB, key) && url.socket.is_some() {
            let text = format!("JupyterHub.{key} is set, but bind_url is a Unix socket");
            problems.push(Problem::new(&values.origin(HUB, key), text, "delete one of them"));
        }
    }
    if values.is_set(HUB, "ip") {
        url.host = values.text(HUB, "ip");
    }
    if values.is_set(HUB, "port") {
        url.port = port(values, "port");
    }
    if values.is_set(HUB, "base_url") {
        url.prefix = address::prefix(&values.text(HUB, "base_url"));
    }
    url
}

/// A front proxy that connects to a Unix socket speaks plain HTTP.
pub fn check_public_socket(values: &Values, public: &BindUrl, tls: &TlsPlan, problems: &mut Vec<Problem>) {
    if public.socket.is_none() || *tls == TlsPlan::Plain {
        return;
    }
    let key = if *tls == TlsPlan::SelfSigned { "self_signed" } else { "ssl_cert" };
    let text = format!("JupyterHub.{key} is set, but bind_url is a Unix socket, on which nobody speaks TLS");
    let cure = "delete it: the front proxy has the certificate";
    problems.push(Problem::new(&values.origin(HUB, key), text, cure));
}

/// The inner side, where user servers reach the hub.
pub fn inner_side(values: &Values, problems: &mut Vec<Problem>) -> BindUrl {
    if values.text(HUB, "hub_bind_url").is_empty() {
        return BindUrl::tcp(values.text(HUB, "hub_ip"), port(values, "hub_port"));
    }
    let url = bind_url(values, "hub_bind_url", problems);
    refuse_tls("hub_bind_url", HUB, &url, values, problems);
    if url.socket.is_some() && values.text(HUB, "hub_connect_url").is_empty() {
        let text = "JupyterHub.hub_bind_url is a Unix socket, which user servers cannot connect to";
        let cure = "say where they reach the hub instead, for instance by the public address: hub_connect_url = \
                    \"http://127.0.0.1:8000/\"";
        problems.push(Problem::new(&values.origin(HUB, "hub_bind_url"), text, cure));
    }
    url
}

/// The place of the REST API for routes, if it has one of its own.
pub fn api_side(values: &Values, inner: &BindUrl, problems: &mut Vec<Problem>) -> Option<BindUrl> {
    let text = values.text(ROUTES_API, "api_url");
    let url = if text.is_empty() {
        let host = values.text(HUB, "proxy_api_ip");
        let given = u16::try_from(values.integer(HUB, "proxy_api_port")).ok().filter(|port| *port > 0);
        if host.is_empty() && given.is_none() {
            return None;
        }
        // What is not said is as in JupyterHub: this machine, and the port after the public one.
        let host = if host.is_empty() { "127.0.0.1".to_owned() } else { host };
        BindUrl::tcp(host, given.unwrap_or_else(|| port(values, "port").saturating_add(1)))
    } else {
        let origin = values.origin(ROUTES_API, "api_url");
        let url = parsed("ConfigurableHTTPProxy.api_url", &text, &origin, problems);
        refuse_tls("api_url", ROUTES_API, &url, values, problems);
        url
    };
    // The inner port answers it already.
    let is_inner = (&url.host, url.port, &url.socket) == (&inner.host, inner.port, &inner.socket);
    (!is_inner).then_some(url)
}

fn refuse_tls(key: &str, classes: &[&str], url: &BindUrl, values: &Values, problems: &mut Vec<Problem>) {
    if url.https {
        let class = classes.first().copied().unwrap_or_default();
        let text = format!("{class}.{key}: the inner side has no TLS in this version");
        let cure = "write http:// and an address of this machine";
        problems.push(Problem::new(&values.origin(classes, key), text, cure));
    }
}

/// The URL of an option of the hub, taken apart.
pub fn bind_url(values: &Values, key: &str, problems: &mut Vec<Problem>) -> BindUrl {
    parsed(&format!("JupyterHub.{key}"), &values.text(HUB, key), &values.origin(HUB, key), problems)
}

fn parsed(name: &str, text: &str, origin: &Origin, problems: &mut Vec<Problem>) -> BindUrl {
    BindUrl::parse(text).unwrap_or_else(|text| {
        let cure = "for instance http://127.0.0.1:8000/";
        problems.push(Problem::new(origin, format!("{name}: {text}"), cure));
        BindUrl::tcp("127.0.0.1".into(), 0)
    })
}

fn port(values: &Values, key: &str) -> u16 {
    u16::try_from(values.integer(HUB, key)).unwrap_or(0)
}

/// Where the public side listens; `command_umask` decides who may connect to a socket.
pub fn public_place(values: &Values, url: &BindUrl, problems: &mut Vec<Problem>) -> Place {
    place(values, url, &[(HUB, "ip"), (HUB, "bind_url")], socket_mode(values), problems)
}

/// Where the inner side listens; `hub_socket_mode` is that of a socket.
pub fn inner_place(values: &Values, url: &BindUrl, problems: &mut Vec<Problem>) -> Place {
    let mode = u32::try_from(values.integer(HUB, "hub_socket_mode")).unwrap_or(0) & MODE_BITS;
    place(values, url, &[(HUB, "hub_bind_url"), (HUB, "hub_ip")], mode, problems)
}

/// Where the REST API for routes listens.
pub fn api_place(values: &Values, url: &BindUrl, problems: &mut Vec<Problem>) -> Place {
    place(values, url, &[(ROUTES_API, "api_url"), (HUB, "proxy_api_ip")], socket_mode(values), problems)
}

/// The mode of sockets that the proxy makes, as its umask would leave it.
fn socket_mode(values: &Values) -> u32 {
    MODE_BITS & !u32::try_from(values.integer(ROUTES_API, "command_umask")).unwrap_or(MODE_BITS)
}

fn place(
    values: &Values,
    url: &BindUrl,
    options: &[(&[&str], &str)],
    mode: u32,
    problems: &mut Vec<Problem>,
) -> Place {
    if let Some(path) = &url.socket {
        return Place::Unix(path.clone(), Some(mode));
    }
    Place::Tcp(address::addresses(&url.host, url.port).unwrap_or_else(|text| {
        let mut origins = options.iter().map(|(classes, key)| values.origin(classes, key));
        let origin = origins.find(|origin| *origin != Origin::Default).unwrap_or(Origin::Default);
        let cure = "write an address of this machine, or nothing for all of them";
        problems.push(Problem::new(&origin, text, cure));
        Vec::new()
    }))
}

/// Where plain HTTP is spoken, and the port of https that it leads to.
pub fn redirect(
    values: &Values,
    public: &BindUrl,
    tls: &TlsPlan,
    problems: &mut Vec<Problem>,
) -> Option<(Place, u16)> {
    let redirection = proxy::redirect(values, tls, public.port, problems)?;
    let plain = BindUrl { socket: None, port: redirection.from, ..public.clone() };
    Some((public_place(values, &plain, problems), redirection.to))
}

/// What services are told as `JUPYTERHUB_API_URL`.
pub fn hub_api_url(
    values: &mut Values,
    public: &BindUrl,
    inner: &BindUrl,
    problems: &mut Vec<Problem>,
) -> String {
    let mut url = BindUrl { https: false, ..inner.clone() };
    let ip = values.text(HUB, "hub_connect_ip");
    if !ip.is_empty() {
        url.host = ip;
    }
    let port = port(values, "hub_connect_port");
    if port > 0 {
        url.port = port;
        let text = "JupyterHub.hub_connect_port is deprecated since JupyterHub 0.9";
        let cure = "write [JupyterHub] hub_connect_url = \"http://ADDRESS:PORT\"";
        values.warnings.push(Problem::new(&values.origin(HUB, "hub_connect_port"), text, cure));
    }
    if !values.text(HUB, "hub_connect_url").is_empty() {
        url = bind_url(values, "hub_connect_url", problems);
    }
    // Servers run on this machine, so every address means this one.
    if ["", "*", "0.0.0.0", "::"].contains(&url.host.as_str()) {
        url.host = "127.0.0.1".to_owned();
    }
    format!("{}{}hub/api", url.origin(url.https), public.prefix)
}

/// What user servers are told as `JUPYTERHUB_API_URL`: `Spawner.hub_connect_url`, with the path of `hub_api_url`.
pub fn server_api_url(
    values: &Values,
    classes: &[&str],
    hub_api_url: &str,
    problems: &mut Vec<Problem>,
) -> String {
    let text = values.text(classes, "hub_connect_url");
    if text.is_empty() {
        return hub_api_url.to_owned();
    }
    let origin = values.origin(classes, "hub_connect_url");
    let url = parsed("Spawner.hub_connect_url", &text, &origin, problems);
    let path = hub_api_url.split_once("://").and_then(|(_, rest)| Some(rest.split_at(rest.find('/')?).1));
    format!("{}{}{}", url.origin(url.https), url.prefix.trim_end_matches('/'), path.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of an [`Values`] and its problems and warnings.
    fn with<T>(text: &str, look: impl Fn(&mut Values, &mut Vec<Problem>) -> T) -> (T, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let mut values = crate::config::load(Some(&path), &[], &mut problems);
        let seen = look(&mut values, &mut problems);
        problems.append(&mut values.warnings);
        (seen, problems.iter().map(ToString::to_string).collect())
    }

    fn places(text: &str) -> (Place, Place, Option<Place>, String, String) {
        let ((public, inner, api, url), problems) = with(text, |values, problems| {
            let public = public_side(values, problems);
            let inner = inner_side(values, problems);
            let api = api_side(values, &inner, problems);
            let url = hub_api_url(values, &public, &inner, problems);
            (
                public_place(values, &public, problems),
                inner_place(values, &inner, problems),
                api.map(|api| api_place(values, &api, problems)),
                url,
            )
        });
        (public, inner, api, url, problems)
    }

    fn tcp(text: &str) -> Place {
        Place::Tcp(vec![text.parse().unwrap()])
    }

    #[test]
    fn sockets_have_the_modes_that_options_say() {
        let (public, inner, api, url, problems) = places(
            "[JupyterHub]\nbind_url = \"http+unix://%2Frun%2Fpublic/pre\"\nhub_bind_url = \"unix:/run/inner\"\n\
             hub_connect_url = \"http://127.0.0.1:8000\"\nhub_socket_mode = 0o660\n\
             [ConfigurableHTTPProxy]\napi_url = \"unix:/run/api\"\ncommand_umask = 0o027\n",
        );
        assert_eq!(problems, "");
        assert_eq!(public, Place::Unix("/run/public".into(), Some(0o750)));
        assert_eq!(inner, Place::Unix("/run/inner".into(), Some(0o660)));
        assert_eq!(api, Some(Place::Unix("/run/api".into(), Some(0o750))));
        assert_eq!(url, "http://127.0.0.1:8000/pre/hub/api");
        let (public, inner, ..) = places(
            "[JupyterHub]\nbind_url = \"unix:/p\"\nhub_bind_url = \"unix:/i\"\nhub_connect_url = \"http://h\"\n",
        );
        assert_eq!(public, Place::Unix("/p".into(), Some(0o770)));
        assert_eq!(inner, Place::Unix("/i".into(), Some(0o600)));
    }

    #[test]
    fn the_api_for_routes_has_a_place_of_its_own_if_an_option_says_so() {
        assert_eq!(places("").2, None);
        assert_eq!(places("[ConfigurableHTTPProxy]\napi_url = \"http://127.0.0.1:8081\"\n").2, None);
        let api = |text: &str| places(text).2;
        assert_eq!(
            api("[ConfigurableHTTPProxy]\napi_url = \"http://127.0.0.1:5432\"\n"),
            Some(tcp("127.0.0.1:5432"))
        );
        assert_eq!(api("[JupyterHub]\nproxy_api_ip = \"::1\"\n"), Some(tcp("[::1]:8001")));
        assert_eq!(api("[JupyterHub]\nproxy_api_port = 5432\n"), Some(tcp("127.0.0.1:5432")));
    }

    #[test]
    fn others_are_told_where_the_hub_is() {
        let told = |text: &str| places(&format!("[JupyterHub]\n{text}\n")).3;
        assert_eq!(told("hub_ip = \"0.0.0.0\""), "http://127.0.0.1:8081/hub/api");
        assert_eq!(told("hub_connect_ip = \"10.0.1.4\""), "http://10.0.1.4:8081/hub/api");
        assert_eq!(told("hub_connect_ip = \"10.0.1.4\"\nhub_connect_port = 9"), "http://10.0.1.4:9/hub/api");
        assert_eq!(
            told("hub_connect_url = \"https://hub.example.org/x\""),
            "https://hub.example.org:443/hub/api"
        );
        assert!(places("[JupyterHub]\nhub_connect_port = 9\n").4.contains("deprecated"));
        let server = |text: &str| {
            with(text, |values, problems| {
                server_api_url(values, &["Spawner"], "http://h:1/a/hub/api", problems)
            })
        };
        assert_eq!(server("").0, "http://h:1/a/hub/api");
        let (url, problems) = server("[Spawner]\nhub_connect_url = \"http://10.0.2.2:8081\"\n");
        assert_eq!((url.as_str(), problems.as_str()), ("http://10.0.2.2:8081/a/hub/api", ""));
        assert!(
            server("[Spawner]\nhub_connect_url = \"hub\"\n").1.contains("Spawner.hub_connect_url: expected")
        );
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_its_place() {
        let refused = |text: &str, wanted: &str| {
            let problems = places(text).4;
            assert!(problems.contains(wanted), "{text}: {problems}");
        };
        refused(
            "[JupyterHub]\nhub_bind_url = \"unix:/s\"\n",
            "hubd.toml:2:1: JupyterHub.hub_bind_url is a Unix",
        );
        refused("[JupyterHub]\nhub_bind_url = \"https://:1\"\n", "no TLS in this version");
        refused("[ConfigurableHTTPProxy]\napi_url = \"https://:1\"\n", "api_url: the inner side has no TLS");
        refused(
            "[ConfigurableHTTPProxy]\napi_url = \"here\"\n",
            "hubd.toml:2:1: ConfigurableHTTPProxy.api_url",
        );
        refused(
            "[JupyterHub]\nbind_url = \"unix:/s\"\nport = 9\n",
            "hubd.toml:3:1: JupyterHub.port is set, but",
        );
        refused(
            "[JupyterHub]\nip = \"no.such.name.invalid\"\n",
            "hubd.toml:2:1: the name no.such.name.invalid",
        );
        let (_, problems) =
            with("[JupyterHub]\nbind_url = \"unix:/s\"\nself_signed = true\n", |values, problems| {
                let public = public_side(values, problems);
                check_public_socket(values, &public, &TlsPlan::SelfSigned, problems);
            });
        assert!(problems.contains("hubd.toml:3:1: JupyterHub.self_signed is set"), "{problems}");
    }
}
