//! Who gets in and who does not, and what the refused are told.

use hubd_tests::{Answer, Installation, Person, PersonKind, Setup, Web, processes_of};

use crate::Case;
use crate::suite::{Suite, standard};

/// The cases of this file.
pub const CASES: &[Case] = &[
    ("wrong password is refused with the words of jupyterhub", wrong_password),
    ("unknown name gets the same answer as a wrong password", unknown_name),
    ("root is refused", root),
    ("system account is refused", system_account),
    ("expired account is refused and told so", expired),
    ("account without a login shell is refused", no_login),
    ("logout kills the old cookie", logout),
    ("an admin cannot start a server for root", server_for_root),
];

/// What JupyterHub's form says; scripts look for it.
const WRONG: &str = "Invalid username or password";

/// Checks that a login was refused: status, no login cookie, no way in.
fn assert_refused(web: &Web, answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.words());
    assert!(web.cookie("jupyterhub-hub-login").is_none() && web.cookie("hubd-ticket").is_none());
    let home = web.get("/hub/home");
    assert!(
        home.status == 302 && home.location().starts_with("/hub/login"),
        "{} {}",
        home.status,
        home.location()
    );
}

fn refused_kind(suite: &mut Suite, name: &str, kind: PersonKind) -> Answer {
    let person = Person::new(name, kind);
    let web = suite.installation().web();
    let answer = web.log_in(&person.name, &person.password);
    assert_refused(&web, &answer);
    assert!(processes_of(person.uid).is_empty());
    answer
}

fn wrong_password(suite: &mut Suite) {
    let name = suite.alice().name.clone();
    let web = suite.installation().web();
    let answer = web.log_in(&name, "not it");
    assert_refused(&web, &answer);
    assert!(answer.words().contains(WRONG), "{}", answer.words());
}

fn unknown_name(suite: &mut Suite) {
    let web = suite.installation().web();
    let answer = web.log_in("hubt-s-nobody-at-all", "not it");
    assert_refused(&web, &answer);
    assert!(answer.words().contains(WRONG), "{}", answer.words());
}

fn root(suite: &mut Suite) {
    let web = suite.installation().web();
    let answer = web.log_in("root", "not it");
    assert_refused(&web, &answer);
}

fn system_account(suite: &mut Suite) {
    refused_kind(suite, "hubt-s-system", PersonKind::System);
}

fn expired(suite: &mut Suite) {
    let answer = refused_kind(suite, "hubt-s-expired", PersonKind::Expired);
    assert!(answer.words().contains("account has expired"), "{}", answer.words());
}

fn no_login(suite: &mut Suite) {
    refused_kind(suite, "hubt-s-nologin", PersonKind::NoLogin);
}

fn logout(suite: &mut Suite) {
    let (name, password) = (suite.alice().name.clone(), suite.alice().password.clone());
    let web = suite.installation().web();
    assert_eq!(web.log_in(&name, &password).status, 302);
    assert_eq!(web.get("/hub/home").status, 200);
    let thief = web.copy();
    assert_eq!(thief.get("/hub/home").status, 200);
    web.follow("/hub/logout");
    assert_eq!(web.get("/hub/home").status, 302);
    let answer = thief.get("/hub/home");
    assert!(
        answer.status == 302 && answer.location().starts_with("/hub/login"),
        "the copied cookie still works"
    );
}

fn server_for_root(suite: &mut Suite) {
    let (name, password) = (suite.alice().name.clone(), suite.alice().password.clone());
    let tables = format!("[Authenticator]\nadmin_users = [\"{name}\"]\n");
    let installation = Installation::running(&Setup { tables, ..standard() });
    let web = installation.web();
    assert_eq!(web.log_in(&name, &password).status, 302);
    web.api("POST", "users", r#"{"usernames": ["root"]}"#);
    let answer = web.api("POST", "users/root/server", "");
    assert!(answer.status >= 400, "{}: {}", answer.status, answer.words());
    assert!(installation.sessions().is_empty());
}
