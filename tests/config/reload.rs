//! What a reload applies, what waits for a restart, and what is refused.

use std::time::Duration;

use hubd_tests::{Process, Web, free_port, repository, until};
use serde_json::Value;

use crate::daemon::{Daemon, health, local};

/// How long the helper may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What most of these begin with.
struct Hub {
    daemon: Daemon,
    web: Web,
    base: String,
}

impl Hub {
    fn running(tables: &str) -> Self {
        Self::with("dummy", tables)
    }

    /// One with another authenticator.
    fn with(authenticator: &str, tables: &str) -> Self {
        let port = free_port();
        let web = local(port);
        let base = format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n", free_port());
        let mut hub = Self { daemon: Daemon::configured(&format!("{base}{tables}")), web, base };
        hub.daemon.directory("conf.d");
        hub.choose(authenticator);
        hub.daemon.start(&[], &[], || health(&hub.web));
        hub
    }

    /// Writes another authenticator into a file of its own, which goes before the other one.
    fn choose(&self, authenticator: &str) {
        let text = format!("[JupyterHub]\nauthenticator_class = \"{authenticator}\"\n");
        self.daemon.write("conf.d/10.toml", &text, 0o600);
    }

    /// Changes the configuration and reloads it; the report.
    fn reload(&self, tables: &str) -> Value {
        self.daemon.configure(&format!("{}{tables}", self.base));
        let (good, text, error) = self.daemon.hubd(&["-f", "hubd.toml", "reload", "--json"]);
        assert!(good, "{error}");
        serde_json::from_str(&text).unwrap()
    }

    /// What the hub knows of somebody who logs in now.
    fn model(&self, name: &str, password: &str) -> Value {
        let web = self.web.fresh();
        assert_eq!(web.log_in(name, password).status, 302, "{name}");
        web.get("/hub/home");
        web.api("GET", "user", "").json()
    }

    fn login(&self, name: &str) -> u16 {
        self.web.fresh().log_in(name, "").status
    }
}

