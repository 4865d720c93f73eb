//! Roles and groups from the configuration, beside the real JupyterHub.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hubd_store::{
    ConfiguredGroup, ConfiguredUsers, DEFAULT_ROLES, MustHaveUserRole, RoleDefinition, RoleMembers, Store,
    StoreError,
};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Counts cookies, so that each is another one.
static COOKIES: AtomicU64 = AtomicU64::new(0);

/// A configuration as both programs get it.
struct Configuration {
    roles: Value,
    groups: Value,
    admins: Vec<&'static str>,
    allowed: Vec<&'static str>,
    blocked: Vec<&'static str>,
}

fn strings(value: &Value) -> Option<Vec<String>> {
    Some(value.as_array()?.iter().map(|item| item.as_str().unwrap().to_owned()).collect())
}

/// As the hub does it at its start.
fn start(path: &Path, configuration: &Configuration) -> Result<(), StoreError> {
    let store = Store::open(path)?;
    let roles = configuration.roles.as_array().unwrap();
    let named = |name: &str| roles.iter().any(|role| role["name"] == name);
    let defaults: Vec<RoleDefinition> =
        DEFAULT_ROLES.iter().filter(|role| !named(role.name)).map(RoleDefinition::from).collect();
    let define = |role: &Value| {
        let default =
            DEFAULT_ROLES.iter().find(|default| role["name"] == default.name).map(RoleDefinition::from);
        RoleDefinition {
            name: role["name"].as_str().unwrap().to_owned(),
            description: role["description"]
                .as_str()
                .map(str::to_owned)
                .or(default.clone().and_then(|d| d.description)),
            scopes: strings(&role["scopes"]).or(default.map(|d| d.scopes)).unwrap_or_default(),
        }
    };
    let members = roles.iter().map(|role| {
        let mut users = strings(&role["users"]);
        if role["name"] == "admin" && !configuration.admins.is_empty() {
            users.get_or_insert_default().extend(configuration.admins.iter().map(|name| (*name).to_owned()));
        }
        RoleMembers {
            role: role["name"].as_str().unwrap().to_owned(),
            users,
            services: strings(&role["services"]),
            groups: strings(&role["groups"]),
        }
    });
    let groups = configuration.groups.as_object().unwrap().iter().map(|(name, group)| ConfiguredGroup {
        name: name.clone(),
        users: strings(&group["users"]).unwrap_or_default(),
        properties: group.get("properties").cloned(),
    });
    let now = SystemTime::now();
    let mut cookie = || format!("cookie{}", COOKIES.fetch_add(1, Ordering::Relaxed));
    store.define_roles(&defaults, &roles.iter().map(define).collect::<Vec<_>>())?;
    let users =
        ConfiguredUsers { admins: configuration.admins.clone(), allowed: configuration.allowed.clone() };
    store.configure_users(&users, &mut cookie, now)?;
    store.load_groups(&groups.collect::<Vec<_>>(), &mut cookie, now)?;
    let user_role = MustHaveUserRole {
        named: configuration.allowed.iter().map(|name| (*name).to_owned()).collect(),
        everybody: !configuration.allowed.is_empty(),
    };
    store.assign_roles(&members.collect::<Vec<_>>(), &user_role, &mut cookie, now)?;
    store.strip_users(&configuration.blocked)
}

/// What JupyterHub does with the same at its start.
const SCRIPT: &str = "
import asyncio, json, sys
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator
from jupyterhub import orm
c = json.load(sys.stdin)
app = JupyterHub(db_url='sqlite:///' + sys.argv[1], load_roles=c['roles'], load_groups=c['groups'])
app.log_level = 50
app.init_db()
app.authenticator = DummyAuthenticator(parent=app, admin_users=set(c['admins']),
    allowed_users=set(c['allowed']), blocked_users=set(c['blocked']), allow_all=not c['allowed'])
async def go():
    await app.init_role_creation()
    await app.init_users()
    await app.init_groups()
    await app.init_role_assignment()
    await app.init_blocked_users()
asyncio.run(go())
";

