//! Whether a set of scopes allows something.

use super::{Held, Membership};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Everything; for scopes without a resource.
    All,
    /// A user.
    User(&'a str),
    /// A user's server: user and server name.
    Server(&'a str, &'a str),
    /// A group.
    Group(&'a str),
    /// A service.
    Service(&'a str),
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Allowed,
    /// The scope is held for something else: 404, so that nobody learns what exists.
    Elsewhere,
    /// The scope is not held at all: 403.
    Denied,
}

/// Whether `held` allows `scope` on `target`.
pub fn access(held: &Held, scope: &str, target: Target<'_>, groups: &dyn Membership) -> Access {
    if held.contains(scope) {
        return Access::Allowed;
    }
    let has = |kind: &str, value: &str| held.contains(&format!("{scope}!{kind}={value}"));
    let by_group = |user: &str| filters(held, scope, "group").any(|group| groups.user_in(user, group));
    let allowed = match target {
        Target::All => false,
        Target::User(user) => has("user", user) || by_group(user),
        Target::Server(user, server) => {
            has("server", &format!("{user}/{server}")) || has("user", user) || by_group(user)
        }
        Target::Group(group) => has("group", group),
        Target::Service(service) => has("service", service),
    };
    let prefix = format!("{scope}!");
    let elsewhere = || held.range(prefix.clone()..).next().is_some_and(|found| found.starts_with(&prefix));
    if allowed {
        Access::Allowed
    } else if elsewhere() {
        Access::Elsewhere
    } else {
        Access::Denied
    }
}

/// The values of all filters of one kind that `scope` is held with.
pub(crate) fn filters<'a>(held: &'a Held, scope: &str, kind: &str) -> impl Iterator<Item = &'a str> {
    let prefix = format!("{scope}!{kind}=");
    held.range(prefix.clone()..).map_while(move |found| found.strip_prefix(prefix.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::intersect::tests::Groups;
    use super::super::{Owner, expand};
    use super::*;

    #[test]
    fn checks_end_as_in_jupyterhub() {
        let vectors: Value = serde_json::from_str(include_str!("../testdata/scopes.json")).unwrap();
        for case in vectors["has_scope"].as_array().unwrap() {
            let held: Held = case["have"]
                .as_array()
                .unwrap()
                .iter()
                .map(|scope| scope.as_str().unwrap().to_owned())
                .collect();
            let required = case["require"].as_str().unwrap();
            let (scope, filter) = required.split_once('!').unwrap_or((required, ""));
            let target = match filter.split_once('=') {
                Some(("user", user)) => Target::User(user),
                Some(("server", server)) => {
                    let (user, name) = server.split_once('/').unwrap();
                    Target::Server(user, name)
                }
                _ => Target::All,
            };
            let answer = access(&held, scope, target, &Groups);
            let expected = case["result"].as_bool().unwrap();
            if case["post_filter"] == true {
                assert_eq!(answer == Access::Elsewhere, expected, "{case}");
            } else {
                assert_eq!(answer == Access::Allowed, expected, "{case}");
            }
        }
    }

    #[test]
    fn holding_it_for_something_else_differs_from_not_holding_it() {
        let held = expand(&["self"], Owner::User("alice"), None);
        assert_eq!(access(&held, "read:users", Target::User("alice"), &Groups), Access::Allowed);
        assert_eq!(access(&held, "read:users", Target::User("bob"), &Groups), Access::Elsewhere);
        assert_eq!(access(&held, "admin:users", Target::User("bob"), &Groups), Access::Denied);
        assert_eq!(access(&held, "user", Target::All, &Groups), Access::Denied);
    }
}
