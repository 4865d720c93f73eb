//! Who may start a server: after a login, with a ticket, by a standing grant, and nobody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Result, ensure};
use hubd_proto::message::{CheckAccount, RefusalCode, Revocation, Revoke};
use hubd_proto::{Reply, Request, Secret, UserName};
use hubd_tests::helper_process::{HelperProcess, TestUser, shown, start_of};

const SLEEPER: &str = "#!/bin/sh\nexec sleep 1000\n";

fn helper(policy: &str) -> Result<HelperProcess> {
    let helper =
        HelperProcess::start(&format!("{policy}\n[profile.default]\nprogram = [\"{{dir}}/bin/server\"]\n"))?;
    helper.script("server", SLEEPER)?;
    Ok(helper)
}

fn start(user: &str, ticket: Option<&Secret>) -> Result<Request> {
    Ok(Request::Start(Box::new(start_of(user, ticket)?)))
}

#[test]
fn without_login_ticket_or_grant_nothing_starts() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("absent", &[])?);
    for name in [user.name.as_str(), "root", "hubt-nobody-at-all"] {
        helper.connect()?.refused(&start(name, None)?, RefusalCode::TicketMissing)?;
        let ticket = Secret::new("a".repeat(64));
        helper.connect()?.refused(&start(name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    }
    for ticket in ["", "../../../../etc/passwd", &"A".repeat(10_000)] {
        let ticket = Secret::new(ticket.to_owned());
        helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    }
    Ok(())
}

#[test]
fn a_ticket_starts_its_owners_servers_and_nobody_elses() -> Result<()> {
    let helper = helper("")?;
    let (alice, bob) = (TestUser::make("alice", &[])?, TestUser::make("bob", &[])?);
    let ticket = helper.login(&alice)?.1.ticket;
    helper.connect()?.refused(&start(&bob.name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    helper.connect()?.refused(&start("root", Some(&ticket))?, RefusalCode::TicketInvalid)?;
    let status = helper.connect()?.start(start_of(&alice.name, Some(&ticket))?)?;
    ensure!(status.uid == alice.uid()?);
    Ok(())
}

#[test]
fn tickets_are_kept_as_hashes_where_only_root_may_look() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("hash", &[])?);
    let ticket = helper.login(&user)?.1.ticket;
    let (mut places, mut files) = (vec![helper.dir.path().join("state")], 0);
    while let Some(place) = places.pop() {
        let found = fs::metadata(&place)?;
        let name = place.display().to_string();
        ensure!(found.uid() == 0 && found.mode() & 0o077 == 0, "{name}: {:o}", found.mode());
        ensure!(!name.contains(ticket.expose()), "a ticket is the name of a file: {name}");
        if found.is_dir() {
            places.extend(fs::read_dir(&place)?.flatten().map(|entry| entry.path()));
            continue;
        }
        ensure!(
            !String::from_utf8_lossy(&fs::read(&place)?).contains(ticket.expose()),
            "a ticket is in {name}"
        );
        files += usize::from(name.contains("/tickets/"));
    }
    ensure!(files == 1, "{files} tickets");
    Ok(())
}

#[test]
fn a_ticket_does_not_pass_to_whoever_gets_the_uid_later() -> Result<()> {
    let (helper, first) = (helper("")?, TestUser::make("first", &[])?);
    let ticket = helper.login(&first)?.1.ticket;
    let (uid, name) = (first.uid()?.to_string(), first.name.clone());
    drop(first);
    helper.connect()?.refused(&start(&name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    let second = TestUser::make("second", &["-u", &uid])?;
    helper.connect()?.refused(&start(&second.name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    let own = helper.login(&second)?.1.ticket;
    helper.connect()?.start(start_of(&second.name, Some(&own))?)?;
    Ok(())
}

#[test]
fn a_held_login_starts_only_for_its_own_user() -> Result<()> {
    let helper = helper("")?;
    let (alice, bob) = (TestUser::make("alice", &[])?, TestUser::make("bob", &[])?);
    let (mut connection, _) = helper.login(&alice)?;
    connection.refused(&start(&bob.name, None)?, RefusalCode::TicketInvalid)?;
    let (mut connection, _) = helper.login(&alice)?;
    connection.start(start_of(&alice.name, None)?)?;
    Ok(())
}

#[test]
fn revoked_tickets_are_worthless() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("revoke", &[])?);
    let tickets =
        [helper.login(&user)?.1.ticket, helper.login(&user)?.1.ticket, helper.login(&user)?.1.ticket];
    let revoke = |ticket: &Secret, which| {
        let request = Revoke { user: UserName::new(&*user.name)?, ticket: ticket.clone(), which };
        helper.connect()?.ask(&Request::Revoke(request))
    };
    let [first, second, third] = &tickets;
    ensure!(matches!(revoke(first, Revocation::This)?, Reply::Done));
    helper.connect()?.refused(&start(&user.name, Some(first))?, RefusalCode::TicketInvalid)?;
    let again = revoke(first, Revocation::All)?;
    ensure!(matches!(again, Reply::Refused(_)), "a dead ticket ended the others: {}", shown(&again));
    helper.connect()?.start(start_of(&user.name, Some(second))?)?;
    ensure!(matches!(revoke(second, Revocation::All)?, Reply::Done));
    helper.connect()?.refused(&start(&user.name, Some(third))?, RefusalCode::TicketInvalid)?;
    Ok(())
}

#[test]
fn root_revokes_by_name_from_the_command_line() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("byname", &[])?);
    let ticket = helper.login(&user)?.1.ticket;
    let policy = helper.dir.path().join("helper.toml");
    let run = |name: &str| {
        let program = hubd_tests::helper_process::program()?;
        let mut command = Command::new(program);
        command.args(["--runtime-dir"]).arg(helper.dir.path().join("run"));
        anyhow::Ok(command.arg("--policy").arg(&policy).args(["revoke", name]).output()?)
    };
    ensure!(run("somebody-else")?.stdout == b"0 tickets ended\n");
    ensure!(run(&user.name)?.stdout == b"1 tickets ended\n");
    helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    Ok(())
}

#[test]
fn an_expired_ticket_or_one_of_another_boot_is_worthless() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("old", &[])?);
    let change = |from: &str, to: &str| -> Result<Secret> {
        let ticket = helper.login(&user)?.1.ticket;
        let dir = helper.dir.path().join(format!("state/tickets/u{}", user.uid()?));
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let text = fs::read_to_string(&path)?;
            let value = text.split(&format!("\"{from}\":")).nth(1).unwrap_or_default();
            let end = value.find([',', '}']).unwrap_or(0);
            let old = value.get(..end).unwrap_or_default();
            fs::write(&path, text.replace(&format!("\"{from}\":{old}"), &format!("\"{from}\":{to}")))?;
        }
        Ok(ticket)
    };
    // What has been written is read, and only what is wrong about it counts.
    let later = change("expires_at", &u32::MAX.to_string())?;
    helper.connect()?.start(start_of(&user.name, Some(&later))?)?;
    for (from, to) in [("expires_at", "1"), ("boot_id", "\"another\""), ("name", "\"another\""), ("uid", "0")]
    {
        let ticket = change(from, to)?;
        helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::TicketInvalid)?;
    }
    Ok(())
}

