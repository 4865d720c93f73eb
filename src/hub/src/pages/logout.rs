//! Logging out.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{StatusCode, header};
use minijinja::context;

use super::errors::PageError;
use super::guard;
use super::language::text;
use super::visit::{Visit, add_cookies};

/// `GET /hub/logout`: at once for a person who went there, after a question when another page sent them.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    if visit.browser.is_some() && !guard::went_here(&visit.parts.headers) {
        let extra = context! {
            title => text!("Log out?"),
            text => text!("Another page sent you here. Your servers keep running when you log out."),
            action => visit.hub_url("logout"),
            button => text!("Log out"),
            cancel_url => visit.hub_url("home"),
        };
        return Ok(visit.page(StatusCode::OK, "ask.html", extra));
    }
    end(&visit).await
}

/// `POST /hub/logout`: the answer to the question.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    visit.form(body).await?;
    end(&visit).await
}

/// Ends the login.
async fn end(visit: &Visit) -> Result<Response, PageError> {
    let cookies = match visit.browser {
        Some(_) => {
            let began = std::time::Instant::now();
            let cookies = visit.hub.finish_logout(&visit.parts).await?;
            visit.hub.metrics.logout(began.elapsed());
            cookies
        }
        None => Vec::new(),
    };
    let mut response = if visit.hub.access.load().auto_login {
        // The login page would let the person in again.
        let stranger = Visit::of_stranger(Arc::clone(&visit.hub), visit.parts.clone());
        let mut page = stranger.page(StatusCode::OK, "logout.html", context! {});
        page.headers_mut().remove(header::SET_COOKIE);
        page
    } else {
        visit.found(&visit.hub_url("login"))
    };
    add_cookies(&mut response, cookies);
    Ok(response)
}
