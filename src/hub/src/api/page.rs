//! Lists in parts: `offset`, `limit`, and the form with `items` and `_pagination`.

use axum::response::Response;
use http::header;
use hubd_store::Page;
use serde_json::{Value, json};

use super::answer::read_answer;
use super::ask::Ask;
use crate::error::HttpError;
use crate::pages::urls;

/// The media type that asks for the form with `_pagination`.
const MEDIA_TYPE: &str = "application/jupyterhub-pagination+json";
/// Which part is asked for, and in which form.
pub struct Paging {
    /// The part.
    pub page: Page,
    with_pagination: bool,
}

impl Paging {
    /// Reads the request.
    pub fn of(ask: &Ask) -> Result<Self, HttpError> {
        let accept = ask.parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let with_pagination =
            accept.unwrap_or_default().split(',').any(|kind| kind.trim().eq_ignore_ascii_case(MEDIA_TYPE));
        let number = |name: &str, otherwise: i64| match ask.argument(name)? {
            None => Ok(otherwise),
            Some(text) => super::python::integer(&text).map(i64::saturating_abs).ok_or_else(|| {
                HttpError::bad_request("Invalid argument type, offset and limit must be integers")
            }),
        };
        let offset = number("offset", 0)?;
        let settings = &ask.hub.settings;
        let max = i64::from(settings.api_page_max_limit.max(1));
        let default = if with_pagination { i64::from(settings.api_page_default_limit) } else { max };
        let limit = number("limit", default)?;
        Ok(Self { page: Page { offset, limit: limit.clamp(1, max) }, with_pagination })
    }

    /// The same in the form with `_pagination`, whatever was asked for.
    pub fn in_parts(self) -> Self {
        Self { with_pagination: true, ..self }
    }

    /// The answer.
    pub fn answer(&self, ask: &Ask, items: Vec<Value>, total: i64) -> Response {
        self.answer_with(ask, Value::Array(items), total)
    }

    /// The answer, whose items need not be a list.
    pub fn answer_with(&self, ask: &Ask, items: Value, total: i64) -> Response {
        if !self.with_pagination {
            return read_answer(&ask.parts.headers, &items);
        }
        let Page { offset, limit } = self.page;
        let next_offset = offset.saturating_add(limit);
        let next = (next_offset < total)
            .then(|| json!({ "offset": next_offset, "limit": limit, "url": self.url(ask, next_offset) }));
        let pagination = json!({ "offset": offset, "limit": limit, "total": total, "next": next });
        read_answer(&ask.parts.headers, &json!({ "items": items, "_pagination": pagination }))
    }

    /// The request's own address with another offset: its parameters keep their places.
    fn url(&self, ask: &Ask, offset: i64) -> String {
        let mut pairs = ask.query();
        for (name, number) in [("offset", offset), ("limit", self.page.limit)] {
            match pairs.iter_mut().find(|(known, _)| known == name) {
                Some(pair) => pair.1 = number.to_string(),
                None => pairs.push((name.to_owned(), number.to_string())),
            }
        }
        let origin = ask.hub.origin(&ask.parts);
        format!("{origin}{}", urls::with_query(ask.parts.uri.path(), &pairs))
    }
}
