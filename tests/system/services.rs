//! Programs beside the hub, unchanged: the idle culler, HubOAuth, scripts with tokens, nbgrader's formgrader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hubd_tests::{
    Answer, Installation, Person, PersonKind, Process, Setup, Web, free_port, notebook_program, processes_of,
    test_python, until,
};

use crate::Case;
use crate::suite::Suite;

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("managed idle culler stops idle servers and outlives a crash of the hub", managed_culler),
    ("external idle culler and a script use tokens", external_culler),
    ("people log in to a service with huboauth", huboauth),
    ("formgrader runs as a service for those who may use it", formgrader),
];

/// How long a server may take to start and be culled, on a machine that is busy with a build.
const CULL_LIMIT: Duration = Duration::from_secs(90);
/// How long a service may take to answer.
const SERVICE_LIMIT: Duration = Duration::from_secs(60);
/// What the culler needs.
const CULLER_ROLE: &str = "[[JupyterHub.load_roles]]\nname = \"culling\"\nservices = [\"cull\"]\n\
    scopes = [\"list:users\", \"read:users:activity\", \"read:servers\", \"delete:servers\"]\n";

/// A program of the environment with nbgrader and the culler, beside that of the notebooks.
fn program(name: &str) -> PathBuf {
    let notebooks = notebook_program();
    let environment = notebooks.parent().and_then(Path::parent).unwrap();
    let path = PathBuf::from(format!("{}-services", environment.display())).join("bin").join(name);
    assert!(path.exists(), "{} is missing; run `sudo tests/run`, which installs it", path.display());
    path
}

/// The default profile, and tables for helper.toml and hubd.toml.
fn installation(services: &str, tables: &str) -> Installation {
    let notebook = notebook_program();
    let profiles = format!("[profile.default]\nprogram = [\"{}\"]\n{services}", notebook.display());
    Installation::running(&Setup { profiles, tables: tables.to_owned(), ..Setup::default() })
}

fn started(installation: &Installation, person: &Person) -> Web {
    let web = installation.web();
    assert_eq!(web.log_in(&person.name, &person.password).status, 302);
    let answer = web.api("POST", &format!("users/{}/server", person.name), "");
    assert!([201, 202].contains(&answer.status), "{} {}", answer.status, answer.text());
    web
}

fn sessions_of(installation: &Installation, uid: u32) -> Vec<PathBuf> {
    let of = format!("u{uid}-");
    let mut sessions = installation.sessions();
    sessions.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&of)));
    sessions
}

fn culled(installation: &Installation, person: &Person) {
    until("the server", CULL_LIMIT, || (!sessions_of(installation, person.uid).is_empty()).then_some(()));
    until("the end of the idle server", CULL_LIMIT, || {
        sessions_of(installation, person.uid).is_empty().then_some(())
    });
}

fn managed_culler(suite: &mut Suite) {
    let service = Person::new("hubt-s-cull", PersonKind::System);
    let words =
        format!("[\"{}\", \"--timeout=1\", \"--cull-every=1\"]", program("jupyterhub-idle-culler").display());
    let mut installation = installation(
        &format!(
            "[service.cull]\nuser = \"{}\"\nsystem_account = true\ndirectory = \"/\"\ncommand = {words}\n",
            service.name
        ),
        &format!("[[JupyterHub.services]]\nname = \"cull\"\ncommand = {words}\n{CULLER_ROLE}"),
    );
    until("the culler", SERVICE_LIMIT, || (!processes_of(service.uid).is_empty()).then_some(()));
    let before = processes_of(service.uid);
    let web = started(&installation, suite.alice());
    culled(&installation, suite.alice());
    installation.kill_hub();
    installation.start_hub();
    until("the hub to find the service", SERVICE_LIMIT, || {
        installation.hubd().log().contains("Service cull still running").then_some(())
    });
    assert_eq!(processes_of(service.uid), before);
    drop(web);
    assert!(installation.stop_hub().success());
    assert!(processes_of(service.uid).is_empty() && installation.sessions().is_empty());
}

