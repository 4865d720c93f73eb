//! The same requests to the real JupyterHub and to hubd: status, the headers that matter and the shape of
//! what comes back must be the same.
//!
//! JupyterHub makes the database: users, groups, roles, tokens, browsers that are logged in. hubd gets a copy
//! of it and of the cookie secret, so both know the same people and believe the same cookies. JupyterHub is
//! asked directly, without configurable-http-proxy before it. What is asked stands in
//! `tests/compare/requests.txt` and `slow.txt`, what may differ, and why, in `differences.txt` and
//! `slow-differences.txt` beside them.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod compare;
mod script;
mod servers;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hubd_tests::{Process, Web, free_port, notebook_program, repository, until};

use crate::trial::Trial;
use compare::Differences;
use script::{Actors, Script};
use servers::Servers;

/// How long JupyterHub takes to start, at most.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What both hubs are told, in JupyterHub's words and in hubd's.
const JUPYTERHUB: &str = include_str!("../../compare/jupyterhub_config.py");
const HUBD: &str = include_str!("../../compare/hubd.toml");

/// The same for limits and slow servers, beside the time that servers have for their first answer.
const SLOW_JUPYTERHUB: &str = "
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.active_server_limit = 3
c.JupyterHub.tornado_settings = {\"slow_spawn_timeout\": 2, \"slow_stop_timeout\": 2}
c.Spawner.http_timeout = 60
";
const SLOW_HUBD: &str = "concurrent_spawn_limit = 1
active_server_limit = 3
tornado_settings = { slow_spawn_timeout = 2, slow_stop_timeout = 2 }
";

/// A user server that starts at once, unless it is held.
const SERVER: &str = include_str!("../../compare/server.py");

#[test]
fn both_hubs_answer_the_same() {
    compare("requests.txt", "differences.txt", JUPYTERHUB, HUBD);
}

#[test]
fn both_hubs_answer_the_same_while_servers_are_slow_or_too_many() {
    let hubd = format!("{SLOW_HUBD}{}", HUBD.replace("http_timeout = 3", "http_timeout = 60"));
    compare("slow.txt", "slow-differences.txt", &format!("{JUPYTERHUB}{SLOW_JUPYTERHUB}"), &hubd);
}

fn compare(requests: &str, differences: &str, jupyterhub: &str, hubd: &str) {
    let read = |name: &str| fs::read_to_string(repository().join("tests/compare").join(name)).unwrap();
    let script = Script::parse(&read(requests));
    let known = Differences::parse(&read(differences));

    let mut trial = Trial::prepared(hubd);
    trial.write("server.py", SERVER, 0o755);
    let server = trial.path("server.py");
    let policy = format!("[profile.default]\nprogram = [\"{}\"]\nauth = \"oauth\"\n", server.display());
    trial.write("helper.toml", &policy, 0o644);
    let (mut process, port) = start_jupyterhub(&trial, jupyterhub, &server);
    let theirs = Web::plain(SocketAddr::from(([127, 0, 0, 1], port)));
    until("JupyterHub's answer", START_LIMIT, || {
        assert!(process.ended().is_none(), "JupyterHub ended:\n{}", process.log());
        theirs.try_request("GET", "/hub/health", &[], b"").ok().filter(|answer| answer.status == 200)
    });
    let mut real = Actors::new(theirs);
    script.prepare(&mut real);

    trial.copy("real/jupyterhub.sqlite", "jupyterhub.sqlite");
    trial.copy("real/jupyterhub_cookie_secret", "jupyterhub_cookie_secret");
    trial.run();
    let mut ours = real.at(trial.web());

    let found = script.run(&mut real, &mut ours, &Servers::of(&server));
    let report = known.unexplained(&found);
    if let Some(path) = std::env::var_os("HUBD_TEST_DIFFERENCES") {
        let mut path = path;
        path.push(format!(".{requests}"));
        fs::write(path, found.iter().map(|one| format!("{one}\n")).collect::<String>()).unwrap();
    }
    assert!(
        report.is_empty(),
        "{} of {} answers differ without a reason in tests/compare/{differences}:\n{}",
        report.len(),
        script.len(),
        report.join("\n")
    );
}

fn start_jupyterhub(trial: &Trial, configuration: &str, server: &Path) -> (Process, u16) {
    let port = free_port();
    let text = configuration
        .replace("PORT", &port.to_string())
        .replace("OTHER", &free_port().to_string())
        .replace("SERVER", &server.display().to_string());
    trial.directory("real");
    trial.write("real/jupyterhub_config.py", &text, 0o644);
    let program = notebook_program().with_file_name("jupyterhub");
    let mut command = trial.command_of(&program, &["-f", "jupyterhub_config.py"]);
    command.current_dir(trial.path("real"));
    (Process::start("jupyterhub", &mut command, &trial.path("jupyterhub.log")), port)
}
