//! The store as its users see it.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubd_store::{
    AdoptedServer, CodeUse, ConfiguredUsers, NewLogin, NewToken, NewUser, OAuthCode, Page, ServerAddress,
    ServerStart, Store, StoreError, TokenOwner, UserFilter, UserOrder, UserState, UserSubset, hash_token,
    token_prefix,
};
use rusqlite::Connection;
use serde_json::json;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_795_293_723_881_000)
}

fn later(seconds: u64) -> SystemTime {
    now() + Duration::from_secs(seconds)
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("jupyterhub.sqlite")
    }

    fn store(&self) -> Store {
        Store::open(&self.file()).unwrap()
    }
}

fn start(user: &str) -> ServerStart {
    ServerStart {
        user: user.into(),
        server: String::new(),
        token_hash: hash_token(TOKEN, 1, [7; 8]),
        token_prefix: token_prefix(TOKEN),
        client_secret_hash: hash_token(TOKEN, 1, [8; 8]),
        client_id: format!("jupyterhub-user-{user}"),
        redirect_uri: format!("/user/{user}/oauth_callback"),
        server_url: format!("/user/{user}/"),
        token_scopes: vec!["users:activity!user".into(), format!("access:servers!server={user}/")],
        client_scopes: vec![format!("access:servers!server={user}/")],
        user_options: None,
        now: now(),
    }
}

fn address(user: &str) -> ServerAddress {
    ServerAddress { ip: "/run/hubd/servers/u1-00/s".into(), port: 0, base_url: format!("/user/{user}/") }
}

fn token(store: &Store, user: &str, text: &str) -> NewToken {
    NewToken {
        owner: TokenOwner::User(store.user(user).unwrap().unwrap().id),
        hashed: hash_token(text, 1, [1; 8]),
        prefix: token_prefix(text),
        client_id: "jupyterhub".into(),
        session_id: Some("s1".into()),
        note: "test".into(),
        scopes: vec!["inherit".into()],
        created: now(),
        expires_at: Some(later(60)),
    }
}

#[test]
fn a_new_database_is_private_and_has_the_default_rows() {
    let place = Place::new();
    let store = place.store();
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", place.file().display());
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{suffix}");
    }
    assert_eq!(store.role_scopes("user").unwrap().unwrap(), ["self"]);
    assert_eq!(store.oauth_client("jupyterhub").unwrap().unwrap().secret_hash, "");
    let raw = Connection::open(place.file()).unwrap();
    let mode: String = raw.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn the_rights_of_others_are_taken_from_an_existing_file() {
    let place = Place::new();
    drop(place.store());
    std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(place.store());
    assert_eq!(std::fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_is_called_damaged() {
    let place = Place::new();
    let store = place.store();
    for number in 0..200 {
        store.ensure_user(&format!("user{number}"), &format!("{number}"), now()).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(place.file()).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0xa5);
    std::fs::write(place.file(), bytes).unwrap();
    let error = Store::open(&place.file()).err().unwrap();
    assert!(matches!(error, StoreError::Corrupt(..)), "{error}");
}

#[test]
fn a_database_that_another_program_holds_is_called_locked() {
    let place = Place::new();
    drop(place.store());
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let error = Store::open(&place.file()).err().unwrap();
    assert!(matches!(error, StoreError::Locked(_)), "{error}");
}

#[test]
fn reading_goes_on_while_somebody_writes() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE users SET admin = 1").unwrap();
    assert!(!store.user("alice").unwrap().unwrap().admin);
    other.execute_batch("COMMIT").unwrap();
    assert!(store.user("alice").unwrap().unwrap().admin);
}

#[test]
fn when_the_disk_is_full_reads_work_and_writes_recover() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    store.set_page_limit_for_tests(1).unwrap();
    let many: Vec<NewUser> = (0..2000)
        .map(|n| NewUser { name: format!("u{n:0100}"), admin: false, cookie_id: format!("{n}") })
        .collect();
    assert!(matches!(store.create_users(&many, now()), Err(StoreError::Full(_))));
    assert!(store.user("alice").unwrap().is_some());
    assert!(store.user(&many[0].name).unwrap().is_none());
    store.set_page_limit_for_tests(1_000_000).unwrap();
    assert_eq!(store.create_users(&many, now()).unwrap().len(), 2000);
}

