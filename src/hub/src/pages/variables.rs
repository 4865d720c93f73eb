//! What every template knows: the person, what they may do, the services they see, the news.

use std::collections::BTreeMap;

use hubd_proto::{ServerName, UserName};
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Error, context};

use super::headers::Nonce;
use super::visit::Visit;
use super::{announcement, home, urls};
use crate::announcements::Announcement;
use crate::auth::scopes::Held;
use crate::services::ServiceLink;

impl Visit {
    /// What every page knows.
    pub(super) fn common(&self, nonce: &Nonce, xsrf_token: &str) -> Value {
        let settings = &self.hub.settings;
        let base_url = settings.hub_prefix();
        let admin = self.browser.as_ref().is_some_and(|browser| browser.user.admin);
        let held = self.held();
        let mut jhdata = serde_json::json!({
            "base_url": base_url,
            "prefix": settings.base_url,
            "admin_access": settings.admin_access && admin,
            "options_form": settings.spawner.options.asks(),
            "xsrf_token": xsrf_token,
        });
        if let Some(map) = jhdata.as_object_mut() {
            if let Some(browser) = &self.browser {
                map.insert("user".to_owned(), browser.name.as_str().into());
            }
            if self.language.tag != "en" {
                map.insert("texts".to_owned(), self.language.for_scripts.clone());
            }
        }
        context! {
            lang => self.language.tag,
            announcements => Serde(&self.undismissed()),
            here => self.uri(),
            base_url => base_url,
            prefix => settings.base_url.as_str(),
            user => self.browser.as_ref().map(|browser| self.user_value(&browser.name, browser.user.admin)),
            login_url => self.hub_url("login"),
            logout_url => self.hub_url("logout"),
            xsrf => xsrf_token,
            xsrf_token => xsrf_token,
            jhdata => Serde(&jhdata),
            nonce => nonce.0.as_str(),
            admin_ui => held.contains("admin-ui"),
            services => Serde(&self.services(&held)),
            parsed_scopes => parsed(&held),
            expanded_scopes => held.into_iter().collect::<Vec<_>>(),
            version_hash => super::assets::version("css/style.min.css"),
        }
    }

    /// The services that the person may use and that want to be seen.
    fn services(&self, held: &Held) -> Vec<ServiceLink> {
        if self.browser.is_none() {
            return Vec::new();
        }
        self.hub.services_for(held).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up services");
            Vec::new()
        })
    }

    /// The announcements that the person has not dismissed.
    fn undismissed(&self) -> Vec<Announcement> {
        let mut all = self.hub.announcements();
        if !all.is_empty() {
            let dismissed = announcement::dismissed(&self.parts.headers);
            all.retain(|news| !dismissed.contains(&news.id.as_str()));
        }
        all
    }

    /// What the person may do. A page is shown even if the database cannot be asked.
    fn held(&self) -> Held {
        let Some(browser) = &self.browser else { return Held::new() };
        self.hub.scopes_of_user(&browser.user).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up what a person may do");
            Held::new()
        })
    }

    /// `user.server_url(name)` of JupyterHub's templates.
    fn server_url_function(&self, name: &UserName) -> Value {
        let base = self.server_url(name.as_str(), "");
        Value::from_function(move |server: Option<&str>| match server {
            None | Some("") => base.clone(),
            Some(server) => format!("{base}{}/", urls::segment(server)),
        })
    }

    /// `user.all_spawners(include_default=…)` of JupyterHub's templates.
    fn all_spawners_function(&self, name: &UserName) -> Value {
        let all = home::servers_of(self, name, &ServerName::default()).unwrap_or_default();
        Value::from_function(move |options: Kwargs| -> Result<Value, Error> {
            let default = options.get::<Option<bool>>("include_default")?.unwrap_or(true);
            Ok(all.iter().skip(usize::from(!default)).cloned().collect())
        })
    }

    /// The `user` variable.
    fn user_value(&self, name: &UserName, admin: bool) -> Value {
        context! {
            name => name.as_str(),
            escaped_name => urls::segment(name.as_str()),
            json_escaped_name => name.as_str(),
            admin => admin,
            url => self.server_url(name.as_str(), ""),
            server_url => self.server_url_function(name),
            all_spawners => self.all_spawners_function(name),
            spawner => home::spawner_value(self, name, &ServerName::default(), &self.hub.server(name, &ServerName::default())),
        }
    }
}

/// The scopes with their filters apart, as JupyterHub's `parsed_scopes`.
fn parsed(held: &Held) -> Value {
    let mut parsed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for scope in held {
        let (name, filter) = scope.split_once('!').unwrap_or((scope, ""));
        let filters = parsed.entry(name).or_default();
        if !filter.is_empty() {
            filters.push(filter);
        }
    }
    Value::from(Serde(&parsed))
}
