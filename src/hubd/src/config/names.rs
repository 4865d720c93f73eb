//! Names of options: old ones, classes with those above them, and the way from a name to its row.

use super::option::Opt;
use super::options::OPTIONS;

/// A name that is understood as another one.
pub struct OldName {
    /// Old class.
    pub class: &'static str,
    /// Old key.
    pub key: &'static str,
    /// The class now.
    pub new_class: &'static str,
    /// The key now.
    pub new_key: &'static str,
}

/// Old names that still work; each use is a warning that names the new one.
pub const OLD_NAMES: &[OldName] = &[
    OldName {
        class: "Authenticator",
        key: "whitelist",
        new_class: "Authenticator",
        new_key: "allowed_users",
    },
    OldName { class: "JupyterHub", key: "admin_users", new_class: "Authenticator", new_key: "admin_users" },
    OldName {
        class: "JupyterHub",
        key: "trusted_downstream_ips",
        new_class: "JupyterHub",
        new_key: "trusted_proxies",
    },
    OldName {
        class: "JupyterHub",
        key: "proxy_auth_token",
        new_class: "ConfigurableHTTPProxy",
        new_key: "auth_token",
    },
    OldName { class: "JupyterHub", key: "extra_log_file", new_class: "JupyterHub", new_key: "log_file" },
    OldName { class: "Application", key: "log_level", new_class: "JupyterHub", new_key: "log_level" },
];

/// A class of JupyterHub's: a table in hubd.toml.
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// The class above, whose options this one has too.
    pub parent: Option<&'static str>,
    /// The heading of its options in hubd.toml(5).
    pub heading: &'static str,
}

const fn class(name: &'static str, parent: Option<&'static str>, heading: &'static str) -> Class {
    Class { name, parent, heading }
}

/// Every table of hubd.toml, in the order of the manual.
pub const CLASSES: &[Class] = &[
    class("JupyterHub", None, "THE HUB"),
    class("Proxy", None, "THE PROXY"),
    class("ConfigurableHTTPProxy", Some("Proxy"), "THE REST API FOR ROUTES"),
    class("Authenticator", None, "WHO MAY LOG IN"),
    class("LocalAuthenticator", Some("Authenticator"), "ACCOUNTS OF THIS MACHINE"),
    class("PAMAuthenticator", Some("LocalAuthenticator"), "PAM"),
    class("DummyAuthenticator", Some("Authenticator"), "THE DUMMY AUTHENTICATOR"),
    class("SharedPasswordAuthenticator", Some("Authenticator"), "THE SHARED PASSWORD AUTHENTICATOR"),
    class("EventLogger", None, "EVENTS"),
    class("IdleCuller", None, "WHEN IDLE SERVERS ARE STOPPED"),
    class("Spawner", None, "HOW SERVERS START"),
    class("LocalProcessSpawner", Some("Spawner"), "HOW SERVERS OF ACCOUNTS START"),
    class("SimpleLocalProcessSpawner", Some("LocalProcessSpawner"), "HOW SERVERS OF TRIALS START"),
];

/// The class above, whose options this one has too.
pub fn parent(class: &str) -> Option<&'static str> {
    CLASSES.iter().find(|known| known.name == class)?.parent
}

/// What the manual calls a class.
pub fn heading(class: &str) -> &'static str {
    CLASSES.iter().find(|known| known.name == class).map_or("", |known| known.heading)
}

/// The option of a class or of one above it.
pub fn find(class: &str, key: &str) -> Option<&'static Opt> {
    let own = OPTIONS.iter().find(|option| option.class == class && option.key == key);
    own.or_else(|| find(parent(class)?, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_of_a_known_class() {
        for option in OPTIONS {
            assert!(CLASSES.iter().any(|class| class.name == option.class), "{}", option.class);
        }
    }

    #[test]
    fn a_class_has_the_options_of_the_classes_above_it() {
        assert_eq!(find("SimpleLocalProcessSpawner", "args").unwrap().class, "Spawner");
        assert_eq!(find("DummyAuthenticator", "password").unwrap().class, "DummyAuthenticator");
        assert!(find("PAMAuthenticator", "password").is_none());
    }

    #[test]
    fn old_names_lead_to_options_that_exist() {
        for old in OLD_NAMES {
            assert!(find(old.new_class, old.new_key).is_some(), "{}.{}", old.class, old.key);
            assert!(find(old.class, old.key).is_none() || old.class == "Application", "{}", old.key);
        }
    }
}
