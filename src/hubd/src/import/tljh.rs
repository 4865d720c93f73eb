//! The Littlest JupyterHub's `config.yaml`: its own keys as options of JupyterHub's classes.

use super::Settings;
use super::convert::Remark;
use super::python::Py;
use super::yaml::Leaf;

/// Keys that are options under another name: key, class, option.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("base_url", "JupyterHub", "base_url"),
    ("https.tls.cert", "JupyterHub", "ssl_cert"),
    ("https.tls.key", "JupyterHub", "ssl_key"),
    ("users.admin", "Authenticator", "admin_users"),
    ("users.allowed", "Authenticator", "allowed_users"),
    ("users.banned", "Authenticator", "blocked_users"),
    ("services.cull.enabled", "IdleCuller", "enabled"),
    ("services.cull.timeout", "IdleCuller", "timeout"),
    ("services.cull.every", "IdleCuller", "cull_every"),
    ("services.cull.concurrency", "IdleCuller", "concurrency"),
    ("services.cull.users", "IdleCuller", "cull_users"),
    ("services.cull.max_age", "IdleCuller", "max_age"),
    ("services.cull.remove_named_servers", "IdleCuller", "remove_named_servers"),
];

/// Keys that are done in another way; one stands for all below it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("users.extra_user_groups", "put people into groups of the machine yourself: usermod -aG GROUP NAME"),
    (
        "https.letsencrypt",
        "let certbot(1) get the certificate and write ssl_cert and ssl_key; see hubd-front-proxies(7)",
    ),
    ("traefik_api", "the proxy is a part of hubd: leave it out"),
    ("services.configurator", "admins have /hub/admin, and root has hubd.toml: leave it out"),
];

/// What The Littlest JupyterHub does unless its file says otherwise: class, option, value.
fn defaults() -> [(&'static str, &'static str, Py); 7] {
    [
        ("JupyterHub", "cleanup_servers", Py::Bool(false)),
        ("Spawner", "default_url", Py::Str("/lab".to_owned())),
        ("IdleCuller", "enabled", Py::Bool(true)),
        ("IdleCuller", "timeout", Py::Int(600)),
        ("IdleCuller", "cull_every", Py::Int(60)),
        ("IdleCuller", "concurrency", Py::Int(5)),
        ("Authenticator", "allow_all", Py::Bool(true)),
    ]
}

/// Turns the keys into settings; the rest becomes remarks.
pub fn settings(leaves: Vec<Leaf>, remarks: &mut Vec<Remark>) -> Settings {
    let mut settings = Settings::new();
    ports(&leaves, &mut settings, remarks);
    let is_type = |leaf: &Leaf| leaf.path.join(".") == "auth.type" && !first_use(&leaf.value);
    let others_log_in = leaves.iter().any(is_type);
    for Leaf { path, line, value } in leaves {
        // What is null there is as if it were not written.
        if value != Py::None && value != Py::Str(String::new()) {
            one(&path, line, value, &mut settings, remarks);
        }
    }
    let has = |settings: &Settings, key: &str| {
        settings
            .get(&("Authenticator".to_owned(), key.to_owned()))
            .is_some_and(|(_, value)| *value != Py::List(vec![]))
    };
    for (class, key, value) in defaults() {
        // Its own authenticator lets everybody in as long as nobody is named.
        let restricted = others_log_in || has(&settings, "allowed_users");
        if key != "allow_all" || !restricted {
            settings.entry((class.to_owned(), key.to_owned())).or_insert((1, value));
        }
    }
    always(remarks);
    settings
}

