//! `load_roles`, `load_groups`, `extra_user_scopes` and `custom_scopes`: what they mean, and what is wrong with them.

mod groups;
mod role;

use std::collections::{BTreeMap, BTreeSet};

use hubd_hub::auth::scopes::CustomScopes;
use hubd_hub::settings::RoleSettings;
use hubd_proto::UserName;
use hubd_store::ConfiguredGroup;
use serde_json::Value;

use super::Values;
use super::problem::Problem;

const HUB: &str = "JupyterHub";
type Table = BTreeMap<String, Value>;

/// Reads the options; collects problems with the place of what is wrong.
pub struct Reader<'a> {
    values: &'a Values,
    problems: &'a mut Vec<Problem>,
    warnings: Vec<Problem>,
    custom: CustomScopes,
}

/// What was read.
pub struct Read {
    pub roles: RoleSettings,
    pub groups: Vec<ConfiguredGroup>,
    pub custom_scopes: CustomScopes,
    pub warnings: Vec<Problem>,
}

/// Reads all four options. `admins` are `Authenticator.admin_users`.
pub fn read(values: &Values, admins: &BTreeSet<UserName>, problems: &mut Vec<Problem>) -> Read {
    let custom = CustomScopes::default();
    let mut reader = Reader { values, problems, warnings: Vec::new(), custom };
    reader.custom = reader.custom_scopes();
    let roles = reader.roles(admins);
    let groups = reader.groups();
    Read { roles, groups, custom_scopes: reader.custom, warnings: reader.warnings }
}

