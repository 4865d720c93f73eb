//! Rows of the contract that other files do not measure, printed with their figures: see the table in
//! `src/helper/README.md` and `tests/figures`, which prints all of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use hubd_tests::{Answer, Installation, Person, PersonKind, Setup, Web, processes_of, run, until};

use crate::Case;
use crate::failures::RootProgram;
use crate::measures::STUB;
use crate::suite::{Suite, with_program};

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("rows of the contract: root, an expired account, a killed hub", rows),
    ("row 22 of the contract: database, secrets and logs are for their owners alone", owners),
];

/// How long a start or stop may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// From the kill of the hub to the first answer of a server that runs, start of the hub included.
const BACK: Duration = Duration::from_secs(1);
/// The same on a machine that builds meanwhile.
const BACK_BUSY: Duration = Duration::from_secs(5);
/// What the server of the trial prints.
const WORDS: &str = "words of a server that are for its owner";

fn rows(_: &mut Suite) {
    let program = RootProgram::new("contract", STUB);
    let (admin, person) = (
        Person::new("hubt-hard-admin", PersonKind::Ordinary),
        Person::new("hubt-hard-person", PersonKind::Ordinary),
    );
    run("usermod", &["--append", "--groups", "games", &person.name]);
    let setup = Setup {
        tables: format!("[Authenticator]\nadmin_users = [\"{}\"]\n", admin.name),
        policy: "standing_groups = [\"games\"]\n".to_owned(),
        ..with_program(&program.path().to_string_lossy())
    };
    let mut installation = Installation::running(&setup);
    let web = installation.web();
    web.log_in(&admin.name, &admin.password);
    web.get("/hub/home");
    root_gets_no_server(&installation, &web);
    let token = web.api("POST", &format!("users/{}/tokens", admin.name), "").json()["token"].clone();
    let token = format!("token {}", token.as_str().unwrap());
    web.api("POST", &format!("users/{}", person.name), "");
    let script = |method: &str| {
        let path = format!("/hub/api/users/{}/server", person.name);
        web.fresh().request(method, &path, &[("Authorization", &token)], b"")
    };
    assert!([201, 202].contains(&script("POST").status), "a token starts a server of a standing group");
    let own = web.fresh();
    own.log_in(&person.name, &person.password);
    killed(&mut installation, &own, &person);
    until("the end of the server", LIMIT, || {
        script("DELETE");
        processes_of(person.uid).is_empty().then_some(())
    });
    run("chage", &["--expiredate", "0", &person.name]);
    expired(&script("POST"));
    assert!(processes_of(person.uid).is_empty(), "an expired account has a server");
}

fn root_gets_no_server(installation: &Installation, web: &Web) {
    let added = web.api("POST", "users/root", "").status;
    let begun = Instant::now();
    let started = web.api("POST", "users/root/server", "");
    println!(
        "    row 2: root is added: {added}; a server for root: {} after {:.1?}",
        started.status,
        begun.elapsed()
    );
    assert!(
        ![201, 202].contains(&started.status) && installation.sessions().is_empty(),
        "{}",
        started.text()
    );
}

fn killed(installation: &mut Installation, web: &Web, person: &Person) {
    let page = format!("/user/{}/api", person.name);
    until("the server's answer", LIMIT, || (web.get(&page).status == 200).then_some(()));
    let begun = Instant::now();
    installation.kill_hub();
    let listening = installation.start_hub();
    assert_eq!(web.get(&page).status, 200, "the server is not reachable as soon as the hub answers");
    let back = begun.elapsed();
    println!(
        "    row 13: after a kill the hub answers {listening:.1?} after its start, the running server {back:.1?} after the kill"
    );
    let limit = if std::env::var_os("HUBD_TEST_BARS").is_some() { BACK } else { BACK_BUSY };
    assert!(back < limit, "{back:?}");
}

fn owners(_: &mut Suite) {
    let program = RootProgram::new("owners", &STUB.replacen('\n', &format!("\necho {WORDS}\n"), 1));
    let person = Person::new("hubt-hard-owner", PersonKind::Ordinary);
    let mut installation = Installation::running(&with_program(&program.path().to_string_lossy()));
    let web = installation.web();
    web.log_in(&person.name, &person.password);
    web.get("/hub/home");
    let token = web.api("POST", &format!("users/{}/tokens", person.name), "").json()["token"].clone();
    assert!([201, 202].contains(&web.api("POST", &format!("users/{}/server", person.name), "").status));
    let page = format!("/user/{}/api", person.name);
    until("the server's answer", LIMIT, || (web.get(&page).status == 200).then_some(()));

    let mut modes = Vec::new();
    for entry in fs::read_dir(installation.path("srv")).unwrap() {
        let entry = entry.unwrap();
        let (name, mode) = (entry.file_name(), entry.metadata().unwrap().mode() & 0o777);
        assert_eq!(mode & 0o077, 0, "{name:?} has mode {mode:o}");
        modes.push(format!("{} {mode:o}", name.to_string_lossy()));
    }
    let of_hub = |name: &str| modes.iter().any(|mode| mode.starts_with(&format!("{name} ")));
    assert!(of_hub("jupyterhub.sqlite") && of_hub("jupyterhub_cookie_secret"), "{modes:?}");
    let log = installation.path(&format!("log/servers/u{}.log", person.uid));
    let mode = fs::metadata(&log).unwrap().mode() & 0o777;
    println!("    row 22: {}; the server's own log {mode:o}", modes.join(", "));
    assert!(mode == 0o600 && fs::read_to_string(&log).unwrap().contains(WORDS));
    let said = installation.hubd().log() + &installation.helper().log();
    assert!(!said.contains(WORDS), "a server writes into the log of hub or helper");
    let cookies = ["jupyterhub-hub-login", "jupyterhub-session-id", "hubd-ticket", "_xsrf"];
    let cookies = cookies.map(|name| web.cookie(name).unwrap_or_default());
    let secrets =
        cookies.iter().map(String::as_str).chain([person.password.as_str(), token.as_str().unwrap()]);
    for secret in secrets {
        assert!(
            secret.len() >= 8 && !said.contains(secret),
            "the log has a secret, or there is none: {secret:?}"
        );
    }
}

fn expired(answer: &Answer) {
    let said = answer.text();
    println!("    row 4: an expired account with a token: {}, {}", answer.status, answer.json()["message"]);
    assert!(![201, 202].contains(&answer.status) && said.to_lowercase().contains("expired"), "{said}");
}