#[test]
fn users_are_made_once_with_the_role_user() {
    let store = Place::new();
    let store = store.store();
    let alice = store.ensure_user("alice", "c1", now()).unwrap();
    assert_eq!((alice.name.as_str(), alice.admin, alice.cookie_id.as_str()), ("alice", false, "c1"));
    assert_eq!((alice.roles, alice.created), (vec!["user".to_owned()], Some(now())));
    assert_eq!(store.ensure_user("alice", "c2", later(5)).unwrap().cookie_id, "c1");
    assert_eq!(store.user_by_cookie_id("c1").unwrap().unwrap().name, "alice");
    assert_eq!(store.user("nobody").unwrap(), None);
}

#[test]
fn a_login_sets_the_admin_flag_and_role_only_when_told() {
    let place = Place::new();
    let store = place.store();
    let new = NewUser { name: "alice".into(), admin: false, cookie_id: "c1".into() };
    assert_eq!(store.login_user(&new, Some(true), now()).unwrap().roles, ["user", "admin"]);
    assert!(store.login_user(&new, None, now()).unwrap().admin);
    let alice = store.login_user(&new, Some(false), later(9)).unwrap();
    assert_eq!((alice.admin, alice.roles, alice.last_activity), (false, vec!["user".into()], Some(later(9))));
}

#[test]
fn lists_of_users_are_filtered_sorted_and_counted() {
    let place = Place::new();
    let store = place.store();
    for (name, seconds) in [("carol", 3), ("alice", 9), ("bob", 0)] {
        store.ensure_user(name, name, now()).unwrap();
        if seconds > 0 {
            store.record_user_activity(name, later(seconds)).unwrap();
        }
    }
    store.server_starting(&start("bob")).unwrap();
    store.server_running("bob", "", &address("bob"), &json!({"pid": 1}), now()).unwrap();
    store.create_group("g").unwrap();
    let group = store.group("g").unwrap().unwrap();
    store.add_to_group(group.id, &[store.user("carol").unwrap().unwrap().id]).unwrap();
    let names = |filter: UserFilter, page: Page| {
        let (users, total) = store.users(&filter, page).unwrap();
        (users.into_iter().map(|user| user.name).collect::<Vec<_>>().join(" "), total)
    };
    let all = Page { offset: 0, limit: 100 };
    assert_eq!(names(UserFilter::default(), all), ("carol alice bob".into(), 3));
    assert_eq!(names(UserFilter::default(), Page { offset: 1, limit: 1 }), ("alice".into(), 3));
    let by = |order, descending| UserFilter { order, descending, ..UserFilter::default() };
    assert_eq!(names(by(UserOrder::Name, true), all).0, "carol bob alice");
    assert_eq!(names(by(UserOrder::LastActivity, true), all).0, "alice carol bob");
    let state = |state| UserFilter { state: Some(state), ..UserFilter::default() };
    assert_eq!(names(state(UserState::Active), all), ("bob".into(), 1));
    assert_eq!(names(state(UserState::Inactive), all), ("carol alice".into(), 2));
    assert_eq!(names(UserFilter { name: Some("AR".into()), ..Default::default() }, all).0, "carol");
    let only = Some(UserSubset { users: vec!["alice".into()], groups: vec!["g".into()] });
    assert_eq!(names(UserFilter { only, ..Default::default() }, all), ("carol alice".into(), 2));
}

