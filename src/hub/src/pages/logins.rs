//! `/hub/logins`: the browsers in which a person is logged in, each to be ended, or all at once.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hubd_store::Login;
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::home::iso_time;
use super::visit::{Visit, add_cookies};
use crate::auth::Browser;

/// Browsers by a mark in what they say of themselves; those that also bear the marks of others come first.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];
/// Systems, likewise.
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// The person's logins for a template, this browser's first.
pub fn of(visit: &Visit, browser: &Browser) -> Result<Vec<Value>, PageError> {
    let mut logins = visit.hub.store.logins(browser.user.id, visit.hub.oldest_login())?;
    logins.sort_by_key(|login| login.began != browser.began);
    Ok(logins.iter().map(|login| value(login, login.began == browser.began)).collect())
}

/// `POST /hub/logins/end`: ends one login of the person's, or all of them.
pub async fn end(visit: Visit, body: Body) -> Result<Response, PageError> {
    visit.person()?;
    let form = visit.form(body).await?;
    let browser = visit.person()?;
    let hub = &visit.hub;
    if form.get("all").is_some() {
        let cookies = hub.finish_logout_everywhere(&visit.parts).await?;
        let mut response = visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("login"));
        add_cookies(&mut response, cookies);
        return Ok(response);
    }
    let began = form.get("login").and_then(|text| text.parse::<i64>().ok());
    let known = hub.store.logins(browser.user.id, 0)?.into_iter().find(|login| Some(login.began) == began);
    if let Some(login) = known.filter(|login| login.began != browser.began) {
        hub.logins.release(login.session_id.as_deref().unwrap_or_default());
        hub.store.end_login(browser.user.id, login.began, None)?;
        tracing::info!("{} ended a login of {}", browser.name, login.address);
    }
    Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("token#logins")))
}

fn value(login: &Login, here: bool) -> Value {
    let time = |seconds: i64| {
        let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        iso_time(std::time::UNIX_EPOCH + since)
    };
    context! {
        id => login.began,
        here => here,
        address => login.address.as_str(),
        browser => find(&BROWSERS, &login.browser),
        system => find(&SYSTEMS, &login.browser),
        began => time(login.began),
        last_seen => time(login.last_seen),
    }
}

/// The name whose mark a text has.
fn find(known: &[(&str, &'static str)], text: &str) -> Option<&'static str> {
    known.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_what_they_say() {
        for (agent, browser, system) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox", "Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
                "Edge",
                "Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) Version/18.0 Mobile Safari/604.1",
                "Safari",
                "iPhone",
            ),
        ] {
            assert_eq!((find(&BROWSERS, agent), find(&SYSTEMS, agent)), (Some(browser), Some(system)));
        }
        assert_eq!(find(&BROWSERS, "<script>"), None);
    }
}
