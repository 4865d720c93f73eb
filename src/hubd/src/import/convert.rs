//! From traits and values to options of hubd.toml, by the same tables that the daemon reads it with.

use std::collections::BTreeMap;

use super::Settings;
use super::python::Py;
use crate::config;
use crate::config::value::Kind;

/// Something that is not in the new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line in the old file.
    pub line: usize,
    /// What stands there.
    pub what: String,
    /// The way to do it here.
    pub how: String,
}

/// What gets into the new file: by class, lines with a comment before each.
#[derive(Default)]
pub struct Imported {
    /// Class, then comment and assignment.
    pub options: BTreeMap<String, Vec<(String, String)>>,
}

impl Imported {
    fn add(&mut self, class: &str, comment: &str, line: String) {
        self.options.entry(class.to_owned()).or_default().push((comment.to_owned(), line));
    }
}

/// What takes the place of classes that hubd does not have.
const CLASSES: &[(&str, &str)] = &[
    (
        "authenticator_class",
        "people log in with accounts of this machine: PAM reaches LDAP, Active Directory and Kerberos through sssd or \
         pam_ldap",
    ),
    (
        "spawner_class",
        "a server runs as its user in a PAM session of its own; limits and programs are root's, see helper.toml(5)",
    ),
];

/// Why a name is no option here, and what to do.
fn refusal(class: &str, key: &str) -> Option<String> {
    let known = config::refusal(class, key);
    let others = [
        ("Traefik", "the proxy is a part of hubd: delete the line"),
        (
            "Authenticator",
            "no authenticator of hubd reads it; PAM has its own configuration, see pam.conf(5)",
        ),
        ("Spawner", "no spawner of hubd reads it; root's rules about servers are in helper.toml(5)"),
    ];
    known.or_else(|| others.iter().find(|(word, _)| class.contains(word)).map(|(_, how)| (*how).to_owned()))
}

/// A setting whose value is code.
pub fn code(line: usize, class: &str, key: &str, why: &str) -> Remark {
    let whole =
        CLASSES.iter().find(|(k, _)| class == "JupyterHub" && *k == key).map(|(_, how)| (*how).to_owned());
    let how = whole
        .or_else(|| refusal(class, key).filter(|_| config::current(class, key).is_none()))
        .unwrap_or_else(|| format!("if hubd.toml(5) has [{class}] {key}, write its value there by hand"));
    Remark { line, what: format!("c.{class}.{key}: {why}"), how }
}

/// Turns settings into options.
pub fn convert(mut settings: Settings, remarks: &mut Vec<Remark>) -> Imported {
    let mut imported = Imported::default();
    stricter_defaults(&settings, &mut imported);
    classes(&mut settings, &mut imported, remarks);
    for ((class, key), (line, value)) in settings {
        // None is how Python says that an option is not set.
        if value == Py::None {
            continue;
        }
        if let Err(remark) = one(&class, &key, line, &value, &mut imported) {
            remarks.push(remark);
        }
    }
    imported
}

/// Since JupyterHub 5 nobody may log in unless something says so; hubd with PAM lets in who has an account.
fn stricter_defaults(settings: &Settings, imported: &mut Imported) {
    let is_set = |key: &str| settings.keys().any(|(class, k)| class.ends_with("Authenticator") && k == key);
    let dummy =
        text_of(settings, "JupyterHub", "authenticator_class").is_some_and(|class| class.contains("ummy"));
    if !is_set("allow_all") && !dummy {
        let comment = "JupyterHub 5 and later let in only whom an option names. Without this line hubd lets in\n\
                       everybody with an account if no option says who may.";
        imported.add("Authenticator", comment, "allow_all = false".to_owned());
    }
    let cleanup = ("JupyterHub".to_owned(), "cleanup_servers".to_owned());
    if !settings.contains_key(&cleanup) {
        let comment =
            "JupyterHub stops all servers when it ends. Delete this line to let them run on over a restart.";
        imported.add("JupyterHub", comment, "cleanup_servers = true".to_owned());
    }
}

fn text_of(settings: &Settings, class: &str, key: &str) -> Option<String> {
    match settings.get(&(class.to_owned(), key.to_owned())) {
        Some((_, Py::Str(text))) => Some(text.clone()),
        _ => None,
    }
}

/// Authenticators and spawners: the known ones have names here, of others it is said what takes their place.
fn classes(settings: &mut Settings, imported: &mut Imported, remarks: &mut Vec<Remark>) {
    for (key, how) in CLASSES {
        let place = ("JupyterHub".to_owned(), (*key).to_owned());
        let Some((line, value)) = settings.remove(&place) else { continue };
        let Py::Str(class) = &value else {
            remarks.push(Remark {
                line,
                what: format!("c.JupyterHub.{key} is code"),
                how: (*how).to_owned(),
            });
            continue;
        };
        if one("JupyterHub", key, line, &value, imported).is_err() {
            remarks.push(Remark {
                line,
                what: format!("c.JupyterHub.{key} = {class:?}"),
                how: (*how).to_owned(),
            });
        }
    }
}

fn one(class: &str, key: &str, line: usize, value: &Py, imported: &mut Imported) -> Result<(), Remark> {
    let class = if class == "JupyterHubApp" { "JupyterHub" } else { class };
    let what = || format!("c.{class}.{key}");
    let (class, option) = config::current(class, key).ok_or_else(|| Remark {
        line,
        what: what(),
        how: refusal(class, key)
            .unwrap_or_else(|| format!("neither hubd nor JupyterHub 6.1 has an option {class}.{key}")),
    })?;
    let hex = hex_of_secret(&option.kind, value);
    let toml = hex.or_else(|| toml(value)).ok_or_else(|| Remark {
        line,
        what: format!("{} holds bytes, or a key that is no text", what()),
        how: "write it by hand; a secret belongs in a file, as cookie_secret_file".to_owned(),
    })?;
    match option.kind.read_toml(&toml) {
        Ok(_) => {
            imported.add(&class, "", format!("{} = {}", option.key, config::in_toml(&toml)));
            Ok(())
        }
        Err(why) => Err(Remark { line, what: format!("{}: {why}", what()), how: option.help.to_owned() }),
    }
}

/// Bytes that sign something, as hubd writes them.
fn hex_of_secret(kind: &Kind, value: &Py) -> Option<toml::Value> {
    let Py::Bytes(bytes) = value else { return None };
    let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (*kind == Kind::Secret).then(|| toml::Value::String(hex()))
}

/// The value as TOML; nothing for what TOML has not.
fn toml(value: &Py) -> Option<toml::Value> {
    Some(match value {
        Py::None | Py::Bytes(_) => return None,
        Py::Bool(yes) => toml::Value::Boolean(*yes),
        Py::Int(number) => toml::Value::Integer(*number),
        Py::Float(number) => toml::Value::Float(*number),
        Py::Str(text) => toml::Value::String(text.clone()),
        Py::List(items) => toml::Value::Array(items.iter().map(toml).collect::<Option<_>>()?),
        Py::Dict(entries) => {
            let mut table = toml::Table::new();
            for (key, value) in entries {
                let Py::Str(key) = key else { return None };
                // An entry that is None is one that is not there.
                if *value != Py::None {
                    table.insert(key.clone(), toml(value)?);
                }
            }
            toml::Value::Table(table)
        }
    })
}