fn external_culler(suite: &mut Suite) {
    let token = "a-token-that-the-operator-chose";
    let installation = installation(
        "",
        &format!(
            "[[JupyterHub.services]]\nname = \"cull\"\napi_token = \"{token}\"\n\
             [[JupyterHub.services]]\nname = \"dead\"\nurl = \"http://127.0.0.1:1\"\n{CULLER_ROLE}"
        ),
    );
    let web = started(&installation, suite.bob());
    let api = format!("http://127.0.0.1:{}/hub/api", installation.inner_port);
    let mut culler = Command::new(program("jupyterhub-idle-culler"));
    culler.args(["--timeout=1", "--cull-every=1", "--url", &api]).env("JUPYTERHUB_API_TOKEN", token);
    let culler = Process::start("culler", &mut culler, &installation.path("log/culler.log"));
    culled(&installation, suite.bob());
    drop(culler);
    assert_eq!(web.get("/services/dead/").status, 503);

    let configuration = installation.configuration().to_string_lossy().into_owned();
    let command =
        |name: &str| installation.hubd_command(&["token", name, "-f", &configuration]).output().unwrap();
    for name in [suite.bob().name.as_str(), "cull"] {
        let printed = command(name);
        let printed = String::from_utf8(printed.stdout).unwrap();
        let script = "import requests, sys\n\
            answer = requests.get(sys.argv[1] + '/user', headers={'Authorization': 'token ' + sys.argv[2]})\n\
            answer.raise_for_status()\nprint(answer.json()['name'], answer.json()['kind'])";
        let output = Command::new(test_python()).args(["-c", script, &api, printed.trim()]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with(&format!("{name} ")), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    let unknown = command("hubt-s-nobody");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && said.contains("No such user: hubt-s-nobody"), "{said}");
}

/// Goes to a service that asks who somebody is; says yes where the hub asks.
fn visit(web: &Web, path: &str) -> Answer {
    let mut target = path.to_owned();
    for _ in 0..10 {
        let answer = web.get(&target);
        target = match answer.status {
            302 => answer.location().to_owned(),
            200 if answer.text().contains("oauth-form") || target.contains("/oauth2/authorize") => {
                let xsrf = web.cookie("_xsrf").unwrap();
                web.post_form(&target, &[("_xsrf", &xsrf)]).location().to_owned()
            }
            _ => return answer,
        };
    }
    panic!("no end of redirects: {target}");
}

/// Waits until a service is routed and answers.
fn answering(web: &Web, path: &str) {
    until("the service", SERVICE_LIMIT, || {
        let answer = web.get(path);
        let routed = !answer.location().starts_with("/hub/services/");
        (routed && answer.status < 500).then_some(())
    });
}

fn huboauth(suite: &mut Suite) {
    let (alice, bob) = (suite.alice().name.clone(), suite.bob().name.clone());
    let port = free_port();
    let directory = tempfile::Builder::new().prefix("hubt-s-").tempdir_in("/run").unwrap();
    let script = directory.path().join("whoami.py");
    fs::write(&script, WHOAMI).unwrap();
    hubd_tests::run("chmod", &["-R", "a+rX", &directory.path().to_string_lossy()]);
    let words = format!("[\"{}\", \"{}\"]", test_python().display(), script.display());
    let installation = installation(
        &format!("[service.whoami]\nuser = \"{alice}\"\ncommand = {words}\n"),
        &format!(
            "[[JupyterHub.services]]\nname = \"whoami\"\nurl = \"http://127.0.0.1:{port}\"\ncommand = {words}\n\
             [[JupyterHub.load_roles]]\nname = \"visitors\"\nusers = [\"{bob}\"]\n\
             scopes = [\"access:services!service=whoami\"]\n"
        ),
    );
    let web = installation.web();
    answering(&web, "/services/whoami/");
    web.log_in(&bob, &suite.bob().password);
    let answer = visit(&web, "/services/whoami/");
    assert_eq!(
        (answer.status, answer.json()["name"].as_str()),
        (200, Some(bob.as_str())),
        "{}",
        answer.text()
    );
    let web = installation.web();
    web.log_in(&alice, &suite.alice().password);
    let answer = visit(&web, "/services/whoami/");
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.words().contains("You do not have permission to access JupyterHub service whoami"));
}

