//! The command line, and what every program of this crate does before its own work.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::SigSet;

use crate::audit::Record;
use crate::channel::Channel;
use crate::policy::{POLICY_PATH, Policy};
use crate::{cgroup, own_limits, setup::Setup, unix};

/// The command line was wrong.
const EXIT_USAGE: u8 = 2;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `accounts`, `check`, or a name and `revoke`; logins and starts are served without one.
    pub command: Vec<String>,
    /// Root's policy, if not at its usual place.
    pub policy: Option<PathBuf>,
    /// Whether systemd has delegated this process's control group to it.
    delegated: bool,
    /// The socket to bind, where systemd does not do it.
    pub listen: Option<PathBuf>,
    /// Given by `hubd-listen` to the processes that it starts.
    runtime: Option<PathBuf>,
}

impl Arguments {
    /// Reads the command line, does the program's work, and says how that ended.
    pub fn run(work: fn(&Self) -> Result<(), String>) -> ExitCode {
        let arguments = Self::parse(std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()));
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(what) => {
                eprintln!("hubd-helper: {what}\nTry: hubd-helper --help");
                return ExitCode::from(EXIT_USAGE);
            }
        };
        if let Err(what) = own_limits::restrict_this_process().and_then(|()| work(&arguments)) {
            eprintln!("hubd-helper: {what}");
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let path = |text: String| std::path::absolute(text).map(Some).map_err(|error| error.to_string());
            match word.as_str() {
                "--policy" => arguments.policy = path(value()?)?,
                "--listen" => arguments.listen = path(value()?)?,
                "--runtime-dir" => arguments.runtime = path(value()?)?,
                "--delegated" => arguments.delegated = true,
                "revoke" => arguments.command = vec![value()?, word],
                "accounts" | "check" | "--help" | "--version" => arguments.command = vec![word],
                _ => return Err(format!("unknown argument: {word}")),
            }
        }
        Ok(arguments)
    }

    /// Says that the policy is good, if it is.
    pub fn check_policy(&self) -> Result<(), String> {
        Policy::load(self.policy.as_deref())?;
        let path = self.policy.as_deref().unwrap_or(Path::new(POLICY_PATH));
        println!("{}: good", path.display());
        Ok(())
    }

    /// Reads the policy and finds everything's place.
    pub fn setup(&self) -> Result<Setup, String> {
        // Whoever started this program may have left signals blocked, or a file size limit.
        SigSet::empty().thread_set_mask().map_err(|error| error.to_string())?;
        unix::ignore_signal(libc::SIGXFSZ);
        let policy = Policy::load(self.policy.as_deref())?;
        nix::unistd::chdir("/").map_err(|error| error.to_string())?;
        let beside = self.listen.as_deref().and_then(Path::parent).map(Path::to_owned);
        let mut setup = Setup::new(policy, beside.or(self.runtime.clone()))?;
        if self.delegated {
            // Where it fails, there is no version 2; a limit in the policy is then refused.
            setup.cgroup = cgroup::own().ok();
        }
        Ok(setup)
    }

    /// Serves the one connection on standard input.
    pub fn serve(&self, serve: fn(&Setup, Channel)) -> Result<(), String> {
        let setup = self.setup()?;
        let accept = || -> std::io::Result<_> {
            let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            // Otherwise the daemon would wait for a descriptor that nobody serves any more.
            nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
            Channel::new(setup.daemon_uid, stream)
        };
        let channel = accept().map_err(|error| {
            format!("standard input is not a connection: {error}; use --listen PATH, or the socket unit")
        })?;
        match channel {
            Ok(channel) => serve(&setup, channel),
            Err(reason) => {
                let reason = reason.as_str();
                Record { request: "connect", verdict: "refused", reason, ..Record::default() }.write();
            }
        }
        Ok(())
    }
}

/// A program that is installed beside this one.
pub fn beside(program: &str) -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_read() {
        let listen = parsed("--listen /run/x/helper.sock --policy p.toml").expect("good");
        assert_eq!(listen.listen, Some("/run/x/helper.sock".into()));
        assert_eq!(listen.policy, std::path::absolute("p.toml").ok());
        assert_eq!(parsed("revoke --all").map(|a| a.command), Ok(vec!["--all".into(), "revoke".into()]));
        assert_eq!(parsed(""), Ok(Arguments::default()));
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        for (line, what) in [("--frob", "--frob"), ("--listen", "needs a value"), ("revoke", "needs a value")]
        {
            assert!(parsed(line).is_err_and(|error| error.contains(what)), "{line}");
        }
    }
}
