//! What Prometheus' clients tell of their own process, from `/proc/self` (proc(5)).

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{header, line};

/// Ticks of the kernel's clock in a second, as Linux shows them to programs on every machine hubd runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes in a page of memory, on the same machines.
const PAGE_BYTES: u64 = 4096;

/// Fields of `/proc/self/stat` behind the program's name, counted from there.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// Now, in seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The metrics whose names begin with `process_`; those that the kernel does not tell are left out.
pub fn write(text: &mut String) {
    let mut gauge = |name: &str, help: &str, kind: &str, value: Option<f64>| {
        if let Some(value) = value {
            header(text, name, help, kind);
            line(text, name, value);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |index: usize| fields.get(index).copied();
    let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        "gauge",
        field(VIRTUAL_BYTES).map(|bytes| bytes as f64),
    );
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        "gauge",
        field(RESIDENT_PAGES).map(|pages| (pages * PAGE_BYTES) as f64),
    );
    let started = field(START_TICKS).zip(boot_time()).map(|(ticks, boot)| boot + seconds(ticks));
    gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        "gauge",
        started,
    );
    let cpu = field(USER_TICKS).zip(field(SYSTEM_TICKS)).map(|(user, system)| seconds(user + system));
    gauge("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter", cpu);
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    gauge("process_open_fds", "Number of open file descriptors.", "gauge", open);
    gauge("process_max_fds", "Maximum number of open file descriptors.", "gauge", descriptors_max());
}

/// When the machine started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn descriptors_max() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_it() {
        let mut text = String::new();
        write(&mut text);
        for name in [
            "virtual_memory_bytes",
            "resident_memory_bytes",
            "start_time_seconds",
            "cpu_seconds_total",
            "open_fds",
            "max_fds",
        ] {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
            assert!(value.is_some_and(|value| value.parse::<f64>().is_ok()), "{name}\n{text}");
        }
        let start = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        let age = now() - start.and_then(|start| start.parse::<f64>().ok()).unwrap_or_default();
        assert!((-5.0..86_400.0).contains(&age), "{age}");
    }
}
