//! What a reload applies, what waits for a restart, and what is refused.

use hubd_tests::{Web, free_port};
use serde_json::Value;

use crate::daemon::{Daemon, local};

/// What most of these begin with.
struct Hub {
    daemon: Daemon,
    web: Web,
    base: String,
}

impl Hub {
    fn running(tables: &str) -> Self {
        let port = free_port();
        let web = local(port);
        let base = format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n", free_port());
        Self { daemon: Daemon::running(&format!("{base}{tables}"), &web), web, base }
    }

    /// Changes the configuration and reloads it; the report.
    fn reload(&self, tables: &str) -> Value {
        self.daemon.configure(&format!("{}{tables}", self.base));
        let (good, text, error) = self.daemon.hubd(&["-f", "hubd.toml", "reload", "--json"]);
        assert!(good, "{error}");
        serde_json::from_str(&text).unwrap()
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
    hub.daemon.process().wait_for_log(
        "reload: hubd.toml:7:1: there is no option JupyterHub.prot",
        std::time::Duration::from_secs(20),
    );
    assert_eq!(hub.login("ben"), 403);
}
