//! Logging in: the form, what PAM asks beyond a password, and what it says.

use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hubd_proto::message::Notice;
use hubd_proto::{Secret, UserName};
use minijinja::context;
use minijinja::value::{Serde, Value};

use super::access_log::Asker;
use super::errors::PageError;
use super::form::Form;
use super::headers::allow_form_target;
use super::language::text;
use super::urls;
use super::visit::{Visit, add_cookies};
use crate::auth::Browser;
use crate::error::HttpError;
use crate::login::{LoggedIn, LoginRefused, LoginStep, Pending};

/// Longest name that is shown again as typed, in characters. A longer one was probably a password.
const SHOWN_NAME_CHARS_MAX: usize = 32;
/// Characters that are left of a longer one.
const SHOWN_NAME_CHARS: usize = 16;
/// What is said when the form is too old, or came from elsewhere.
const FORM_EXPIRED: &str = text!("Login form invalid or expired. Try again.");

/// `GET /hub/login`.
pub async fn form(visit: Visit) -> Result<Response, PageError> {
    if visit.browser.is_some() {
        return Ok(visit.found(&visit.hub.next_url(&visit.parts, visit.browser.as_ref())));
    }
    if visit.hub.access.load().auto_login {
        // No authenticator here takes a name from the request itself, so nobody is let in.
        return Err(HttpError::bare(StatusCode::FORBIDDEN).into());
    }
    let username = visit.argument("username").unwrap_or_default();
    let extra = || login_values(&visit, &Shown { username: &username, ..Shown::default() });
    Ok(for_application(&visit, visit.page_of_strangers("login.html", extra)))
}

/// `POST /hub/login`: a name and password, or the answer to a further question.
pub async fn submit(visit: Visit, body: Body) -> Result<Response, PageError> {
    let form = Form::read(&visit.parts.headers, body).await?;
    let username = form.get("username").unwrap_or_default().trim();
    if let Err(error) = visit.check_xsrf(form.get("_xsrf")) {
        let why = error.message.unwrap_or_default();
        tracing::error!("XSRF error on login form: HTTP 403: Forbidden ({why})");
        let shown = Shown { username, error: FORM_EXPIRED, ..Shown::default() };
        return Ok(login_page(&visit, StatusCode::FORBIDDEN, &shown));
    }
    let began = Instant::now();
    let step = if let Some(id) = form.get("conversation") {
        let answer = form.secret("answer").cloned().unwrap_or_else(|| Secret::new(String::new()));
        visit.hub.login_answer(id, answer).await
    } else if form.get("username").is_some() {
        let password = form.secret("password").cloned().unwrap_or_else(|| Secret::new(String::new()));
        visit.hub.login_begin(username, password, visit.source()).await
    } else {
        let shown = Shown { error: text!("Give a user name and a password."), ..Shown::default() };
        return Ok(login_page(&visit, StatusCode::BAD_REQUEST, &shown));
    };
    if !matches!(step, LoginStep::Prompt(_)) {
        let succeeded = matches!(step, LoginStep::Done(_));
        visit.hub.metrics.login(succeeded, began.elapsed());
    }
    match step {
        LoginStep::Prompt(pending) => Ok(prompt_page(&visit, &pending)),
        LoginStep::Refused(refused) => Ok(refused_page(&visit, username, &refused)),
        LoginStep::Done(login) => welcome(&visit, login).await,
    }
}

/// What the login form shows again.
#[derive(Default)]
struct Shown<'a> {
    username: &'a str,
    error: &'a str,
    notices: &'a [Notice],
    retry_after_seconds: Option<u32>,
}

/// The login form.
fn login_page(visit: &Visit, status: StatusCode, shown: &Shown) -> Response {
    for_application(visit, visit.page(status, "login.html", login_values(visit, shown)))
}

/// What the form's template wants to know.
fn login_values(visit: &Visit, shown: &Shown) -> Value {
    context! {
        next => urls::value(&visit.argument("next").unwrap_or_default()),
        username => shown_name(shown.username),
        login_error => shown.error,
        notices => notices(shown.notices),
        retry_after_seconds => shown.retry_after_seconds,
        authenticator_login_url => form_action(visit),
        authenticator => context! { request_otp => false },
    }
}

/// A login that began at an application of another origin ends there.
fn for_application(visit: &Visit, mut response: Response) -> Response {
    if let Some(url) = application(&visit.argument("next").unwrap_or_default()) {
        allow_form_target(response.headers_mut(), &url);
    }
    response
}

/// The `redirect_uri` of an OAuth request that `next` leads to.
fn application(next: &str) -> Option<String> {
    let (path, query) = next.split_once('?')?;
    let pairs = urls::pairs(query);
    let uri = pairs.into_iter().find(|(name, _)| name == "redirect_uri").map(|(_, value)| value);
    uri.filter(|_| path.ends_with("/api/oauth2/authorize"))
}

