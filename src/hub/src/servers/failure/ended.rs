//! How the process of a server ended, in words.

use hubd_proto::message::Exited;

use crate::pages::language::text;

/// The number of SIGKILL.
pub const SIGKILL: i32 = 9;

/// A text of the catalogue and what stands in the place of its `{name}`s.
type Told = (&'static str, Vec<(&'static str, String)>);

/// It ended before its first answer.
pub fn before_ready(exited: &Exited) -> Told {
    told(
        exited,
        [
            text!("The server was stopped because it used all of its {size} before it was ready."),
            text!("The server was ended by signal {signal} before it was ready."),
            text!("The server exited with status {status} before it was ready."),
            text!("The server ended in an unknown way before it was ready."),
        ],
    )
}

/// It ended after it had answered.
pub fn while_running(exited: &Exited) -> Told {
    told(
        exited,
        [
            text!("The server was stopped because it used all of its {size} while it was running."),
            text!("The server was ended by signal {signal} while it was running."),
            text!("The server exited with status {status} while it was running."),
            text!("The server ended in an unknown way while it was running."),
        ],
    )
}

fn told(exited: &Exited, [out_of_memory, by_signal, by_itself, unknown]: [&'static str; 4]) -> Told {
    match (exited.out_of_memory, exited.signal, exited.code) {
        (Some(bytes), ..) => (out_of_memory, vec![("size", size(bytes))]),
        (_, Some(signal), _) => (by_signal, vec![("signal", format!("{signal}{}", signal_words(signal)))]),
        (_, _, Some(status)) => (by_itself, vec![("status", status.to_string())]),
        _ => (unknown, Vec::new()),
    }
}

/// A number of bytes for people: 2 GB, 512 MB, 1.5 GB, in units of 1024 as in mem_limit.
fn size(bytes: u64) -> String {
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) >> 20, "MB");
    if tenths >= 10_240 {
        (tenths, unit) = (tenths >> 10, "GB");
    }
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// What the usual signals mean (signal(7), the numbers of x86 and ARM).
fn signal_words(signal: i32) -> &'static str {
    match signal {
        1 => " (hangup)",
        2 => " (interrupt)",
        4 => " (illegal instruction)",
        6 => " (aborted)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        SIGKILL => " (killed)",
        11 => " (segmentation fault)",
        13 => " (broken pipe)",
        15 => " (terminated)",
        24 => " (CPU time limit)",
        25 => " (file size limit)",
        31 => " (forbidden system call)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_mem_limit() {
        assert_eq!((size(512 << 20), size(3 << 29)), ("512 MB".to_owned(), "1.5 GB".to_owned()));
    }
}
