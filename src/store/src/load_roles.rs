//! Roles from the configuration: their definitions, and who has them. JupyterHub's rules and log lines
//! (`init_role_creation` and `init_role_assignment` of its `app.py`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use crate::encoding::{column_list, list_column};
use crate::roles::{DEFAULT_ROLES, DefaultRole, grant_to_user};
use crate::users::{NewUser, find, insert};
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// A role as the configuration, or JupyterHub's default, defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDefinition {
    /// Name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Raw scopes.
    pub scopes: Vec<String>,
}

impl From<&DefaultRole> for RoleDefinition {
    fn from(role: &DefaultRole) -> Self {
        Self {
            name: role.name.to_owned(),
            description: Some(role.description.to_owned()),
            scopes: role.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        }
    }
}

/// Who the configuration says has a role. A list that is not there counts as an empty one, except for the users
/// of `user` and the members of `admin`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleMembers {
    /// The role's name.
    pub role: String,
    /// Names of users; those without a row get one.
    pub users: Option<Vec<String>>,
    /// Names of services, which must exist.
    pub services: Option<Vec<String>>,
    /// Names of groups; those without a row get one.
    pub groups: Option<Vec<String>>,
}

/// Who else must have the role `user`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MustHaveUserRole {
    /// `Authenticator.allowed_users`.
    pub named: Vec<String>,
    /// Everybody in the database: `Authenticator.allow_existing_users`.
    pub everybody: bool,
}

/// A kind of role bearer: its table, the map, and the map's column.
struct Kind {
    /// For log lines.
    class: &'static str,
    table: &'static str,
    map: &'static str,
    column: &'static str,
}

const USERS: Kind = Kind { class: "User", table: "users", map: "user_role_map", column: "user_id" };
const SERVICES: Kind =
    Kind { class: "Service", table: "services", map: "service_role_map", column: "service_id" };
const GROUPS: Kind = Kind { class: "Group", table: "groups", map: "group_role_map", column: "group_id" };

impl Store {
    /// Makes and updates roles: `defaults` are those that the configuration does not override, `configured` the
    /// others. Roles that are neither, nor came from the authenticator, are deleted.
    pub fn define_roles(
        &self,
        defaults: &[RoleDefinition],
        configured: &[RoleDefinition],
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let old = definitions(transaction)?;
            let more = |role: &&RoleDefinition| {
                let old = old.get(&role.name);
                old.is_some_and(|(_, old, _)| role.scopes.iter().any(|scope| !old.contains(scope)))
            };
            for role in configured.iter().filter(more) {
                tracing::warn!("Role {} has obtained extra permissions", role.name);
            }
            let wanted: BTreeSet<&str> =
                defaults.iter().chain(configured).map(|role| role.name.as_str()).collect();
            for name in
                old.iter().filter(|(name, (_, _, managed))| !managed && !wanted.contains(name.as_str()))
            {
                tracing::warn!("Deleting role {}", name.0);
                transaction.prepare_cached("DELETE FROM roles WHERE name = ?1")?.execute([name.0])?;
            }
            defaults
                .iter()
                .chain(configured)
                .try_for_each(|role| define(transaction, role, old.get(&role.name)))
        })
    }

    /// Gives roles to those whom the configuration names, and takes them from those whom it leaves out; then makes
    /// the flag and the role of admins say the same. `new_cookie_id` makes 32 hex digits that nobody can guess.
    pub fn assign_roles(
        &self,
        members: &[RoleMembers],
        user_role: &MustHaveUserRole,
        new_cookie_id: &mut dyn FnMut() -> String,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            for role in members {
                let mut make_user =
                    |name: &str| make_user(transaction, name, &role.role, new_cookie_id(), now);
                assign_users(transaction, role, &mut make_user)?;
                assign_services(transaction, role)?;
                assign_groups(transaction, role)?;
            }
            grant_user_role(transaction, user_role)?;
            let admin = members.iter().find(|role| role.role == "admin");
            agree_on_admins(transaction, &USERS, admin.is_some_and(|role| role.users.is_some()))?;
            agree_on_admins(transaction, &SERVICES, admin.is_some_and(|role| role.services.is_some()))
        })
    }
}