fn one(path: &[String], line: usize, value: Py, settings: &mut Settings, remarks: &mut Vec<Remark>) {
    let name = path.join(".");
    let mut remark = |how: String| remarks.push(Remark { line, what: name.clone(), how });
    let is_below =
        |key: &str| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    let mut set =
        |class: &str, key: &str, value| settings.insert((class.to_owned(), key.to_owned()), (line, value));
    if let Some((_, class, key)) = OPTIONS.iter().find(|(key, ..)| *key == name) {
        set(class, key, value);
        return;
    }
    if let Some((_, how)) = ELSEWHERE.iter().find(|(key, _)| is_below(key)) {
        return remark((*how).to_owned());
    }
    match (path.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), value) {
        (["http" | "https", "port"] | ["https", "enabled"], _) => {}
        (["http" | "https", "address"], value) => {
            set("JupyterHub", "ip", value);
        }
        (["auth", "type"], value) if first_use(&value) => remark(
            "people log in with the passwords of their accounts, which passwd(1) sets: leave it out"
                .to_owned(),
        ),
        (["auth", "type"], value) => {
            set("JupyterHub", "authenticator_class", value);
        }
        (["auth", class, ..], _) if class.contains("FirstUse") => {}
        (["auth", class, key], value) => {
            set(class, key, value);
        }
        (["limits", "memory"], value) => remark(limit("mem_limit", &value)),
        (["limits", "cpu"], value) => remark(limit("cpu_limit", &value)),
        (["user_environment", "default_app"], Py::Str(app)) if app == "jupyterlab" => {}
        (["user_environment", "default_app"], Py::Str(app)) if app == "classic" => {
            set("Spawner", "default_url", Py::Str("/tree".to_owned()));
        }
        (["user_environment", "default_app"], _) => {
            remark("write where servers open as default_url in [Spawner]".to_owned());
        }
        _ => remark("The Littlest JupyterHub has no such key: see whether something reads it".to_owned()),
    }
}

/// Plain HTTP on one port, or https on the other and a redirect from the first.
fn ports(leaves: &[Leaf], settings: &mut Settings, remarks: &mut Vec<Remark>) {
    let find = |name: &str| leaves.iter().find(|leaf| leaf.path.join(".") == name);
    let port = |name: &str, default| match find(name) {
        Some(Leaf { line, value: Py::Int(port), .. }) => (*line, *port),
        _ => (1, default),
    };
    let (http, https) = (port("http.port", 80), port("https.port", 443));
    let encrypted = find("https.enabled").is_some_and(|leaf| leaf.value == Py::Bool(true));
    let mut set = |key: &str, (line, port)| {
        settings.insert(("JupyterHub".to_owned(), key.to_owned()), (line, Py::Int(port)));
    };
    let public = if encrypted {
        set("redirect_port", http);
        https
    } else {
        http
    };
    set("port", public);
    if let (line, port @ 1..1024) = public {
        remarks.push(Remark {
            line,
            what: format!("port {port} needs a privilege that hubd does not have"),
            how: format!(
                "let systemd open it: ListenStream={port} in hubd.socket, see SOCKETS OF SYSTEMD in hubd(8)"
            ),
        });
    }
}

/// Whether it is the authenticator that comes with it.
fn first_use(class: &Py) -> bool {
    matches!(class, Py::Str(class) if class.contains("FirstUse"))
}

fn limit(key: &str, value: &Py) -> String {
    let value = match value {
        Py::Int(number) => number.to_string(),
        Py::Float(number) => number.to_string(),
        Py::Str(text) => format!("{text:?}"),
        _ => "…".to_owned(),
    };
    format!(
        "root decides: write it below [profile.default] in helper.toml(5): limits = {{ {key} = {value} }}"
    )
}

/// What holds for every installation of it.
fn always(remarks: &mut Vec<Remark>) {
    for (what, how) in [
        (
            "accounts are named jupyter-NAME there, and people log in as NAME",
            "rename them: usermod --login NAME --home /home/NAME --move-home jupyter-NAME; or write jupyter-NAME \
             wherever names stand here, and let people know",
        ),
        (
            "people's servers are those of /opt/tljh/user",
            "write below [profile.default] in helper.toml(5): program = [\"/opt/tljh/user/bin/jupyterhub-singleuser\"]",
        ),
    ] {
        remarks.push(Remark { line: 1, what: what.to_owned(), how: how.to_owned() });
    }
}
