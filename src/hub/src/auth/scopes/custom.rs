//! Scopes that a site defines for itself: `JupyterHub.custom_scopes`.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::split;
use super::{UnknownScope, known, table};

/// One scope of the site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomScope {
    /// What it allows, for people.
    pub description: String,
    /// Scopes of the site that it contains.
    pub subscopes: Vec<String>,
}

/// All scopes of the site, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomScopes(pub BTreeMap<String, CustomScope>);

impl CustomScopes {
    /// Whether a raw scope exists, filter included: one of JupyterHub's, or one that the site defines.
    ///
    /// # Errors
    /// It does not.
    pub fn known(&self, scope: &str) -> Result<(), UnknownScope> {
        known(scope)?;
        let (name, _) = split(scope);
        if table::is_custom(name) && !self.0.contains_key(name) {
            return Err(UnknownScope::Name(scope.to_owned()));
        }
        Ok(())
    }

    /// What a scope means to people, if it exists.
    pub fn meaning<'a>(&'a self, name: &str) -> Option<&'a str> {
        let own = || self.0.get(name).map(|scope| scope.description.as_str());
        table::find(name).map(|scope| scope.meaning).or_else(own)
    }

    /// The same scopes with those of the site that they contain, each with the same filter.
    pub(crate) fn with_subscopes(&self, raw: Vec<String>) -> Vec<String> {
        let mut all: BTreeSet<String> = BTreeSet::new();
        let mut open = raw;
        while let Some(scope) = open.pop() {
            let (name, filter) = split(&scope);
            let subscopes = self.0.get(name).map_or(&[] as &[String], |custom| &custom.subscopes);
            let filtered = |subscope: &String| match filter {
                Some(filter) => format!("{subscope}!{filter}"),
                None => subscope.clone(),
            };
            let more: Vec<String> = subscopes.iter().map(filtered).collect();
            // A scope seen before is not followed again, so that two that contain each other come to an end.
            if all.insert(scope) {
                open.extend(more);
            }
        }
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom() -> CustomScopes {
        let scope = |description: &str, subscopes: &[&str]| CustomScope {
            description: description.into(),
            subscopes: subscopes.iter().map(|name| (*name).to_owned()).collect(),
        };
        CustomScopes(BTreeMap::from([
            ("custom:lab:read".to_owned(), scope("read", &[])),
            ("custom:lab:write".to_owned(), scope("write", &["custom:lab:read", "custom:lab:loop"])),
            ("custom:lab:loop".to_owned(), scope("loop", &["custom:lab:write"])),
        ]))
    }

    #[test]
    fn only_scopes_that_the_site_defines_exist() {
        let custom = custom();
        assert_eq!(custom.known("custom:lab:read!user=a"), Ok(()));
        assert_eq!(custom.known("read:users"), Ok(()));
        assert!(custom.known("custom:lab:reed").is_err() && custom.known("nonsense").is_err());
        assert_eq!(custom.meaning("custom:lab:write"), Some("write"));
        assert_eq!(custom.meaning("custom:lab:reed"), None);
    }

    #[test]
    fn subscopes_come_with_the_filter_and_circles_end() {
        let all = custom().with_subscopes(vec!["custom:lab:write!user".to_owned(), "self".to_owned()]);
        assert_eq!(all, ["custom:lab:loop!user", "custom:lab:read!user", "custom:lab:write!user", "self"]);
    }
}