/// Description, raw scopes and whether the authenticator made it, by name.
type Definitions = BTreeMap<String, (Option<String>, Vec<String>, bool)>;

fn definitions(transaction: &Transaction<'_>) -> Result<Definitions, StoreError> {
    let mut select = transaction.prepare_cached(
        "SELECT name, description, scopes, managed_by_auth FROM roles WHERE name IS NOT NULL",
    )?;
    let rows = select.query_map([], |row| {
        Ok((row.get(0)?, (row.get(1)?, column_list(row.get(2)?), row.get::<_, bool>(3)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn define(
    transaction: &Transaction<'_>,
    role: &RoleDefinition,
    old: Option<&(Option<String>, Vec<String>, bool)>,
) -> Result<(), StoreError> {
    let name = &role.name;
    if role.scopes.is_empty() {
        tracing::warn!("Role {name} will have no scopes");
    }
    let scopes = list_column(role.scopes.iter().map(String::as_str));
    let Some((old_description, old_scopes, _)) = old else {
        transaction
            .prepare_cached(
                "INSERT INTO roles (name, description, scopes, managed_by_auth) VALUES (?1, ?2, ?3, 0)",
            )?
            .execute(params![name, role.description, scopes])?;
        if !DEFAULT_ROLES.iter().any(|default| default.name == name) {
            tracing::info!("Role {name} added to database");
        }
        return Ok(());
    };
    // Nothing is written when nothing changes, so that a hub starts on a full disk.
    if *old_description != role.description {
        transaction
            .prepare_cached("UPDATE roles SET description = ?2 WHERE name = ?1")?
            .execute(params![name, role.description])?;
        tracing::info!("Role attribute {name}.description has been changed");
    }
    if *old_scopes != role.scopes {
        transaction
            .prepare_cached("UPDATE roles SET scopes = ?2 WHERE name = ?1")?
            .execute(params![name, scopes])?;
        tracing::info!("Role attribute {name}.scopes has been changed");
    }
    Ok(())
}

fn make_user(
    transaction: &Transaction<'_>,
    name: &str,
    role: &str,
    cookie_id: String,
    now: SystemTime,
) -> Result<(), StoreError> {
    if find(transaction, name)?.is_none() {
        tracing::info!("Creating user {name} found in role: {role}");
        insert(transaction, &NewUser { name: name.to_owned(), admin: false, cookie_id }, now)?;
    }
    Ok(())
}

fn assign_users(
    transaction: &Transaction<'_>,
    role: &RoleMembers,
    make: &mut dyn FnMut(&str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match &role.users {
        Some(names) => {
            names.iter().try_for_each(|name| make(name))?;
            set_members(transaction, &role.role, &USERS, names)
        }
        // The authenticator may have given it.
        None if role.role == "user" => Ok(()),
        // The flags say who has it.
        None if role.role == "admin" => set_members_by_flag(transaction, &USERS),
        None => set_members(transaction, &role.role, &USERS, &[]),
    }
}

fn assign_services(transaction: &Transaction<'_>, role: &RoleMembers) -> Result<(), StoreError> {
    let Some(names) = &role.services else {
        return match role.role.as_str() {
            "admin" => set_members_by_flag(transaction, &SERVICES),
            other => set_members(transaction, other, &SERVICES, &[]),
        };
    };
    let mut exists = transaction.prepare_cached("SELECT EXISTS (SELECT 1 FROM services WHERE name = ?1)")?;
    for name in names {
        if !exists.query_row([name], |row| row.get::<_, bool>(0))? {
            return Err(StoreError::UndefinedService { role: role.role.clone(), service: name.clone() });
        }
    }
    set_members(transaction, &role.role, &SERVICES, names)
}

fn assign_groups(transaction: &Transaction<'_>, role: &RoleMembers) -> Result<(), StoreError> {
    let names = role.groups.as_deref().unwrap_or_default();
    for name in names {
        if crate::groups::make(transaction, name)? {
            tracing::info!("Creating group {name} found in role: {}", role.role);
        }
    }
    set_members(transaction, &role.role, &GROUPS, names)
}

/// Makes exactly those named the bearers of a role. All must exist.
fn set_members(
    transaction: &Transaction<'_>,
    role: &str,
    kind: &Kind,
    names: &[String],
) -> Result<(), StoreError> {
    let Kind { table, map, column, .. } = kind;
    let names = list_column(names.iter().map(String::as_str));
    let among = format!("(SELECT id FROM {table} WHERE name IN (SELECT value FROM json_each(?2)))");
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {map} WHERE role_id = (SELECT id FROM roles WHERE name = ?1) AND {column} NOT IN {among}"
        ))?
        .execute(params![role, names])?;
    transaction
        .prepare_cached(&format!(
            "INSERT OR IGNORE INTO {map} ({column}, role_id, managed_by_auth)
             SELECT b.id, r.id, 0 FROM {table} b, roles r WHERE r.name = ?1 AND b.id IN {among}"
        ))?
        .execute(params![role, names])?;
    if role == "admin" && kind.column != GROUPS.column {
        transaction
            .prepare_cached(&format!(
                "UPDATE {table} SET admin = 1
                 WHERE admin IS NOT 1 AND name IN (SELECT value FROM json_each(?1))"
            ))?
            .execute([names])?;
    }
    Ok(())
}

/// Takes the role `admin` from those without the flag.
fn set_members_by_flag(transaction: &Transaction<'_>, kind: &Kind) -> Result<(), StoreError> {
    let Kind { table, map, column, .. } = kind;
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {map} WHERE role_id = (SELECT id FROM roles WHERE name = 'admin')
                 AND {column} IN (SELECT id FROM {table} WHERE admin IS NOT 1)"
        ))?
        .execute([])?;
    Ok(())
}

fn grant_user_role(transaction: &Transaction<'_>, wanted: &MustHaveUserRole) -> Result<(), StoreError> {
    let named = list_column(wanted.named.iter().map(String::as_str));
    let mut select = transaction.prepare_cached(
        "SELECT u.id, u.name FROM users u WHERE u.name IS NOT NULL
             AND (?1 OR u.name IN (SELECT value FROM json_each(?2)))
             AND NOT EXISTS (SELECT 1 FROM user_role_map m JOIN roles r ON r.id = m.role_id
                             WHERE m.user_id = u.id AND r.name = 'user')",
    )?;
    let rows = select.query_map(params![wanted.everybody, named], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows.collect::<Result<Vec<(i64, String)>, _>>()? {
        grant_to_user(transaction, row.0, "user")?;
        tracing::info!("Adding role user for User: {}", row.1);
    }
    Ok(())
}

/// Makes flag and role say the same: the role always sets the flag; the flag gives the role, unless the
/// configuration lists who has it.
fn agree_on_admins(transaction: &Transaction<'_>, kind: &Kind, listed: bool) -> Result<(), StoreError> {
    let Kind { class, table, map, column } = kind;
    let Some(role) = transaction
        .query_row("SELECT id FROM roles WHERE name = 'admin'", [], |row| row.get::<_, i64>(0))
        .optional()?
    else {
        return Ok(());
    };
    let differing = |flag: bool| -> Result<Vec<(i64, String)>, StoreError> {
        let not = if flag { "NOT" } else { "" };
        let mut select = transaction.prepare_cached(&format!(
            "SELECT b.id, coalesce(b.name, '') FROM {table} b WHERE coalesce(b.admin, 0) = ?1
                 AND {not} EXISTS (SELECT 1 FROM {map} m WHERE m.{column} = b.id AND m.role_id = ?2)"
        ))?;
        let rows = select.query_map(params![flag, role], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let set_flag = format!("UPDATE {table} SET admin = ?2 WHERE id = ?1");
    for (id, name) in differing(false)? {
        tracing::info!("Setting admin=True on {class} {name}");
        transaction.prepare_cached(&set_flag)?.execute(params![id, true])?;
    }
    for (id, name) in differing(true)? {
        if listed {
            tracing::warn!("Removing admin=True from {class} {name}");
            transaction.prepare_cached(&set_flag)?.execute(params![id, false])?;
        } else {
            tracing::info!("Adding role admin for {class}: {name}");
            transaction
                .prepare_cached(&format!(
                    "INSERT OR IGNORE INTO {map} ({column}, role_id, managed_by_auth) VALUES (?1, ?2, 0)"
                ))?
                .execute([id, role])?;
        }
    }
    Ok(())
}
