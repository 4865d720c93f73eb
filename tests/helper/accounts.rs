//! `src/helper/accounts/main.rs`: which accounts are made, and that no other is touched.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::message::{Account, CreateAccount, RefusalCode};
use hubd_proto::{Reply, Request, UserName};
use hubd_tests::helper_process::{HelperProcess, TestUser, shown, start_of};
use nix::unistd::User;

const POLICY: &str = "create_system_users = true\naccount_groups = [\"games\"]\n[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";

/// A name that nobody has yet; dropping it removes the account.
fn new_name(label: &str) -> Result<TestUser> {
    let name = tempfile::Builder::new().prefix(&format!("hubt-{label}-")).rand_bytes(6).tempfile()?;
    let name = name.path().file_name().context("a name")?.to_string_lossy().to_lowercase();
    Ok(TestUser { home: format!("/home/{name}").into(), name })
}

fn create(name: &str) -> Result<Request> {
    Ok(Request::CreateAccount(CreateAccount { user: UserName::new(name)? }))
}

fn made(helper: &mut HelperProcess, name: &str) -> Result<Account> {
    match helper.accounts()?.ask(&create(name)?)? {
        Reply::Account(account) => Ok(account),
        other => bail!("{}", shown(&other)),
    }
}

#[test]
fn an_account_is_made_with_roots_form_and_may_start_without_a_login() -> Result<()> {
    let mut helper = HelperProcess::start(POLICY)?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    let user = new_name("new")?;
    let account = made(&mut helper, &user.name)?;
    let found = User::from_name(&user.name)?.context("the account")?;
    ensure!(found.uid.as_raw() == account.uid && found.shell.ends_with("bash") && found.dir == user.home);
    let shadow = fs::read_to_string("/etc/shadow")?;
    let line = shadow.lines().find(|line| line.starts_with(&format!("{}:", user.name))).context("a line")?;
    ensure!(line.split(':').nth(1).is_some_and(|hash| hash.starts_with('!')), "the password is not locked");
    let groups = String::from_utf8(Command::new("id").args(["-nG", &user.name]).output()?.stdout)?;
    ensure!(groups.split_whitespace().any(|group| group == "games"), "{groups}");
    helper.connect()?.start(start_of(&user.name, None)?)?;
    ensure!(helper.audit().contains("create_account accepted"), "{}", helper.audit());
    // Another account with this uid has no such grant.
    fs::write(helper.dir.path().join(format!("accounts/u{}", account.uid)), "somebody-else")?;
    let mut start = start_of(&user.name, None)?;
    start.server = hubd_proto::ServerName::new("two")?;
    helper.connect()?.refused(&Request::Start(Box::new(start)), RefusalCode::TicketMissing)?;
    Ok(())
}

#[test]
fn a_name_that_somebody_has_is_never_touched() -> Result<()> {
    let mut helper = HelperProcess::start(POLICY)?;
    let user = TestUser::make("taken", &[])?;
    let lines = || -> Result<Vec<String>> {
        // Other tests make accounts meanwhile; of these names nothing may change.
        let mine = |line: &&str| {
            ["root:", "daemon:", "sudo:", "shadow:", &user.name].iter().any(|n| line.starts_with(n))
        };
        let all = ["/etc/passwd", "/etc/shadow", "/etc/group"].map(fs::read_to_string);
        Ok(all
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .join("\n")
            .lines()
            .filter(mine)
            .map(str::to_owned)
            .collect())
    };
    let before = lines()?;
    for name in [user.name.as_str(), "root", "daemon", "shadow", "sudo", "Capital", "a@b", "9x"] {
        helper.accounts()?.refused(&create(name)?, RefusalCode::AccountExists)?;
    }
    ensure!(before == lines()?, "an account file changed");
    Ok(())
}

#[test]
fn making_accounts_is_off_by_default_and_bounded_by_root() -> Result<()> {
    let mut helper = HelperProcess::start("")?;
    let user = new_name("off")?;
    let refused = helper.accounts()?.refused(&create(&user.name)?, RefusalCode::NotAvailable)?;
    ensure!(refused.message.contains("create_system_users"), "{}", refused.message);
    // The socket for logins makes none in any case, and the one for accounts does nothing else.
    helper.connect()?.refused(&create(&user.name)?, RefusalCode::Protocol)?;
    let start = Request::Start(Box::new(start_of(&user.name, None)?));
    helper.accounts()?.refused(&start, RefusalCode::Protocol)?;
    let mut helper = HelperProcess::start("create_system_users = true\naccounts_max = 1\n")?;
    let (first, second) = (new_name("first")?, new_name("second")?);
    made(&mut helper, &first.name)?;
    let refused = helper.accounts()?.refused(&create(&second.name)?, RefusalCode::RateLimited)?;
    ensure!(refused.message.contains("accounts_max"), "{}", refused.message);
    ensure!(User::from_name(&second.name)?.is_none());
    let mut helper = HelperProcess::start("create_system_users = true\naccounts_per_minute = 1\n")?;
    let third = new_name("third")?;
    made(&mut helper, &third.name)?;
    helper.accounts()?.refused(&create(&second.name)?, RefusalCode::RateLimited)?;
    Ok(())
}

#[test]
fn what_useradd_says_comes_back() -> Result<()> {
    let mut helper =
        HelperProcess::start("create_system_users = true\naccount_groups = [\"hubt-no-group\"]\n")?;
    let user = new_name("words")?;
    let refused = helper.accounts()?.refused(&create(&user.name)?, RefusalCode::AccountNotMade)?;
    ensure!(refused.message.contains("hubt-no-group"), "{}", refused.message);
    ensure!(User::from_name(&user.name)?.is_none());
    let mut helper = HelperProcess::start("create_system_users = true\naccount_groups = [\"sudo\"]\n");
    ensure!(helper.as_mut().is_err() || helper?.accounts().is_err(), "a policy that gives sudo was taken");
    Ok(())
}
