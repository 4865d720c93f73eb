//! What two sets of scopes have in common.

use std::collections::BTreeSet;

use super::expand::split;
use super::{ClientOf, Held, Owner, expand};

/// Who is in which group.
pub trait Membership {
    /// Whether `user` is in `group`.
    fn user_in(&self, user: &str, group: &str) -> bool;
}

/// What both of two expanded sets allow.
pub fn intersect(one: &Held, other: &Held, groups: &dyn Membership) -> Held {
    let mut common = Held::new();
    for scope in one {
        if other.contains(scope) {
            common.insert(scope.clone());
            continue;
        }
        let (name, filter) = split(scope);
        match filter {
            Some(_) if other.contains(name) => {
                common.insert(scope.clone());
            }
            Some(filter) => {
                let found = with_filters(other, name).filter_map(|theirs| narrower(filter, theirs, groups));
                common.extend(found.map(|filter| format!("{name}!{filter}")));
            }
            None => common.extend(with_filters(other, name).map(|theirs| format!("{name}!{theirs}"))),
        }
    }
    common
}

/// What of the requested raw scopes somebody may have who holds `have`, also raw: a scope that is held in
/// part is replaced by that part. Second: those that are not fully granted.
pub fn resolve_requested(
    requested: &BTreeSet<String>,
    have: &BTreeSet<String>,
    owner: Owner<'_>,
    client: Option<ClientOf<'_>>,
    groups: &dyn Membership,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let expanded = |scopes: &BTreeSet<String>| expand(&scopes.iter().collect::<Vec<_>>(), owner, client);
    let mut allowed: BTreeSet<String> = requested.intersection(have).cloned().collect();
    let held = expanded(have);
    let mut refused = BTreeSet::new();
    for scope in requested.difference(have) {
        let granted = expanded(&allowed);
        let wanted: Held = expand(&[scope], owner, client).difference(&granted).cloned().collect();
        let common = intersect(&wanted, &held, groups);
        if common == wanted {
            allowed.insert(scope.clone());
        } else {
            allowed.extend(common);
            refused.insert(scope.clone());
        }
    }
    (allowed, refused)
}

/// The filters that `name` is held with.
fn with_filters<'a>(held: &'a Held, name: &str) -> impl Iterator<Item = &'a str> {
    let prefix = format!("{name}!");
    held.range(prefix.clone()..).map_while(move |found| found.strip_prefix(prefix.as_str()))
}

/// The filter that lets through what both do, if one lies within the other.
fn narrower<'a>(one: &'a str, other: &'a str, groups: &dyn Membership) -> Option<&'a str> {
    if one == other {
        return Some(one);
    }
    let within = |inner: &str, outer: &str| {
        let (Some((inner_kind, inner)), Some((outer_kind, outer))) =
            (inner.split_once('='), outer.split_once('='))
        else {
            return false;
        };
        let owner = inner.split_once('/').map_or(inner, |(user, _)| user);
        match (inner_kind, outer_kind) {
            ("server", "user") => owner == outer,
            ("user", "group") => groups.user_in(inner, outer),
            ("server", "group") => groups.user_in(owner, outer),
            _ => false,
        }
    };
    if within(one, other) {
        Some(one)
    } else if within(other, one) {
        Some(other)
    } else {
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;

    /// Alice is in g1, nobody in g2.
    pub(in super::super) struct Groups;

    impl Membership for Groups {
        fn user_in(&self, user: &str, group: &str) -> bool {
            (user, group) == ("alice", "g1")
        }
    }

    fn set(list: &Value) -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../testdata/scopes.json")).unwrap()
    }

    #[test]
    fn sets_intersect_as_in_jupyterhub() {
        for case in vectors()["intersect"].as_array().unwrap() {
            let (one, other) = (set(&case["a"]), set(&case["b"]));
            assert_eq!(intersect(&one, &other, &Groups), set(&case["intersection"]), "{case}");
            assert_eq!(intersect(&other, &one, &Groups), set(&case["intersection"]), "{case}");
        }
    }

    #[test]
    fn requests_are_cut_down_as_in_jupyterhub() {
        for case in vectors()["resolve_requested"].as_array().unwrap() {
            let client = match case["client"].as_str() {
                Some("jupyterhub-user-alice") => Some(ClientOf::Server("alice", "")),
                _ => None,
            };
            let owner = Owner::User(case["user"].as_str().unwrap());
            let (allowed, refused) =
                resolve_requested(&set(&case["requested"]), &set(&case["have"]), owner, client, &Groups);
            assert_eq!(allowed, set(&case["allowed"]), "{case}");
            assert_eq!(refused, set(&case["not_fully_granted"]), "{case}");
        }
    }
}