fn formgrader(suite: &mut Suite) {
    let (alice, bob) = (suite.alice().name.clone(), suite.bob().name.clone());
    let grader = Person::new("hubt-s-grader", PersonKind::Ordinary);
    let (home, port) = (grader.home.display().to_string(), free_port());
    fs::create_dir_all(grader.home.join(".jupyter")).unwrap();
    let configured = format!(
        "c = get_config()\nc.CourseDirectory.root = '{home}'\nc.CourseDirectory.course_id = 'course101'\n"
    );
    fs::write(grader.home.join(".jupyter/nbgrader_config.py"), configured).unwrap();
    hubd_tests::run("chown", &["-R", &grader.name, &grader.home.join(".jupyter").to_string_lossy()]);
    let words = format!("[\"{}\", \"-m\", \"jupyterhub.singleuser\"]", program("python3").display());
    let service = format!("user = \"{}\"\ncommand = {words}\n", grader.name);
    // What the environment of the notebooks has beside its packages.
    let data = notebook_program().parent().and_then(Path::parent).unwrap().join("share/jupyter");
    let environment = format!("environment = {{ JUPYTER_PATH = \"{}\" }}", data.display());
    let mut installation = installation(
        &format!("[service.course101]\ndirectory = \"{home}\"\n{service}{environment}\n"),
        &format!(
            "[[JupyterHub.services]]\nname = \"course101\"\nurl = \"http://127.0.0.1:{port}\"\ncwd = \"{home}\"\n{service}\
             environment = {{ JUPYTERHUB_DEFAULT_URL = \"/formgrader\" }}\n\
             [JupyterHub.load_groups]\nformgrader-course101 = [\"{alice}\"]\n\
             [[JupyterHub.load_roles]]\nname = \"formgrader-course101\"\ngroups = [\"formgrader-course101\"]\n\
             scopes = [\"access:services!service=course101\"]\n"
        ),
    );
    let web = installation.web();
    answering(&web, "/services/course101/");
    web.log_in(&alice, &suite.alice().password);
    let answer = visit(&web, "/services/course101/formgrader/manage_assignments");
    assert_eq!(answer.status, 200, "{}", answer.words());
    assert!(
        answer.text().contains("nbgrader") && answer.text().contains("Manage Assignments"),
        "{}",
        answer.words()
    );
    let assignments = web.get("/services/course101/formgrader/api/assignments");
    assert_eq!((assignments.status, assignments.json()), (200, serde_json::json!([])));
    let stranger = installation.web();
    stranger.log_in(&bob, &suite.bob().password);
    assert_eq!(visit(&stranger, "/services/course101/formgrader").status, 403);
    assert!(installation.stop_hub().success());
    assert!(processes_of(grader.uid).is_empty());
}

/// JupyterHub's own example of a service that asks who visits it.
const WHOAMI: &str = r#"
import json, os
from urllib.parse import urlparse
from tornado import httpserver, ioloop, web
from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated

class WhoAmI(HubOAuthenticated, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.write(json.dumps(self.get_current_user()))

prefix, url = os.environ["JUPYTERHUB_SERVICE_PREFIX"], urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
app = web.Application(
    [(prefix + "oauth_callback", HubOAuthCallbackHandler), (r".*", WhoAmI)], cookie_secret=os.urandom(32)
)
httpserver.HTTPServer(app).listen(url.port, url.hostname)
ioloop.IOLoop.current().start()
"#;
