//! People at work in Chromium.

use hubd_tests::{Installation, Setup, processes_of, until};

use crate::Case;
use crate::browser::Script;
use crate::suite::{Suite, standard};
use std::time::Duration;

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("two people work at once and bob gets 403 on alices server", two_people),
    ("pages refuse a wrong password and show progress and log out", pages),
    ("people have hosts of their own", hosts),
    ("server output goes to its own log", own_log),
    ("servers on tcp ports work", tcp),
];

/// How long a server's processes may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);

fn two_people(suite: &mut Suite) {
    let url = suite.installation().url();
    suite.alice();
    suite.bob();
    let (alice, bob) = (suite.alice().uid, suite.bob().uid);
    assert_ne!(alice, bob);
    suite.fresh_homes();
    Script::new("two_people", &suite.people()).run(&url, |_| {});
    assert_eq!(suite.installation().sessions().len(), 2);
    assert!(!processes_of(alice).is_empty() && !processes_of(bob).is_empty());
    suite.installation().stop_sessions();
    for uid in [alice, bob] {
        until("the end of all processes of a stopped server", END_LIMIT, || {
            processes_of(uid).is_empty().then_some(())
        });
    }
    assert!(suite.installation().sessions().is_empty());
}

fn pages(suite: &mut Suite) {
    let url = suite.installation().url();
    suite.alice();
    suite.fresh_homes();
    Script::new("pages", &suite.people()).run(&url, |_| {});
}

fn hosts(suite: &mut Suite) {
    suite.alice();
    suite.fresh_homes();
    // Browsers find everything below localhost on this machine.
    let hub =
        "subdomain_host = \"https://hub.localhost:{port}\"\ncookie_host_prefix_enabled = true\n".to_owned();
    let installation = Installation::running(&Setup { hub, ..standard() });
    let url = format!("https://hub.localhost:{}", installation.port);
    Script::new("hosts", &suite.people()).run(&url, |_| {});
}

/// What jupyterhub-singleuser prints must not appear among the hub's own lines.
fn own_log(suite: &mut Suite) {
    let alice = (suite.alice().name.clone(), suite.alice().password.clone());
    suite.fresh_homes();
    let web = suite.installation().web();
    web.log_in(&alice.0, &alice.1);
    start(&web, &alice.0);
    let installation = suite.installation();
    let logs = installation.hubd().log() + &installation.helper().log();
    assert!(!logs.contains("ServerApp]"), "a server's output is in the log of hub or helper:\n{logs}");
    assert!(installation.logs().contains("ServerApp]"), "the server's output is in no log");
}

fn tcp(suite: &mut Suite) {
    suite.alice();
    suite.bob();
    suite.fresh_homes();
    let tables = "[Spawner]\nsocket = \"tcp\"\n".to_owned();
    let installation = Installation::running(&Setup { tables, ..standard() });
    Script::new("two_people", &suite.people()).run(&installation.url(), |_| {});
}

/// Starts somebody's default server over the API, and waits until it is ready.
pub fn start(web: &hubd_tests::Web, user: &str) {
    // 400 while the hub is still busy with a server that has just ended.
    until("the hub to take the request", Duration::from_secs(30), || {
        let answer = web.api("POST", &format!("users/{user}/server"), "");
        assert!(matches!(answer.status, 201 | 202 | 400), "{}: {}", answer.status, answer.words());
        (answer.status != 400).then_some(())
    });
    until("the server to be ready", Duration::from_secs(60), || {
        let model = web.api("GET", &format!("users/{user}"), "").json();
        model["servers"][""]["ready"].as_bool().filter(|ready| *ready)
    });
}
