//! The proxy beside haproxy, nginx and configurable-http-proxy, in one run: `tests/bench/run` builds and starts it.
//!
//! Every answer is compared with what it has to be; a wrong one ends the run. Each figure is the best of some
//! rounds, in which the proxies take turns, because machines differ and are not idle. Beside the rate stands the
//! processor time that the proxy itself used for one operation: it is what other work on the machine changes least.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement stops where something is wrong")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a table")]

mod backend;
mod cases;
mod http;
mod proxies;
mod sockets;
mod table;
mod tls;

use std::time::Duration;

use cases::CASES;
use proxies::{Proxies, Proxy};
use table::Table;

/// What is asked for on the command line.
struct Wanted {
    threads: usize,
    rounds: usize,
    time: Duration,
    words: Vec<String>,
}

const USAGE: &str = "\
usage: tests/bench/run [--threads N|all] [--rounds N] [--seconds N] [CASE]...

  --threads   worker threads of each proxy, 1 unless told (configurable-http-proxy has one always)
  --rounds    turns that each proxy gets, 3 unless told; the best one counts
  --seconds   how long one turn lasts, 3 unless told
  CASE        a part of the names of the cases to run, all unless told:";

fn main() {
    let wanted = wanted();
    let backend = backend::start();
    let proxies = Proxies::start(backend, wanted.threads);
    println!("{} worker thread(s), best of {} rounds of {:?}", wanted.threads, wanted.rounds, wanted.time);
    let table = Table::new(proxies.all.iter().map(|proxy| proxy.name).collect());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for case in CASES {
        if !wanted.words.is_empty() && !wanted.words.iter().any(|word| case.name.contains(word.as_str())) {
            continue;
        }
        let mut best = vec![None; proxies.all.len()];
        for _ in 0..case.rounds(wanted.rounds) {
            for (proxy, best) in proxies.all.iter().zip(&mut best) {
                let Some(instance) = proxy.instance(case.side) else { continue };
                let _told = Told(proxy.name, case.name);
                let measure = runtime.block_on(case.measure(instance, wanted.time));
                *best = Some(case.better(best.take(), measure));
            }
        }
        table.row(case, &best);
    }
}

/// Says whose turn it was if it fails.
struct Told(&'static str, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("that was {}, {}", self.0, self.1);
        }
    }
}

fn wanted() -> Wanted {
    let mut wanted = Wanted { threads: 1, rounds: 3, time: Duration::from_secs(3), words: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--threads" => {
                let all = std::thread::available_parallelism().map_or(1, usize::from);
                wanted.threads = number().unwrap_or(all);
            }
            "--rounds" => wanted.rounds = number().unwrap_or_else(|| usage()),
            "--seconds" => wanted.time = Duration::from_secs(number().unwrap_or_else(|| usage()) as u64),
            word if !word.starts_with('-') => wanted.words.push(word.to_owned()),
            _ => usage(),
        }
    }
    wanted
}

fn usage() -> ! {
    println!("{USAGE}");
    for case in CASES {
        println!("    {}", case.name);
    }
    std::process::exit(1)
}

impl Proxy {
    fn instance(&self, side: cases::Side) -> Option<&proxies::Instance> {
        match side {
            cases::Side::Plain => Some(&self.plain),
            cases::Side::Tls => Some(&self.tls),
            cases::Side::Http2 => Some(&self.tls).filter(|_| self.http2),
        }
    }
}
