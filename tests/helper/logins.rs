//! `src/helper/src/login.rs`: one answer and one time for everything that is not a success.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::Reply;
use hubd_proto::message::{RefusalCode, Refused};
use hubd_tests::helper_process::{HelperProcess, PASSWORD, TestUser, shown};

/// How far the times of two refusals may lie apart on a loaded machine; they differ by 0.1 s or less on a
/// quiet one, and by seconds where a PAM delay or a skipped step showed.
const SAME_TIME: Duration = Duration::from_millis(700);

fn refused_login(
    helper: &HelperProcess,
    user: &str,
    password: &str,
) -> Result<(Refused, Vec<String>, Duration)> {
    let mut connection = helper.connect()?;
    let begun = Instant::now();
    match connection.authenticate(user, None, &[password])? {
        (Reply::Refused(refused), said) => Ok((refused, said, begun.elapsed())),
        (other, _) => bail!("{user}: {}", shown(&other)),
    }
}

#[test]
fn the_right_password_makes_a_ticket_and_holds_the_login() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("login", &[])?;
    let (_connection, authenticated) = helper.login(&user)?;
    ensure!(authenticated.user.as_str() == user.name && authenticated.uid == user.uid()?);
    ensure!(authenticated.ticket.len() == 64);
    let audit = helper.audit();
    ensure!(audit.contains("authenticate accepted") && audit.contains(&user.name), "{audit}");
    ensure!(!audit.contains(PASSWORD) && !audit.contains(authenticated.ticket.expose()));
    Ok(())
}

#[test]
fn wrong_unknown_locked_and_barred_are_told_apart_by_nothing() -> Result<()> {
    let helper = HelperProcess::start("failures_per_user_per_minute = 1000")?;
    let (good, locked) = (TestUser::make("good", &[])?, TestUser::make("locked", &[])?);
    locked.modify(&["-L"])?;
    let nologin = TestUser::make("nologin", &["-s", "/usr/sbin/nologin"])?;
    let system = TestUser::make("system", &["--system"])?;
    let cases = [
        (good.name.as_str(), "wrong"),
        ("hubt-nobody-at-all", PASSWORD),
        (&locked.name, PASSWORD),
        (&nologin.name, PASSWORD),
        (&system.name, PASSWORD),
        ("root", PASSWORD),
        ("nobody", PASSWORD),
        ("daemon", PASSWORD),
        ("Not-A-Name", PASSWORD),
    ];
    let (first, said_first, time_first) = refused_login(&helper, &good.name, "wrong too")?;
    ensure!(first.code == RefusalCode::LoginRefused && first.notices.is_empty());
    for (name, password) in cases {
        let (refused, said, time) = refused_login(&helper, name, password)?;
        ensure!(refused == first, "{name}: {refused:?}");
        ensure!(said == said_first, "{name}: {said:?}");
        ensure!(time.abs_diff(time_first) < SAME_TIME, "{name}: {time:?} and {time_first:?}");
    }
    let audit = helper.audit();
    for reason in ["no such account", "uid 0 never", "not a login shell", "is not between", "username_extra"]
    {
        ensure!(audit.contains(reason), "the audit record lacks {reason}: {audit}");
    }
    Ok(())
}

#[test]
fn an_account_whose_name_the_policy_does_not_take_is_turned_away() -> Result<()> {
    let user = TestUser::make("under", &[])?;
    let odd = TestUser { name: user.name.replace("under", "Under"), home: user.home.clone() };
    user.modify(&["--badname", "-l", &odd.name])?;
    std::mem::forget(user);
    let helper = HelperProcess::start("")?;
    ensure!(refused_login(&helper, &odd.name, PASSWORD)?.0.code == RefusalCode::LoginRefused);
    ensure!(helper.audit().contains("username_extra"), "{}", helper.audit());
    drop(helper);
    let helper = HelperProcess::start("username_extra = 'A-Z'")?;
    let (_connection, authenticated) = helper.login(&odd)?;
    ensure!(authenticated.user.as_str() == odd.name);
    Ok(())
}

#[test]
fn an_expired_account_is_told_so_after_the_right_password_only() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("expired", &[])?;
    user.age(&["-E", "0"])?;
    ensure!(refused_login(&helper, &user.name, "wrong")?.0.code == RefusalCode::LoginRefused);
    let (refused, ..) = refused_login(&helper, &user.name, PASSWORD)?;
    ensure!(refused.code == RefusalCode::AccountClosed, "{refused:?}");
    ensure!(refused.notices.iter().any(|notice| notice.contains("expired")), "{refused:?}");
    Ok(())
}

