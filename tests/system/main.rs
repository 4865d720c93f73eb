//! The whole thing on real parts: the root helper with PAM, the daemon without a privilege,
//! `jupyterhub-singleuser` with kernels and terminals, and Chromium.
//!
//! The cases run one after another in this order: most share one installation, and some kill the hub
//! under it. `cargo test -p hubd-tests --test system -- WORD…` runs those whose names hold a WORD.
//! This is a program of its own rather than `#[test]` functions, because accounts, processes and
//! directories of the machine have to be removed at the end whatever happens.
//!
//! Pictures and logs of what failed are in `tests/out`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accounts;
mod bad_input;
mod browser;
mod contract;
mod crowd;
mod edge;
mod failures;
mod kills;
mod logins;
mod measures;
mod notebooks;
mod pages;
mod privileges;
mod restart;
mod services;
mod suite;
mod takeover;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use suite::Suite;

/// A case: its name is a sentence.
type Case = (&'static str, fn(&mut Suite));

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let cases: Vec<Case> = [
        privileges::CASES,
        logins::CASES,
        bad_input::CASES,
        failures::CASES,
        notebooks::CASES,
        edge::CASES,
        pages::CASES,
        restart::CASES,
        kills::CASES,
        contract::CASES,
        services::CASES,
        accounts::CASES,
        takeover::CASES,
        measures::CASES,
        crowd::CASES,
    ]
    .concat()
    .into_iter()
    .filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
    .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let _alone = wait_until_alone();
    let failed = run_all(&cases);
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("failed: {}", failed.join(", "));
        ExitCode::FAILURE
    }
}

/// The accounts have fixed names, so a second run on this machine waits until the first is over.
fn wait_until_alone() -> Flock<File> {
    let lock = |argument| Flock::lock(File::create("/run/hubd-system-tests.lock").unwrap(), argument);
    lock(FlockArg::LockExclusiveNonblock).unwrap_or_else(|_| {
        println!("waiting for another run of this suite");
        lock(FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap()
    })
}

/// Runs the cases and says how long each took; returns the names of those that failed.
fn run_all(cases: &[Case]) -> Vec<&'static str> {
    println!("running {} tests", cases.len());
    let begin = Instant::now();
    let mut failed = Vec::new();
    let mut suite = Suite::default();
    for (name, case) in cases {
        let begin = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut suite)));
        let seconds = begin.elapsed().as_secs_f64();
        if outcome.is_ok() {
            println!("test {name} ... ok ({seconds:.1} s)");
        } else {
            println!("test {name} ... FAILED ({seconds:.1} s)");
            failed.push(*name);
            suite.after_failure(name);
        }
    }
    drop(suite);
    println!(
        "{} passed, {} failed, {:.0} s in all",
        cases.len() - failed.len(),
        failed.len(),
        begin.elapsed().as_secs_f64()
    );
    failed
}
