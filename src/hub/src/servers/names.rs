//! The names that one server has: in URLs, in OAuth, in the log.

use std::fmt;

use hubd_proto::{ServerName, UserName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Hub, Settings};

/// What JupyterHub's `url_escape_path` encodes: all but letters, digits and `_.-~@`.
const PATH_SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'@');

/// What Python's `quote` encodes in an OAuth client id: as above, but `@` too and `/` not.
const CLIENT_ID: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// A name as one segment of a URL's path, encoded as JupyterHub does.
pub fn url_escape(name: &str) -> String {
    utf8_percent_encode(name, PATH_SEGMENT).to_string()
}

/// Longest name of a named server, in characters: JupyterHub's limit, chosen for host names and labels.
const NAME_CHARACTERS_MAX: usize = 30;

/// Whether a server's name is its own slug: a letter, then letters, digits and single dashes.
pub fn is_slug(name: &str) -> bool {
    name.len() <= NAME_CHARACTERS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// One server of one user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Which {
    pub user: UserName,
    pub server: ServerName,
}

impl Which {
    pub fn new(user: &UserName, server: &ServerName) -> Self {
        Self { user: user.clone(), server: server.clone() }
    }

    /// `/user/alice/` or `/user/alice/lab/`, below `base_url`, which ends with `/`.
    pub fn url(&self, base_url: &str) -> String {
        let user = url_escape(self.user.as_str());
        if self.server.is_default() {
            return format!("{base_url}user/{user}/");
        }
        format!("{base_url}user/{user}/{}/", url_escape(self.server.as_str()))
    }

    /// Where browsers find it: [`Self::url`], with scheme and host where people have hosts of their own.
    pub fn public_url(&self, settings: &Settings) -> String {
        let origin = settings.subdomains.as_ref().map(|hosts| hosts.origin_of_user(self.user.as_str()));
        format!("{}{}", origin.unwrap_or_default(), self.url(&settings.base_url))
    }

    /// The prefix of its route: [`Self::url`], behind its host where people have hosts of their own.
    pub fn route(&self, settings: &Settings) -> String {
        let host = settings.subdomains.as_ref().map(|hosts| hosts.host_of_user(self.user.as_str()));
        let host = host.map(|host| format!("/{host}")).unwrap_or_default();
        format!("{host}{}", self.url(&settings.base_url))
    }

    /// `jupyterhub-user-alice` or `jupyterhub-user-alice-lab`.
    pub fn client_id(&self) -> String {
        let user = utf8_percent_encode(self.user.as_str(), CLIENT_ID);
        if self.server.is_default() {
            return format!("jupyterhub-user-{user}");
        }
        format!("jupyterhub-user-{user}-{}", utf8_percent_encode(self.server.as_str(), CLIENT_ID))
    }
}

/// JupyterHub's log name: `alice`, or `alice:lab` for a named server.
impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.is_default() {
            write!(f, "{}", self.user)
        } else {
            write!(f, "{}:{}", self.user, self.server)
        }
    }
}

impl Hub {
    /// Where browsers find a server: `/user/alice/` or `/user/alice/lab/`, with scheme and host where people have
    /// hosts of their own.
    pub fn server_url(&self, user: &UserName, server: &ServerName) -> String {
        Which::new(user, server).public_url(&self.settings)
    }

    /// A server's part of the site: `/user/alice/` or `/user/alice/lab/`.
    pub(crate) fn server_path(&self, user: &UserName, server: &ServerName) -> String {
        Which::new(user, server).url(&self.settings.base_url)
    }

    /// Whether a server runs that hubd itself guards.
    pub(crate) fn is_edge(&self, user: &UserName, server: &ServerName) -> bool {
        self.routes.is_guarded(&Which::new(user, server).route(&self.settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_slugs() {
        for good in ["test", "a", "my-srv", "a-b-c-d", &"x".repeat(30)] {
            assert!(is_slug(good), "{good}");
        }
        for bad in ["", "Test", "1abc", "my--srv", "-a", "a-", "a_b", "über", "a.b", "12", &"x".repeat(31)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }

    fn which(user: &str, server: &str) -> Which {
        Which { user: user.parse().expect("a user"), server: server.parse().expect("a server") }
    }

    #[test]
    fn urls_and_client_ids_are_those_of_jupyterhub() {
        let default = which("Grace Hopper@x", "");
        assert_eq!(default.url("/"), "/user/Grace%20Hopper@x/");
        assert_eq!(default.client_id(), "jupyterhub-user-Grace%20Hopper%40x");
        let named = which("ü", "my-srv");
        assert_eq!(named.url("/hub2/"), "/hub2/user/%C3%BC/my-srv/");
        assert_eq!(named.client_id(), "jupyterhub-user-%C3%BC-my-srv");
        assert_eq!(url_escape("!*'()"), "%21%2A%27%28%29");
        assert_eq!(url_escape("a%2Fb"), "a%252Fb");
        assert_eq!(url_escape("a~b"), "a~b");
    }

    #[test]
    fn the_log_name_shows_the_server_only_if_it_has_one() {
        assert_eq!(which("erin", "").to_string(), "erin");
        assert_eq!(which("erin", "srv").to_string(), "erin:srv");
    }
}
