//! Histograms of one name, by their labels, and how Prometheus reads them.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::process;

/// A family of histograms.
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    bounds: Vec<f64>,
    /// By labels, in their order.
    series: Mutex<Vec<(Vec<String>, Histogram)>>,
}

/// How often which time was measured.
struct Histogram {
    /// By bound, each time counted once; longer ones are in none.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
    /// When it was first measured, in seconds since 1970.
    created: f64,
}

/// One without a series; times longer than the last of `bounds`, in seconds, are counted in none.
pub(super) fn family(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    bounds: &[f64],
) -> Family {
    // The last bucket, without a bound, is always there.
    let bounds = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
    Family { name, help, labels, bounds, series: Mutex::default() }
}

impl Family {
    /// Counts a time.
    pub fn observe(&self, labels: &[&str], took: Duration) {
        let seconds = took.as_secs_f64();
        self.with(labels, |histogram| self.add(histogram, seconds));
    }

    fn add(&self, histogram: &mut Histogram, seconds: f64) {
        histogram.count += 1;
        histogram.sum += seconds;
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = bucket.and_then(|index| histogram.buckets.get_mut(index)) {
            *bucket += 1;
        }
    }

    /// Does something to a series, which is made if it is not there.
    fn with(&self, labels: &[&str], change: impl FnOnce(&mut Histogram)) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let found = series
            .binary_search_by(|(known, _)| known.iter().map(String::as_str).cmp(labels.iter().copied()));
        let index = found.unwrap_or_else(|index| {
            series.insert(index, (labels.iter().map(|&label| label.to_owned()).collect(), self.empty()));
            index
        });
        if let Some((_, histogram)) = series.get_mut(index) {
            change(histogram);
        }
    }

    fn empty(&self) -> Histogram {
        Histogram { buckets: vec![0; self.bounds.len()], count: 0, sum: 0.0, created: process::now() }
    }

    /// Makes a series that nothing was measured for yet.
    pub fn make(&self, labels: &[&str]) {
        self.with(labels, |_| ());
    }

    /// Writes all series.
    pub fn write(&self, prefix: &str, text: &mut String) {
        if self.labels.is_empty() {
            self.make(&[]);
        }
        let name = format!("{prefix}_{}", self.name);
        header(text, &name, self.help, "histogram");
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut created = String::new();
        for (values, histogram) in series.iter() {
            let pairs = self.labels.iter().zip(values);
            let labels: Vec<String> =
                pairs.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = labels.join(",");
            let comma = if labels.is_empty() { "" } else { "," };
            let mut sum = 0;
            for (bound, count) in self.bounds.iter().zip(&histogram.buckets) {
                sum += count;
                line(text, &format!("{name}_bucket{{{labels}{comma}le=\"{bound:?}\"}}"), sum);
            }
            line(text, &format!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}}"), histogram.count);
            let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            line(text, &format!("{name}_count{braces}"), histogram.count);
            line(text, &format!("{name}_sum{braces}"), histogram.sum);
            line(&mut created, &format!("{name}_created{braces}"), histogram.created);
        }
        header(text, &format!("{name}_created"), self.help, "gauge");
        text.push_str(&created);
    }
}

/// What a metric is.
pub(super) fn header(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a String does not fail.
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
}

/// One value.
pub(super) fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(text, "{name} {value}").ok();
}

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