/// The next question of the conversation.
fn prompt_page(visit: &Visit, pending: &Pending) -> Response {
    let text = pending.prompt.text.trim();
    let extra = context! {
        conversation => pending.id.as_str(),
        username => pending.user.as_str(),
        prompt => text,
        echo => pending.prompt.echo,
        autocomplete => autocomplete(text),
        notices => notices(&pending.notices),
        authenticator_login_url => form_action(visit),
    };
    visit.page(StatusCode::OK, "login_prompt.html", extra)
}

/// The form again, with the reason.
fn refused_page(visit: &Visit, username: &str, refused: &LoginRefused) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::FORBIDDEN);
    let shown = Shown {
        username,
        error: &refused.message,
        notices: &refused.notices,
        retry_after_seconds: refused.retry_after_seconds,
    };
    let mut response = login_page(visit, status, &shown);
    if let Some(seconds) = refused.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Lets the person in. What PAM said about the account is shown before the browser goes on.
async fn welcome(visit: &Visit, login: LoggedIn) -> Result<Response, PageError> {
    let name = login.user.clone();
    let said: Vec<Notice> = login.notices.iter().filter(|notice| matters(notice)).cloned().collect();
    let cookies = match visit.hub.finish_login(&visit.parts, login).await {
        Ok(cookies) => cookies,
        Err(error) => {
            let text = error.message.as_deref().unwrap_or("The hub cannot let you in at the moment.");
            let shown = Shown { username: name.as_str(), error: text, ..Shown::default() };
            return Ok(login_page(visit, error.status, &shown));
        }
    };
    let browser = browser(visit, &name)?;
    let next = visit.hub.next_url(&visit.parts, browser.as_ref());
    let mut response = if said.is_empty() {
        visit.found(&next)
    } else {
        visit.page(
            StatusCode::OK,
            "login_notices.html",
            context! { next_url => next, notices => notices(&said) },
        )
    };
    // The page above may have brought a token for the stranger that the person was a moment ago.
    response.headers_mut().remove(header::SET_COOKIE);
    add_cookies(&mut response, cookies);
    response.extensions_mut().insert(Asker(name.to_string()));
    Ok(response)
}

/// The browser as the next request will be known.
fn browser(visit: &Visit, name: &UserName) -> Result<Option<Browser>, PageError> {
    let user = visit.hub.store.user(name.as_str())?;
    Ok(user.map(|user| Browser { user, name: name.clone(), session_id: None, began: 0 }))
}

/// Whether a notice is worth a page of its own: greetings such as the last login's time are not.
fn matters(notice: &Notice) -> bool {
    let text = notice.text.to_ascii_lowercase();
    notice.error || ["expire", "password", "quota"].iter().any(|word| text.contains(word))
}

/// Where the forms go: always with `next=`, which scripts look for.
fn form_action(visit: &Visit) -> String {
    let next = visit.argument("next").unwrap_or_default();
    format!("{}?next={}", visit.hub_url("login"), urls::value(&next))
}

/// What a browser's password manager should offer.
fn autocomplete(prompt: &str) -> &'static str {
    let prompt = prompt.to_lowercase();
    let about = |words: &[&str]| words.iter().any(|word| prompt.contains(word));
    if about(&["new", "retype", "again"]) {
        "new-password"
    } else if about(&["code", "otp", "token", "verification", "one-time"]) {
        "one-time-code"
    } else if about(&["password"]) {
        "current-password"
    } else {
        "off"
    }
}

/// Notices for a template.
fn notices(notices: &[Notice]) -> Value {
    Value::from(Serde(notices))
}

/// A name as it is shown again.
fn shown_name(name: &str) -> String {
    let chars = name.chars().count();
    if chars <= SHOWN_NAME_CHARS_MAX {
        return name.to_owned();
    }
    let start: String = name.chars().take(SHOWN_NAME_CHARS).collect();
    format!("{start}...({chars} chars)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_began_at_an_application_knows_where_it_ends() {
        let next = "/hub/api/oauth2/authorize?client_id=x&redirect_uri=https%3A%2F%2Fapp.example%2Fcb";
        assert_eq!(application(next).as_deref(), Some("https://app.example/cb"));
        assert_eq!(application("/hub/home?redirect_uri=https%3A%2F%2Fapp.example%2Fcb"), None);
    }

    #[test]
    fn long_names_are_not_shown_in_full() {
        assert_eq!(shown_name("erin"), "erin");
        assert_eq!(shown_name(&"a".repeat(40)), "aaaaaaaaaaaaaaaa...(40 chars)");
    }

    #[test]
    fn password_managers_are_told_what_a_prompt_asks() {
        assert_eq!(autocomplete("Verification code:"), "one-time-code");
        assert_eq!(autocomplete("New password:"), "new-password");
        assert_eq!(autocomplete("Retype new password:"), "new-password");
        assert_eq!(autocomplete("Current password:"), "current-password");
        assert_eq!(autocomplete("What now?"), "off");
    }

    #[test]
    fn only_notices_that_matter_hold_a_person_up() {
        let notice = |error, text: &str| Notice { error, text: text.to_owned() };
        assert!(matters(&notice(false, "Warning: your password will expire in 3 days")));
        assert!(matters(&notice(true, "something")));
        assert!(!matters(&notice(false, "Last login: Sat Nov 21 on pts/0")));
    }
}