fn list(report: &Value, key: &str) -> Vec<String> {
    report[key].as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_may_log_in_changes_at_once() {
    let hub = Hub::running("[Authenticator]\nallowed_users = [\"ann\"]\nallow_existing_users = false\n");
    let tries = |names: [&str; 2]| names.map(|name| hub.login(name));
    assert_eq!(tries(["ann", "ben"]), [302, 403]);
    let report =
        hub.reload("[Authenticator]\nallowed_users = [\"ben\"]\nallow_existing_users = false\nblocked_users = [\"carl\"]\n");
    assert_eq!(list(&report, "applied"), ["Authenticator.allowed_users", "Authenticator.blocked_users"]);
    assert!(list(&report, "needs_restart").is_empty() && list(&report, "problems").is_empty(), "{report}");
    assert_eq!(tries(["ann", "ben"]), [403, 302]);
    hub.reload(
        "[Authenticator]\nallow_all = true\nblocked_users = [\"carl\"]\nusername_map = { dora = \"ann\" }\n",
    );
    assert_eq!(tries(["whoever", "carl"]), [302, 403]);
    let dora = hub.web.fresh();
    assert_eq!(dora.log_in("dora", "").status, 302);
    dora.get("/hub/home");
    assert_eq!(dora.api("GET", "user", "").json()["name"], "ann");
    hub.reload("[Authenticator]\nallow_all = true\nusername_pattern = \"a\"\nadmin_users = [\"ann\"]\n");
    assert_eq!(tries(["ann", "ben"]), [302, 403]);
    let ann = hub.web.fresh();
    ann.log_in("ann", "");
    ann.get("/hub/home");
    assert_eq!(ann.api("GET", "user", "").json()["admin"], true);
}

#[test]
fn whether_logins_set_groups_changes_at_once() {
    let tables = |manage: bool| {
        format!(
            "[Authenticator]\nallow_all = true\nmanage_groups = {manage}\n[SharedPasswordAuthenticator]\n\
             user_password = \"for-everybody\"\n{}",
            if manage { "password_groups = { \"for-the-physicists\" = [\"physics\"] }\n" } else { "" }
        )
    };
    let hub = Hub::with("shared-password", &tables(true));
    assert_eq!(hub.model("ann", "for-the-physicists")["groups"], serde_json::json!(["physics"]));
    let report = hub.reload(&tables(false));
    assert_eq!(list(&report, "applied"), ["Authenticator.manage_groups"]);
    assert_eq!(list(&report, "needs_restart"), ["SharedPasswordAuthenticator.password_groups"]);
    assert_eq!(hub.model("ben", "for-the-physicists")["groups"], serde_json::json!([]));
}

#[test]
fn whether_there_is_a_login_form_changes_at_once() {
    let hub = Hub::with("null", "");
    assert_eq!(hub.web.get("/hub/login").status, 200);
    assert_eq!(
        list(&hub.reload("[Authenticator]\nauto_login = true\n"), "applied"),
        ["Authenticator.auto_login"]
    );
    assert_eq!(hub.web.get("/hub/login").status, 403);
    hub.reload("");
    assert_eq!(hub.web.get("/hub/login").status, 200);
}

/// With accounts of the machine, a helper that lets everybody in stands beside the hub.
#[test]
fn groups_of_the_machine_count_at_once() {
    let nobody = "[Authenticator]\nallowed_users = [\"root\"]\nallow_existing_users = false\n";
    let hub = Hub::with("pam", nobody);
    let script = repository().join("tests/system/browser/pretend_helper.py");
    std::fs::copy(script, hub.daemon.path("helper.py")).unwrap();
    let mut command = hub.daemon.command_of("/usr/bin/python3".as_ref(), &["helper.py", "run/helper.sock"]);
    let _helper = Process::start("helper", &mut command, &hub.daemon.path("helper.log"));
    until("the helper's socket", START_LIMIT, || hub.daemon.path("run/helper.sock").exists().then_some(()));
    assert_eq!((hub.login("daemon"), hub.login("bin")), (403, 403));
    let groups = |more: &str| {
        let report =
            hub.reload(&format!("{nobody}[LocalAuthenticator]\nallowed_groups = [\"daemon\"]\n{more}"));
        assert!(
            list(&report, "needs_restart").is_empty() && list(&report, "problems").is_empty(),
            "{report}"
        );
        list(&report, "applied")
    };
    assert_eq!(groups(""), ["LocalAuthenticator.allowed_groups"]);
    assert_eq!((hub.login("daemon"), hub.login("bin")), (302, 403));
    assert_eq!(hub.model("daemon", "x")["admin"], false);
    assert_eq!(
        groups("[PAMAuthenticator]\nadmin_groups = [\"daemon\"]\n"),
        ["PAMAuthenticator.admin_groups"]
    );
    let admin = hub.web.fresh();
    admin.log_in("daemon", "x");
    admin.get("/hub/home");
    assert_eq!(admin.api("GET", "user", "").json()["admin"], true);
    assert_eq!(admin.api("POST", "users/hubt-pages-one", "").status, 201);
    // Nobody makes accounts here: that it is tried shows in the refusal.
    assert_eq!(
        groups("create_system_users = true\n[PAMAuthenticator]\nadmin_groups = [\"daemon\"]\n"),
        ["LocalAuthenticator.create_system_users"]
    );
    assert!(admin.api("POST", "users/hubt-pages-two", "").status >= 400);
    let report = hub.reload(&format!("{}manage_groups = true\n", nobody.replace("\"root\"", "\"daemon\"")));
    assert!(list(&report, "applied").contains(&"Authenticator.manage_groups".to_owned()), "{report}");
    assert_eq!(hub.model("daemon", "x")["groups"], serde_json::json!(["daemon"]));
}

#[test]
fn rules_for_another_authenticator_wait_for_it() {
    let hub = Hub::running("[Authenticator]\nallow_all = true\n");
    hub.choose("shared-password");
    for _ in 0..2 {
        let report = hub.reload(
            "log_level = \"DEBUG\"\n[Authenticator]\nallow_all = true\nblocked_users = [\"ann\"]\n\
             [SharedPasswordAuthenticator]\nuser_password = \"for-everybody\"\n",
        );
        let names = list(&report, "needs_restart");
        for name in ["JupyterHub.authenticator_class", "Authenticator.blocked_users"] {
            assert!(names.iter().any(|listed| listed == name), "{name}: {names:?}");
        }
        assert_eq!(hub.login("ann"), 302, "the old rules hold");
    }
}

#[test]
fn how_much_is_logged_changes_at_once() {
    let mut hub = Hub::running("");
    hub.web.get("/hub/login");
    let lines = |hub: &mut Hub| hub.daemon.process().log().matches("GET /hub/login").count();
    assert_eq!(lines(&mut hub), 1);
    let report = hub.reload("log_levels = { requests = \"WARN\" }\n");
    assert_eq!(list(&report, "applied"), ["JupyterHub.log_levels"]);
    hub.web.get("/hub/login");
    assert_eq!(lines(&mut hub), 1);
    assert_eq!(list(&hub.reload("log_level = \"DEBUG\"\n"), "applied").len(), 2);
    hub.web.get("/hub/login");
    assert_eq!(lines(&mut hub), 2);
}

#[test]
fn what_needs_a_restart_is_listed_until_there_is_one() {
    let hub = Hub::running("");
    let changed = "port = 1\nallow_named_servers = true\ntemplate_vars = { a = 1 }\ndb_url = \"other.sqlite\"\n\
                   services = [{ name = \"s\" }]\n[Spawner]\ndefault_url = \"/lab\"\n[Proxy]\nhttp2 = false\n[IdleCuller]\ntimeout = 60\n";
    for _ in 0..2 {
        let report = hub.reload(changed);
        assert_eq!(list(&report, "applied"), Vec::<String>::new());
        let names = list(&report, "needs_restart");
        for name in [
            "IdleCuller.timeout",
            "JupyterHub.allow_named_servers",
            "JupyterHub.db_url",
            "JupyterHub.port",
            "JupyterHub.services",
            "JupyterHub.template_vars",
            "Proxy.http2",
            "Spawner.default_url",
        ] {
            assert!(names.iter().any(|listed| listed == name), "{name}: {names:?}");
        }
    }
    assert_eq!(hub.web.get("/hub/login").status, 200);
    let (_, text, _) = hub.daemon.hubd(&["-f", "hubd.toml", "reload"]);
    assert!(text.contains("only a restart applies it (servers keep running): IdleCuller.timeout"), "{text}");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let mut hub = Hub::running("[Authenticator]\nallowed_users = [\"ann\"]\nallow_existing_users = false\n");
    hub.daemon.configure(&format!("{}prot = 1\n[Authenticator]\nallow_all = true\n", hub.base));
    let (good, _, error) = hub.daemon.hubd(&["-f", "hubd.toml", "reload"]);
    assert!(!good && error.contains("hubd.toml:7:1: there is no option JupyterHub.prot"), "{error}");
    assert_eq!((hub.login("ann"), hub.login("ben")), (302, 403));
    hub.daemon.process().signal(nix::sys::signal::Signal::SIGHUP);
    hub.daemon
        .process()
        .wait_for_log("reload: hubd.toml:7:1: there is no option JupyterHub.prot", START_LIMIT);
    assert_eq!(hub.login("ben"), 403);
}
