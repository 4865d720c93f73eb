//! `load_roles`, `load_groups`, `extra_user_scopes` and `custom_scopes`: what they mean, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use hubd_hub::auth::scopes::{CustomScope, CustomScopes, is_custom};
use hubd_hub::settings::RoleSettings;
use hubd_proto::UserName;
use hubd_store::{ConfiguredGroup, DEFAULT_ROLES, RoleDefinition, RoleMembers};
use serde_json::Value;

use super::Values;
use super::problem::Problem;

const HUB: &str = "JupyterHub";
/// Longest name of a role in bytes, as in JupyterHub.
const ROLE_BYTES_MAX: usize = 255;
/// Shortest name of a role in bytes, as in JupyterHub.
const ROLE_BYTES_MIN: usize = 3;
/// What a role may have.
const ROLE_KEYS: [&str; 6] = ["name", "description", "scopes", "users", "services", "groups"];

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
    fn custom_scopes(&mut self) -> CustomScopes {
        let table = self.values.table(&[HUB], "custom_scopes");
        let mut scopes = BTreeMap::new();
        for (name, definition) in &table {
            let pointer = format!("/{name}");
            let mut wrong = |text: String| self.wrong("custom_scopes", &pointer, text, "see hubd.toml(5)");
            if !is_custom(name) {
                wrong(format!(
                    "{name:?} is no name of a scope: custom: and at least three of a-z, 0-9, _, -, * and :"
                ));
            }
            let Some(description) = definition.get("description").and_then(Value::as_str) else {
                wrong(format!("{name} has no description"));
                continue;
            };
            let subscopes = match definition.get("subscopes").map(strings) {
                None => Vec::new(),
                Some(Some(subscopes)) => subscopes,
                Some(None) => {
                    wrong(format!("{name}: subscopes is not a list of scopes"));
                    continue;
                }
            };
            for subscope in subscopes.iter().filter(|subscope| !table.contains_key(*subscope)) {
                wrong(format!("{name} has the subscope {subscope}, which is not in custom_scopes"));
            }
            scopes.insert(name.clone(), CustomScope { description: description.to_owned(), subscopes });
        }
        CustomScopes(scopes)
    }

    fn roles(&mut self, admins: &BTreeSet<UserName>) -> RoleSettings {
        let mut settings = RoleSettings::default();
        let extra = self.values.list(&[HUB], "extra_user_scopes");
        self.scopes("extra_user_scopes", "", "user", &extra);
        let mut names = BTreeSet::new();
        for (index, table) in self.values.tables(&[HUB], "load_roles").iter().enumerate() {
            let pointer = format!("/{index}");
            let Some(name) = self.role_name(table, &pointer) else { continue };
            if !names.insert(name.clone()) {
                let cure = "make one role of both";
                self.wrong("load_roles", &pointer, format!("the role {name} stands here twice"), cure);
            }
            let definition = self.definition(table, &pointer, &name, &extra);
            settings.defaults.retain(|default| default.name != name);
            settings.configured.push(definition);
            settings.members.push(self.members(table, &pointer, name, admins));
        }
        for default in settings.defaults.iter_mut().filter(|default| default.name == "user") {
            default.scopes.extend(extra.iter().cloned());
        }
        settings
    }

    fn role_name(&mut self, table: &Table, pointer: &str) -> Option<String> {
        for key in table.keys().filter(|key| !ROLE_KEYS.contains(&key.as_str())) {
            let text = format!("a role has no {key}");
            self.wrong(
                "load_roles",
                &format!("{pointer}/{key}"),
                text,
                "write name, description, scopes, users, services or groups",
            );
        }
        let cure = "write name = \"NAME\" with 3 to 255 of a-z, 0-9, -, ., ~ and _, a letter first, a letter or digit last";
        let name = table.get("name").and_then(Value::as_str);
        match name {
            Some(name) if is_role_name(name) => Some(name.to_owned()),
            Some(name) => {
                self.wrong(
                    "load_roles",
                    &format!("{pointer}/name"),
                    format!("{name:?} is no name of a role"),
                    cure,
                );
                None
            }
            None => {
                self.wrong("load_roles", pointer, "a role has no name".to_owned(), cure);
                None
            }
        }
    }

    /// What is not given of a default role is the default.
    fn definition(&mut self, table: &Table, pointer: &str, name: &str, extra: &[String]) -> RoleDefinition {
        let default = DEFAULT_ROLES.iter().find(|role| role.name == name).map(RoleDefinition::from);
        let scopes = self.list(table, pointer, "scopes");
        let description = table.get("description").and_then(Value::as_str).map(str::to_owned);
        if table.contains_key("description") && description.is_none() {
            self.wrong(
                "load_roles",
                &format!("{pointer}/description"),
                "description is not a text".to_owned(),
                "write it in quotes",
            );
        }
        if let Some(scopes) = &scopes {
            self.scopes("load_roles", &format!("{pointer}/scopes"), name, scopes);
            if name == "user" {
                self.warn_of_user_scopes(pointer, scopes, extra);
            }
        }
        let mut definition = default.clone().unwrap_or_else(|| RoleDefinition {
            name: name.to_owned(),
            description: None,
            scopes: Vec::new(),
        });
        if name == "user" && scopes.is_none() {
            definition.scopes.extend(extra.iter().cloned());
        }
        definition.scopes = scopes.unwrap_or(definition.scopes);
        definition.description = description.or(definition.description);
        if name == "admin" && default.is_some_and(|default| default != definition) {
            let text = "the role admin cannot have another description or other scopes".to_owned();
            self.wrong("load_roles", pointer, text, "delete both here, and define a role of your own");
        }
        definition
    }

    fn warn_of_user_scopes(&mut self, pointer: &str, scopes: &[String], extra: &[String]) {
        let origin = self.values.part_origin(HUB, "load_roles", &format!("{pointer}/scopes"));
        if !extra.is_empty() {
            let text = "extra_user_scopes are ignored, because the role user has scopes of its own here";
            self.warnings.push(Problem::new(&origin, text, "write all of them here"));
        }
        if !scopes.iter().any(|scope| scope == "self") {
            let text =
                "the role user does not have the scope self here: people may not use their own servers";
            self.warnings.push(Problem::new(&origin, text, "set extra_user_scopes to give everybody more"));
        }
    }

    fn members(
        &mut self,
        table: &Table,
        pointer: &str,
        role: String,
        admins: &BTreeSet<UserName>,
    ) -> RoleMembers {
        let mut users =
            self.list(table, pointer, "users").map(|names| self.users("load_roles", pointer, names));
        if role == "admin" && !admins.is_empty() {
            let origin = self.values.part_origin(HUB, "load_roles", pointer);
            let text = "both admin_users and the role admin are configured; both name admins";
            self.warnings.push(Problem::new(&origin, text, "write all admins here, and delete admin_users"));
            users.get_or_insert_default().extend(admins.iter().map(ToString::to_string));
        }
        let services = self.list(table, pointer, "services");
        let groups = self.list(table, pointer, "groups");
        RoleMembers { role, users, services, groups }
    }

    fn groups(&mut self) -> Vec<ConfiguredGroup> {
        let mut groups = Vec::new();
        for (name, content) in self.values.table(&[HUB], "load_groups") {
            let pointer = format!("/{name}");
            let cure = "write NAME = [\"user\"], or users and properties below [JupyterHub.load_groups.NAME]";
            let (users, properties) = match &content {
                Value::Array(_) => (strings(&content), None),
                Value::Object(table) => {
                    for key in table.keys().filter(|key| !["users", "properties"].contains(&key.as_str())) {
                        self.wrong(
                            "load_groups",
                            &format!("{pointer}/{key}"),
                            format!("a group has no {key}"),
                            cure,
                        );
                    }
                    (table.get("users").map_or(Some(Vec::new()), strings), table.get("properties").cloned())
                }
                _ => (None, None),
            };
            if properties.as_ref().is_some_and(|properties| !properties.is_object()) {
                self.wrong(
                    "load_groups",
                    &format!("{pointer}/properties"),
                    "properties is not a table".to_owned(),
                    cure,
                );
            }
            match users {
                Some(users) => {
                    let users = self.users("load_groups", &pointer, users);
                    groups.push(ConfiguredGroup { name, users, properties });
                }
                None => self.wrong(
                    "load_groups",
                    &pointer,
                    format!("the members of {name} are not a list of names"),
                    cure,
                ),
            }
        }
        groups
    }

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

fn is_role_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (ROLE_BYTES_MIN..=ROLE_BYTES_MAX).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(*byte) || b"-_~.".contains(byte))
}

#[cfg(test)]
mod tests {
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
