//! What the hub measures, for Prometheus: JupyterHub's names, labels and buckets.
//!
//! `check_routes`, `proxy_poll`, `server_poll` and `event_loop_interval` have nothing to measure here (one route
//! table, servers that tell when they end, no event loop), and stay at nothing; dashboards find their names.

mod family;
mod process;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use hubd_store::StoreError;

use crate::Hub;
use family::{Family, family, header, line};

/// Upper bounds in seconds: the usual ones of Prometheus' Python client.
const USUAL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Those of JupyterHub for starts of servers.
const STARTS: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0];
/// Those of JupyterHub for its event loop.
const LOOP: &[f64] = &[0.05, 0.055, 0.06, 0.065, 0.07, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The series of starts that are there before the first start.
const FIRST_STARTS: &[[&str; 2]] = &[
    ["success", ""],
    ["failure", ""],
    ["error", ""],
    ["failure", "throttled"],
    ["failure", "too-many-users"],
    ["failure", "already-pending"],
];

/// The periods of `active_users`, in seconds.
const PERIODS: [(&str, u64); 3] = [("24h", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400)];

/// Everything that is measured while the hub runs.
pub struct Metrics {
    requests: Family,
    starts: Family,
    stops: Family,
    logins: Family,
    logouts: Family,
    hub_start: Family,
    adoption: Family,
    routes_added: Family,
    routes_deleted: Family,
    /// What is measured in JupyterHub only.
    idle: Vec<Family>,
    csp_reports: AtomicU64,
}

impl Metrics {
    /// Nothing is measured yet. `starts` and `stops` are bounds in seconds, JupyterHub's if there are none.
    pub fn new(starts: &[f64], stops: &[f64]) -> Self {
        let bounds_of_starts = if starts.is_empty() { STARTS } else { starts };
        let bounds_of_stops = if stops.is_empty() { USUAL } else { stops };
        Self {
            requests: family(
                "request_duration_seconds",
                "Request duration for all HTTP requests",
                &["method", "handler", "code"],
                USUAL,
            ),
            starts: family(
                "server_spawn_duration_seconds",
                "Time taken for server spawning operation",
                &["status", "reason"],
                bounds_of_starts,
            ),
            stops: family(
                "server_stop_seconds",
                "Time taken for server stopping operation",
                &["status"],
                bounds_of_stops,
            ),
            logins: family("login_duration_seconds", "Time taken for login operations", &["status"], USUAL),
            hub_start: family("hub_startup_duration_seconds", "Time taken for Hub to start", &[], USUAL),
            logouts: family("logout_duration_seconds", "Time taken for logout operations", &[], USUAL),
            adoption: family(
                "init_spawners_duration_seconds",
                "Time taken for spawners to initialize",
                &[],
                USUAL,
            ),
            routes_added: family(
                "proxy_add_duration_seconds",
                "duration for adding user routes to proxy",
                &["status"],
                USUAL,
            ),
            routes_deleted: family(
                "proxy_delete_duration_seconds",
                "duration for deleting user routes from proxy",
                &["status"],
                USUAL,
            ),
            idle: idle(),
            csp_reports: AtomicU64::new(0),
        }
    }

    /// A request was answered.
    pub fn request(&self, method: &str, handler: &str, code: StatusCode, took: Duration) {
        self.requests.observe(&[method, handler, code.as_str()], took);
    }

    /// A start ended, or was refused: `status` is `success`, `failure` or `error`.
    pub fn start(&self, status: &str, reason: &str, took: Duration) {
        self.starts.observe(&[status, reason], took);
    }

    /// A stop that was asked for has ended.
    pub fn stop(&self, took: Duration) {
        self.stops.observe(&["success"], took);
    }

    /// A login ended.
    pub fn login(&self, succeeded: bool, took: Duration) {
        let status = if succeeded { "LoginStatus.success" } else { "LoginStatus.failure" };
        self.logins.observe(&[status], took);
    }

    /// A logout ended.
    pub fn logout(&self, took: Duration) {
        self.logouts.observe(&[], took);
    }

    /// A browser reported what a page was kept from doing.
    pub fn csp_report(&self) {
        self.csp_reports.fetch_add(1, Ordering::Relaxed);
    }

    /// A route of a server was added.
    pub fn route_added(&self, took: Duration) {
        self.routes_added.observe(&["success"], took);
    }

    /// A route of a server was deleted; or it was to be, and was not there.
    pub fn route_deleted(&self, succeeded: bool, took: Duration) {
        self.routes_deleted.observe(&[if succeeded { "success" } else { "failure" }], took);
    }

    /// What ran before the hub was found again.
    pub fn adopted(&self, took: Duration) {
        self.adoption.observe(&[], took);
    }

    fn families(&self) -> impl Iterator<Item = &Family> {
        [
            &self.requests,
            &self.starts,
            &self.hub_start,
            &self.adoption,
            &self.logins,
            &self.logouts,
            &self.routes_added,
            &self.stops,
            &self.routes_deleted,
        ]
        .into_iter()
        .chain(&self.idle)
    }

    /// The hub is ready.
    pub fn hub_started(&self, took: Duration) {
        self.hub_start.observe(&[], took);
    }
}

/// What is measured in JupyterHub only.
fn idle() -> Vec<Family> {
    vec![
        family("check_routes_duration_seconds", "Time taken to validate all routes in proxy", &[], USUAL),
        family("proxy_poll_duration_seconds", "duration for polling all routes from proxy", &[], USUAL),
        family("server_poll_duration_seconds", "Time taken to poll if server is running", &["status"], USUAL),
        family("event_loop_interval_seconds", "Distribution of measured event loop intervals", &[], LOOP),
    ]
}

impl Hub {
    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn metrics_text(&self) -> Result<String, StoreError> {
        let prefix = self.settings.metrics_prefix.as_str();
        let mut text = String::new();
        process::write(&mut text);
        for labels in FIRST_STARTS {
            self.metrics.starts.make(labels);
        }
        for family in self.metrics.families() {
            family.write(prefix, &mut text);
        }
        let name = format!("{prefix}_csp_reports_total");
        header(&mut text, &name, "Total number of content security policy reports", "counter");
        line(&mut text, &name, self.metrics.csp_reports.load(Ordering::Relaxed));
        let (running, _) = self.servers.count();
        let name = format!("{prefix}_running_servers");
        header(&mut text, &name, "the number of user servers currently running", "gauge");
        line(&mut text, &name, running);
        let now = self.clock.now();
        let since = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
        let (total, active) = self.store.user_counts(PERIODS.map(|(_, seconds)| since(seconds)))?;
        let name = format!("{prefix}_total_users");
        header(&mut text, &name, "total number of users", "gauge");
        line(&mut text, &name, total);
        let name = format!("{prefix}_active_users");
        header(&mut text, &name, "number of users who were active in the given time period", "gauge");
        for ((period, _), count) in PERIODS.iter().zip(active) {
            line(&mut text, &format!("{name}{{period=\"{period}\"}}"), count);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestHub;

    #[tokio::test]
    async fn buckets_add_up_and_labels_are_escaped() {
        let test = TestHub::new().await;
        let hub = &test.hub;
        hub.metrics.start("failure", "a \"b\"\n", Duration::from_millis(1500));
        hub.metrics.start("failure", "a \"b\"\n", Duration::from_secs(601));
        hub.metrics.hub_started(Duration::from_millis(5));
        let text = hub.metrics_text().unwrap();
        let labels = r#"status="failure",reason="a \"b\"\n""#;
        let name = "jupyterhub_server_spawn_duration_seconds";
        for line in [
            format!("{name}_bucket{{{labels},le=\"1.0\"}} 0"),
            format!("{name}_bucket{{{labels},le=\"2.5\"}} 1"),
            format!("{name}_bucket{{{labels},le=\"600.0\"}} 1"),
            format!("{name}_bucket{{{labels},le=\"+Inf\"}} 2"),
            format!("{name}_sum{{{labels}}} 602.5"),
            "jupyterhub_hub_startup_duration_seconds_bucket{le=\"0.005\"} 1".to_owned(),
            "jupyterhub_running_servers 0".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
