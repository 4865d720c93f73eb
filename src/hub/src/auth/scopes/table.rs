//! Every scope, in one table: checks, pages and documents come from it.

/// A scope that the hub knows.
#[derive(Debug)]
pub struct Scope {
    /// Name.
    pub name: &'static str,
    /// What it allows, for people.
    pub meaning: &'static str,
    /// Scopes that it contains.
    pub subscopes: &'static [&'static str],
}

/// All scopes of JupyterHub 6.1.
#[rustfmt::skip]
pub const SCOPES: &[Scope] = &[
    Scope { name: "(no_scope)", meaning: "only identifies the owner of the credential", subscopes: &[] },
    Scope { name: "self", meaning: "metascope for users: a fixed set of scopes filtered to that user; nothing for services", subscopes: &[] },
    Scope { name: "inherit", meaning: "metascope for tokens: everything the owner may do", subscopes: &[] },
    Scope { name: "admin-ui", meaning: "open the admin page (actions there need their own scopes)", subscopes: &[] },
    Scope { name: "admin:users", meaning: "full control over user records except servers and tokens", subscopes: &["admin:auth_state", "users", "read:roles:users", "delete:users"] },
    Scope { name: "admin:auth_state", meaning: "read auth_state", subscopes: &[] },
    Scope { name: "users", meaning: "read and change user records (no servers, tokens, auth_state)", subscopes: &["read:users", "list:users", "users:activity"] },
    Scope { name: "delete:users", meaning: "delete users", subscopes: &[] },
    Scope { name: "list:users", meaning: "list users with at least their names", subscopes: &["read:users:name"] },
    Scope { name: "read:users", meaning: "read user records", subscopes: &["read:users:name", "read:users:groups", "read:users:activity"] },
    Scope { name: "read:users:name", meaning: "read user names", subscopes: &[] },
    Scope { name: "read:users:groups", meaning: "read which groups a user is in", subscopes: &[] },
    Scope { name: "read:users:activity", meaning: "read last activity of users", subscopes: &[] },
    Scope { name: "read:roles", meaning: "read all role assignments", subscopes: &["read:roles:users", "read:roles:services", "read:roles:groups"] },
    Scope { name: "read:roles:users", meaning: "read roles of users", subscopes: &[] },
    Scope { name: "read:roles:services", meaning: "read roles of services", subscopes: &[] },
    Scope { name: "read:roles:groups", meaning: "read roles of groups", subscopes: &[] },
    Scope { name: "users:activity", meaning: "report user activity", subscopes: &["read:users:activity"] },
    Scope { name: "admin:servers", meaning: "control servers including their state", subscopes: &["admin:server_state", "servers"] },
    Scope { name: "admin:server_state", meaning: "read server state", subscopes: &[] },
    Scope { name: "servers", meaning: "start, stop and read servers", subscopes: &["read:servers", "start:servers", "delete:servers"] },
    Scope { name: "read:servers", meaning: "read server records", subscopes: &["read:users:name"] },
    Scope { name: "start:servers", meaning: "start and edit servers (since 6.0)", subscopes: &[] },
    Scope { name: "delete:servers", meaning: "stop and delete servers", subscopes: &[] },
    Scope { name: "tokens", meaning: "create, read, delete tokens of users", subscopes: &["read:tokens"] },
    Scope { name: "read:tokens", meaning: "read token records", subscopes: &[] },
    Scope { name: "admin:groups", meaning: "full control over groups", subscopes: &["groups", "read:roles:groups", "delete:groups"] },
    Scope { name: "groups", meaning: "read groups and change their members and properties", subscopes: &["read:groups", "list:groups"] },
    Scope { name: "list:groups", meaning: "list groups with at least names", subscopes: &["read:groups:name"] },
    Scope { name: "read:groups", meaning: "read group records", subscopes: &["read:groups:name"] },
    Scope { name: "read:groups:name", meaning: "read group names", subscopes: &[] },
    Scope { name: "delete:groups", meaning: "delete groups", subscopes: &[] },
    Scope { name: "admin:services", meaning: "create, read, delete run-time services", subscopes: &["list:services", "read:services", "read:roles:services"] },
    Scope { name: "list:services", meaning: "list services", subscopes: &["read:services:name"] },
    Scope { name: "read:services", meaning: "read service records", subscopes: &["read:services:name"] },
    Scope { name: "read:services:name", meaning: "read service names", subscopes: &[] },
    Scope { name: "read:hub", meaning: "read hub version details", subscopes: &[] },
    Scope { name: "access:servers", meaning: "use user servers", subscopes: &[] },
    Scope { name: "access:services", meaning: "use services", subscopes: &[] },
    Scope { name: "users:shares", meaning: "read and revoke shares given to a user", subscopes: &["read:users:shares"] },
    Scope { name: "read:users:shares", meaning: "read shares given to a user", subscopes: &[] },
    Scope { name: "groups:shares", meaning: "read and revoke shares given to a group", subscopes: &["read:groups:shares"] },
    Scope { name: "read:groups:shares", meaning: "read shares given to a group", subscopes: &[] },
    Scope { name: "read:shares", meaning: "read shares of one's servers", subscopes: &[] },
    Scope { name: "shares", meaning: "manage shares", subscopes: &["access:servers", "read:shares", "users:shares", "groups:shares"] },
    Scope { name: "proxy", meaning: "read and sync the proxy table, announce a new proxy", subscopes: &[] },
    Scope { name: "shutdown", meaning: "shut the hub down", subscopes: &[] },
    Scope { name: "read:metrics", meaning: "read metrics", subscopes: &[] },
];

/// What `self` stands for, each with the filter `!user=NAME`.
pub const SELF: &[&str] =
    &["read:users", "users:shares", "read:shares", "users:activity", "servers", "tokens", "access:servers"];

/// The scope of this name.
pub fn find(name: &str) -> Option<&'static Scope> {
    SCOPES.iter().find(|scope| scope.name == name)
}

/// Whether the name has the form of a site's own scope, `custom:…`.
pub fn is_custom(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("custom:") else { return false };
    let bytes = rest.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() >= 3
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(|byte| alphanumeric(byte) || matches!(byte, b'_' | b'*'))
        && bytes.iter().all(|byte| alphanumeric(byte) || matches!(byte, b'_' | b'-' | b'*' | b':'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn strings(list: &Value) -> BTreeSet<&str> {
        list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
    }

    #[test]
    fn the_table_is_jupyterhubs() {
        let facts: Value = serde_json::from_str(include_str!("../testdata/scope_table.json")).unwrap();
        let scopes = facts["scopes"].as_array().unwrap();
        assert_eq!(scopes.len(), SCOPES.len());
        for fact in scopes {
            let scope = find(fact["scope"].as_str().unwrap()).unwrap();
            assert_eq!(scope.subscopes.iter().copied().collect::<BTreeSet<_>>(), strings(&fact["subscopes"]));
        }
        assert_eq!(
            SELF.iter().copied().collect::<BTreeSet<_>>(),
            strings(&facts["metascopes"]["self"]["base"])
        );
    }

    #[test]
    fn custom_scopes_have_their_form() {
        for good in ["custom:abc", "custom:a:b", "custom:a_b:c*"] {
            assert!(is_custom(good), "{good}");
        }
        for bad in [
            "custom:a",
            "custom:ab",
            "custom:a-",
            "custom:a:",
            "custom:a*",
            "custom:A",
            "custom:-a",
            "other:abc",
        ] {
            assert!(!is_custom(bad), "{bad}");
        }
    }
}
