//! The table `shares`: scopes on one server, given to a user or a group.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::encoding::{column_list, column_time, list_column, time_column};
use crate::writer::Transaction;
use crate::{Page, Store, StoreError};

/// A row of `shares`.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Primary key.
    pub id: i64,
    /// Name of the server's owner.
    pub owner: String,
    /// Name of the server.
    pub server: String,
    /// What is granted; all on this server.
    pub scopes: Vec<String>,
    /// Name of the user it is given to.
    pub user: Option<String>,
    /// Name of the group it is given to.
    pub group: Option<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
}

/// Whom a share is given to, by primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareWith {
    /// A user.
    User(i64),
    /// A group.
    Group(i64),
}

/// Which shares a list shall hold, by primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareOf {
    /// Those of a user's servers.
    Owner(i64),
    /// Those of one server.
    Spawner(i64),
    /// Those given to a user or to the user's groups.
    User(i64),
    /// Those given to a group.
    Group(i64),
}

/// The columns of [`Share`], in the order of `from_row`.
const SELECT: &str = "SELECT h.id, o.name, s.name, h.scopes, u.name, g.name, h.created_at
    FROM shares h JOIN spawners s ON s.id = h.spawner_id JOIN users o ON o.id = s.user_id
    LEFT JOIN users u ON u.id = h.user_id LEFT JOIN groups g ON g.id = h.group_id
    WHERE (h.expires_at IS NULL OR h.expires_at >= ?1)";

impl Store {
    /// A part of the shares, and the number of all of them.
    pub fn shares(&self, of: ShareOf, page: Page, now: SystemTime) -> Result<(Vec<Share>, i64), StoreError> {
        let (condition, key) = match of {
            ShareOf::Owner(id) => ("s.user_id = ?2", id),
            ShareOf::Spawner(id) => ("s.id = ?2", id),
            ShareOf::User(id) => (
                "(h.user_id = ?2 OR h.group_id IN (SELECT group_id FROM user_group_map WHERE user_id = ?2))",
                id,
            ),
            ShareOf::Group(id) => ("h.group_id = ?2", id),
        };
        let now = time_column(now);
        self.read(|connection| {
            let count = format!("SELECT count(*) FROM ({SELECT} AND {condition})");
            let total = connection.prepare_cached(&count)?.query_row(params![now, key], |row| row.get(0))?;
            let sql = format!("{SELECT} AND {condition} ORDER BY h.id LIMIT ?3 OFFSET ?4");
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_map(params![now, key, page.limit, page.offset], from_row)?;
            Ok((rows.collect::<Result<_, _>>()?, total))
        })
    }

    /// What of a server is shared with somebody.
    pub fn share(
        &self,
        spawner_id: i64,
        with: ShareWith,
        now: SystemTime,
    ) -> Result<Option<Share>, StoreError> {
        self.read(|connection| find(connection, spawner_id, with, now))
    }

    /// Shares a server, or adds to what is shared already. `scopes` have the server's filter. Nothing if the
    /// server is not there any more.
    pub fn grant_share(
        &self,
        spawner_id: i64,
        with: ShareWith,
        scopes: &[String],
        now: SystemTime,
    ) -> Result<Option<Share>, StoreError> {
        self.write(|transaction| grant(transaction, spawner_id, with, scopes, now))
    }

    /// Takes scopes back, or all; returns what is left.
    pub fn revoke_share(
        &self,
        spawner_id: i64,
        with: ShareWith,
        scopes: Option<&[String]>,
        now: SystemTime,
    ) -> Result<Option<Share>, StoreError> {
        self.write(|transaction| {
            let Some(mut share) = find(transaction, spawner_id, with, now)? else { return Ok(None) };
            share.scopes.retain(|scope| scopes.is_some_and(|revoked| !revoked.contains(scope)));
            if share.scopes.is_empty() {
                transaction.prepare_cached("DELETE FROM shares WHERE id = ?1")?.execute([share.id])?;
                return Ok(None);
            }
            set_scopes(transaction, share.id, &share.scopes)?;
            Ok(Some(share))
        })
    }

    /// Ends all shares of a server; says how many there were.
    pub fn delete_shares(&self, spawner_id: i64) -> Result<usize, StoreError> {
        self.write(|transaction| {
            Ok(transaction
                .prepare_cached("DELETE FROM shares WHERE spawner_id = ?1")?
                .execute([spawner_id])?)
        })
    }

    /// Scopes of the shares given to a user.
    pub fn shared_with_user(&self, user_id: i64, now: SystemTime) -> Result<Vec<String>, StoreError> {
        self.shared(
            "SELECT scopes FROM shares WHERE user_id = ?1 AND (expires_at IS NULL OR expires_at >= ?2)",
            user_id,
            now,
        )
    }