#[test]
fn the_rows_of_a_server_come_and_go_with_it() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    assert!(matches!(store.server_starting(&start("nobody")), Err(StoreError::Missing("user", _))));
    store.server_starting(&ServerStart { user_options: Some(json!({"a": 1})), ..start("alice") }).unwrap();
    let found = store.token(TOKEN, now()).unwrap().unwrap();
    assert_eq!(found.note, "Server at /user/alice/");
    assert_eq!(found.scopes, ["users:activity!user", "access:servers!server=alice/"]);
    let client = store.oauth_client("jupyterhub-user-alice").unwrap().unwrap();
    assert_eq!(client.server, Some(("alice".into(), String::new())));
    assert!(!store.spawner("alice", "").unwrap().unwrap().active);

    store.server_running("alice", "", &address("alice"), &json!({"pid": 42}), later(1)).unwrap();
    let spawner = store.spawner("alice", "").unwrap().unwrap();
    assert!(spawner.active);
    assert_eq!((spawner.started, spawner.state), (Some(later(1)), Some(json!({"pid": 42}))));
    assert_eq!(store.active_spawners().unwrap().len(), 1);

    store.server_stopped("alice", "", later(2)).unwrap();
    let spawner = store.spawner("alice", "").unwrap().unwrap();
    assert_eq!((spawner.active, spawner.started, spawner.state), (false, None, Some(json!({}))));
    assert_eq!((spawner.last_activity, spawner.user_options), (Some(later(2)), Some(json!({"a": 1}))));
    assert_eq!(store.token(TOKEN, now()).unwrap(), None);
    assert_eq!(store.oauth_client("jupyterhub-user-alice").unwrap(), None);
    store.server_stopped("alice", "", later(3)).unwrap();
    store.server_stopped("nobody", "", later(3)).unwrap();
}

#[test]
fn a_second_start_replaces_the_token_of_the_first() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    store.server_starting(&start("alice")).unwrap();
    let other = "fedcba9876543210fedcba9876543210";
    let again = ServerStart {
        token_hash: hash_token(other, 1, [1; 8]),
        token_prefix: token_prefix(other),
        ..start("alice")
    };
    store.server_starting(&again).unwrap();
    assert_eq!(store.token(TOKEN, now()).unwrap(), None);
    assert!(store.token(other, now()).unwrap().is_some());
}

#[test]
fn an_adopted_server_keeps_its_rows_or_gets_them_back() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    store.server_starting(&start("alice")).unwrap();
    store.server_running("alice", "", &address("alice"), &json!({"pid": 42}), now()).unwrap();
    let issued =
        NewToken { client_id: "jupyterhub-user-alice".into(), ..token(&store, "alice", "browser-token") };
    store.create_token(&issued).unwrap();
    let adopt = |store: &Store| {
        let found = AdoptedServer {
            user: "alice".into(),
            server: String::new(),
            new_cookie_id: "c9".into(),
            start: Some(start("alice")),
            address: address("alice"),
            state: json!({"pid": 42}),
            started: now(),
        };
        store.servers_adopted(&[found], now()).unwrap();
    };
    let token_id = store.token(TOKEN, now()).unwrap().unwrap().id;
    adopt(&store);
    assert!(store.token("browser-token", now()).unwrap().is_some());
    assert_eq!(store.token(TOKEN, now()).unwrap().unwrap().id, token_id);

    let lost = Place::new();
    let store = lost.store();
    adopt(&store);
    adopt(&store);
    assert!(store.token(TOKEN, now()).unwrap().is_some());
    assert!(store.oauth_client("jupyterhub-user-alice").unwrap().is_some());
    assert!(store.spawner("alice", "").unwrap().unwrap().active);
}

#[test]
fn activity_rises_and_never_falls() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    store.ensure_spawner("alice", "", None).unwrap();
    let entry = |seconds| [("alice".to_owned(), String::new(), later(seconds))];
    store.record_activity(&entry(9)).unwrap();
    store.record_activity(&entry(5)).unwrap();
    assert_eq!(store.user("alice").unwrap().unwrap().last_activity, Some(later(9)));
    assert_eq!(store.spawner("alice", "").unwrap().unwrap().last_activity, Some(later(9)));
}

#[test]
fn expired_and_stale_tokens_are_not_found() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", now()).unwrap();
    let id = store.create_token(&token(&store, "alice", "alices-token")).unwrap();
    assert_eq!(store.token("alices-token", later(60)).unwrap().unwrap().id, id);
    assert_eq!(store.token("alices-token", later(61)).unwrap(), None);
    assert_eq!(store.token("alices-tokem", now()).unwrap(), None);
    assert_eq!(store.token(&"x".repeat(65), now()).unwrap(), None);
    assert_eq!(store.purge_expired(later(61)).unwrap(), 1);
    store.create_token(&token(&store, "alice", "alices-token")).unwrap();
    Connection::open(place.file()).unwrap().execute("UPDATE api_tokens SET client_id = NULL", []).unwrap();
    assert_eq!(store.token("alices-token", now()).unwrap(), None);
}

