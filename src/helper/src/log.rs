//! Where what a server prints is kept: the journal, or a file of the account's.

use std::fs::File;
use std::io::{self, Write};
use std::{os::fd::OwnedFd, os::unix::fs::OpenOptionsExt, os::unix::net::UnixStream, time::Duration};

use hubd_policy::{Account, record::escaped};

use crate::setup::{Setup, own_directory};

/// Where journald takes the output of a program, see systemd.exec(5), `StandardOutput=journal`.
const JOURNAL_STREAM: &str = "/run/systemd/journal/stdout";
/// Longest time that the journal may keep a session waiting.
const JOURNAL_TIME_MAX: Duration = Duration::from_secs(1);

/// Opens the journal's stream, else the account's file, and the older file. A server is not refused for a log that
/// cannot be kept.
pub fn open(setup: &Setup, account: &Account, service: bool) -> io::Result<[File; 2]> {
    // One file for each account, because the number of accounts is root's, that of server names is not.
    let path = setup.paths.log.join(format!("u{}.log", account.uid));
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let files = || {
        own_directory(&setup.paths.log, 0o750, None)?;
        Ok([options.open(&path)?, options.open(path.with_extension("log.1"))?])
    };
    let nowhere = || File::options().write(true).open("/dev/null");
    match journal(account, service) {
        Ok(stream) if setup.root => Ok([stream, nowhere()?]),
        _ => files().or_else(|_: io::Error| Ok([nowhere()?, nowhere()?])),
    }
}

/// A stream of its own: records have the session as their identifier, and journald bounds lines and rate.
fn journal(account: &Account, service: bool) -> io::Result<File> {
    let mut stream = UnixStream::connect(JOURNAL_STREAM)?;
    stream.set_write_timeout(Some(JOURNAL_TIME_MAX))?;
    // Identifier, unit (journald knows it), priority, and whether lines carry levels or are forwarded.
    let user = escaped(account.name.as_str());
    let kind = if service { "service" } else { "server" };
    stream.write_all(format!("hubd-{kind}-{user}\n\n6\n0\n0\n0\n0\n").as_bytes())?;
    Ok(File::from(OwnedFd::from(stream)))
}
