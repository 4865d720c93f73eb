//! Lists of users, and how many there are.

use std::time::SystemTime;

use rusqlite::params;

use crate::encoding::{list_column, time_column};
use crate::users::{COLUMNS, User, from_row};
use crate::{Store, StoreError};

/// Which users by what they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// With any server record.
    Active,
    /// Without one.
    Inactive,
}

/// By which column users are listed; ties by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserOrder {
    /// Primary key.
    #[default]
    Id,
    /// Name.
    Name,
    /// Last activity; never active comes first.
    LastActivity,
}

/// Some users: those named, and the members of the groups named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserSubset {
    /// Names of users.
    pub users: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
}

/// Which users a list shall hold.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Only those who run something, or nothing.
    pub state: Option<UserState>,
    /// Only names that match `%name%` of SQL's LIKE.
    pub name: Option<String>,
    /// Only these; `None` is everybody.
    pub only: Option<UserSubset>,
    /// Of those, only members of this group.
    pub group: Option<String>,
    /// Of those, only users with these names.
    pub among: Option<Vec<String>>,
    /// The order.
    pub order: UserOrder,
    /// The other way round.
    pub descending: bool,
}

/// A part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// How many to leave out at the start.
    pub offset: i64,
    /// How many at most.
    pub limit: i64,
}

/// The condition of a [`UserFilter`]: ?1 state, ?2 name pattern, ?3 users and ?4 groups as
/// JSON lists, ?5 a group, ?6 users as a JSON list.
const CONDITION: &str = "u.name IS NOT NULL
    AND (?1 IS NULL OR ?1 = EXISTS (SELECT 1 FROM spawners s WHERE s.user_id = u.id AND s.server_id IS NOT NULL))
    AND (?2 IS NULL OR u.name LIKE ?2)
    AND (?3 IS NULL OR u.name IN (SELECT value FROM json_each(?3))
         OR u.id IN (SELECT m.user_id FROM user_group_map m JOIN groups g ON g.id = m.group_id
                     WHERE g.name IN (SELECT value FROM json_each(?4))))
    AND (?5 IS NULL OR u.id IN (SELECT m.user_id FROM user_group_map m JOIN groups g ON g.id = m.group_id
                                WHERE g.name = ?5))
    AND (?6 IS NULL OR u.name IN (SELECT value FROM json_each(?6)))";

impl Store {
    /// A part of the users that `filter` lets through, and how many it lets through in all.
    pub fn users(&self, filter: &UserFilter, page: Page) -> Result<(Vec<User>, i64), StoreError> {
        let state = filter.state.map(|state| state == UserState::Active);
        let pattern = filter.name.as_ref().map(|name| format!("%{name}%"));
        let names = |list: &Vec<String>| list_column(list.iter().map(String::as_str));
        let users = filter.only.as_ref().map(|only| names(&only.users));
        let groups = filter.only.as_ref().map(|only| names(&only.groups));
        let among = filter.among.as_ref().map(names);
        let group = filter.group.as_deref();
        let column = match filter.order {
            UserOrder::Id => "u.id",
            UserOrder::Name => "u.name",
            UserOrder::LastActivity => "u.last_activity",
        };
        let direction = if filter.descending { "DESC" } else { "ASC" };
        self.read(|connection| {
            let mut count =
                connection.prepare_cached(&format!("SELECT count(*) FROM users u WHERE {CONDITION}"))?;
            let total =
                count.query_row(params![state, pattern, users, groups, group, among], |row| row.get(0))?;
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM users u WHERE {CONDITION}
                 ORDER BY {column} {direction}, u.id {direction} LIMIT ?7 OFFSET ?8"
            ))?;
            let rows = select.query_map(
                params![state, pattern, users, groups, group, among, page.limit, page.offset],
                from_row,
            )?;
            Ok((rows.collect::<Result<_, _>>()?, total))
        })
    }

    /// How many users there are, and how many were active since each of some times.
    pub fn user_counts<const N: usize>(&self, since: [SystemTime; N]) -> Result<(i64, [i64; N]), StoreError> {
        self.read(|connection| {
            let count = |condition: &str, value: Option<String>| {
                let sql = format!("SELECT count(*) FROM users WHERE name IS NOT NULL AND {condition}");
                connection.prepare_cached(&sql)?.query_row([value], |row| row.get::<_, i64>(0))
            };
            let total = count("?1 IS NULL", None)?;
            let mut active = [0; N];
            for (slot, since) in active.iter_mut().zip(since) {
                *slot = count("last_activity >= ?1", Some(time_column(since)))?;
            }
            Ok((total, active))
        })
    }

    /// Names of all users, oldest first.
    pub fn user_names(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT name FROM users WHERE name IS NOT NULL ORDER BY id")?;
            let names = select.query_map([], |row| row.get(0))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
    }
}
