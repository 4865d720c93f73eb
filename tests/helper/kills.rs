//! `kill -9` of the processes between login and stop: nothing stays stuck, orphaned or half made for more than five
//! seconds. A few points on every run; `HUBD_TEST_KILLS=200 cargo test -p hubd-tests --test helper kills` tries as many.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hubd_proto::Request;
use hubd_proto::message::Authenticate;
use hubd_proto::{Secret, UserName};
use hubd_tests::helper_process::{HelperProcess, TestUser, start_of, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Points that are tried on every run.
const POINTS: u32 = 8;
/// How long everything may take to be clean again.
const CLEAN_TIME: Duration = Duration::from_secs(5);
/// From one point to the next: a login or start takes some hundred milliseconds.
const STEP: Duration = Duration::from_millis(13);

/// The children of processes, whatever their name is, or only those of a name.
fn children(parents: &[String], name: &str) -> Result<Vec<String>> {
    if parents.is_empty() {
        return Ok(Vec::new());
    }
    let listed = Command::new("pgrep").args(["-P", &parents.join(","), name]).output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).split_whitespace().map(str::to_owned).collect())
}

/// Kills what serves a connection now: the processes above servers and of logins, those that answer for servers, or
/// both, by turns.
fn kill_all(helper: &HelperProcess, point: u32) -> Result<()> {
    let above = children(&[helper.id().to_string()], "")?;
    let answering = children(&above, "hubd-session")?;
    let killed = match point % 3 {
        1 if !answering.is_empty() => answering,
        2 => [answering, above].concat(),
        _ => above,
    };
    for pid in killed {
        // One that has just ended by itself is as good.
        let _ = kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL);
    }
    Ok(())
}

fn clean(helper: &HelperProcess, user: &TestUser, ticket: &Secret, point: u32) -> Result<()> {
    let began = Instant::now();
    wait_for("the end of all processes", || user.processes().is_ok_and(|count| count == 0))?;
    let listener = [helper.id().to_string()];
    wait_for("the end of who answered", || {
        children(&listener, "hubd-session").is_ok_and(|left| left.is_empty())
    })?;
    let mut connection = helper.connect()?;
    // A process above the server that was not killed itself may be cleaning up.
    while connection.start(start_of(&user.name, Some(ticket))?).is_err() {
        ensure!(began.elapsed() < CLEAN_TIME, "point {point}: no start after {:?}", began.elapsed());
        std::thread::sleep(STEP);
        connection = helper.connect()?;
    }
    ensure!(began.elapsed() < CLEAN_TIME, "point {point}: clean after {:?}", began.elapsed());
    ensure!(connection.stop()?.stopped, "point {point}");
    Ok(())
}

#[test]
fn a_kill_at_any_point_of_login_start_and_stop_leaves_nothing() -> Result<()> {
    let points = std::env::var("HUBD_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(POINTS);
    let helper = HelperProcess::start(
        "starts_per_user_per_minute = 60000\nstarts_per_minute = 60000\n[profile.default]\nprogram = [\"{dir}/bin/server\"]\n",
    )?;
    helper.script("server", "#!/bin/sh\nsetsid sleep 1000 &\nexec sleep 1000\n")?;
    let user = TestUser::make("kills", &[])?;
    let ticket = helper.login(&user)?.1.ticket;
    for point in 0..points {
        let mut connection = helper.connect()?;
        if point % 4 == 3 {
            let user = UserName::new(&*user.name)?;
            connection.send(&Request::Authenticate(Authenticate { user, source: None }))?;
        } else {
            connection.send(&Request::Start(Box::new(start_of(&user.name, Some(&ticket))?)))?;
        }
        // The points lie in time; where in the work each of them falls is the machine's choice.
        std::thread::sleep(STEP * (point % 25));
        if point % 4 == 2 {
            connection.send(&Request::Stop)?;
        }
        kill_all(&helper, point)?;
        drop(connection);
        clean(&helper, &user, &ticket, point)?;
    }
    Ok(())
}
