//! Where the helper's records go: to syslog where there is no journal, and nothing waits for a log that is stuck.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::message::{RefusalCode, Revocation, Revoke};
use hubd_proto::{Reply, Request, UserName};
use hubd_tests::helper_process::{HelperProcess, PASSWORD, TestUser, shown, start_of, wait_for};

const POLICY: &str = "[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";
/// A machine of the helper's own without journal or syslog: an empty /dev, but for what programs need.
const NO_LOGS: &str = "\
    mkdir {dir}/dev\nmount -t tmpfs -o mode=755 hubt {dir}/dev\n\
    cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty {dir}/dev\n\
    mount --rbind {dir}/dev /dev\nmkdir -p /run/systemd/journal\nmount -t tmpfs hubt /run/systemd/journal";
/// Where those who log find a log daemon.
const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Syslog's facility authpriv, as informational and as a warning.
const INFORMATION: &str = "86";
const WARNING: &str = "84";
const WRONG: &str = "a-wrong-Guess-1";
/// Longest time that logs which are stuck may cost a login, a start or a stop, with all their records.
const LOST_TIME_MAX: Duration = Duration::from_secs(10);

/// A helper of such a machine, without the PAM modules that have something to say of a session: with syslog(3) they
/// wait for a log that is stuck, after a login with ssh too.
fn helper() -> Result<HelperProcess> {
    let helper = HelperProcess::start_after(POLICY, NO_LOGS)?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    helper.change_pam_service("@include common-session", "session required pam_permit.so")?;
    helper.change_pam_service("session    required     pam_limits.so", "")?;
    Ok(helper)
}

/// A log daemon's socket there, which nobody reads but the test.
fn log_daemon(helper: &HelperProcess, place: &str) -> Result<UnixDatagram> {
    let socket = UnixDatagram::bind(helper.seen(place))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The helper's records that have come to syslog, each as its priority and text.
fn records(log: &UnixDatagram) -> Result<Vec<(String, String)>> {
    let (mut found, mut packet) = (Vec::new(), [0; 4096]);
    while let Ok(length) = log.recv(&mut packet) {
        let text = String::from_utf8(packet.get(..length).context("a packet")?.to_vec())?;
        ensure!(![PASSWORD, WRONG].iter().any(|secret| text.contains(secret)), "a password is in {text}");
        // "<86>Nov 22 11:45:27 hubd-helper[12]: authenticate accepted", see RFC 3164.
        let record = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((priority, rest)) = record else { bail!("{text}") };
        if rest.contains(": pam_") {
            continue;
        }
        let record = rest.get("Nov 22 11:45:27 hubd-helper[".len()..).and_then(|rest| rest.split_once("]: "));
        let Some((pid, record)) = record else { bail!("{text}") };
        ensure!(
            rest.contains(" hubd-helper[") && pid.parse::<u32>().is_ok() && !record.contains('\n'),
            "{text}"
        );
        found.push((priority.to_owned(), record.to_owned()));
    }
    Ok(found)
}

/// The one record that has come since the last call: it begins so, and names all of this.
fn expect(log: &UnixDatagram, priority: &str, begin: &str, words: &[&str]) -> Result<String> {
    let mut found = Vec::new();
    wait_for(begin, || {
        found.extend(records(log).unwrap_or_default());
        !found.is_empty()
    })?;
    let [(has, record)] = &found[..] else { bail!("{begin}: {found:?}") };
    ensure!(has == priority && record.starts_with(begin), "{begin}: {found:?}");
    for word in words {
        ensure!(record.contains(word), "{record} lacks {word}");
    }
    Ok(record.clone())
}

#[test]
fn where_there_is_no_journal_syslog_has_one_record_for_each_decision() -> Result<()> {
    let helper = helper()?;
    let log = log_daemon(&helper, SYSLOG)?;
    let user = TestUser::make("syslog", &[])?;
    let (name, source) = (user.name.as_str(), Some("192.0.2.7".parse()?));
    let (about, uid) = (format!("user={name}"), format!("uid={}", user.uid()?));
    helper.connect()?.authenticate(name, source, &[WRONG])?;
    expect(&log, WARNING, "authenticate refused ", &[&about, "source=192.0.2.7", "reason="])?;
    let mut connection = helper.connect()?;
    let reply = connection.authenticate(name, source, &[PASSWORD])?.0;
    let Reply::Authenticated(authenticated) = reply else { bail!("{}", shown(&reply)) };
    let ticket = authenticated.ticket;
    expect(&log, INFORMATION, "authenticate accepted ", &[&about, &uid, "source=192.0.2.7"])?;
    let session = format!("session={}", connection.start(start_of(name, None)?)?.session);
    expect(&log, INFORMATION, "start accepted ", &[&about, &uid, &session])?;
    connection.stop()?;
    expect(&log, INFORMATION, "exit ended ", &[&about, &uid, &session, "reason=stopped"])?;
    let start = Request::Start(Box::new(start_of(name, None)?));
    helper.connect()?.refused(&start, RefusalCode::TicketMissing)?;
    expect(&log, WARNING, "start refused ", &[&about, "reason="])?;
    helper.connect()?.ask(&Request::Stop)?;
    expect(&log, WARNING, "protocol violation ", &["reason=not legal"])?;
    let secret = ticket.expose().to_owned();
    let revoke = Revoke { user: UserName::new(name)?, ticket, which: Revocation::This };
    helper.connect()?.ask(&Request::Revoke(revoke))?;
    let record = expect(&log, INFORMATION, "revoke accepted ", &[&about])?;
    ensure!(!record.contains(&secret), "a ticket is in {record}");
    ensure!(helper.audit().is_empty(), "what syslog took was printed, too: {}", helper.audit());
    Ok(())
}

#[test]
fn a_log_that_is_stuck_or_gone_keeps_nobody_waiting_and_the_record_is_printed() -> Result<()> {
    let helper = helper()?;
    let user = TestUser::make("stuck", &[])?;
    for place in [SYSLOG, JOURNAL] {
        let log = log_daemon(&helper, place)?;
        // As many packets as wait at most in the kernel for somebody who does not read them.
        let (packet, path) = (UnixDatagram::unbound()?, helper.seen(place));
        packet.set_nonblocking(true)?;
        while packet.send_to(b"full", &path).is_ok() {}
        let begun = Instant::now();
        let (mut connection, _) = helper.login(&user).with_context(|| format!("{place} is full"))?;
        connection.start(start_of(&user.name, None)?)?;
        ensure!(connection.stop()?.stopped);
        ensure!(begun.elapsed() < LOST_TIME_MAX, "{place} is full: {:?}", begun.elapsed());
        // A daemon that has ended leaves its socket behind.
        drop(log);
        let (mut connection, _) = helper.login(&user).with_context(|| format!("{place} is gone"))?;
        connection.start(start_of(&user.name, None)?)?;
        ensure!(connection.stop()?.stopped);
        fs::remove_file(&path)?;
    }
    for record in ["authenticate accepted", "start accepted", "exit ended"] {
        ensure!(helper.audit().contains(record), "{record} is lost: {}", helper.audit());
    }
    Ok(())
}
