//! What a server prints: the last lines for people, everything to the journal or a file of the account's.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{os::fd::OwnedFd, os::unix::fs::OpenOptionsExt, os::unix::net::UnixStream, time::Duration};

use hubd_proto::message::{Endpoint, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, SessionStatus};

use crate::audit;
use crate::setup::{Setup, own_directory};

/// Where journald takes the output of a program, see systemd.exec(5), `StandardOutput=journal`.
const JOURNAL_STREAM: &str = "/run/systemd/journal/stdout";
/// Longest time that the journal may keep a session waiting.
const JOURNAL_TIME_MAX: Duration = Duration::from_secs(1);
/// How much of the end is kept, in bytes: the lines that people see, and room for long ones.
const TAIL_BYTES: usize = 32 * 1024;

/// One server's output.
pub struct Log {
    tail: Vec<u8>,
    /// A stream to the journal, or a file; `None` once it does not take any more.
    sink: Option<File>,
    /// The file, and after how many bytes it becomes the old one.
    path: PathBuf,
    bytes_max: u64,
    written: u64,
}

impl Log {
    /// Opens the journal's stream, else a file. A server is not refused for a log that cannot be kept.
    pub fn open(setup: &Setup, status: &SessionStatus) -> Self {
        // One file for each account, because the number of accounts is root's, that of server names is not.
        let (path, bytes_max) = (setup.log.join(format!("u{}.log", status.uid)), setup.policy.log_bytes);
        let to_file = || own_directory(&setup.log, 0o750, None).and_then(|()| file(&path, bytes_max)).ok();
        let (sink, bytes_max) = match journal(status) {
            Ok(stream) if setup.root => (Some(stream), u64::MAX),
            _ => (to_file(), bytes_max),
        };
        Self { tail: Vec::new(), sink, path, bytes_max, written: 0 }
    }

    /// Takes what the server printed.
    pub fn take(&mut self, bytes: &[u8]) {
        // What does not take it in time misses the rest: the server does not wait for its log.
        self.sink = self.sink.take().and_then(|mut sink| sink.write_all(bytes).is_ok().then_some(sink));
        self.written += bytes.len() as u64;
        if self.written > self.bytes_max {
            (self.sink, self.written) = (file(&self.path, 0).ok(), 0);
        }
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// The last lines, also one without its end.
    pub fn last_lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let mut lines: Vec<String> = text.lines().rev().take(LOG_LINES_MAX).map(readable).collect();
        lines.reverse();
        lines
    }
}

/// A stream of its own: records have the session as their identifier, and journald bounds lines and rate.
fn journal(status: &SessionStatus) -> io::Result<File> {
    let mut stream = UnixStream::connect(JOURNAL_STREAM)?;
    stream.set_write_timeout(Some(JOURNAL_TIME_MAX))?;
    // Identifier, unit (journald knows it), priority, and whether lines carry levels or are forwarded.
    let user = audit::escaped(status.user.as_str());
    let kind = if status.endpoint == Endpoint::Service { "service" } else { "server" };
    stream.write_all(format!("hubd-{kind}-{user}\n\n6\n0\n0\n0\n0\n").as_bytes())?;
    Ok(File::from(OwnedFd::from(stream)))
}

/// The file, after making one that is longer than `bytes_max` the old one.
fn file(path: &Path, bytes_max: u64) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.len() > bytes_max) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// One line for people: no colours, no control characters, bounded.
fn readable(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            // ESC [ … letter: colours and cursor movements.
            '\u{1b}' => {
                let bracket = characters.clone().next() == Some('[');
                while bracket && characters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c if text.len() + c.len_utf8() <= LOG_LINE_BYTES_MAX => text.push(c),
            _ => break,
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log { tail: Vec::new(), sink: None, path: PathBuf::new(), bytes_max: u64::MAX, written: 0 }
    }

    #[test]
    fn the_last_lines_are_kept_and_bounded() {
        let mut log = log();
        for number in 0..100 {
            log.take(format!("line {number}\n").as_bytes());
        }
        log.take(b"no end");
        let lines = log.last_lines();
        assert_eq!(lines.len(), LOG_LINES_MAX);
        assert_eq!(lines.last().map(String::as_str), Some("no end"));
        assert_eq!(lines.first().map(String::as_str), Some("line 71"));
        log.take(&[b'x'; 10 * TAIL_BYTES]);
        assert!(log.tail.len() == TAIL_BYTES && log.last_lines().len() == 1);
    }

    #[test]
    fn the_longest_tail_fits_into_one_message() {
        let mut log = log();
        for line in [b"\"".as_slice(), b"\xff", b"\\", b"\0", b"\x1b[31m\"", "é".as_bytes()] {
            for _ in 0..LOG_LINES_MAX {
                log.take(&line.repeat(1_000));
                log.take(b"\n");
            }
            let reply = hubd_proto::Reply::Log(log.last_lines());
            assert!(hubd_proto::frame::encode(&reply).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn colours_do_not_reach_people() {
        assert_eq!(readable("\u{1b}[1;31mError\u{1b}[0m\tat \u{7}home\r"), "Error at home");
    }
}
