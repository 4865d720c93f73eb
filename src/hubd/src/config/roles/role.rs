//! `load_roles` and `extra_user_scopes`.

use std::collections::BTreeSet;

use hubd_hub::settings::RoleSettings;
use hubd_proto::UserName;
use hubd_store::{DEFAULT_ROLES, RoleDefinition, RoleMembers};
use serde_json::Value;

use super::super::problem::Problem;
use super::{HUB, Reader, Table};

/// Longest name of a role in bytes, as in JupyterHub.
const ROLE_BYTES_MAX: usize = 255;
/// Shortest name of a role in bytes, as in JupyterHub.
const ROLE_BYTES_MIN: usize = 3;
/// What a role may have.
const ROLE_KEYS: [&str; 6] = ["name", "description", "scopes", "users", "services", "groups"];

impl Reader<'_> {
    pub(super) fn roles(&mut self, admins: &BTreeSet<UserName>) -> RoleSettings {
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
}

/// Whether JupyterHub takes a name for a role's.
pub fn is_role_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (ROLE_BYTES_MIN..=ROLE_BYTES_MAX).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(*byte) || b"-_~.".contains(byte))
}
