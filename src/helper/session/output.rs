//! What a server prints: the last lines for people, everything to the journal or a file.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hubd_proto::message::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd;

/// Bytes of output taken at a time; a pipe holds a few times that, see pipe(7).
const OUTPUT_BYTES: usize = 16 * 1024;
/// How often that is done after the server's end: as much as a pipe that was made longer can hold.
const ROUNDS_AT_THE_END: usize = 64;
/// How much of the end is kept, in bytes: the lines that people see, and room for long ones.
const TAIL_BYTES: usize = 32 * 1024;

/// One server's output.
pub struct Output {
    /// Where it comes from, until it ends.
    pipe: Option<OwnedFd>,
    tail: Vec<u8>,
    /// A stream to the journal, or a file; nothing once it does not take any more.
    log: Option<File>,
    /// What the file becomes after so many bytes.
    older: File,
    bytes_max: u64,
}

impl Output {
    /// Takes over what the process above the server has opened.
    pub fn new(pipe: OwnedFd, [log, older]: [File; 2], bytes_max: u64) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(pipe), tail: Vec::new(), log: Some(log), older, bytes_max })
    }

    /// What to wait for.
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what the server has printed; whether there was anything.
    pub fn take(&mut self) -> bool {
        let mut buffer = [0; OUTPUT_BYTES];
        let read = self.pipe.as_ref().map_or(Err(Errno::EAGAIN), |pipe| unistd::read(pipe, &mut buffer));
        match read {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            Ok(0) | Err(_) => self.pipe = None,
            Ok(count) => self.keep(buffer.get(..count).unwrap_or_default()),
        }
        true
    }

    /// Takes what is left in the pipe after the server's end.
    pub fn take_rest(&mut self) {
        for _ in 0..ROUNDS_AT_THE_END {
            if !self.take() {
                return;
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // What does not take it in time misses the rest: the server does not wait for its log.
        self.log = self.log.take().filter(|mut log| log.write_all(bytes).is_ok());
        if self.log.as_mut().is_some_and(|log| make_room(log, &mut self.older, self.bytes_max).is_err()) {
            self.log = None;
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

/// Makes a file that has become too long the older one. Only root may give it another name, so its text is moved.
fn make_room(log: &mut File, older: &mut File, bytes_max: u64) -> io::Result<()> {
    let too_long = |log: &File| log.metadata().is_ok_and(|found| found.is_file() && found.len() > bytes_max);
    if !too_long(log) {
        return Ok(());
    }
    // The account's other servers write into the same file.
    log.lock()?;
    let moved = if too_long(log) { move_all(log, older) } else { Ok(()) };
    log.unlock().and(moved)
}

fn move_all(log: &mut File, older: &mut File) -> io::Result<()> {
    older.set_len(0)?;
    log.rewind()?;
    io::copy(log, older)?;
    log.set_len(0)
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

    fn output(log: File, older: File, bytes_max: u64) -> Output {
        Output { pipe: None, tail: Vec::new(), log: Some(log), older, bytes_max }
    }

    fn nowhere() -> Output {
        let file = || File::options().write(true).open("/dev/null").expect("always there");
        output(file(), file(), 0)
    }

    #[test]
    fn the_last_lines_are_kept_and_bounded() {
        let mut output = nowhere();
        for number in 0..100 {
            output.keep(format!("line {number}\n").as_bytes());
        }
        output.keep(b"no end");
        let lines = output.last_lines();
        assert_eq!(lines.len(), LOG_LINES_MAX);
        assert_eq!(lines.last().map(String::as_str), Some("no end"));
        assert_eq!(lines.first().map(String::as_str), Some("line 71"));
        output.keep(&[b'x'; 10 * TAIL_BYTES]);
        assert!(output.tail.len() == TAIL_BYTES && output.last_lines().len() == 1);
    }

    #[test]
    fn the_longest_tail_fits_into_one_message() {
        let mut output = nowhere();
        for line in [b"\"".as_slice(), b"\xff", b"\\", b"\0", b"\x1b[31m\"", "é".as_bytes()] {
            for _ in 0..LOG_LINES_MAX {
                output.keep(&line.repeat(1_000));
                output.keep(b"\n");
            }
            let reply = hubd_proto::Reply::Log(output.last_lines());
            assert!(hubd_proto::frame::encode(&reply).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn a_long_log_becomes_the_older_one_also_for_another_server_of_the_account() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: &str| {
            let mut options = File::options();
            options.read(true).append(true).create(true).open(folder.path().join(name)).expect("opened")
        };
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("read");
        let mut one = output(open("log"), open("log.1"), 10);
        let mut two = output(open("log"), open("log.1"), 10);
        one.keep(b"one one\n");
        two.keep(b"two two\n");
        assert_eq!((text("log").as_str(), text("log.1").as_str()), ("", "one one\ntwo two\n"));
        one.keep(b"after\n");
        assert_eq!((text("log").as_str(), text("log.1").len()), ("after\n", 16));
        two.keep(b"and after\n");
        assert_eq!((text("log").as_str(), text("log.1").as_str()), ("", "after\nand after\n"));
    }

    #[test]
    fn colours_do_not_reach_people() {
        assert_eq!(readable("\u{1b}[1;31mError\u{1b}[0m\tat \u{7}home\r"), "Error at home");
    }
}