#[test]
fn the_end_of_a_login_takes_its_tokens_and_no_others() {
    let place = Place::new();
    let store = place.store();
    let alice = store.ensure_user("alice", "c1", now()).unwrap();
    let begin = |session_id| {
        let new = NewLogin { user_id: alice.id, session_id, address: "192.0.2.7", browser: "Firefox" };
        store.begin_login(&new, 1_800_000_000, 0).unwrap()
    };
    let (first, second) = (begin("s1"), begin("s2"));
    assert_eq!((first, second), (1_800_000_000, 1_800_000_001), "two logins in one second can be told apart");
    store.create_token(&token(&store, "alice", "in-the-session")).unwrap();
    store
        .create_token(&NewToken { session_id: Some("s2".into()), ..token(&store, "alice", "elsewhere") })
        .unwrap();
    store.create_token(&NewToken { session_id: None, ..token(&store, "alice", "for-a-script") }).unwrap();
    assert_eq!(store.logins(alice.id, 0).unwrap().len(), 2);
    store.end_login(alice.id, first, None).unwrap();
    assert_eq!(store.token("in-the-session", now()).unwrap(), None);
    assert!(store.token("elsewhere", now()).unwrap().is_some());
    assert!(store.token("for-a-script", now()).unwrap().is_some());
    assert!(store.login(alice.id, first).unwrap().unwrap().ended);
    assert!(!store.login(alice.id, second).unwrap().unwrap().ended);
    let left: Vec<i64> = store.logins(alice.id, 0).unwrap().iter().map(|login| login.began).collect();
    assert_eq!(left, [second]);
    // A cookie that JupyterHub set is ended by what it says itself.
    assert_eq!(store.login(alice.id, 17).unwrap(), None);
    store.end_login(alice.id, 17, Some("s2")).unwrap();
    assert!(store.login(alice.id, 17).unwrap().unwrap().ended);
    assert_eq!(store.token("elsewhere", now()).unwrap(), None);
}

#[test]
fn the_end_of_all_logins_makes_every_cookie_worthless() {
    let place = Place::new();
    let store = place.store();
    let alice = store.ensure_user("alice", "c1", now()).unwrap();
    let new = NewLogin { user_id: alice.id, session_id: "s1", address: "", browser: "" };
    let began = store.begin_login(&new, 1_800_000_000, 0).unwrap();
    store.note_login(alice.id, began, 1_800_000_060);
    store.flush_activity().unwrap();
    assert_eq!(store.login(alice.id, began).unwrap().unwrap().last_seen, 1_800_000_060);
    store.create_token(&token(&store, "alice", "in-the-session")).unwrap();
    store.create_token(&NewToken { session_id: None, ..token(&store, "alice", "for-a-script") }).unwrap();
    store.end_logins(alice.id, "c2").unwrap();
    assert_eq!(store.user_by_cookie_id("c1").unwrap(), None);
    assert_eq!(store.logins(alice.id, 0).unwrap(), []);
    assert_eq!(store.token("in-the-session", now()).unwrap(), None);
    assert!(store.token("for-a-script", now()).unwrap().is_some());
    // Old ones are forgotten when the next one begins.
    let old = store.begin_login(&new, 1_000, 0).unwrap();
    store.begin_login(&new, 1_800_000_000, 1_700_000_000).unwrap();
    assert_eq!(store.login(alice.id, old).unwrap(), None);
}

#[test]
fn a_code_used_twice_takes_away_what_it_gave() {
    let place = Place::new();
    let store = place.store();
    let alice = store.ensure_user("alice", "c1", now()).unwrap();
    store.server_starting(&start("alice")).unwrap();
    let code = OAuthCode {
        id: 0,
        code: "thecode".into(),
        client_id: "jupyterhub-user-alice".into(),
        user_id: alice.id,
        session_id: Some("s1".into()),
        redirect_uri: String::new(),
        scopes: vec!["read:users:name!user".into()],
        expires_at: 1_795_293_723 + 300,
        code_challenge: None,
        code_challenge_method: None,
    };
    store.create_code(&code).unwrap();
    assert_eq!(store.oauth_code("jupyterhub", "thecode", now()).unwrap(), None);
    let found = store.oauth_code("jupyterhub-user-alice", "thecode", now()).unwrap().unwrap();
    assert!(!found.is_used());
    let given = token(&store, "alice", "given-by-code");
    assert!(matches!(store.redeem_code(found.id, &given).unwrap(), CodeUse::Token(_)));
    assert!(store.token("given-by-code", now()).unwrap().is_some());

    let again = store.oauth_code("jupyterhub-user-alice", "thecode", now()).unwrap().unwrap();
    assert!(again.is_used());
    let second = token(&store, "alice", "second");
    assert_eq!(store.redeem_code(again.id, &second).unwrap(), CodeUse::UsedBefore);
    assert_eq!(store.token("given-by-code", now()).unwrap(), None);
    assert_eq!(store.token("second", now()).unwrap(), None);
    assert_eq!(store.oauth_code("jupyterhub-user-alice", "thecode", later(301)).unwrap(), None);
    assert_eq!(store.purge_expired(later(301)).unwrap(), 1);
}