    /// Scopes of the shares given to a user's groups.
    pub fn shared_with_groups_of(&self, user_id: i64, now: SystemTime) -> Result<Vec<String>, StoreError> {
        self.shared(
            "SELECT s.scopes FROM user_group_map m JOIN shares s ON s.group_id = m.group_id
             WHERE m.user_id = ?1 AND (s.expires_at IS NULL OR s.expires_at >= ?2)",
            user_id,
            now,
        )
    }

    fn shared(&self, sql: &str, user_id: i64, now: SystemTime) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let lists = select
                .query_map(params![user_id, time_column(now)], |row| row.get::<_, Option<String>>(0))?;
            let mut all = Vec::new();
            for list in lists {
                all.extend(column_list(list?));
            }
            Ok(all)
        })
    }
}

/// Shares a server, or adds to what is shared already.
pub(crate) fn grant(
    transaction: &Transaction<'_>,
    spawner_id: i64,
    with: ShareWith,
    scopes: &[String],
    now: SystemTime,
) -> Result<Option<Share>, StoreError> {
    if let Some(mut share) = find(transaction, spawner_id, with, now)? {
        share.scopes.extend(scopes.iter().cloned());
        share.scopes.sort_unstable();
        share.scopes.dedup();
        set_scopes(transaction, share.id, &share.scopes)?;
        return Ok(Some(share));
    }
    let (user, group) = match with {
        ShareWith::User(id) => (Some(id), None),
        ShareWith::Group(id) => (None, Some(id)),
    };
    // One that has expired and was not deleted yet must not come back to life beside the new one.
    transaction
        .prepare_cached("DELETE FROM shares WHERE spawner_id = ?1 AND user_id IS ?2 AND group_id IS ?3")?
        .execute(params![spawner_id, user, group])?;
    transaction
        .prepare_cached(
            "INSERT INTO shares (user_id, group_id, created_at, scopes, owner_id, spawner_id)
             SELECT ?2, ?3, ?4, ?5, user_id, id FROM spawners WHERE id = ?1",
        )?
        .execute(params![
            spawner_id,
            user,
            group,
            time_column(now),
            list_column(scopes.iter().map(String::as_str))
        ])?;
    find(transaction, spawner_id, with, now)
}

fn set_scopes(transaction: &Transaction<'_>, id: i64, scopes: &[String]) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE shares SET scopes = ?2 WHERE id = ?1")?
        .execute(params![id, list_column(scopes.iter().map(String::as_str))])?;
    Ok(())
}

fn find(
    connection: &Connection,
    spawner_id: i64,
    with: ShareWith,
    now: SystemTime,
) -> Result<Option<Share>, StoreError> {
    let (condition, key) = match with {
        ShareWith::User(id) => ("h.user_id = ?3", id),
        ShareWith::Group(id) => ("h.group_id = ?3", id),
    };
    let sql = format!("{SELECT} AND s.id = ?2 AND {condition}");
    let mut select = connection.prepare_cached(&sql)?;
    Ok(select.query_row(params![time_column(now), spawner_id, key], from_row).optional()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Share> {
    let owner: String = row.get(1)?;
    let server = row.get::<_, Option<String>>(2)?.unwrap_or_default();
    Ok(Share {
        id: row.get(0)?,
        scopes: on_server(&column_list(row.get(3)?), &owner, &server),
        owner,
        server,
        user: row.get(4)?,
        group: row.get(5)?,
        created: column_time(row.get(6)?),
    })
}

/// The scopes with the filter of the server as it is called now, whatever the row says.
pub(crate) fn on_server(scopes: &[String], owner: &str, server: &str) -> Vec<String> {
    let name = |scope: &String| scope.split('!').next().unwrap_or_default().to_owned();
    scopes.iter().map(|scope| format!("{}!server={owner}/{server}", name(scope))).collect()
}

/// Gives all shares of a user's servers the names that user and servers have now. After a rename the old
/// names may become somebody else's, whose servers were never shared.
pub(crate) fn reapply_filters(transaction: &Transaction<'_>, user_id: i64) -> Result<(), StoreError> {
    for table in ["shares", "share_codes"] {
        let mut select = transaction.prepare_cached(&format!(
            "SELECT t.id, t.scopes, u.name || '/' || s.name FROM {table} t
             JOIN spawners s ON s.id = t.spawner_id JOIN users u ON u.id = s.user_id WHERE u.id = ?1"
        ))?;
        let rows = select.query_map([user_id], |row| {
            Ok((row.get::<_, i64>(0)?, column_list(row.get(1)?), row.get::<_, String>(2)?))
        })?;
        for row in rows {
            let (id, scopes, server) = row?;
            let renamed: Vec<String> = scopes
                .iter()
                .map(|scope| format!("{}!server={server}", scope.split('!').next().unwrap_or_default()))
                .collect();
            transaction
                .prepare_cached(&format!("UPDATE {table} SET scopes = ?2 WHERE id = ?1"))?
                .execute(params![id, list_column(renamed.iter().map(String::as_str))])?;
        }
    }
    Ok(())
}
