//! From the real JupyterHub to hubd and back, on one database, with somebody logged in and a server running.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hubd_tests::{Installation, Process, Setup, Web, free_port, notebook_program, processes_of, run, until};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::Case;
use crate::suite::Suite;

/// The cases of this file.
pub const CASES: &[Case] =
    &[("a database with people and servers is taken over and handed back", there_and_back)];

/// How long either program and a server may take, on a machine that is busy with a build.
const LIMIT: Duration = Duration::from_secs(60);

/// JupyterHub as root, with the repository's own proxy in front. Its servers run on.
const CONFIGURATION: &str = r#"
c.JupyterHub.bind_url = "http://127.0.0.1:PUBLIC/"
c.JupyterHub.hub_port = INNER
c.JupyterHub.db_url = "sqlite:///DIRECTORY/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "DIRECTORY/jupyterhub_cookie_secret"
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.command = ["PROXY", "proxy"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:ROUTES"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Spawner.cmd = ["SERVER"]
"#;

fn there_and_back(suite: &mut Suite) {
    let name = suite.alice().name.clone();
    let uid = suite.alice().uid;
    let mut installation = Installation::new(&Setup { plain: true, ..Setup::default() });
    let mut theirs = start_jupyterhub(&installation);
    let browser = installation.web();
    assert_eq!(browser.log_in(&name, "").status, 302, "{}", theirs.log());
    assert_eq!(browser.get("/hub/home").status, 200);
    let started = browser.api("POST", &format!("users/{name}/server"), "");
    assert!(matches!(started.status, 201 | 202), "{}\n{}", started.text(), theirs.log());
    let model = format!("users/{name}");
    until("a server of JupyterHub's", LIMIT, || {
        (!browser.api("GET", &model, "").json()["server"].is_null()).then_some(())
    });
    let status = format!("/user/{name}/api/status");
    // The page, unlike the API, sends the browser through OAuth.
    assert_eq!(browser.follow(&format!("/user/{name}/lab")).status, 200, "{}", theirs.log());
    let made = browser.api("POST", &format!("users/{name}/tokens"), "{}").json();
    let token = made["token"].as_str().unwrap_or_default().to_owned();
    let server = processes_of(uid);
    let all_is_there = |web: &Web, who: &str, log: &str| {
        assert_eq!(web.get("/hub/home").status, 200, "{who}: the login is lost\n{log}");
        let authorization = format!("token {token}");
        let headers = [("Authorization", authorization.as_str())];
        let owner = web.request("GET", "/hub/api/user", &headers, b"");
        assert_eq!(owner.json()["name"], json!(name), "{who}: the token is lost\n{log}");
        let found = web.api("GET", &model, "").json();
        assert_eq!(found["servers"][""]["ready"], json!(true), "{who}: the server is lost\n{log}");
        assert_eq!(web.get(&status).status, 200, "{who}: the way to the server is lost\n{log}");
        // A browser that comes anew has to get through the OAuth of a server that another hub started.
        let other = web.request("GET", &status, &headers, b"");
        assert_eq!(other.status, 200, "{who}: the server does not know the hub's tokens\n{log}");
        assert_eq!(processes_of(uid).first(), server.first(), "{who}: another server");
    };
    all_is_there(&browser, "JupyterHub", &theirs.log());
    end(&mut theirs);

    run(
        "chown",
        &[
            "-R",
            "--reference",
            &srv(&installation),
            &format!("{}/jupyterhub.sqlite", srv(&installation)),
            &format!("{}/jupyterhub_cookie_secret", srv(&installation)),
        ],
    );
    installation.start_hub();
    all_is_there(&browser, "hubd", &installation.logs());
    let copies = fs::read_dir(installation.path("srv")).unwrap().flatten();
    let copies = copies.filter(|file| file.file_name().to_string_lossy().starts_with("jupyterhub.sqlite.2"));
    assert_eq!(copies.count(), 1, "the database was copied once before it was opened");
    assert!(installation.stop_hub().success());

    let mut theirs = start_jupyterhub(&installation);
    all_is_there(&browser, "JupyterHub again", &theirs.log());
    end(&mut theirs);

    installation.start_hub();
    all_is_there(&browser, "hubd again", &installation.logs());
    let stopped = browser.api("DELETE", &format!("users/{name}/server"), "");
    assert!(matches!(stopped.status, 202 | 204), "{}", stopped.text());
    until("the end of the server", LIMIT, || processes_of(uid).is_empty().then_some(()));
    until("its records' end", LIMIT, || {
        browser.api("GET", &model, "").json()["server"].is_null().then_some(())
    });
    // A login here gives what hubd's own servers need.
    assert_eq!(browser.api("GET", &model, "").json()["servers"], json!({}), "{}", installation.logs());
}

fn srv(installation: &Installation) -> String {
    installation.path("srv").display().to_string()
}

fn start_jupyterhub(installation: &Installation) -> Process {
    let program = notebook_program();
    let folder = program.parent().map(Path::to_owned).unwrap_or_default();
    let hubd = installation.path("bin/hubd");
    let configuration = CONFIGURATION
        .replace("PUBLIC", &installation.port.to_string())
        .replace("INNER", &installation.inner_port.to_string())
        .replace("ROUTES", &free_port().to_string())
        .replace("DIRECTORY", &srv(installation))
        .replace("PROXY", &hubd.display().to_string())
        .replace("SERVER", &program.display().to_string());
    fs::create_dir_all(installation.path("theirs")).unwrap();
    let file = installation.path("theirs/jupyterhub_config.py");
    fs::write(&file, configuration).unwrap();
    let search = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(folder.join("jupyterhub"));
    command.current_dir(installation.path("theirs")).env("PATH", search).arg("-f").arg(file);
    let mut process = Process::start("jupyterhub", &mut command, &installation.path("log/jupyterhub.log"));
    let web = installation.web();
    until("an answer of JupyterHub", LIMIT, || {
        assert!(process.ended().is_none(), "JupyterHub ended; it said:\n{}", process.log());
        web.try_request("GET", "/hub/health", &[], b"").ok().filter(|answer| answer.status == 200)
    });
    process
}

fn end(process: &mut Process) {
    process.signal(Signal::SIGTERM);
    process.wait(LIMIT);
}
