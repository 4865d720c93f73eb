//! An admin adds somebody who has no account: hubd, the program that makes accounts, useradd(8), a server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hubd_tests::{Installation, Person, PersonKind, Process, Setup, processes_of, run, try_run, until};

use crate::Case;
use crate::failures::RootProgram;
use crate::measures::STUB;
use crate::suite::{Suite, with_program};

/// The cases of this file.
pub const CASES: &[Case] = &[("an admin adds somebody, who has an account and a server then", made)];

/// How long a start or stop may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// Who is added.
const NAME: &str = "hubt-hard-made";

/// The account that was made, and the directory where that is written down; dropping it removes both.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        let _ = try_run("userdel", &["--force", "--remove", NAME]);
    }
}

fn made(_: &mut Suite) {
    let written_down = std::env::temp_dir().join(format!("hubt-hard-accounts-{}", std::process::id()));
    // One left over from a run that was killed goes first.
    drop(Made(written_down.clone()));
    let program = RootProgram::new("accounts", STUB);
    let admin = Person::new("hubt-hard-admin", PersonKind::Ordinary);
    let setup = Setup {
        tables: format!(
            "[LocalAuthenticator]\ncreate_system_users = true\n[Authenticator]\nadmin_users = [\"{}\"]\n",
            admin.name
        ),
        policy: format!(
            "create_system_users = true\naccount_groups = [\"games\"]\naccounts_dir = \"{}\"\n",
            written_down.display()
        ),
        ..with_program(&program.path().to_string_lossy())
    };
    let installation = Installation::running(&setup);
    let web = installation.web();
    web.log_in(&admin.name, &admin.password);
    web.get("/hub/home");
    // Before root has switched the socket on, the hub says what is missing.
    let refused = web.api("POST", &format!("users/{NAME}"), "");
    assert!(refused.status == 400 && refused.text().contains("accounts.sock"), "{}", refused.text());
    let socket = installation.runtime().join("accounts.sock");
    let mut command = Command::new(installation.path("bin/hubd-helper"));
    command.args(["accounts", "--listen"]).arg(&socket).arg("--policy").arg(installation.policy());
    let accounts = Process::start("hubd-accounts", &mut command, &installation.path("log/accounts.log"));
    until("the accounts' socket", LIMIT, || socket.exists().then_some(()));
    let _made = Made(written_down);
    let answer = web.api("POST", &format!("users/{NAME}"), "");
    assert_eq!(answer.status, 201, "{}\n{}", answer.text(), accounts.log());
    let entry = run("getent", &["passwd", NAME]);
    let uid: u32 = entry.split(':').nth(2).unwrap().parse().unwrap();
    assert!(uid >= 1000 && entry.trim().ends_with(&format!("/home/{NAME}:/bin/bash")), "{entry}");
    assert!(run("getent", &["shadow", NAME]).starts_with(&format!("{NAME}:!")), "the password is not locked");
    assert!(run("id", &["-nG", NAME]).split_whitespace().any(|group| group == "games"));
    // Nobody else ever had the account, so an admin may start its server without a login.
    let started = web.api("POST", &format!("users/{NAME}/server"), "");
    assert!([201, 202].contains(&started.status), "{}", started.text());
    until("a process of the new account", LIMIT, || (!processes_of(uid).is_empty()).then_some(()));
    until("the end of the server", LIMIT, || {
        web.api("DELETE", &format!("users/{NAME}/server"), "");
        processes_of(uid).is_empty().then_some(())
    });
    // What goes from the hub stays on the machine.
    until("the user to be gone from the hub", LIMIT, || {
        (web.api("DELETE", &format!("users/{NAME}"), "").status == 204).then_some(())
    });
    run("getent", &["passwd", NAME]);
    // An account that exists is taken as it is.
    assert_eq!(web.api("POST", &format!("users/{NAME}"), "").status, 201);
}
