//! A small browser: it keeps cookies and says who caused a request.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;

use crate::pages::urls;
use crate::routes::Site;
use crate::test_support::{FakeHelper, PASSWORD, TestHub};

/// Longest page that a test reads, in bytes.
const PAGE_BYTES_MAX: usize = 100_000;

/// A browser and the hub it talks to.
pub struct Browser {
    pub test: TestHub,
    pub cookies: BTreeMap<String, String>,
    /// What it asks for in `Host`.
    pub host: &'static str,
    /// Sent with each request.
    pub headers: Vec<(&'static str, &'static str)>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The page's heading.
    pub fn heading(&self) -> &str {
        let Some(start) = self.text.find("<h1") else { return "" };
        let text = &self.text[start..];
        let text = &text[text.find('>').unwrap() + 1..];
        text[..text.find("</h1>").unwrap()].trim()
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let start =
            self.text.find(&mark).unwrap_or_else(|| panic!("no {name} in {}", self.text)) + mark.len();
        self.text[start..].split('"').next().unwrap().to_owned()
    }

    #[track_caller]
    pub fn is(self, status: u16, location: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.location()), (status, location), "{}", self.text);
        self
    }
}

impl Browser {
    pub async fn new() -> Self {
        Self::on(TestHub::new().await)
    }

    pub fn on(test: TestHub) -> Self {
        Self { test, cookies: BTreeMap::new(), host: "hub.example", headers: Vec::new() }
    }

    /// A browser in which `name` is logged in.
    pub async fn of(name: &str) -> Self {
        let mut browser = Self::new().await;
        browser.log_in(name, PASSWORD).await.is(302, "/hub/spawn");
        browser
    }

    pub fn helper(&self) -> &FakeHelper {
        &self.test.helper
    }

    pub async fn log_in(&mut self, name: &str, password: &str) -> Answer {
        let page = self.get("/hub/login").await;
        let xsrf = page.field("_xsrf");
        self.post("/hub/login?next=", &[("username", name), ("password", password), ("_xsrf", &xsrf)]).await
    }

    pub async fn get(&mut self, uri: &str) -> Answer {
        self.send("GET", uri, Body::empty()).await
    }

    /// Posts a form.
    pub async fn post(&mut self, uri: &str, fields: &[(&str, &str)]) -> Answer {
        let form: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", urls::value(name), urls::value(value)))
            .collect();
        self.send("POST", uri, Body::from(form.join("&"))).await
    }

    /// Posts JSON, as the pages' scripts do.
    pub async fn call(&mut self, method: &str, uri: &str) -> Answer {
        let uri = format!("{uri}?_xsrf={}", self.cookies["_xsrf"]);
        self.send_as("application/json", method, &uri, Body::empty()).await
    }

    pub async fn send(&mut self, method: &str, uri: &str, body: Body) -> Answer {
        self.send_as("application/x-www-form-urlencoded", method, uri, body).await
    }

    async fn send_as(&mut self, kind: &str, method: &str, uri: &str, body: Body) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, self.host)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, kind);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let site = Site::new(self.test.hub.clone());
        let response = site.answer(request.body(body).unwrap()).await;
        self.keep_cookies(&response);
        read(response).await
    }

    fn keep_cookies(&mut self, response: &Response) {
        for value in response.headers().get_all(header::SET_COOKIE) {
            let pair = value.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match value.trim_matches('"') {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }
}

/// Reads an answer.
pub async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    assert!(bytes.len() < PAGE_BYTES_MAX);
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}
