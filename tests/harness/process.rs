//! Programs that run beside a test, and waiting for what they do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to end after SIGTERM, when its value is dropped.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Waits until `condition` gives something, and gives it on.
///
/// # Panics
/// After `limit`, with `what` was waited for.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(POLL);
    }
}

/// A program that a test started. It ends when the value is dropped; its output is in a file.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its standard output and error appended to `log`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// The process id.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id fits")
    }

    /// Everything that it printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends `signal`.
    ///
    /// # Panics
    /// When the process is gone already.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal)
            .unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// After `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, limit, || self.ended())
    }

    /// Waits until its log holds `text`.
    ///
    /// # Panics
    /// After `limit`, or when it ends before; with its log.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) {
        let begin = Instant::now();
        while !self.log().contains(text) {
            let ended = self.ended();
            let in_time = begin.elapsed() < limit;
            assert!(
                ended.is_none() && in_time,
                "{} did not say {text:?} within {limit:?} ({ended:?}); it said:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Ends it with SIGTERM, or SIGKILL when that does not help.
    pub fn end(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let begin = Instant::now();
        let _ = kill(Pid::from_raw(self.id()), Signal::SIGTERM);
        while self.ended().is_none() {
            if begin.elapsed() > END_LIMIT {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