fn jupyterhub(path: &Path, configuration: &Configuration) -> Option<()> {
    let Some(named) = std::env::var_os("HUBD_TEST_JUPYTERHUB").map(PathBuf::from) else {
        println!("skipped: HUBD_TEST_JUPYTERHUB does not name an environment with jupyterhub");
        return None;
    };
    let folder = if named.is_dir() { named.join("bin") } else { named.parent().unwrap().to_owned() };
    let input = json!({
        "roles": configuration.roles, "groups": configuration.groups, "admins": configuration.admins,
        "allowed": configuration.allowed, "blocked": configuration.blocked,
    });
    let file = path.with_extension("json");
    std::fs::write(&file, input.to_string()).unwrap();
    let output = std::process::Command::new(folder.join("python3"))
        .args(["-c", SCRIPT])
        .arg(path)
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// All rows that the start writes, without keys, times and cookies.
fn rows(path: &Path) -> Vec<String> {
    let raw = Connection::open(path).unwrap();
    let mut all = Vec::new();
    for sql in [
        "SELECT 'role', name, description, scopes, managed_by_auth FROM roles",
        "SELECT 'user', name, admin, length(cookie_id) > 0, created IS NULL FROM users",
        "SELECT 'group', name, properties, '', '' FROM groups",
        "SELECT 'member', g.name, u.name, '', '' FROM user_group_map m JOIN users u ON u.id = m.user_id JOIN groups g ON g.id = m.group_id",
        "SELECT 'user role', r.name, u.name, m.managed_by_auth, '' FROM user_role_map m JOIN users u ON u.id = m.user_id JOIN roles r ON r.id = m.role_id",
        "SELECT 'group role', r.name, g.name, m.managed_by_auth, '' FROM group_role_map m JOIN groups g ON g.id = m.group_id JOIN roles r ON r.id = m.role_id",
    ] {
        let mut select = raw.prepare(sql).unwrap();
        let found = select.query_map([], |row| {
            Ok((0..5)
                .map(|column| format!("{:?} ", row.get::<_, rusqlite::types::Value>(column).unwrap()))
                .collect::<String>())
        });
        let mut found: Vec<String> = found.unwrap().map(Result::unwrap).collect();
        found.sort();
        all.extend(found);
    }
    all
}

fn configurations() -> Vec<Configuration> {
    vec![
        Configuration {
            roles: json!([
                { "name": "teacher", "description": "T", "scopes": ["users", "groups!group=g1"],
                  "users": ["ann", "bob"], "groups": ["g1", "g3"] },
                { "name": "empty" },
                { "name": "user", "scopes": ["self", "access:services"] },
                { "name": "server", "scopes": ["users:activity!user"], "users": ["ann"] },
            ]),
            groups: json!({ "g1": { "users": ["ann", "cat"], "properties": { "x": [1, null] } }, "g2": { "users": [] } }),
            admins: vec!["root1"],
            allowed: vec!["ann", "dan"],
            blocked: vec![],
        },
        // The next start with something else: roles go, default ones come back, members change.
        Configuration {
            roles: json!([
                { "name": "teacher", "scopes": ["users", "list:groups"], "users": ["cat"] },
                { "name": "admin", "users": ["ann"] },
                { "name": "user", "users": ["bob", "eve"] },
            ]),
            groups: json!({ "g1": { "users": ["dan"] }, "g2": { "properties": {} } }),
            admins: vec![],
            allowed: vec![],
            blocked: vec!["bob"],
        },
        Configuration {
            roles: json!([{ "name": "admin", "groups": ["g1"] }, { "name": "third", "scopes": ["self"] }]),
            groups: json!({}),
            admins: vec!["eve"],
            allowed: vec!["fay"],
            blocked: vec!["cat"],
        },
        Configuration {
            roles: json!([]),
            groups: json!({}),
            admins: vec![],
            allowed: vec![],
            blocked: vec![],
        },
    ]
}

#[test]
fn the_rows_after_each_start_are_jupyterhubs() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (directory.path().join("ours.sqlite"), directory.path().join("theirs.sqlite"));
    for (number, configuration) in configurations().iter().enumerate() {
        if jupyterhub(&theirs, configuration).is_none() {
            return;
        }
        start(&ours, configuration).unwrap();
        assert_eq!(rows(&ours), rows(&theirs), "after start {number}");
    }
}

#[test]
fn a_second_start_with_the_same_configuration_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hub.sqlite");
    let configuration = configurations().remove(0);
    start(&path, &configuration).unwrap();
    let version = || {
        let raw = Connection::open(&path).unwrap();
        raw.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
        std::fs::read(&path).unwrap()
    };
    let before = version();
    start(&path, &configuration).unwrap();
    assert!(version() == before, "the file was changed");
}

#[test]
fn a_role_for_a_service_that_there_is_not_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hub.sqlite");
    let configuration = Configuration {
        roles: json!([{ "name": "culler", "users": ["ann"], "services": ["cull"] }]),
        groups: json!({}),
        admins: vec![],
        allowed: vec![],
        blocked: vec![],
    };
    let error = start(&path, &configuration).unwrap_err();
    assert!(matches!(error, StoreError::UndefinedService { .. }));
    assert!(error.to_string().contains("Found undefined service cull in role culler"), "{error}");
    assert!(Store::open(&path).unwrap().user("ann").unwrap().is_none(), "half of it was written");
}
