//! The tables `groups` and `user_group_map`.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use crate::encoding::{column_dict, column_list, dict_column, list_column};
use crate::users::{self, NewUser};
use crate::writer::Transaction;
use crate::{Page, Store, StoreError};

/// A row of `groups` with its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Primary key.
    pub id: i64,
    /// Name: free text.
    pub name: String,
    /// Properties: a JSON dict.
    pub properties: Value,
    /// Names of assigned roles.
    pub roles: Vec<String>,
    /// Names of the members.
    pub users: Vec<String>,
}

/// A group as the configuration has it. Loading it only adds members.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredGroup {
    /// Name.
    pub name: String,
    /// Names of users; those without a row get one.
    pub users: Vec<String>,
    /// Properties, which replace all that there are; `None` leaves them.
    pub properties: Option<Value>,
}

/// The columns of [`Group`], in the order of `from_row`.
const COLUMNS: &str = "g.id, g.name, g.properties,
    (SELECT json_group_array(r.name) FROM group_role_map m JOIN roles r ON r.id = m.role_id WHERE m.group_id = g.id),
    (SELECT json_group_array(u.name) FROM user_group_map m JOIN users u ON u.id = m.user_id WHERE m.group_id = g.id)";

impl Store {
    /// The group of this name.
    pub fn group(&self, name: &str) -> Result<Option<Group>, StoreError> {
        self.read(|connection| find(connection, name))
    }

    /// A part of the groups, only those named if names are given, and the number of all groups.
    pub fn groups(&self, only: Option<&[String]>, page: Page) -> Result<(Vec<Group>, i64), StoreError> {
        let only = only.map(|names| list_column(names.iter().map(String::as_str)));
        self.read(|connection| {
            let total = connection.query_row("SELECT count(*) FROM groups", [], |row| row.get(0))?;
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM groups g
                 WHERE g.name IS NOT NULL AND (?1 IS NULL OR g.name IN (SELECT value FROM json_each(?1)))
                 ORDER BY g.id LIMIT ?2 OFFSET ?3"
            ))?;
            let rows = select.query_map(params![only, page.limit, page.offset], from_row)?;
            Ok((rows.collect::<Result<_, _>>()?, total))
        })
    }

    /// Names of the groups that a user is in; none for an unknown user.
    pub fn groups_of(&self, user: &str) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT g.name FROM users u JOIN user_group_map m ON m.user_id = u.id
                 JOIN groups g ON g.id = m.group_id WHERE u.name = ?1",
            )?;
            let names = select.query_map([user], |row| row.get(0))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
    }

    /// Makes a group; `false` if the name is taken.
    pub fn create_group(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|transaction| make(transaction, name))
    }

    /// Makes the groups that the configuration names, adds members and replaces properties.
    /// `new_cookie_id` makes 32 hex digits that nobody can guess.
    pub fn load_groups(
        &self,
        groups: &[ConfiguredGroup],
        new_cookie_id: &mut dyn FnMut() -> String,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            for group in groups {
                if make(transaction, &group.name)? {
                    tracing::info!("Creating group {}", group.name);
                }
                for user in &group.users {
                    if users::find(transaction, user)?.is_none() {
                        tracing::info!("Creating user {user} found in group: {}", group.name);
                        let new = NewUser { name: user.clone(), admin: false, cookie_id: new_cookie_id() };
                        users::insert(transaction, &new, now)?;
                    }
                }
                fill(transaction, group)?;
            }
            Ok(())
        })
    }

    /// Deletes a group; says whether there was one.
    pub fn delete_group(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            Ok(transaction.prepare_cached("DELETE FROM groups WHERE name = ?1")?.execute([name])? > 0)
        })
    }

    /// Replaces a group's properties.
    pub fn set_group_properties(&self, name: &str, properties: &Value) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE groups SET properties = ?2 WHERE name = ?1")?
                .execute(params![name, dict_column(properties)])?;
            Ok(())
        })
    }

    /// Makes a user a member of exactly these groups, given by primary key.
    pub fn set_groups_of_user(&self, user_id: i64, groups: &[i64]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM user_group_map WHERE user_id = ?1")?
                .execute([user_id])?;
            for group in groups {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO user_group_map (user_id, group_id) VALUES (?1, ?2)",
                    )?
                    .execute([user_id, *group])?;
            }
            Ok(())
        })
    }

    /// Makes a user a member of exactly these groups, given by name; groups that do not exist are made.
    pub fn put_into_groups(&self, user_id: i64, names: &[String]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM user_group_map WHERE user_id = ?1")?
                .execute([user_id])?;
            for name in names {
                transaction
                    .prepare_cached(
                        "INSERT INTO groups (name, properties) VALUES (?1, '{}') ON CONFLICT (name) DO NOTHING",
                    )?
                    .execute([name])?;
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO user_group_map (user_id, group_id)
                         SELECT ?1, id FROM groups WHERE name = ?2",
                    )?
                    .execute(params![user_id, name])?;
            }
            Ok(())
        })
    }

    /// Adds users, given by primary key, to a group.
    pub fn add_to_group(&self, group_id: i64, users: &[i64]) -> Result<(), StoreError> {
        self.write(|transaction| {
            for user in users {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO user_group_map (user_id, group_id) VALUES (?1, ?2)",
                    )?
                    .execute([*user, group_id])?;
            }
            Ok(())
        })
    }

    /// Removes users, given by primary key, from a group.
    pub fn remove_from_group(&self, group_id: i64, users: &[i64]) -> Result<(), StoreError> {
        self.write(|transaction| {
            for user in users {
                transaction
                    .prepare_cached("DELETE FROM user_group_map WHERE user_id = ?1 AND group_id = ?2")?
                    .execute([*user, group_id])?;
            }
            Ok(())
        })
    }
}

/// Makes a group; `false` if the name is taken.
pub(crate) fn make(transaction: &Transaction<'_>, name: &str) -> Result<bool, StoreError> {
    let made = transaction
        .prepare_cached(
            "INSERT INTO groups (name, properties) VALUES (?1, '{}') ON CONFLICT (name) DO NOTHING",
        )?
        .execute([name])?;
    Ok(made > 0)
}

/// Adds the configured members, who exist, and sets the configured properties. Writes nothing that is there.
fn fill(transaction: &Transaction<'_>, group: &ConfiguredGroup) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO user_group_map (user_id, group_id)
             SELECT u.id, g.id FROM users u, groups g
             WHERE g.name = ?1 AND u.name IN (SELECT value FROM json_each(?2))",
        )?
        .execute(params![group.name, list_column(group.users.iter().map(String::as_str))])?;
    if let Some(properties) = &group.properties
        && find(transaction, &group.name)?.is_some_and(|found| found.properties != *properties)
    {
        transaction
            .prepare_cached("UPDATE groups SET properties = ?2 WHERE name = ?1")?
            .execute(params![group.name, dict_column(properties)])?;
    }
    Ok(())
}

fn find(connection: &Connection, name: &str) -> Result<Option<Group>, StoreError> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM groups g WHERE g.name = ?1"))?;
    Ok(select.query_row([name], from_row).optional()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Group> {
    Ok(Group {
        id: row.get(0)?,
        name: row.get(1)?,
        properties: column_dict(row.get(2)?).unwrap_or_else(|| Value::Object(Default::default())),
        roles: column_list(row.get(3)?),
        users: column_list(row.get(4)?),
    })
}
