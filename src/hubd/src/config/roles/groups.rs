//! `load_groups` and `custom_scopes`.

use std::collections::BTreeMap;

use hubd_hub::auth::scopes::{CustomScope, CustomScopes, is_custom};
use hubd_store::ConfiguredGroup;
use serde_json::Value;

use super::{HUB, Reader, strings};

impl Reader<'_> {
    pub(super) fn custom_scopes(&mut self) -> CustomScopes {
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

    pub(super) fn groups(&mut self) -> Vec<ConfiguredGroup> {
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
}
