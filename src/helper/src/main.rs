//! hubd-helper: checks logins with PAM and starts people's servers as themselves.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use hubd_helper::arguments::{Arguments, beside};
use hubd_helper::{audit::Record, dispatch, ticket};

fn main() -> ExitCode {
    Arguments::run(work)
}

fn work(arguments: &Arguments) -> Result<(), String> {
    match arguments.command.last().map_or("", String::as_str) {
        "--help" => print!("{}", include_str!("usage.txt")),
        "--version" => println!("hubd-helper {}", env!("CARGO_PKG_VERSION")),
        "check" => arguments.check_policy()?,
        "revoke" => revoke(arguments, arguments.command.first().map_or("", String::as_str))?,
        "accounts" if arguments.listen.is_none() => become_program("hubd-accounts")?,
        _ if arguments.listen.is_some() => become_program("hubd-listen")?,
        _ => arguments.serve(dispatch::serve)?,
    }
    Ok(())
}

/// Goes on as another program of this package, with the same arguments.
fn become_program(name: &str) -> Result<(), String> {
    let error = match beside(name) {
        Ok(path) => Command::new(path).args(std::env::args_os().skip(1)).exec(),
        Err(error) => error,
    };
    Err(format!("{name}, which is installed beside hubd-helper, cannot be run: {error}"))
}

fn revoke(arguments: &Arguments, name: &str) -> Result<(), String> {
    let all = name == "--all";
    let count = ticket::revoke_by_name(&arguments.setup()?, (!all).then_some(name));
    let count = count.map_err(|error| format!("tickets: {error}"))?;
    let (user, reason) = (if all { "(everybody)" } else { name }, format!("{count} tickets, by root"));
    Record { request: "revoke", verdict: "accepted", user, reason: &reason, ..Record::default() }.write();
    println!("{count} tickets ended");
    Ok(())
}