#[test]
fn an_account_that_was_closed_after_the_login_starts_nothing() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("closed", &[])?);
    let ticket = helper.login(&user)?.1.ticket;
    user.modify(&["-L"])?;
    helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::AccountClosed)?;
    user.modify(&["-U"])?;
    user.age(&["-E", "0"])?;
    helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::AccountClosed)?;
    let check = CheckAccount { user: UserName::new(&*user.name)?, ticket: Some(ticket.clone()) };
    helper.connect()?.refused(&Request::CheckAccount(check), RefusalCode::AccountClosed)?;
    user.age(&["-E", "-1", "-d", "0"])?;
    let refused =
        helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::AccountClosed)?;
    ensure!(refused.message.contains("log in again"), "{}", refused.message);
    user.age(&["-d", "-1"])?;
    user.modify(&["-s", "/usr/sbin/nologin"])?;
    helper.connect()?.refused(&start(&user.name, Some(&ticket))?, RefusalCode::AccountBarred)?;
    Ok(())
}

#[test]
fn members_of_powerful_groups_start_with_a_fresh_password_only() -> Result<()> {
    let (helper, user) = (helper("")?, TestUser::make("adm", &["-G", "adm"])?);
    let (mut connection, authenticated) = helper.login(&user)?;
    let refused = helper
        .connect()?
        .refused(&start(&user.name, Some(&authenticated.ticket))?, RefusalCode::TicketInvalid)?;
    ensure!(refused.message.contains("adm"), "{}", refused.message);
    connection.start(start_of(&user.name, None)?)?;
    Ok(())
}

#[test]
fn a_standing_group_starts_without_a_login_unless_it_is_powerful_too() -> Result<()> {
    let helper = helper("standing_groups = [\"games\"]\n")?;
    let user = TestUser::make("standing", &["-G", "games"])?;
    let powerful = TestUser::make("both", &["-G", "games,adm"])?;
    let none = TestUser::make("none", &[])?;
    helper.connect()?.start(start_of(&user.name, None)?)?;
    helper.connect()?.refused(&start(&powerful.name, None)?, RefusalCode::TicketMissing)?;
    let refused = helper.connect()?.refused(&start(&none.name, None)?, RefusalCode::TicketMissing)?;
    ensure!(refused.message.contains("standing_groups"), "{}", refused.message);
    Ok(())
}

#[test]
fn an_account_can_be_asked_about_without_learning_secrets() -> Result<()> {
    let (helper, user) = (helper("denied_users = [\"games\"]")?, TestUser::make("check", &[])?);
    let check = |name: &str, ticket: Option<Secret>| {
        anyhow::Ok(Request::CheckAccount(CheckAccount { user: UserName::new(name)?, ticket }))
    };
    let (_held, authenticated) = helper.login(&user)?;
    match helper.connect()?.ask(&check(&user.name, Some(authenticated.ticket.clone()))?)? {
        Reply::Account(account) => {
            ensure!(account.ticket_expires_at == Some(authenticated.ticket_expires_at));
        }
        other => anyhow::bail!("{}", shown(&other)),
    }
    ensure!(matches!(helper.connect()?.ask(&check(&user.name, None)?)?, Reply::Account(_)));
    user.modify(&["-L"])?;
    ensure!(matches!(helper.connect()?.ask(&check(&user.name, None)?)?, Reply::Account(_)), "a lock shows");
    helper.connect()?.refused(&check("root", None)?, RefusalCode::AccountBarred)?;
    helper.connect()?.refused(&check("hubt-nobody-at-all", None)?, RefusalCode::AccountUnknown)?;
    Ok(())
}
