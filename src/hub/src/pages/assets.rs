//! Static files, part of the program: style, scripts, logo.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::outside::ROBOTS;
use super::visit::html_response;
use crate::Hub;

/// A file of the program.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// A text file below `src/hub/static`, under its own path.
macro_rules! asset {
    ($path:literal, $kind:literal) => {
        Asset { path: $path, kind: $kind, bytes: include_bytes!(concat!("../../static/", $path)) }
    };
}

/// All static files. `css/style.min.css` is where services and templates of sites look for the style.
const ASSETS: &[Asset] = &[
    asset!("css/style.min.css", "text/css"),
    asset!("js/page.js", "text/javascript"),
    asset!("js/api.js", "text/javascript"),
    asset!("js/admin.js", "text/javascript"),
    asset!("js/home.js", "text/javascript"),
    asset!("js/login.js", "text/javascript"),
    asset!("js/progress.js", "text/javascript"),
    asset!("images/logo.svg", "image/svg+xml"),
    asset!("favicon.ico", "image/vnd.microsoft.icon"),
];

/// How long a file with its hash in the address may be kept: ten years, as JupyterHub says it.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=315360000, immutable");
/// A file without hash is asked for again each time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// The operator's logo may change behind its address: browsers keep it for ten minutes.
const LOGO_KEPT: HeaderValue = HeaderValue::from_static("max-age=600");
/// Largest logo, in bytes; it is read for each browser that does not have it yet.
const LOGO_BYTES_MAX: u64 = 1024 * 1024;
/// Digits of a version: enough that two versions of a file never meet.
const VERSION_DIGITS: usize = 20;

/// Hashes of all files, computed once.
static VERSIONS: LazyLock<Vec<(&'static str, String)>> =
    LazyLock::new(|| ASSETS.iter().map(|asset| (asset.path, hash(asset.bytes))).collect());

/// The text files as gzip, packed once. Pages are not packed: they hold the token of their forms beside what a link can
/// put into them, and the length of the packed page would tell who listens whether the two are alike (BREACH).
static PACKED: LazyLock<Vec<(&'static str, Vec<u8>)>> = LazyLock::new(|| {
    let text = |asset: &&Asset| asset.kind != "image/vnd.microsoft.icon";
    ASSETS.iter().filter(text).filter_map(|asset| Some((asset.path, pack(asset.bytes).ok()?))).collect()
});

fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The version of a file, for its address.
pub fn version(path: &str) -> Option<&'static str> {
    VERSIONS.iter().find(|(known, _)| *known == path).map(|(_, version)| version.as_str())
}

/// The first digits of a file's SHA-512.
pub fn hash(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, bytes);
    let mut hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(VERSION_DIGITS);
    hex
}

/// `GET /hub/static/PATH`.
pub async fn file(Path(path): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => answer(asset, &uri, &headers),
        None if path.ends_with('/') || is_directory(&path) => minimal(StatusCode::FORBIDDEN),
        None => minimal(StatusCode::NOT_FOUND),
    }
}

/// `GET /hub/static/`: directories are not listed.
pub async fn directory() -> Response {
    minimal(StatusCode::FORBIDDEN)
}

/// `GET /hub/logo`.
pub async fn logo(State(hub): State<Arc<Hub>>, uri: Uri, headers: HeaderMap) -> Response {
    let own = hub.settings.logo_file.as_deref().and_then(own_logo);
    own.unwrap_or_else(|| named("images/logo.svg", &uri, &headers))
}

/// The operator's logo; the built-in one is shown if it cannot be read, and the log says why.
fn own_logo(file: &std::path::Path) -> Option<Response> {
    let kind = match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "svg" => "image/svg+xml",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        _ => "image/png",
    };
    let read = || {
        if std::fs::metadata(file)?.len() > LOGO_BYTES_MAX {
            return Err(std::io::Error::other(format!("larger than {LOGO_BYTES_MAX} bytes")));
        }
        std::fs::read(file)
    };
    match read() {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response.headers_mut().insert(header::CACHE_CONTROL, LOGO_KEPT);
            Some(response)
        }
        Err(error) => {
            tracing::error!(%error, file = %file.display(), "cannot read the logo");
            None
        }
    }
}

