//! The tables `roles` and the maps that assign them.

use rusqlite::{Connection, OptionalExtension, params};

use crate::encoding::{column_list, list_column};
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// A role that every hub has.
pub struct DefaultRole {
    /// Name.
    pub name: &'static str,
    /// Description, in JupyterHub's words.
    pub description: &'static str,
    /// Raw scopes.
    pub scopes: &'static [&'static str],
}

/// The roles that every hub has, as JupyterHub 6.1 defines them.
pub const DEFAULT_ROLES: [DefaultRole; 4] = [
    DefaultRole { name: "user", description: "Standard user privileges", scopes: &["self"] },
    DefaultRole {
        name: "admin",
        description: "Elevated privileges (can do anything)",
        scopes: &[
            "admin-ui",
            "admin:users",
            "admin:servers",
            "admin:services",
            "tokens",
            "admin:groups",
            "list:services",
            "read:services",
            "read:hub",
            "proxy",
            "shutdown",
            "access:services",
            "access:servers",
            "read:roles",
            "read:metrics",
            "shares",
        ],
    },
    DefaultRole {
        name: "server",
        description: "Post activity only",
        scopes: &["users:activity!user", "access:servers!server"],
    },
    DefaultRole {
        name: "token",
        description: "Token with same permissions as its owner",
        scopes: &["inherit"],
    },
];

/// Makes a role, or resets description and scopes of one that exists. Writes nothing when they are the same,
/// so that a hub starts on a full disk.
const DEFINE: &str = "INSERT INTO roles (name, description, scopes, managed_by_auth)
    VALUES (?1, ?2, ?3, 0)
    ON CONFLICT (name) DO UPDATE SET description = excluded.description, scopes = excluded.scopes
        WHERE description IS NOT excluded.description OR scopes IS NOT excluded.scopes";

impl Store {
    /// Raw scopes of a role.
    pub fn role_scopes(&self, name: &str) -> Result<Option<Vec<String>>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached("SELECT scopes FROM roles WHERE name = ?1")?;
            Ok(select.query_row([name], |row| row.get(0)).optional()?.map(column_list))
        })
    }

    /// Makes a role, or gives one that exists these scopes.
    pub fn define_role(&self, name: &str, description: &str, scopes: &[&str]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.prepare_cached(DEFINE)?.execute(params![
                name,
                description,
                list_column(scopes.iter().copied())
            ])?;
            Ok(())
        })
    }

    /// Assigns a role to a user.
    pub fn grant_role(&self, user_id: i64, role: &str) -> Result<(), StoreError> {
        self.write(|transaction| grant_to_user(transaction, user_id, role))
    }

    /// Takes roles from a user and gives others, at once.
    pub fn change_roles(&self, user_id: i64, taken: &[&str], given: &[&str]) -> Result<(), StoreError> {
        self.write(|transaction| {
            for role in taken {
                strip_from_user(transaction, user_id, role)?;
            }
            for role in given {
                grant_to_user(transaction, user_id, role)?;
            }
            Ok(())
        })
    }

    /// Raw scopes of a user's own roles and of those of their groups.
    pub fn role_scopes_of_user(&self, user_id: i64) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            scopes(
                connection,
                "SELECT r.scopes FROM user_role_map m JOIN roles r ON r.id = m.role_id WHERE m.user_id = ?1
                 UNION ALL
                 SELECT r.scopes FROM user_group_map u JOIN group_role_map m ON m.group_id = u.group_id
                     JOIN roles r ON r.id = m.role_id WHERE u.user_id = ?1",
                user_id,
            )
        })
    }

    /// Raw scopes of a service's roles.
    pub fn role_scopes_of_service(&self, service_id: i64) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            scopes(
                connection,
                "SELECT r.scopes FROM service_role_map m JOIN roles r ON r.id = m.role_id WHERE m.service_id = ?1",
                service_id,
            )
        })
    }
}

/// Assigns a role that exists; one that is assigned stays.
pub(crate) fn grant_to_user(
    transaction: &Transaction<'_>,
    user_id: i64,
    role: &str,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO user_role_map (user_id, role_id, managed_by_auth)
             SELECT ?1, id, 0 FROM roles WHERE name = ?2",
        )?
        .execute(params![user_id, role])?;
    Ok(())
}

/// Takes a role away.
pub(crate) fn strip_from_user(
    transaction: &Transaction<'_>,
    user_id: i64,
    role: &str,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "DELETE FROM user_role_map
             WHERE user_id = ?1 AND role_id IN (SELECT id FROM roles WHERE name = ?2)",
        )?
        .execute(params![user_id, role])?;
    Ok(())
}

/// All scopes in the JSON lists that `sql` selects for `id`.
pub(crate) fn scopes(connection: &Connection, sql: &str, id: i64) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let lists = select.query_map([id], |row| row.get::<_, Option<String>>(0))?;
    let mut all = Vec::new();
    for list in lists {
        all.extend(column_list(list?));
    }
    Ok(all)
}
