//! What a server prints: the last lines for people, everything to the journal or a file of its own.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hubd_proto::SessionId;
use hubd_proto::message::{Endpoint, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, SessionStatus};

use crate::audit;
use crate::setup::{Setup, own_directory};

/// Longest time that the journal may keep a session waiting.
const JOURNAL_TIME_MAX: Duration = Duration::from_secs(1);
/// Most log files of one uid, where there is no journal.
const FILES_PER_USER_MAX: usize = 40;
/// Longest line that is kept together until its end comes, in bytes.
const PARTIAL_BYTES_MAX: usize = 8 * 1024;

/// One server's output.
pub struct Log {
    lines: VecDeque<String>,
    partial: Vec<u8>,
    sink: Sink,
}

enum Sink {
    /// With the fields that every record of this server has.
    Journal(UnixDatagram, String),
    File {
        file: File,
        path: PathBuf,
        bytes: u64,
        bytes_max: u64,
    },
    Nowhere,
}

impl Log {
    /// Opens the journal's stream, else a file. A server is not refused for a log that cannot be kept.
    pub fn open(setup: &Setup, status: &SessionStatus) -> Self {
        let sink = if setup.root { journal(status) } else { Err(io::ErrorKind::Unsupported.into()) };
        let sink = sink.or_else(|_| file(setup, &status.session)).unwrap_or(Sink::Nowhere);
        Self { lines: VecDeque::new(), partial: Vec::new(), sink }
    }

    /// Takes what the server printed.
    pub fn take(&mut self, bytes: &[u8]) {
        if let Sink::File { .. } = self.sink
            && self.sink.write_file(bytes).is_err()
        {
            self.sink = Sink::Nowhere;
        }
        for &byte in bytes {
            if byte == b'\n' || self.partial.len() >= PARTIAL_BYTES_MAX {
                self.end_line();
            }
            if byte != b'\n' {
                self.partial.push(byte);
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if let Sink::Journal(socket, fields) = &self.sink {
            // A journal that does not take it in time misses this line, the server does not wait for it.
            let _ = socket.send(&[fields.as_bytes(), b"MESSAGE=", &line, b"\n"].concat());
        }
        self.lines.push_back(readable(&line));
        if self.lines.len() > LOG_LINES_MAX {
            self.lines.pop_front();
        }
    }

    /// The last lines, also one without its end.
    pub fn last_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().cloned().collect();
        if !self.partial.is_empty() {
            lines.push(readable(&self.partial));
        }
        let surplus = lines.len().saturating_sub(LOG_LINES_MAX);
        lines.split_off(surplus)
    }
}

impl Sink {
    fn write_file(&mut self, printed: &[u8]) -> io::Result<()> {
        let Sink::File { file, path, bytes, bytes_max } = self else { return Ok(()) };
        if *bytes > *bytes_max {
            fs::rename(&*path, path.with_extension("log.1"))?;
            *file = log_file(path)?;
            *bytes = 0;
        }
        *bytes += printed.len() as u64;
        file.write_all(printed)
    }
}

/// Records of its own kind, so that `journalctl HUBD_SESSION=…` shows one server and nothing else.
fn journal(status: &SessionStatus) -> io::Result<Sink> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(audit::JOURNAL_SOCKET)?;
    socket.set_write_timeout(Some(JOURNAL_TIME_MAX))?;
    let (session, user) = (&status.session, audit::escaped(status.user.as_str()));
    let kind = if status.endpoint == Endpoint::Service { "service" } else { "server" };
    let server = audit::escaped(status.server.as_str());
    let fields = format!(
        "PRIORITY=6\nSYSLOG_IDENTIFIER=hubd-{kind}\nHUBD_SESSION={session}\nHUBD_USER={user}\nHUBD_SERVER={server}\n"
    );
    Ok(Sink::Journal(socket, fields))
}

fn file(setup: &Setup, session: &SessionId) -> io::Result<Sink> {
    own_directory(&setup.places.log, 0o750, None)?;
    make_room(&setup.places.log, session)?;
    let path = setup.places.log.join(format!("{session}.log"));
    let file = log_file(&path)?;
    let bytes = file.metadata()?.len();
    Ok(Sink::File { file, path, bytes, bytes_max: setup.policy.log_bytes })
}

/// Names of servers come from the daemon, so their number is bounded here: the oldest files of this uid go.
fn make_room(directory: &Path, session: &SessionId) -> io::Result<()> {
    let of_uid = session.as_str().split_inclusive('-').next().unwrap_or_default();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(of_uid) {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    let surplus = files.len().saturating_sub(FILES_PER_USER_MAX);
    files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

fn log_file(path: &PathBuf) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    options.open(path)
}

/// One line for people: no colours, no control characters, bounded.
fn readable(line: &[u8]) -> String {
    let mut text = String::new();
    let line = String::from_utf8_lossy(line);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if text.len() + c.len_utf8() > LOG_LINE_BYTES_MAX {
            break;
        }
        match c {
            // ESC [ … letter: colours and cursor movements.
            '\u{1b}' => {
                let bracket = characters.clone().next() == Some('[');
                while bracket && characters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log { lines: VecDeque::new(), partial: Vec::new(), sink: Sink::Nowhere }
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
    }

    #[test]
    fn the_longest_tail_fits_into_one_message() {
        let mut log = log();
        for line in [b"\"".as_slice(), b"\xff", b"\\", b"\0", b"\x1b[31m\"", "é".as_bytes()] {
            for _ in 0..LOG_LINES_MAX {
                log.take(&line.repeat(20_000));
                log.take(b"\n");
            }
            let reply = hubd_proto::Reply::Log(log.last_lines());
            assert!(hubd_proto::frame::encode(&reply).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn colours_do_not_reach_people() {
        assert_eq!(readable(b"\x1b[1;31mError\x1b[0m\tat \x07home\r"), "Error at home");
    }
}
