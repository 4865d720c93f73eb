//! What the fuzzers of the helper's input start from and have found, once more, and for a few seconds what they would
//! make of it: `tests/fuzz/helper/README.md` says how to look for more.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

#[path = "../fuzz/helper/targets.rs"]
mod targets;

/// How long variations are tried of each kind of input.
const TIME: Duration = Duration::from_secs(3);
/// Most changes to one piece of input.
const CHANGES_MAX: u64 = 6;
/// What stands at borders, put in at random.
const ODD: [&[u8]; 12] = [
    b"\0",
    b"\n",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"[[[[[[[[",
    b"4294967295",
    b"-1",
    b"65534",
    b"\xff",
];

/// Numbers that are random enough, see xorshift64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// One piece of input with a few changes, among them pieces of another one.
fn variation(numbers: &mut Numbers, entries: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut bytes = entries.get(numbers.below(entries.len()))?.clone();
    for _ in 0..=numbers.next() % CHANGES_MAX {
        let at = numbers.below(bytes.len());
        match numbers.below(4) {
            0 => *bytes.get_mut(at)? = u8::try_from(numbers.below(256)).ok()?,
            1 => drop(bytes.splice(at..at, ODD.get(numbers.below(ODD.len()))?.iter().copied())),
            2 => drop(bytes.drain(at..at + numbers.below(bytes.len() - at))),
            _ => {
                let other = entries.get(numbers.below(entries.len()))?;
                let from = numbers.below(other.len());
                let piece = other.get(from..from + numbers.below(other.len() - from))?;
                drop(bytes.splice(at..at, piece.iter().copied()));
            }
        }
    }
    Some(bytes)
}

fn try_one(target: fn(&[u8]), bytes: &[u8]) -> Result<()> {
    let good = catch_unwind(AssertUnwindSafe(|| target(bytes))).is_ok();
    ensure!(good, "put this into the corpus: {}", bytes.escape_ascii());
    Ok(())
}

fn replay(name: &str, target: fn(&[u8])) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/helper/corpus").join(name);
    let entries =
        fs::read_dir(folder)?.map(|entry| Ok(fs::read(entry?.path())?)).collect::<Result<Vec<_>>>()?;
    ensure!(entries.len() > 2, "the corpus of {name} is gone");
    entries.iter().try_for_each(|entry| try_one(target, entry))?;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let (mut numbers, until, mut count) = (Numbers(u64::try_from(seed)? | 1), Instant::now() + TIME, 0_u32);
    while Instant::now() < until {
        let bytes = variation(&mut numbers, &entries).unwrap_or_default();
        try_one(target, &bytes)?;
        count += 1;
    }
    println!("{name}: {} pieces of input, {count} variations", entries.len());
    Ok(())
}

#[test]
fn any_bytes_of_a_daemon_are_a_message_or_refused() -> Result<()> {
    replay("protocol", targets::protocol)
}

#[test]
fn any_policy_keeps_its_promises_or_is_refused() -> Result<()> {
    replay("policy", targets::policy)
}

#[test]
fn any_line_of_an_account_is_a_person_or_barred() -> Result<()> {
    replay("account", targets::account)
}
