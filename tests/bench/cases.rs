//! What is measured, and how a figure comes of it.

use std::time::{Duration, Instant};

use crate::backend::BIG_BYTES;
use crate::http::{self, Load};
use crate::proxies::Instance;
use crate::{sockets, tls};

/// Which listener of a proxy is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls,
    /// HTTPS of a proxy that has HTTP/2.
    Http2,
}

/// What is done.
#[derive(Clone, Copy)]
pub enum Run {
    /// Operations for a while; the rate counts.
    Rate(fn(u16, Duration) -> Load),
    /// Operations one after another; the time of one counts.
    Latency(fn(u16, Duration) -> Load),
    /// Bytes for a while, so many an operation.
    Bytes(fn(u16, Duration) -> Load, usize),
    /// Idle WebSockets; the memory of one counts.
    Idle,
}

/// One row of the table.
pub struct Case {
    pub name: &'static str,
    pub side: Side,
    pub run: Run,
}

/// One figure, and the processor time of the proxy for one operation in microseconds.
#[derive(Clone, Copy)]
pub struct Measure {
    pub value: f64,
    pub cpu_micros: Option<f64>,
}

const MEGABYTE: usize = 1_000_000;

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // First, because later a proxy has memory to spare from before.
    Case { name: "5,000 idle websockets", side: Side::Plain, run: Run::Idle },
    Case { name: "small, kept alive", side: Side::Plain, run: Run::Rate(http::kept) },
    Case { name: "small, 10,000 routes", side: Side::Plain, run: Run::Rate(http::routes) },
    Case { name: "small, not kept", side: Side::Plain, run: Run::Rate(http::not_kept) },
    Case { name: "100 MB down", side: Side::Plain, run: Run::Bytes(http::down, BIG_BYTES) },
    Case { name: "100 MB up", side: Side::Plain, run: Run::Bytes(http::up, BIG_BYTES) },
    Case { name: "websocket round trip", side: Side::Plain, run: Run::Latency(sockets::round_trip) },
    Case { name: "websocket messages", side: Side::Plain, run: Run::Rate(sockets::messages) },
    Case { name: "websocket 1 MB frames", side: Side::Plain, run: Run::Bytes(sockets::big, MEGABYTE) },
    Case { name: "tls handshakes", side: Side::Tls, run: Run::Rate(tls::handshakes) },
    Case { name: "tls small, kept alive", side: Side::Tls, run: Run::Rate(tls::kept) },
    Case { name: "tls 100 MB down", side: Side::Tls, run: Run::Bytes(tls::down, BIG_BYTES) },
    Case { name: "http/2 small", side: Side::Http2, run: Run::Rate(tls::http2) },
];

impl Case {
    /// Runs it against one proxy.
    pub async fn measure(&self, instance: &Instance, time: Duration) -> Measure {
        let (begun, before) = (Instant::now(), instance.cpu_micros());
        let (load, bytes) = match self.run {
            Run::Rate(load) | Run::Latency(load) => (load, None),
            Run::Bytes(load, bytes) => (load, Some(bytes)),
            Run::Idle => return idle(instance).await,
        };
        let operations = load(instance.port, time).await.max(1) as f64;
        let seconds = begun.elapsed().as_secs_f64();
        let value = match (self.run, bytes) {
            (Run::Latency(_), _) => seconds * 1e6 / operations,
            (_, Some(bytes)) => operations * bytes as f64 / 1e6 / seconds,
            _ => operations / seconds,
        };
        Measure { value, cpu_micros: Some((instance.cpu_micros() - before) / operations) }
    }

    /// How often it is measured: a program that has grown once does not grow again.
    pub fn rounds(&self, wanted: usize) -> usize {
        if matches!(self.run, Run::Idle) { 1 } else { wanted }
    }

    /// The better one of two figures.
    pub fn better(&self, one: Option<Measure>, other: Measure) -> Measure {
        let less = matches!(self.run, Run::Latency(_));
        match one {
            Some(one) if (one.value < other.value) == less => one,
            _ => other,
        }
    }

    /// What the figure is.
    pub fn unit(&self) -> &'static str {
        match self.run {
            Run::Rate(_) => "/s",
            Run::Latency(_) => "µs",
            Run::Bytes(..) => "MB/s",
            Run::Idle => "KiB",
        }
    }
}

async fn idle(instance: &Instance) -> Measure {
    let before = instance.memory_kib();
    let open = sockets::idle(instance.port).await;
    let after = instance.memory_kib();
    drop(open);
    Measure { value: after.saturating_sub(before) as f64 / sockets::IDLE as f64, cpu_micros: None }
}
