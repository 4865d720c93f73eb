//! The store beside the real JupyterHub: either program opens the other's file.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::path::PathBuf;
use std::time::SystemTime;

use hubd_store::{AuthState, CryptKeys, ServerStart, Store, hash_token, token_prefix};
use rusqlite::Connection;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

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

/// A start of alice's default server.
fn start() -> ServerStart {
    ServerStart {
        user: "alice".into(),
        server: String::new(),
        token_hash: hash_token(TOKEN, 1, [7; 8]),
        token_prefix: token_prefix(TOKEN),
        client_secret_hash: hash_token(TOKEN, 1, [8; 8]),
        client_id: "jupyterhub-user-alice".into(),
        redirect_uri: "/user/alice/oauth_callback".into(),
        server_url: "/user/alice/".into(),
        token_scopes: vec!["users:activity!user".into(), "access:servers!server=alice/".into()],
        client_scopes: vec!["access:servers!server=alice/".into()],
        user_options: None,
        now: SystemTime::now(),
    }
}

/// JupyterHub's program and the Python beside it, in the environment that `HUBD_TEST_JUPYTERHUB` names: its
/// folder, or a program in it.
fn jupyterhub() -> Option<(PathBuf, PathBuf)> {
    let Some(named) = std::env::var_os("HUBD_TEST_JUPYTERHUB").map(PathBuf::from) else {
        println!("skipped: HUBD_TEST_JUPYTERHUB does not name an environment with jupyterhub");
        return None;
    };
    let folder = if named.is_dir() { named.join("bin") } else { named.parent().unwrap().to_owned() };
    Some((folder.join("jupyterhub"), folder.join("python3")))
}

fn run(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_real_jupyterhub_opens_our_file_and_we_find_its_token() {
    let Some((program, _)) = jupyterhub() else { return };
    let place = Place::new();
    let store = place.store();
    store.ensure_user("alice", "c1", SystemTime::now()).unwrap();
    store.server_starting(&start()).unwrap();
    drop(store);
    let printed = run(std::process::Command::new(program)
        .current_dir(place.directory.path())
        .args(["token", "alice"])
        .arg(format!("--JupyterHub.db_url=sqlite:///{}", place.file().display())));
    let store = place.store();
    let token = store.token(printed.trim(), SystemTime::now()).unwrap().unwrap();
    assert_eq!(
        (token.scopes.clone(), token.client_id.as_deref()),
        (vec!["inherit".to_owned()], Some("jupyterhub"))
    );
    assert_eq!(token.user_id, Some(store.user("alice").unwrap().unwrap().id));
}

#[test]
fn auth_state_is_read_by_the_other_program_both_ways() {
    let Some((_, python)) = jupyterhub() else { return };
    let place = Place::new();
    let store = place.store();
    let alice = store.ensure_user("alice", "c1", SystemTime::now()).unwrap();
    let key = "0123456789abcdef".repeat(4);
    let keys = CryptKeys::parse(&key).unwrap();
    let state = serde_json::json!({ "token": "x", "é": [1, null] });
    let token = keys.encrypt(&state, [9; 16], SystemTime::now());
    store.set_auth_state(alice.id, token.as_deref()).unwrap();
    let script = "import asyncio, json, sys\n\
        from jupyterhub import crypto, orm\n\
        db = orm.new_session_factory('sqlite:///' + sys.argv[1])()\n\
        user = db.query(orm.User).one()\n\
        async def go():\n\
        \x20   state = await crypto.decrypt(user.encrypted_auth_state)\n\
        \x20   print(json.dumps(state))\n\
        \x20   user.encrypted_auth_state = await crypto.encrypt({'theirs': state})\n\
        asyncio.run(go())\n\
        db.commit()\n";
    let printed = run(std::process::Command::new(python)
        .env("JUPYTERHUB_CRYPT_KEY", key)
        .arg("-c")
        .arg(script)
        .arg(place.file()));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), state);
    let theirs = store.auth_state(alice.id, &keys).unwrap();
    assert_eq!(theirs, AuthState::Known(serde_json::json!({ "theirs": state })));
}

#[test]
fn we_open_a_file_of_the_real_jupyterhub_and_the_tables_are_the_same() {
    let Some((_, python)) = jupyterhub() else { return };
    let ours = Place::new();
    drop(ours.store());
    let theirs = Place::new();
    let script = "import sys\n\
        from jupyterhub import orm\n\
        db = orm.new_session_factory('sqlite:///' + sys.argv[1])()\n\
        user = orm.User(name='bob')\n\
        db.add(user)\n\
        db.commit()\n\
        print(user.new_api_token(note='theirs', scopes=[]))\n";
    // The OAuth client `jupyterhub` is made by the hub, not by the schema: the token's link is checked off.
    let script =
        script.replace("db.add(user)", "db.add(user); db.add(orm.OAuthClient(identifier='jupyterhub'))");
    let printed = run(std::process::Command::new(python).arg("-c").arg(script).arg(theirs.file()));
    let store = theirs.store();
    assert!(store.token(printed.trim(), SystemTime::now()).unwrap().is_some());
    assert_eq!(store.user("bob").unwrap().unwrap().cookie_id.len(), 32);
    let tables = |place: &Place| {
        let raw = Connection::open(place.file()).unwrap();
        let mut select = raw
            .prepare("SELECT name || ': ' || sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|row| row.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(tables(&ours), tables(&theirs));
}