impl Reader<'_> {
    fn users(&mut self, key: &'static str, pointer: &str, names: Vec<String>) -> Vec<String> {
        let mut checked = Vec::new();
        for name in names {
            match UserName::new(name.to_lowercase()) {
                Ok(name) => checked.push(name.to_string()),
                Err(error) => {
                    let pointer = format!("{pointer}/users");
                    self.wrong(
                        key,
                        &pointer,
                        format!("{name:?} is not a user name: {error}"),
                        "write names of accounts",
                    );
                }
            }
        }
        checked
    }

    fn list(&mut self, table: &Table, pointer: &str, key: &str) -> Option<Vec<String>> {
        let list = strings(table.get(key)?);
        if list.is_none() {
            let text = format!("{key} is not a list of texts");
            self.wrong("load_roles", &format!("{pointer}/{key}"), text, "write [\"a\", \"b\"]");
        }
        list
    }

    fn scopes(&mut self, key: &'static str, pointer: &str, role: &str, scopes: &[String]) {
        for (index, scope) in scopes.iter().enumerate() {
            if self.custom.known(scope).is_err() {
                let (text, cure) = match scope.split('!').next() {
                    Some("all") => ("the scope all is called inherit now".to_owned(), "write inherit"),
                    _ => (
                        format!("scope '{scope}' for role {role} does not exist"),
                        "scopes are listed in JupyterHub's documentation, those of your own in custom_scopes",
                    ),
                };
                self.wrong(key, &format!("{pointer}/{index}"), text, cure);
            }
        }
    }

    fn wrong(&mut self, key: &'static str, pointer: &str, text: String, cure: &str) {
        let origin = self.values.part_origin(HUB, key, pointer);
        self.problems.push(Problem::new(&origin, format!("{HUB}.{key}: {text}"), cure));
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::role::is_role_name;
    use super::*;

    fn read_text(text: &str) -> (Read, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let values = crate::config::load(Some(&path), &[], &mut problems);
        let admins = values.list(&["Authenticator"], "admin_users");
        let admins = admins.into_iter().map(|name| UserName::new(name).unwrap()).collect();
        let read = read(&values, &admins, &mut problems);
        let prefix = format!("{}/", directory.path().display());
        (read, problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
    }

    fn refused(text: &str, wanted: &str) {
        let (_, problems) = read_text(text);
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}: {problems:?}");
    }

    #[test]
    fn without_configuration_the_default_roles_are_jupyterhubs() {
        let (read, problems) = read_text("");
        assert!(problems.is_empty());
        assert_eq!(read.roles, RoleSettings::default());
        assert_eq!(read.roles.defaults.len(), 4);
    }

    #[test]
    fn a_default_role_is_overridden_in_part_and_others_are_whole() {
        let text = "[[JupyterHub.load_roles]]\nname = \"user\"\nscopes = [\"self\", \"custom:lab:read\"]\n\
                    [[JupyterHub.load_roles]]\nname = \"teacher\"\nscopes = [\"users\", \"groups!group=g\"]\nusers = [\"Ann\"]\ngroups = [\"g\"]\n\
                    [JupyterHub.custom_scopes]\n\"custom:lab:read\" = { description = \"look\" }\n\
                    [JupyterHub.load_groups]\nold = [\"bob\"]\n[JupyterHub.load_groups.new]\nusers = []\nproperties = { a = 1 }\n";
        let (read, problems) = read_text(text);
        assert!(problems.is_empty(), "{problems:?}");
        let roles = read.roles;
        assert_eq!(
            roles.defaults.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(),
            ["admin", "server", "token"]
        );
        assert_eq!(roles.configured[0].description.as_deref(), Some("Standard user privileges"));
        assert_eq!(roles.configured[0].scopes, ["self", "custom:lab:read"]);
        assert_eq!(roles.configured[1].description, None);
        assert_eq!(roles.members[1].users.as_deref(), Some(&["ann".to_owned()][..]));
        assert_eq!(roles.members[1].services, None);
        assert_eq!(read.groups[0].properties, Some(serde_json::json!({ "a": 1 })));
        assert_eq!((read.groups[1].name.as_str(), read.groups[1].users.len()), ("old", 1));
    }

    #[test]
    fn what_everybody_gets_more_is_part_of_the_role_user_unless_that_is_overridden() {
        let (read, _) = read_text("[JupyterHub]\nextra_user_scopes = [\"access:services\"]\n");
        assert_eq!(read.roles.defaults[0].scopes, ["self", "access:services"]);
        let text = "[JupyterHub]\nextra_user_scopes = [\"access:services\"]\n\
                    [[JupyterHub.load_roles]]\nname = \"user\"\nscopes = [\"read:users!user\"]\n";
        let (read, _) = read_text(text);
        assert_eq!(read.roles.configured[0].scopes, ["read:users!user"]);
        assert_eq!(read.warnings.len(), 2);
    }

    #[test]
    fn admins_of_both_places_are_admins_with_a_warning() {
        let text = "[Authenticator]\nadmin_users = [\"root1\"]\n[[JupyterHub.load_roles]]\nname = \"admin\"\nusers = [\"ann\"]\n";
        let (read, problems) = read_text(text);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(read.roles.members[0].users.as_deref(), Some(&["ann".to_owned(), "root1".to_owned()][..]));
        assert_eq!(read.warnings.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_line() {
        let role = |rest: &str| format!("[[JupyterHub.load_roles]]\nname = \"abc\"\n{rest}\n");
        refused(
            &role("scopes = [\n\"self\",\n\"reed:users\"]"),
            "hubd.toml:5:1: JupyterHub.load_roles: scope 'reed:users' for role abc does not exist",
        );
        refused(&role("scopes = [\"all\"]"), "called inherit");
        refused(&role("scopes = [\"custom:not:defined\"]"), "does not exist");
        refused(&role("scopes = [\"users!planet=x\"]"), "does not exist");
        refused(&role("scopes = \"self\""), "hubd.toml:3:1: JupyterHub.load_roles: scopes is not a list");
        refused(&role("members = []"), "hubd.toml:3:1: JupyterHub.load_roles: a role has no members");
        refused(&role("users = [\"a/b\"]"), "is not a user name");
        refused(
            &format!("{}{}", role(""), role("")),
            "hubd.toml:4:1: JupyterHub.load_roles: the role abc stands here twice",
        );
        refused("[[JupyterHub.load_roles]]\nscopes = []\n", "a role has no name");
        refused("[[JupyterHub.load_roles]]\nname = \"Ab\"\n", "no name of a role");
        refused(
            "[[JupyterHub.load_roles]]\nname = \"admin\"\nscopes = [\"self\"]\n",
            "the role admin cannot",
        );
        refused(
            "[JupyterHub]\nextra_user_scopes = [\"nope\"]\n",
            "hubd.toml:2:22: JupyterHub.extra_user_scopes: scope 'nope'",
        );
        refused(
            "[JupyterHub.load_groups]\ng = 1\n",
            "hubd.toml:2:1: JupyterHub.load_groups: the members of g",
        );
        refused("[JupyterHub.load_groups.g]\nmembers = []\n", "a group has no members");
        refused("[JupyterHub.load_groups.g]\nproperties = []\n", "properties is not a table");
        refused("[JupyterHub.custom_scopes]\n\"lab:read\" = { description = \"x\" }\n", "no name of a scope");
        refused("[JupyterHub.custom_scopes]\n\"custom:lab\" = {}\n", "no description");
        refused(
            "[JupyterHub.custom_scopes]\n\"custom:lab\" = { description = \"x\", subscopes = [\"users\"] }\n",
            "not in custom_scopes",
        );
    }

    #[test]
    fn names_of_roles_are_jupyterhubs() {
        for (name, valid) in [
            ("ab", false),
            ("abc", true),
            ("a-b", true),
            ("-ab", false),
            ("ab-", false),
            ("a.b~c_d", true),
            ("Abc", false),
            ("a12", true),
            ("1ab", false),
            ("ab\n", false),
        ] {
            assert_eq!(is_role_name(name), valid, "{name:?}");
        }
        assert!(is_role_name(&"a".repeat(255)) && !is_role_name(&"a".repeat(256)));
    }
}