#[test]
fn an_expired_password_is_changed_in_the_same_conversation() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("change", &[])?;
    user.age(&["-d", "0"])?;
    let new = "another-Battery-7-staple";
    let (reply, said) = helper.connect()?.authenticate(&user.name, None, &[PASSWORD, PASSWORD, new, new])?;
    ensure!(matches!(reply, Reply::Authenticated(_)), "{} after {said:?}", shown(&reply));
    ensure!(said.iter().any(|text| text.contains("New password")), "{said:?}");
    let (reply, _) = helper.connect()?.authenticate(&user.name, None, &[new])?;
    ensure!(matches!(reply, Reply::Authenticated(_)), "{}", shown(&reply));
    Ok(())
}

#[test]
fn an_expired_password_that_is_not_changed_lets_nobody_in() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("unchanged", &[])?;
    user.age(&["-d", "0"])?;
    let answers = [PASSWORD, PASSWORD, "a-new-One-12345", "not-the-Same-12345", "", "", "", "", ""];
    let (reply, _) = helper.connect()?.authenticate(&user.name, None, &answers)?;
    ensure!(
        matches!(&reply, Reply::Refused(refused) if refused.code == RefusalCode::AccountClosed),
        "{}",
        shown(&reply)
    );
    Ok(())
}

#[test]
fn odd_answers_are_wrong_answers() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("odd", &[])?;
    for answer in ["", "a\0b", "\n", &"x".repeat(4000), "пароль", "\u{7f}"] {
        let (refused, ..) = refused_login(&helper, &user.name, answer)?;
        ensure!(refused.code == RefusalCode::LoginRefused, "{answer:?}: {refused:?}");
    }
    Ok(())
}

#[test]
fn guessing_slows_down_and_does_not_lock_others_out() -> Result<()> {
    let helper = HelperProcess::start("failures_per_user_per_minute = 2")?;
    let (victim, other) = (TestUser::make("victim", &[])?, TestUser::make("other", &[])?);
    for _ in 0..2 {
        ensure!(refused_login(&helper, &victim.name, "guess")?.0.code == RefusalCode::LoginRefused);
    }
    let mut connection = helper.connect()?;
    let (reply, said) = connection.authenticate(&victim.name, None, &[PASSWORD])?;
    let Reply::Refused(refused) = reply else { bail!("{}", shown(&reply)) };
    ensure!(refused.code == RefusalCode::RateLimited && said.is_empty(), "{refused:?}");
    ensure!(refused.retry_after_seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{refused:?}");
    helper.login(&other)?;
    Ok(())
}

#[test]
fn a_login_that_succeeds_costs_nothing() -> Result<()> {
    let helper = HelperProcess::start("failures_per_user_per_minute = 1")?;
    let user = TestUser::make("again", &[])?;
    for _ in 0..4 {
        helper.login(&user)?;
    }
    Ok(())
}

#[test]
fn a_missing_pam_service_is_said_to_be_missing() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("nopam", &[])?;
    helper.remove_pam_service()?;
    // Linux-PAM would silently use the service `other`.
    let (reply, _) = helper.connect()?.authenticate(&user.name, None, &[PASSWORD])?;
    let Reply::Refused(refused) = reply else { bail!("{}", shown(&reply)) };
    ensure!(refused.code == RefusalCode::System && refused.message.contains("/etc/pam.d/"), "{refused:?}");
    Ok(())
}

#[test]
fn the_password_is_nowhere_in_the_memory_of_a_held_login() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("memory", &[])?;
    let (_connection, _) = helper.login(&user)?;
    let listed = Command::new("pgrep").args(["-P", &helper.id().to_string()]).output()?;
    let pid = String::from_utf8(listed.stdout)?.trim().to_owned();
    let (maps, memory) =
        (fs::read_to_string(format!("/proc/{pid}/maps"))?, fs::File::open(format!("/proc/{pid}/mem"))?);
    let (mut seen, mut name_found) = (0, false);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (begin, end) =
            line.split(' ').next().and_then(|range| range.split_once('-')).context("a range")?;
        let (begin, end) = (u64::from_str_radix(begin, 16)?, u64::from_str_radix(end, 16)?);
        let mut bytes = vec![0; usize::try_from(end - begin)?];
        memory.read_exact_at(&mut bytes, begin).with_context(|| line.to_owned())?;
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        ensure!(!holds(PASSWORD), "the password is in {line}");
        name_found |= holds(&user.name);
        seen += bytes.len();
    }
    // Were this not the memory of the login, the name would not be there either.
    ensure!(name_found && seen > 100_000, "{seen} bytes");
    Ok(())
}
