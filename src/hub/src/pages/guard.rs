//! Whether a person really went to a page, or another page sent the browser there.
//!
//! `GET /hub/spawn` and `GET /hub/logout` change something, because JupyterHub's links do. A browser says
//! in its `Sec-Fetch-*` headers who caused a request; when that is another site, or an image or a frame, the
//! page asks first. Clients without these headers are not browsers of our time and are taken at their word.

use http::HeaderMap;

/// Whether a `GET` may have its effect at once.
pub fn went_here(headers: &HeaderMap) -> bool {
    let is = |name: &str, allowed: &[&str]| match headers.get(name) {
        None => true,
        Some(value) => allowed.iter().any(|allowed| value.as_bytes() == allowed.as_bytes()),
    };
    // A browser that loads ahead of the person has not been sent by the person.
    let ahead = ["sec-purpose", "purpose"].iter().any(|name| headers.contains_key(*name));
    !ahead
        && is("sec-fetch-site", &["same-origin", "none"])
        && is("sec-fetch-mode", &["navigate"])
        && is("sec-fetch-dest", &["document"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_typed_address_and_an_own_link_have_their_effect() {
        for site in ["none", "same-origin"] {
            assert!(went_here(&headers(&[
                ("sec-fetch-site", site),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ])));
        }
    }

    #[test]
    fn clients_without_the_headers_behave_as_in_jupyterhub() {
        assert!(went_here(&HeaderMap::new()));
    }

    #[test]
    fn foreign_links_images_and_frames_have_no_effect() {
        for refused in [
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")],
            [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")],
            [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")],
            [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            [("sec-fetch-site", "what"), ("sec-fetch-mode", "navigate")],
            [("sec-fetch-site", "same-origin"), ("sec-purpose", "prefetch;prerender")],
        ] {
            assert!(!went_here(&headers(&refused)), "{refused:?}");
        }
    }
}