/// `GET /hub/favicon.ico`.
pub async fn favicon(uri: Uri, headers: HeaderMap) -> Response {
    named("favicon.ico", &uri, &headers)
}

/// `GET /robots.txt`.
pub async fn robots() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], ROBOTS).into_response()
}

/// `GET /hub/health`: 200 and nothing else.
pub async fn health() -> Response {
    html_response(StatusCode::OK, String::new())
}

/// A file that has an address of its own.
fn named(path: &str, uri: &Uri, headers: &HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => answer(asset, uri, headers),
        None => minimal(StatusCode::NOT_FOUND),
    }
}

/// A file, or 304 when the browser has it.
fn answer(asset: &Asset, uri: &Uri, headers: &HeaderMap) -> Response {
    let version = version(asset.path).unwrap_or_default();
    let packed = PACKED.iter().find(|(path, _)| *path == asset.path).map(|(_, bytes)| bytes.as_slice());
    let packed = packed.filter(|_| takes_gzip(headers));
    // Another encoding is another thing to whoever keeps it.
    let etag = format!("\"{version}{}\"", if packed.is_some() { "-gzip" } else { "" });
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut response = match packed {
        _ if known => Response::new(Body::empty()),
        // The file is a part of the program, packed for its whole life.
        Some(bytes) => Response::new(Body::from(bytes)),
        None => Response::new(Body::from(asset.bytes)),
    };
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if packed.is_some() {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let versioned =
        uri.query().is_some_and(|query| query.split('&').any(|pair| pair == format!("v={version}")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, if versioned { KEEP } else { ASK_AGAIN });
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// Whether a browser takes gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let wanted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    wanted.split(',').map(str::trim).any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// Whether a path is a folder that holds files.
fn is_directory(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}

/// An error in place of a file.
fn minimal(status: StatusCode) -> Response {
    let text = status.to_string();
    let mut response =
        html_response(status, format!("<html><title>{text}</title><body>{text}</body></html>"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_file_with_its_version_may_be_kept() {
        let version = version("css/style.min.css").unwrap();
        let with = uri(&format!("/hub/static/css/style.min.css?v={version}"));
        let path = || Path("css/style.min.css".to_owned());
        let kept = file(path(), with, HeaderMap::new()).await;
        assert_eq!(kept.headers()[header::CACHE_CONTROL], KEEP);
        assert_eq!(kept.headers()[header::CONTENT_TYPE], "text/css");
        let other = file(path(), uri("/hub/static/css/style.min.css?v=old"), HeaderMap::new()).await;
        assert_eq!(other.headers()[header::CACHE_CONTROL], ASK_AGAIN);
    }

    #[tokio::test]
    async fn a_file_that_the_browser_has_is_304() {
        let mut headers = HeaderMap::new();
        let etag = format!("\"{}\"", version("js/page.js").unwrap());
        headers.insert(header::IF_NONE_MATCH, etag.parse().unwrap());
        let response = file(Path("js/page.js".to_owned()), uri("/hub/static/js/page.js"), headers).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn paths_that_are_no_files_are_refused() {
        for (path, status) in
            [("nope.css", 404), ("css", 403), ("css/", 403), ("../Cargo.toml", 404), ("", 404)]
        {
            let response = file(Path(path.to_owned()), uri("/x"), HeaderMap::new()).await;
            assert_eq!(response.status().as_u16(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn a_browser_that_takes_gzip_gets_it() {
        let ask = async |encoding: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
            file(Path("css/style.min.css".to_owned()), uri("/hub/static/css/style.min.css"), headers).await
        };
        let packed = ask("br, gzip;q=0.8").await;
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(packed.headers()[header::VARY], "accept-encoding");
        for plain in ["", "br", "gzip;q=0", "identity"] {
            let plain = ask(plain).await;
            assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
            assert_ne!(plain.headers()[header::ETAG], packed.headers()[header::ETAG]);
        }
    }

    #[test]
    fn style_and_scripts_of_all_pages_are_small() {
        let packed: usize = PACKED.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(packed < 15 * 1024, "{packed}");
    }
}
