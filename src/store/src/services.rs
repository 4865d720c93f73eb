//! The table `services`, with the rows of `servers` and `oauth_clients` that belong to it.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

use crate::encoding::{column_dict, column_list, dict_column, list_column};
use crate::writer::Transaction;
use crate::{Store, StoreError};

/// Note of the token that a managed service gets when it starts, as JupyterHub's.
pub const STARTUP_NOTE: &str = "generated at startup";

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
    /// Whether the configuration made it, not the API.
    pub from_config: bool,
    /// Its OAuth client.
    pub client_id: Option<String>,
}

/// A service as its rows are to be. What was not given stays NULL, as in JupyterHub.
#[derive(Debug, Clone, Default)]
pub struct NewService {
    /// Name.
    pub name: String,
    /// Whether the configuration makes it, not the API.
    pub from_config: bool,
    /// Whether it has the role `admin`.
    pub admin: bool,
    /// Where it is.
    pub url: Option<String>,
    /// Free information.
    pub info: Option<Value>,
    /// Whether pages list it.
    pub display: Option<bool>,
    /// Whether nobody is asked before it learns who they are.
    pub oauth_no_confirm: Option<bool>,
    /// What it may ask for in the name of people.
    pub oauth_client_allowed_scopes: Option<Vec<String>>,
    /// The command of a managed service.
    pub command: Option<Vec<String>>,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Its variables.
    pub environment: Option<Value>,
    /// Its account.
    pub user: Option<String>,
    /// How long to wait for its URL, in seconds.
    pub timeout_seconds: i64,
    /// The row of `servers`, for a web service.
    pub server: Option<ServiceServer>,
    /// The row of `oauth_clients`, for one that people log in to.
    pub client: Option<ServiceClient>,
}

/// Where a web service is.
#[derive(Debug, Clone)]
pub struct ServiceServer {
    /// `http` or `https`.
    pub proto: String,
    /// Host or address; the path of a socket.
    pub ip: String,
    /// Port.
    pub port: i64,
    /// `/services/NAME/`.
    pub base_url: String,
}

/// The OAuth client of a service.
#[derive(Debug, Clone)]
pub struct ServiceClient {
    /// `service-NAME`.
    pub identifier: String,
    /// The hashed secret; `None` leaves the one that is there.
    pub secret_hash: Option<String>,
    /// The only redirect URI.
    pub redirect_uri: String,
    /// What it may ask for, its own access included.
    pub allowed_scopes: Vec<String>,
}

/// What writing a service met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceWritten {
    /// There was none of this name.
    Created,
    /// There was one.
    Updated,
    /// One of this name was made the other way, by the API or the configuration: nothing was written.
    Foreign,
}

/// The columns of [`Service`], in the order of `from_row`.
const COLUMNS: &str = "s.id, s.name, s.admin, s.url, s.info, s.display, s.command,
    (SELECT json_group_array(r.name) FROM service_role_map m JOIN roles r ON r.id = m.role_id
     WHERE m.service_id = s.id), s.from_config, s.oauth_client_id";

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

    /// Writes a service's rows; a new one with `admin` gets the role of that name.
    pub fn write_service(&self, service: &NewService) -> Result<ServiceWritten, StoreError> {
        self.write(|transaction| write(transaction, service))
    }

    /// The row of a service that a token names and nobody defined, made if need be, without a role.
    pub fn ensure_service(&self, name: &str) -> Result<i64, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO services (name, admin, timeout, from_config) VALUES (?1, 0, 30, 1)
                     ON CONFLICT (name) DO NOTHING",
                )?
                .execute([name])?;
            let mut select = transaction.prepare_cached("SELECT id FROM services WHERE name = ?1")?;
            Ok(select.query_row([name], |row| row.get(0))?)
        })
    }

    /// Deletes services of the configuration that are not among `kept`, with their tokens and clients, and
    /// clients of services that nobody has any more. Returns the names.
    pub fn remove_other_services(&self, kept: &[&str]) -> Result<Vec<String>, StoreError> {
        self.write(|transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT name FROM services WHERE from_config = 1
                 AND name NOT IN (SELECT value FROM json_each(?1))",
            )?;
            let names = select.query_map([list_column(kept.iter().copied())], |row| row.get(0))?;
            let names = names.collect::<Result<Vec<String>, _>>()?;
            for name in &names {
                delete(transaction, name)?;
            }
            transaction.execute(
                "DELETE FROM oauth_clients WHERE identifier LIKE 'service-%' AND identifier NOT IN
                     (SELECT oauth_client_id FROM services WHERE oauth_client_id IS NOT NULL)",
                [],
            )?;
            Ok(names)
        })
    }

    /// Deletes a service with its tokens and its client; says whether there was one.
    pub fn delete_service(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|transaction| delete(transaction, name))
    }

    /// Gives a starting service its token, instead of that of an earlier start, and its client the same as
    /// secret. Both are hashed.
    pub fn service_starting(
        &self,
        token: &crate::NewToken,
        client: Option<(&str, &str)>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            if let crate::TokenOwner::Service(id) = token.owner {
                transaction
                    .prepare_cached("DELETE FROM api_tokens WHERE service_id = ?1 AND note = ?2")?
                    .execute(params![id, STARTUP_NOTE])?;
            }
            crate::tokens::insert(transaction, token)?;
            if let Some((identifier, secret_hash)) = client {
                transaction
                    .prepare_cached("UPDATE oauth_clients SET secret = ?2 WHERE identifier = ?1")?
                    .execute([identifier, secret_hash])?;
            }
            Ok(())
        })
    }
}

