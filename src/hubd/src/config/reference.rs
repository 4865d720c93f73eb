//! jupyterhub-options(7): what hubd makes of every option of JupyterHub 6.1.1, made from the tables and the list of
//! JupyterHub's options in `testdata`.

use std::fmt::Write;

use super::manual::escaped;
use super::names::{OLD_NAMES, find};
use super::refused;

/// JupyterHub's own list: class, name, type and default of every option of 6.1.1 and its usual plugins.
const THEIRS: &str = include_str!("testdata/jupyterhub_options.json");

/// Options whose default is another one here, with the reason.
#[rustfmt::skip]
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("Authenticator", "allow_all", "with PAM it is true unless another option says who may log in: an account on the machine is the permission"),
    ("Authenticator", "allow_existing_users", "true if allowed_users is not empty, as there"),
    ("DummyAuthenticator", "allow_all", "true if allowed_users is empty, as there"),
    ("ConfigurableHTTPProxy", "api_url", "the inner port, 8081"),
    ("ConfigurableHTTPProxy", "auth_token", "CONFIGPROXY_AUTH_TOKEN, or one made at the start, as there"),
    ("IdleCuller", "cull_every", "half of timeout, as there"),
    ("JupyterHub", "authenticator_class", "the same one: PAM"),
    ("JupyterHub", "cleanup_servers", "servers survive the hub"),
    ("JupyterHub", "log_level", "the same one, as a word"),
    ("JupyterHub", "spawner_class", "the same one: servers run as their users"),
];

/// The page.
fn page() -> String {
    let theirs: Vec<serde_json::Value> = serde_json::from_str(THEIRS).unwrap();
    let mut page = String::from(
        ".\\\" Made by a test from the tables of the code: HUBD_WRITE_PAGES=1 cargo test -p hubd page\n\
         .Dd November 22, 2026\n.Dt JUPYTERHUB-OPTIONS 7\n.Os\n.Sh NAME\n.Nm jupyterhub-options\n\
         .Nd what hubd makes of every option of JupyterHub 6.1\n.Sh DESCRIPTION\n\
         Every option of JupyterHub 6.1.1 and of its usual plugins, by class, and what becomes of it in\n\
         .Xr hubd.toml 5 .\n.Em accepted\nmeans that it works under the same name.\n\
         .Em refused\nmeans that it is Python code, which hubd does not run; the other way is named.\n\
         .Em does not apply\nmeans that there is nothing to decide here, with the reason.\n\
         .Xr hubd-import-config 1\nreads a\n.Pa jupyterhub_config.py\nby this list.\n",
    );
    let mut class = "";
    for option in &theirs {
        let of = |key: &str| option[key].as_str().unwrap();
        if of("class") != class {
            page.push_str(if class.is_empty() { "" } else { ".El\n" });
            class = of("class");
            writeln!(page, ".Ss {class}\n.Bl -tag -width Ds").unwrap();
        }
        writeln!(page, ".It Cm {}\n{}", of("name"), escaped(&verdict(class, of("name"), option))).unwrap();
    }
    page.push_str(".El\n.Sh SEE ALSO\n.Xr helper.toml 5 ,\n.Xr hubd.toml 5 ,\n.Xr hubd 8\n");
    page
}

/// What becomes of an option.
fn verdict(class: &str, name: &str, theirs: &serde_json::Value) -> String {
    if let Some(old) = OLD_NAMES.iter().find(|old| old.class == class && old.key == name) {
        return format!("accepted as {}.{}, with a warning", old.new_class, old.new_key);
    }
    if let Some(option) = find(class, name) {
        let different = DIFFERENT.iter().find(|(c, n, _)| *c == class && *n == name);
        let why = different.map(|(_, _, why)| format!("; default: {why}")).unwrap_or_default();
        if why.is_empty() {
            let default =
                option.default.parse::<toml::Value>().map(|ours| serde_json::to_value(ours).unwrap());
            let same = default.as_ref().is_ok_and(|ours| same(ours, &theirs["default"]));
            assert!(same, "{class}.{name}: default {} and {}", option.default, theirs["default"]);
        }
        return format!("accepted{why}");
    }
    let reason = refused::reason(class, name).unwrap_or_else(|| panic!("{class}.{name} is in no table"));
    format!("{}: {reason}", refused::category(reason))
}

/// Whether two defaults mean the same: 14 and 14.0 do, and so do nothing and an empty text or list.
fn same(ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    let nothing = |value: &serde_json::Value| {
        value.is_null()
            || value.as_str().is_some_and(str::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    // What JupyterHub's list computes, such as its own logo, is built in here.
    let computed = theirs.to_string().contains(['<', '$']);
    ours == theirs
        || (nothing(ours) && (computed || nothing(theirs)))
        || (ours.is_number() && ours.as_f64() == theirs.as_f64())
}

#[test]
fn the_page_of_jupyterhubs_options_holds_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/jupyterhub-options.7");
    let wanted = page();
    if std::env::var_os("HUBD_WRITE_PAGES").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page == wanted, "man/jupyterhub-options.7 is old: HUBD_WRITE_PAGES=1 cargo test -p hubd page");
}

#[test]
fn flags_of_jupyterhub_are_flags_here() {
    let theirs: Vec<serde_json::Value> = serde_json::from_str(THEIRS).unwrap();
    for option in theirs.iter().filter(|option| option["class"] == "JupyterHub") {
        for flag in option["flags"].as_array().into_iter().flatten() {
            let dashes = if flag.as_str().unwrap().len() == 1 { "-" } else { "--" };
            let argument = format!("{dashes}{}", flag.as_str().unwrap());
            let read = |rest: &[&str]| {
                let all = ["hubd", &argument].into_iter().chain(rest.iter().copied()).map(str::to_owned);
                crate::cli::CommandLine::read(all).is_ok()
            };
            assert!(read(&[]) || read(&["x"]), "{argument}");
        }
    }
}
