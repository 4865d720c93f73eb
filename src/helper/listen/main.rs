//! hubd-listen: everything that root asks of hubd-helper on a command line. It stands in for systemd's socket units,
//! where there are none, tries the policy, and ends tickets; no process that serves a connection holds this code.

mod listen;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use hubd_helper::connection::{become_program, failed, set_up};
use hubd_helper::setup::{self, Setup};
use hubd_helper::{audit, kept, own_limits};
use hubd_policy::{policy::POLICY_PATH, record::Record};

/// The command line was wrong.
const EXIT_USAGE: u8 = 2;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    /// `accounts`, `check`, or a name and `revoke`.
    command: Vec<String>,
    /// Root's policy, if not at its usual place.
    policy: Option<PathBuf>,
    /// The socket to bind.
    listen: Option<PathBuf>,
    /// Where sockets are, if not where the policy says.
    runtime: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    match parse(words) {
        Ok(arguments) => {
            let done = own_limits::restrict_this_process().and_then(|()| work(&arguments));
            done.map_or_else(failed, |()| ExitCode::SUCCESS)
        }
        Err(what) => {
            eprintln!("hubd-helper: {what}\nTry: hubd-helper --help");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let path = |text: String| std::path::absolute(text).map(Some).map_err(|error| error.to_string());
        match word.as_str() {
            "--policy" => arguments.policy = path(value()?)?,
            "--listen" => arguments.listen = path(value()?)?,
            "--runtime-dir" => arguments.runtime = path(value()?)?,
            "revoke" => arguments.command = vec![value()?, word],
            "accounts" | "check" | "--help" | "--version" => arguments.command = vec![word],
            _ => return Err(format!("unknown argument: {word}")),
        }
    }
    Ok(arguments)
}

fn work(arguments: &Arguments) -> Result<(), String> {
    let policy = arguments.policy.as_deref();
    match (arguments.command.last().map_or("", String::as_str), &arguments.listen) {
        ("--help", _) => print!("{}", include_str!("usage.txt")),
        ("--version", _) => println!("hubd-helper {}", env!("CARGO_PKG_VERSION")),
        ("check", _) => {
            setup::policy(policy)?;
            println!("{}: good", policy.unwrap_or(Path::new(POLICY_PATH)).display());
        }
        ("revoke", _) => revoke(arguments, arguments.command.first().map_or("", String::as_str))?,
        (command, Some(path)) => listen::run(path, policy, command == "accounts")?,
        ("accounts", None) => {
            let policy = policy.map(|path| ["--policy".as_ref(), path]);
            return Err(become_program("hubd-accounts", policy.into_iter().flatten()));
        }
        (_, None) => return Err("--listen PATH is missing; see: hubd-helper --help".into()),
    }
    Ok(())
}

/// Makes the tickets of `name`, or of everybody, worthless; says how many there were.
fn revoke_by_name(setup: &Setup, name: Option<&str>) -> io::Result<usize> {
    let mut count = 0;
    for user in fs::read_dir(setup.paths.state.join("tickets"))? {
        for file in fs::read_dir(user?.path())? {
            let path = file?.path();
            if name.is_none_or(|name| kept::read_ticket(&path).is_none_or(|ticket| ticket.is_of(name))) {
                fs::remove_file(path)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn revoke(arguments: &Arguments, name: &str) -> Result<(), String> {
    let all = name == "--all";
    let setup = set_up(arguments.policy.as_deref(), arguments.runtime.clone())?;
    let count = revoke_by_name(&setup, (!all).then_some(name));
    let count = count.map_err(|error| format!("tickets: {error}"))?;
    let (user, reason) = (if all { "(everybody)" } else { name }, &*format!("{count} tickets, by root"));
    audit::write(&Record { request: "revoke", verdict: "accepted", user, reason, ..Record::default() });
    println!("{count} tickets ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(str::to_owned))
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
