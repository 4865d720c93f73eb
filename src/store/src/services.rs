//! The table `services`.

use rusqlite::{OptionalExtension, Row};
use serde_json::Value;

use crate::encoding::{column_dict, column_list};
use crate::{Store, StoreError};

/// A row of `services`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Primary key.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Whether the service is an admin.
    pub admin: bool,
    /// Where it is, if it is a web service.
    pub url: Option<String>,
    /// Free information.
    pub info: Option<Value>,
    /// Whether pages list it.
    pub display: Option<bool>,
    /// The command of a managed service.
    pub command: Vec<String>,
    /// Names of assigned roles.
    pub roles: Vec<String>,
}

/// The columns of [`Service`], in the order of `from_row`.
const COLUMNS: &str = "s.id, s.name, s.admin, s.url, s.info, s.display, s.command,
    (SELECT json_group_array(r.name) FROM service_role_map m JOIN roles r ON r.id = m.role_id
     WHERE m.service_id = s.id)";

impl Store {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Result<Option<Service>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM services s WHERE s.name = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([name], from_row).optional()?)
        })
    }

    /// The service with this primary key.
    pub fn service_by_id(&self, id: i64) -> Result<Option<Service>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM services s WHERE s.id = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([id], from_row).optional()?)
        })
    }

    /// All services.
    pub fn services(&self) -> Result<Vec<Service>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM services s WHERE s.name IS NOT NULL ORDER BY s.id");
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_map([], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Service> {
    Ok(Service {
        id: row.get(0)?,
        name: row.get(1)?,
        admin: row.get::<_, Option<bool>>(2)?.unwrap_or(false),
        url: row.get(3)?,
        info: column_dict(row.get(4)?),
        display: row.get(5)?,
        command: column_list(row.get(6)?),
        roles: column_list(row.get(7)?),
    })
}
