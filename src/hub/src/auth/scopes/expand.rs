//! From raw scopes to the set of everything they contain.

use std::collections::BTreeSet;

use super::Held;
use super::table::{self, SELF};

/// Whose scopes are expanded: owner-relative filters mean them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A user, by name.
    User(&'a str),
    /// A service, by name.
    Service(&'a str),
}

/// Whose OAuth client issued a token: `!server` and `!service` mean it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOf<'a> {
    /// A user server: user and server name.
    Server(&'a str, &'a str),
    /// A service.
    Service(&'a str),
}

/// A requested scope that does not exist, in JupyterHub's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownScope {
    /// The name.
    #[error("Scope '{0}' for token does not exist")]
    Name(String),
    /// The filter: itself, and the scope with it.
    #[error("Scope filter {0} '!{0}' in scope '{1}' for token does not exist")]
    Filter(String, String),
    /// A name of a version before 2.0.
    #[error("Draft scope 'all' is now called 'inherit'")]
    Draft,
}

impl Owner<'_> {
    /// What every token of the owner may do: tell who the owner is.
    pub fn identify_scopes(&self) -> Vec<String> {
        match self {
            Self::User(name) => {
                vec![format!("read:users:name!user={name}"), format!("read:users:groups!user={name}")]
            }
            Self::Service(name) => vec![format!("read:services:name!service={name}")],
        }
    }
}

/// Whether a raw scope exists, filter included.
pub fn known(scope: &str) -> Result<(), UnknownScope> {
    let (name, filter) = split(scope);
    let filter_known = match filter {
        None => true,
        Some(filter) => match filter.split_once('=') {
            None => matches!(filter, "user" | "service" | "server"),
            Some((kind, value)) => {
                matches!(kind, "user" | "service" | "server" | "group")
                    && !value.is_empty()
                    && (kind != "server" || value.contains('/'))
            }
        },
    };
    if name == "all" {
        Err(UnknownScope::Draft)
    } else if table::find(name).is_none() && !table::is_custom(name) {
        Err(UnknownScope::Name(scope.to_owned()))
    } else if !filter_known {
        Err(UnknownScope::Filter(filter.unwrap_or_default().to_owned(), scope.to_owned()))
    } else {
        Ok(())
    }
}

/// Expands raw scopes for their owner: sub-scopes are added, owner-relative filters resolved (or the scope
/// dropped), and a scope without filter swallows the same one with filters. Unknown scopes count for nothing.
pub fn expand<S: AsRef<str>>(raw: &[S], owner: Owner<'_>, client: Option<ClientOf<'_>>) -> Held {
    let mut expanded = Held::new();
    for scope in raw {
        match (scope.as_ref(), owner) {
            ("self", Owner::User(user)) => {
                for scope in SELF {
                    add(&mut expanded, scope, Some(&format!("user={user}")));
                }
            }
            ("self", Owner::Service(_)) => {}
            (scope, _) => {
                let (name, filter) = split(scope);
                match filter.map(|filter| resolve(filter, owner, client)) {
                    None => add(&mut expanded, name, None),
                    Some(Some(filter)) => add(&mut expanded, name, Some(&filter)),
                    Some(None) => {}
                }
            }
        }
    }
    reduce(expanded)
}

/// Name and filter of a scope.
pub(super) fn split(scope: &str) -> (&str, Option<&str>) {
    scope.split_once('!').map_or((scope, None), |(name, filter)| (name, Some(filter)))
}

/// Adds a scope and all it contains, each with the same filter. The table has no cycles (its test walks
/// every scope).
fn add(expanded: &mut Held, name: &str, filter: Option<&str>) {
    let subscopes = match table::find(name) {
        Some(scope) => scope.subscopes,
        None if table::is_custom(name) => &[],
        None => return,
    };
    let on_server = filter.is_some_and(|filter| filter.starts_with("server="));
    for subscope in subscopes.iter().filter(|subscope| !(on_server && subscope.starts_with("read:user"))) {
        add(expanded, subscope, filter);
    }
    expanded.insert(match filter {
        Some(filter) => format!("{name}!{filter}"),
        None => name.to_owned(),
    });
}

/// A filter with its value; `None` when there is nobody it could mean.
fn resolve(filter: &str, owner: Owner<'_>, client: Option<ClientOf<'_>>) -> Option<String> {
    match (filter, owner, client) {
        ("user", Owner::User(user), _) => Some(format!("user={user}")),
        ("service", Owner::Service(service), _) => Some(format!("service={service}")),
        ("service", _, Some(ClientOf::Service(service))) => Some(format!("service={service}")),
        ("server", _, Some(ClientOf::Server(user, server))) => Some(format!("server={user}/{server}")),
        ("user" | "service" | "server", _, _) => None,
        (filter, _, _) => {
            let (kind, _) = filter.split_once('=')?;
            matches!(kind, "user" | "service" | "server" | "group").then(|| filter.to_owned())
        }
    }
}

/// Leaves out what an unfiltered scope swallows.
fn reduce(expanded: Held) -> Held {
    let whole: BTreeSet<&str> =
        expanded.iter().filter(|scope| !scope.contains('!')).map(String::as_str).collect();
    let kept = |scope: &&String| match split(scope) {
        (_, None) => true,
        (name, Some(_)) => !whole.contains(name),
    };
    expanded.iter().filter(kept).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::table::SCOPES;
    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../testdata/scopes.json")).unwrap()
    }

    fn strings(list: &Value) -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn scopes_expand_as_in_jupyterhub() {
        for case in vectors()["expand"].as_array().unwrap() {
            let owner = match case["owner"].as_str().unwrap().split_once(':').unwrap() {
                ("user", name) => Owner::User(name),
                (_, name) => Owner::Service(name),
            };
            let client = match case["oauth_client"].as_str() {
                Some("jupyterhub-user-alice") => Some(ClientOf::Server("alice", "")),
                Some("service-svc") => Some(ClientOf::Service("svc")),
                _ => None,
            };
            let expanded: Vec<String> = expand(&strings(&case["raw"]), owner, client).into_iter().collect();
            assert_eq!(expanded, strings(&case["expanded"]), "{case}");
        }
    }

    #[test]
    fn every_scope_expands_as_in_the_table_of_facts() {
        let facts: Value = serde_json::from_str(include_str!("../testdata/scope_table.json")).unwrap();
        for fact in facts["scopes"].as_array().unwrap() {
            let name = fact["scope"].as_str().unwrap();
            if name == "self" {
                continue;
            }
            let expanded: Vec<String> = expand(&[name], Owner::Service("svc"), None).into_iter().collect();
            assert_eq!(expanded, strings(&fact["expands_to"]), "{name}");
        }
        assert_eq!(facts["scopes"].as_array().unwrap().len(), SCOPES.len());
    }

    #[test]
    fn unknown_scopes_and_filters_are_named() {
        for good in
            ["self", "inherit", "read:users!user", "servers!server=a/", "custom:abc", "groups!group=g 1"]
        {
            assert_eq!(known(good), Ok(()), "{good}");
        }
        for bad in ["nonsense", "all", "users!group", "users!planet=x", "users!user=", "servers!server=a", ""]
        {
            assert!(known(bad).is_err(), "{bad}");
        }
        assert!(expand(&["nonsense", "users!planet=x"], Owner::User("a"), None).is_empty());
    }
}