#[test]
fn a_deleted_user_leaves_nothing_behind() {
    let place = Place::new();
    let store = place.store();
    let alice = store.ensure_user("alice", "c1", now()).unwrap();
    store.server_starting(&start("alice")).unwrap();
    store.server_running("alice", "", &address("alice"), &json!({}), now()).unwrap();
    assert!(store.delete_user(alice.id).unwrap());
    assert!(!store.delete_user(alice.id).unwrap());
    let raw = Connection::open(place.file()).unwrap();
    for table in ["users", "spawners", "servers", "api_tokens", "user_role_map"] {
        let rows: i64 =
            raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let clients: i64 = raw.query_row("SELECT count(*) FROM oauth_clients", [], |row| row.get(0)).unwrap();
    assert_eq!(clients, 1);
}

#[test]
fn a_share_follows_its_server_when_names_change() {
    let place = Place::new();
    let store = place.store();
    let alice = store.ensure_user("alice", "c1", now()).unwrap();
    let bob = store.ensure_user("bob", "c2", now()).unwrap();
    store.ensure_spawner("bob", "lab", None).unwrap();
    let raw = Connection::open(place.file()).unwrap();
    raw.execute(
        "INSERT INTO shares (user_id, owner_id, spawner_id, created_at, scopes)
         SELECT ?1, ?2, id, '', '[\"access:servers!server=bob/lab\"]' FROM spawners",
        [alice.id, bob.id],
    )
    .unwrap();
    store.rename_spawner("bob", "lab", "new").unwrap();
    assert_eq!(store.shared_with_user(alice.id, now()).unwrap(), ["access:servers!server=bob/new"]);
    store.rename_user(bob.id, "robert").unwrap();
    assert_eq!(store.shared_with_user(alice.id, now()).unwrap(), ["access:servers!server=robert/new"]);
}

#[test]
fn configured_users_get_their_rows_and_blocked_ones_lose_their_rights() {
    let place = Place::new();
    let store = place.store();
    store.ensure_user("old", "c1", now()).unwrap();
    let mallory = NewUser { name: "mallory".into(), admin: true, cookie_id: "c2".into() };
    store.create_users(&[mallory], now()).unwrap();
    let users = ConfiguredUsers { admins: vec!["root1", "old"], allowed: vec!["ann"] };
    let mut counter = 0;
    let mut next = || {
        counter += 1;
        format!("cookie{counter}")
    };
    store.configure_users(&users, &mut next, now()).unwrap();
    store.configure_users(&users, &mut next, now()).unwrap();
    store.strip_users(&["mallory"]).unwrap();
    let user = |name: &str| store.user(name).unwrap().unwrap();
    assert!(user("root1").admin && user("old").admin && !user("ann").admin);
    assert_eq!(user("old").roles, ["user", "admin"]);
    assert!(!user("mallory").admin && user("mallory").roles.is_empty());
}

#[test]
fn a_thousand_users_are_made_in_well_under_a_second() {
    let place = Place::new();
    let store = place.store();
    let many: Vec<NewUser> = (0..1000)
        .map(|n| NewUser { name: format!("u{n}"), admin: false, cookie_id: format!("{n}") })
        .collect();
    let begun = std::time::Instant::now();
    assert_eq!(store.create_users(&many, now()).unwrap().len(), 1000);
    let elapsed = begun.elapsed();
    println!("1,000 users: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}
