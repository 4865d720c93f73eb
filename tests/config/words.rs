//! What the program says: help, mistakes with their cures, states.

use std::os::unix::fs::PermissionsExt as _;

use hubd_tests::free_port;

use crate::daemon::{Daemon, local};

#[test]
fn all_mistakes_are_told_at_once_before_anything_is_opened() {
    let daemon = Daemon::configured(
        "prot = 8000\nport = 99999\nip = 1\n[Spawner]\ncmd = \"x\"\n[Authentikator]\nallow_all = true",
    );
    daemon.directory("conf.d");
    daemon.write("conf.d/10-more.toml", "[JupyterHub]\nhub_port = \"x\"\n", 0o644);
    daemon.write("conf.d/20-broken.toml", "[JupyterHub]\nport = \n", 0o644);
    for arguments in [
        &["check", "-f", "hubd.toml", "--Spawner.debug=perhaps"][..],
        &["-f", "hubd.toml", "--Spawner.debug=perhaps"],
    ] {
        let (good, _, error) = daemon.hubd(arguments);
        assert!(!good);
        for wanted in [
            "hubd.toml:5:1: there is no option JupyterHub.prot\n    cure: did you mean port?",
            "hubd.toml:6:1: JupyterHub.port: expected a whole number from 0 to 65535, found 99999",
            "hubd.toml:7:1: JupyterHub.ip: expected text in quotes, found 1",
            "hubd.toml:9:1: Spawner.cmd cannot be used\n    cure: root decides",
            "hubd.toml:11:1: there is no table [Authentikator]\n    cure: did you mean [Authenticator]?",
            "conf.d/10-more.toml:2:1: JupyterHub.hub_port: expected a whole number",
            "conf.d/20-broken.toml:2:8: not valid TOML",
            "command line: Spawner.debug: expected true or false",
            "8 problems in the configuration; nothing was started",
        ] {
            assert!(error.contains(wanted), "{wanted:?} is not in\n{error}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let daemon = Daemon::nothing();
    for arguments in [&["--help-all"][..], &["--generate-config"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = daemon.command(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_key_that_hubd_may_not_read_is_told_with_the_commands_that_let_it() {
    let daemon = Daemon::nothing();
    daemon.certificate("hub.crt", "hub.key");
    daemon.configure("ssl_cert = \"hub.crt\"\nssl_key = \"hub.key\"\nlog_level = \"LOUD\"");
    std::fs::set_permissions(daemon.path("hub.key"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let (good, _, error) = daemon.hubd(&["check", "-f", "hubd.toml"]);
    assert!(
        !good && error.contains("cure: let the daemon's user read it: chgrp hubd hub.key; chmod 640 hub.key"),
        "{error}"
    );
    assert!(error.contains("found \"LOUD\""), "{error}");
}

#[test]
fn each_kind_of_mistake_names_its_place_and_its_cure() {
    let daemon = Daemon::nothing();
    let table = |class: &str, lines: &str| format!("[{class}]\n{lines}\n");
    for (text, place, wanted) in [
        // Names: unknown, of another table, old but gone, of Python, outside of a table.
        (
            table("JupyterHub", "\n  portt = 1"),
            "3:3",
            "there is no option JupyterHub.portt\n    cure: did you mean port?",
        ),
        (table("JupyterHub", "notebook_dir = \"x\""), "2:1", "it belongs to [Spawner]"),
        (table("Jupyterhub", "port = 1"), "2:1", "did you mean [JupyterHub]?"),
        (
            table("Spawner", "pre_spawn_hook = \"f\""),
            "2:1",
            "it is a Python function, and hubd runs no Python",
        ),
        (table("JupyterHub", "internal_ssl = true"), "2:1", "delete the line"),
        ("port = 1\n".to_owned(), "1:1", "write it below a line [JupyterHub]"),
        ("c.JupyterHub.port = 1\n".to_owned(), "1:1", "leave out the c."),
        // Values: of the wrong kind, out of bounds, none of the words, without meaning.
        (
            table("JupyterHub", "port = \"80\""),
            "2:1",
            "expected a whole number from 0 to 65535, found a text",
        ),
        (table("JupyterHub", "port = 70000"), "2:1", "expected a whole number from 0 to 65535, found 70000"),
        (table("JupyterHub", "allow_named_servers = \"yes\""), "2:1", "expected true or false"),
        (
            table("Authenticator", "allowed_users = \"ann\""),
            "2:1",
            "expected a list of texts, such as [\"a\", \"b\"]",
        ),
        (table("JupyterHub", "log_level = \"LOUD\""), "2:1", "expected one of DEBUG, INFO"),
        (table("IdleCuller", "timeout = \"soon\""), "2:1", "or text such as \"90s\""),
        (
            table("JupyterHub", "bind_url = \"localhost\""),
            "2:1",
            "expected http://ADDRESS:PORT/PREFIX or unix:/PATH",
        ),
        (table("JupyterHub", "db_url = \"mysql://x\""), "2:1", "SQLite only"),
        (table("JupyterHub", "ssl_cert = \"/nonexistent.pem\""), "2:1", "/nonexistent.pem: No such file"),
        (table("Authenticator", "admin_users = [\"a/b\"]"), "2:1", "is not a user name"),
        (
            table("[JupyterHub.load_roles]", "name = \"abc\"\nscopes = [\n  \"self\",\n  \"selve\",\n]"),
            "5:3",
            "'selve' for role abc",
        ),
        // TOML itself: twice, unfinished, of another encoding.
        (table("JupyterHub", "port = 1\nport = 2"), "3:1", "delete one of both"),
        ("[JupyterHub]\n[Spawner]\n[JupyterHub]\n".to_owned(), "3:", "a [Class] once in a file"),
        (table("JupyterHub", "ip = \"::1"), "2:", "a text needs both quotes"),
        ("[JupyterHub\nport = 1\n".to_owned(), "1:", "a table name stands in [ ]"),
    ] {
        daemon.write("hubd.toml", &text, 0o644);
        let (good, _, error) = daemon.hubd(&["check", "-f", "hubd.toml"]);
        assert!(!good, "{text}");
        assert!(
            error.contains(&format!("hubd.toml:{place}")) && error.contains(wanted),
            "{text}: {place} {wanted}\n{error}"
        );
        assert!(error.contains("cure: "), "{error}");
    }
}

#[test]
fn a_good_configuration_is_called_good_with_what_an_admin_should_know() {
    let daemon = Daemon::configured("port = 8123\n");
    daemon.directory("conf.d");
    daemon.write("conf.d/10.toml", "[JupyterHub]\nport = 8124\n", 0o644);
    let (good, text, error) = daemon.hubd(&["check", "-f", "hubd.toml"]);
    assert!(good, "{error}");
    assert!(text.contains("would run at http://:8124/") && text.contains("read conf.d/10.toml"), "{text}");
    assert!(text.contains("JupyterHub.port: conf.d/10.toml:2:1 wins over hubd.toml:5:1"), "{text}");
    assert!(error.contains("NOT FOR PRODUCTION: authenticator_class"), "{error}");
}

#[test]
fn a_default_configuration_is_written_once_and_is_good() {
    let daemon = Daemon::nothing();
    let (good, text, _) = daemon.hubd(&["--generate-config"]);
    assert!(good && text.contains("# port = 8000") && text.contains("[Spawner]"), "{text}");
    let (good, said, _) = daemon.hubd(&["--generate-config", "-f", "new.toml"]);
    assert!(good && said.contains("Writing default config to: new.toml"), "{said}");
    assert_eq!(std::fs::read_to_string(daemon.path("new.toml")).unwrap(), text);
    let (good, _, error) = daemon.hubd(&["--generate-config", "-f", "new.toml"]);
    assert!(!good && error.contains("exists already") && error.contains("-y"), "{error}");
    assert!(daemon.hubd(&["--generate-config", "-f", "new.toml", "-y"]).0);
    let (good, _, error) = daemon.hubd(&["check", "-f", "new.toml"]);
    assert!(good, "{error}");
}

#[test]
fn help_names_the_flags_and_the_whole_list_names_every_option() {
    let daemon = Daemon::nothing();
    let (good, short, _) = daemon.hubd(&["--help"]);
    assert!(good);
    for word in ["--ip", "--port", "--ssl-key", "check", "doctor", "hubd.toml(5)", "--help-all"] {
        assert!(short.contains(word), "{word} is not in\n{short}");
    }
    let (good, all, _) = daemon.hubd(&["--help-all"]);
    assert!(good);
    for option in ["--Spawner.notebook_dir=", "--JupyterHub.bind_url=", "--Authenticator.allowed_users="] {
        assert!(all.contains(option), "{option}");
    }
}

#[test]
fn a_file_that_is_missing_or_python_is_refused_with_the_way_on() {
    let daemon = Daemon::nothing();
    let (good, _, error) = daemon.hubd(&["-f", "none.toml"]);
    assert!(
        !good && error.contains("none.toml: cannot be read") && error.contains("--generate-config"),
        "{error}"
    );
    daemon.write("jupyterhub_config.py", "c.JupyterHub.port = 8000\n", 0o644);
    let (good, _, error) = daemon.hubd(&["-f", "jupyterhub_config.py"]);
    assert!(!good && error.contains("hubd import-config jupyterhub_config.py"), "{error}");
}

#[test]
fn slips_on_the_command_line_name_what_was_meant() {
    let daemon = Daemon::nothing();
    for (arguments, wanted) in [
        (&["--prot", "1"][..], "--port"),
        (&["--Spawner.notebok_dir=x", "check"], "did you mean notebook_dir?"),
        (&["--Spwaner.debug=true", "check"], "did you mean [Spawner]?"),
        (&["--Spawner.default_url"], "needs a value"),
        (&["chekc"], "check"),
        (&["--JupyterHub.spawner_class=sudospawner.SudoSpawner", "check"], "expected one of local"),
    ] {
        let (good, _, error) = daemon.hubd(arguments);
        assert!(!good && error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[test]
fn who_asks_a_hubd_that_does_not_run_is_told_what_to_do() {
    let daemon = Daemon::configured("");
    for command in ["status", "users", "servers", "reload"] {
        let (good, _, error) = daemon.hubd(&["-f", "hubd.toml", command]);
        assert!(
            !good && error.contains("no hubd answers") && error.contains("systemctl status hubd"),
            "{error}"
        );
    }
}

#[test]
fn a_running_hubd_tells_its_state_and_its_people() {
    let port = free_port();
    let web = local(port);
    let hub = format!(
        "bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n[Authenticator]\nallowed_users = [\"ann\"]\nadmin_users = [\"ann\"]\n",
        free_port()
    );
    let daemon = Daemon::running(&hub, &web);
    let (good, status, error) = daemon.hubd(&["-f", "hubd.toml", "status"]);
    assert!(good, "{error}");
    assert!(status.contains(&format!("at       http://127.0.0.1:{port}/")), "{status}");
    assert!(status.contains("users    1") && status.contains("NOT REACHABLE"), "{status}");
    let (_, users, _) = daemon.hubd(&["-f", "hubd.toml", "users"]);
    assert!(users.contains("ann") && users.contains("yes"), "{users}");
    let (good, servers, _) = daemon.hubd(&["-f", "hubd.toml", "servers", "--json"]);
    assert!(
        good && serde_json::from_str::<serde_json::Value>(&servers).unwrap().as_array().unwrap().is_empty()
    );
    let (good, _, error) = daemon.hubd(&["-f", "hubd.toml"]);
    assert!(!good && error.contains("listens on port") && error.contains("--port"), "{error}");
}

#[test]
fn the_doctor_finds_what_a_trial_lacks_and_nothing_that_it_does_not_need() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let daemon =
        Daemon::configured(&format!("bind_url = \"http://127.0.0.1:{port}\"\nhub_port = {}\n", free_port()));
    let (good, text, _) = daemon.hubd(&["-f", "hubd.toml", "doctor"]);
    assert!(!good);
    assert!(
        text.contains(&format!("cannot listen on 127.0.0.1:{port}")) && text.contains("hubd-helper at"),
        "{text}"
    );
    assert!(!text.contains("PAM"), "dummy logins need no PAM:\n{text}");
    let (_, json, _) = daemon.hubd(&["-f", "hubd.toml", "doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(found.as_array().unwrap().iter().any(|finding| finding["severity"] == "bad"), "{json}");
}
