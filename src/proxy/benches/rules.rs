//! What each request costs before a byte goes to its server: the canonical path, the route, the heads.
//!
//! ```console
//! $ cargo bench -p hubd-proxy
//! ```
#![expect(clippy::unwrap_used, reason = "a measurement stops where something is wrong")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hubd_proxy::measure::{Heads, canonical_path, is_routed};
use hubd_proxy::{Endpoint, Routes, Target};

/// As JupyterLab in a browser sends it, with cookies of the server's and one of the hub's.
const REQUEST: &str = "GET /user/alice/api/kernels/0b1c4ef5-2a3e-4f6c-9d6e-1f2a3b4c5d6e?1700000000000 HTTP/1.1\r\n\
    Host: hub.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://hub.example.org/user/alice/lab\r\nX-XSRFToken: 2|6a1b2c3d|00112233445566778899aabbccddeeff|1700000000\r\n\
    Content-Type: application/json\r\nConnection: keep-alive\r\n\
    Cookie: _xsrf=2|6a1b2c3d|00112233445566778899aabbccddeeff; jupyterhub-user-alice=\"2|1:0|10:1700000000|20:x|\"; \
    hub-login=secret; jupyterhub-session-id=0123456789abcdef\r\n\
    Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nPriority: u=4\r\n\r\n";

/// As jupyter-server answers.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: TornadoServer/6.4\r\nContent-Type: application/json\r\n\
    Date: Sun, 22 Nov 2026 05:00:00 GMT\r\nX-Content-Type-Options: nosniff\r\n\
    Content-Security-Policy: frame-ancestors 'self'; report-uri /user/alice/api/security/csp-report; default-src 'none'\r\n\
    Access-Control-Allow-Origin: \r\nEtag: \"0123456789abcdef0123456789abcdef01234567\"\r\n\
    Set-Cookie: _xsrf=2|6a1b2c3d; expires=Tue, 22 Dec 2026 05:00:00 GMT; Path=/user/alice/\r\n\
    Content-Length: 2\r\n\r\n";

fn table(mut routes: Routes, prefix: &str, count: usize) -> Routes {
    let target = Target { endpoint: Endpoint::Unix("server".into()), uid: None };
    let table = &mut routes;
    for number in 0..count {
        table.add(&prefix.replace('#', &number.to_string()), target.clone());
    }
    routes
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in [10_000, 100_000] {
        let routes = table(Routes::default(), "/user/u#/", count);
        group.bench_function(format!("hit in {count}"), |bencher| {
            bencher.iter(|| is_routed(&routes, "hub", black_box("/user/u7777/api/contents/a/b.ipynb")));
        });
        group.bench_function(format!("miss in {count}"), |bencher| {
            bencher.iter(|| is_routed(&routes, "hub", black_box("/hub/api/users/u7777/servers/x")));
        });
        let routes = table(Routes::by_host(), "/u#.hub.example.org/user/u#/", count);
        group.bench_function(format!("hit by host in {count}"), |bencher| {
            bencher.iter(|| {
                is_routed(&routes, black_box("u7777.hub.example.org:443"), "/user/u7777/api/contents")
            });
        });
    }
    let routes = table(Routes::default(), "/user/u#/", 100_000);
    let target = Target { endpoint: Endpoint::Unix("server".into()), uid: None };
    group.bench_function("add to and remove from 100000", |bencher| {
        bencher.iter(|| {
            routes.add(black_box("/user/new/"), target.clone());
            routes.remove("/user/new/")
        });
    });
    group.finish();
}

fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for (name, path) in [
        ("plain", "/user/alice/api/contents/work/notebook.ipynb"),
        ("escaped", "/user/al%69ce/api/contents/w%C3%B6rk/my%20notebook.ipynb"),
        ("refused", "/user/alice/api/contents/work/%2e%2e/notebook.ipynb"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| canonical_path(black_box(path))));
    }
    group.finish();
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let (mut heads, mut out) = (Heads::new().unwrap(), Vec::new());
    group.bench_function("request of JupyterLab", |bencher| {
        bencher.iter(|| {
            out.clear();
            assert!(heads.request(black_box(REQUEST.as_bytes()), &mut out));
        });
    });
    group.bench_function("answer of jupyter-server", |bencher| {
        bencher.iter(|| {
            out.clear();
            assert!(heads.answer(black_box(ANSWER.as_bytes()), &mut out));
        });
    });
    group.finish();
}

criterion_group!(rules, routes, paths, heads);
criterion_main!(rules);