fn write(transaction: &Transaction<'_>, new: &NewService) -> Result<ServiceWritten, StoreError> {
    let found: Option<(bool, Option<i64>)> = transaction
        .prepare_cached("SELECT coalesce(from_config, 1), _server_id FROM services WHERE name = ?1")?
        .query_row([&new.name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if found.is_some_and(|(from_config, _)| from_config != new.from_config) {
        return Ok(ServiceWritten::Foreign);
    }
    let server_id = write_server(transaction, new, found.and_then(|(_, server)| server))?;
    if let Some(client) = &new.client {
        write_client(transaction, &new.name, client)?;
    }
    let list =
        |items: &Option<Vec<String>>| items.as_ref().map(|l| list_column(l.iter().map(String::as_str)));
    transaction
        .prepare_cached(
            "INSERT INTO services (name, admin, url, oauth_client_allowed_scopes, info, display,
                 oauth_no_confirm, command, cwd, environment, user, timeout, from_config, _server_id,
                 oauth_client_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (name) DO UPDATE SET admin = excluded.admin, url = excluded.url,
                 oauth_client_allowed_scopes = excluded.oauth_client_allowed_scopes, info = excluded.info,
                 display = excluded.display, oauth_no_confirm = excluded.oauth_no_confirm,
                 command = excluded.command, cwd = excluded.cwd, environment = excluded.environment,
                 user = excluded.user, timeout = excluded.timeout, _server_id = excluded._server_id,
                 oauth_client_id = excluded.oauth_client_id",
        )?
        .execute(params![
            new.name,
            new.admin,
            new.url,
            list(&new.oauth_client_allowed_scopes),
            new.info.as_ref().and_then(dict_column),
            new.display,
            new.oauth_no_confirm,
            list(&new.command),
            new.cwd,
            new.environment.as_ref().and_then(dict_column),
            new.user,
            new.timeout_seconds,
            new.from_config,
            server_id,
            new.client.as_ref().map(|client| &client.identifier),
        ])?;
    if found.is_some() {
        return Ok(ServiceWritten::Updated);
    }
    if new.admin {
        transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO service_role_map (service_id, role_id, managed_by_auth)
                 SELECT s.id, r.id, 0 FROM services s, roles r WHERE s.name = ?1 AND r.name = 'admin'",
            )?
            .execute([&new.name])?;
    }
    Ok(ServiceWritten::Created)
}

/// Writes the row of `servers`, or removes the one that is not needed any more.
fn write_server(
    transaction: &Transaction<'_>,
    new: &NewService,
    present: Option<i64>,
) -> Result<Option<i64>, StoreError> {
    let Some(server) = &new.server else {
        transaction.prepare_cached("DELETE FROM servers WHERE id = ?1")?.execute([present])?;
        return Ok(None);
    };
    let cookie = new.client.as_ref().map(|client| &client.identifier);
    let values = params![present, server.proto, server.ip, server.port, server.base_url, cookie];
    transaction
        .prepare_cached(
            "INSERT INTO servers (id, proto, ip, port, base_url, cookie_name) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET proto = excluded.proto, ip = excluded.ip, port = excluded.port,
                 base_url = excluded.base_url, cookie_name = excluded.cookie_name",
        )?
        .execute(values)?;
    Ok(present.or_else(|| Some(transaction.last_insert_rowid())))
}

/// A client that is there keeps its row, and with it the tokens that were issued to it.
fn write_client(
    transaction: &Transaction<'_>,
    service: &str,
    client: &ServiceClient,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO oauth_clients (identifier, description, secret, redirect_uri, allowed_scopes)
             VALUES (?1, ?2, coalesce(?3, ''), ?4, ?5)
             ON CONFLICT (identifier) DO UPDATE SET description = excluded.description,
                 secret = coalesce(?3, secret), redirect_uri = excluded.redirect_uri,
                 allowed_scopes = excluded.allowed_scopes",
        )?
        .execute(params![
            client.identifier,
            format!("JupyterHub service {service}"),
            client.secret_hash,
            client.redirect_uri,
            list_column(client.allowed_scopes.iter().map(String::as_str)),
        ])?;
    Ok(())
}

fn delete(transaction: &Transaction<'_>, name: &str) -> Result<bool, StoreError> {
    for sql in [
        "DELETE FROM oauth_clients WHERE identifier IN (SELECT oauth_client_id FROM services WHERE name = ?1)",
        "DELETE FROM servers WHERE id IN (SELECT _server_id FROM services WHERE name = ?1)",
    ] {
        transaction.prepare_cached(sql)?.execute([name])?;
    }
    Ok(transaction.prepare_cached("DELETE FROM services WHERE name = ?1")?.execute([name])? > 0)
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
        from_config: row.get::<_, Option<bool>>(8)?.unwrap_or(true),
        client_id: row.get(9)?,
    })
}
