//! The proxy with 10,000 routes to one server and nothing else, for measurements: `one_server PORT TARGET WORKERS [PEM]`, where the
//! target is `127.0.0.1:PORT` or the path of a Unix socket, and with a certificate and key it speaks TLS.
//! Used by `tests/bench/run`.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hubd_proxy::{
    App, BackendFailure, BoxBody, BoxError, BoxFuture, Endpoint, Listener, Proxy, ProxySettings, Routes,
    Target, Tls,
};
use tokio_util::sync::CancellationToken;

struct Nothing;

impl App for Nothing {
    fn call(&self, _request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        Box::pin(async { empty(StatusCode::NOT_FOUND) })
    }

    fn backend_failed(
        &self,
        _head: &http::request::Parts,
        _route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody> {
        eprintln!("{failure:?}");
        empty(StatusCode::BAD_GATEWAY)
    }
}

fn empty(status: StatusCode) -> Response<BoxBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, target, workers, tls) = match &arguments[..] {
        [port, target, workers] => (port, target, workers, None),
        [port, target, workers, pem] => (port, target, workers, Some(Tls::load(pem.as_ref(), pem.as_ref())?)),
        _ => return Err("usage: one_server PORT TARGET WORKERS [PEM]".into()),
    };
    let endpoint = match target.parse() {
        Ok(address) => Endpoint::Tcp(address),
        Err(_) => Endpoint::Unix(target.into()),
    };
    let port: u16 = port.parse()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers.parse()?).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let routes = Arc::new(Routes::default());
        for number in 0..10_000 {
            let target = Target { endpoint: endpoint.clone(), uid: None };
            routes.add(&format!("/user/u{number}/"), target);
        }
        routes.add("/", Target { endpoint, uid: None });
        let proxy = Proxy::new(ProxySettings::default(), routes, Arc::new(Nothing));
        let stop = CancellationToken::new();
        // On a worker, as in hubd: the thread of `block_on` is none.
        tokio::spawn(hubd_proxy::serve(Listener::Tcp(listener), tls, proxy, stop, Duration::ZERO)).await?;
        Ok(())
    })
}
