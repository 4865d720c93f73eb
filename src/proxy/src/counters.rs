//! What `hubd proxy` counts, in the names of configurable-http-proxy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counters {
    web: AtomicU64,
    websocket: AtomicU64,
    pub(crate) routes_read: AtomicU64,
    pub(crate) routes_added: AtomicU64,
    pub(crate) routes_deleted: AtomicU64,
    lookups: AtomicU64,
    lookup_nanos: AtomicU64,
    proxied: Mutex<BTreeMap<u16, u64>>,
    api: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    /// Counts one request that has a route.
    pub(crate) fn asked(&self, websocket: bool) {
        let counter = if websocket { &self.websocket } else { &self.web };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one look into the route table.
    pub(crate) fn looked_up(&self, took: Duration) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.lookup_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts one answer to a proxied request.
    pub(crate) fn proxied(&self, status: u16) {
        *self.proxied.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    /// Counts one answer of the REST API.
    pub(crate) fn api(&self, status: http::StatusCode) {
        *self.api.lock().unwrap_or_else(PoisonError::into_inner).entry(status.as_u16()).or_default() += 1;
    }

    /// All of them in Prometheus' text form.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        for (name, help, value) in [
            ("api_route_get", "Count of API route get requests", &self.routes_read),
            ("api_route_add", "Count of API route add requests", &self.routes_added),
            ("api_route_delete", "Count of API route delete requests", &self.routes_deleted),
            ("requests_ws", "Count of websocket requests", &self.websocket),
            ("requests_web", "Count of web requests", &self.web),
        ] {
            let value = value.load(Ordering::Relaxed);
            // Writing to a String does not fail, here and below.
            write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n").ok();
        }
        for (name, help, values) in [
            ("requests_proxy", "Count of proxy requests", &self.proxied),
            ("requests_api", "Count of API requests", &self.api),
        ] {
            write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n").ok();
            for (status, value) in values.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                writeln!(text, "{name}{{status=\"{status}\"}} {value}").ok();
            }
        }
        let (count, nanos) =
            (self.lookups.load(Ordering::Relaxed), self.lookup_nanos.load(Ordering::Relaxed));
        let seconds = Duration::from_nanos(nanos).as_secs_f64();
        write!(
            text,
            "# HELP find_target_for_req Summary of find target requests\n# TYPE find_target_for_req summary\n\
             find_target_for_req_sum {seconds}\nfind_target_for_req_count {count}\n"
        )
        .ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_shown_with_type_and_labels() {
        let counters = Counters::default();
        counters.web.fetch_add(2, Ordering::Relaxed);
        counters.proxied(200);
        counters.proxied(200);
        counters.api(http::StatusCode::CREATED);
        counters.looked_up(Duration::from_millis(1500));
        let text = counters.exposition();
        for line in [
            "# TYPE requests_web counter",
            "requests_web 2",
            "requests_ws 0",
            "requests_proxy{status=\"200\"} 2",
            "requests_api{status=\"201\"} 1",
            "find_target_for_req_sum 1.5",
            "find_target_for_req_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
    }
}
