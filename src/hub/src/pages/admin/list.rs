//! The list of users.

use axum::response::Response;
use http::StatusCode;
use hubd_proto::{ServerName, UserName};
use hubd_store::{Page, User, UserFilter, UserOrder, UserState, UserSubset};
use minijinja::context;
use minijinja::value::{Serde, Value};

use super::{SEARCH_CHARS_MAX, check, group_names, page, user_url};
use crate::auth::scopes::{self, Held};
use crate::pages::errors::PageError;
use crate::pages::home::{iso_time, spawner_value};
use crate::pages::language::text;
use crate::pages::urls;
use crate::pages::visit::Visit;
use crate::servers::State;

/// Users on one page, JupyterHub's `api_page_default_limit`.
const USERS_PER_PAGE: i64 = 50;
/// What the menu of page sizes offers; the last is JupyterHub's `api_page_max_limit`.
const SIZES: [i64; 4] = [25, 50, 100, 200];
/// What the menu of states offers: value and title.
const STATES: [(&str, &str); 4] = [
    ("", text!("All")),
    ("active", text!("Active")),
    ("ready", text!("Running")),
    ("inactive", text!("Not running")),
];
/// Roles that need no mark of their own.
const USUAL_ROLES: [&str; 2] = ["user", "admin"];

/// What the address asks for.
struct Wanted {
    search: String,
    state: String,
    group: String,
    sort: String,
    offset: i64,
    limit: i64,
}

impl Wanted {
    fn of(visit: &Visit) -> Self {
        let text = |name: &str| -> String {
            visit.argument(name).unwrap_or_default().chars().take(SEARCH_CHARS_MAX).collect()
        };
        let number = |name: &str| visit.argument(name).and_then(|text| text.parse::<i64>().ok());
        let search = [text("user_search"), text("name_filter")].concat();
        let state = match text("state") {
            state if STATES.iter().any(|(known, _)| *known == state) && !state.is_empty() => state,
            _ if visit.argument("active_servers").is_some() => "active".to_owned(),
            _ => String::new(),
        };
        let sort = Some(text("sort")).filter(|sort| order(sort).is_some()).unwrap_or_else(|| "name".into());
        Self {
            search,
            state,
            group: text("group"),
            sort,
            offset: number("offset").unwrap_or(0).max(0),
            limit: number("limit").filter(|limit| SIZES.contains(limit)).unwrap_or(USERS_PER_PAGE),
        }
    }

    /// The query of another part or order of the same list.
    fn query(&self, offset: i64, sort: &str, limit: i64) -> Vec<(String, String)> {
        let all = [
            ("user_search", self.search.clone()),
            ("state", self.state.clone()),
            ("group", self.group.clone()),
            ("sort", if sort == "name" { String::new() } else { sort.to_owned() }),
            ("offset", if offset > 0 { offset.to_string() } else { String::new() }),
            ("limit", if limit == USERS_PER_PAGE { String::new() } else { limit.to_string() }),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

/// `GET /hub/admin`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    let held = check(&visit)?;
    let wanted = Wanted::of(&visit);
    let filter = filter(&visit, &held, &wanted)?;
    let (users, total) =
        visit.hub.store.users(&filter, Page { offset: wanted.offset, limit: wanted.limit })?;
    let names: Vec<UserName> =
        users.iter().filter_map(|user| UserName::new(user.name.as_str()).ok()).collect();
    visit.hub.look_at_figures(&names).await;
    let shown = i64::try_from(users.len()).unwrap_or(wanted.limit);
    let (offset, limit) = (wanted.offset, wanted.limit);
    let list = visit.hub_url("admin");
    let at = |offset: i64| urls::with_query(&list, &wanted.query(offset, &wanted.sort, limit));
    let by = |key: &str| {
        let sort = if wanted.sort == key { format!("-{key}") } else { key.to_owned() };
        urls::with_query(&list, &wanted.query(0, &sort, limit))
    };
    let (active, starting) = visit.hub.servers.count();
    let extra = context! {
        tab => "users",
        users => users.iter().filter_map(|user| row(&visit, user)).collect::<Vec<_>>(),
        groups => group_names(&visit).await?,
        states => STATES.to_vec(),
        sizes => SIZES.to_vec(),
        search => wanted.search.as_str(),
        state => wanted.state.as_str(),
        group => wanted.group.as_str(),
        sort => wanted.sort.as_str(),
        sort_urls => context! { name => by("name"), last_activity => by("last_activity") },
        filtered => !(wanted.search.is_empty() && wanted.state.is_empty() && wanted.group.is_empty()),
        kept => Serde(&wanted.query(0, &wanted.sort, USERS_PER_PAGE)),
        limit => limit,
        first => if shown > 0 { offset.saturating_add(1) } else { 0 },
        last => offset.saturating_add(shown),
        total => total,
        running => active - starting,
        starting => starting,
        previous_url => (offset > 0).then(|| at((offset - limit).max(0))),
        next_url => (offset.saturating_add(shown) < total && shown > 0).then(|| at(offset + shown)),
        api_page_limit => USERS_PER_PAGE,
    };
    Ok(page(&visit, StatusCode::OK, "admin.html", extra))
}

/// Who is listed.
fn filter(visit: &Visit, held: &Held, wanted: &Wanted) -> Result<UserFilter, PageError> {
    let hub = &visit.hub;
    let only = match scopes::access(held, "list:users", scopes::Target::All, hub.store.as_ref()) {
        scopes::Access::Allowed => None,
        scopes::Access::Elsewhere => {
            let names =
                |kind| scopes::filters(held, "list:users", kind).map(str::to_owned).collect::<Vec<_>>();
            Some(UserSubset { users: names("user"), groups: names("group") })
        }
        // Who may not list anybody sees at least themselves.
        scopes::Access::Denied => {
            Some(UserSubset { users: vec![visit.person()?.name.to_string()], groups: Vec::new() })
        }
    };
    let among = match wanted.state.as_str() {
        "active" => Some(hub.users_with(State::is_active)),
        "ready" => Some(hub.users_with(|state| *state == State::Ready)),
        _ => None,
    };
    let (order, descending) = order(&wanted.sort).unwrap_or((UserOrder::Name, false));
    Ok(UserFilter {
        state: (wanted.state == "inactive").then_some(UserState::Inactive),
        name: Some(wanted.search.clone()).filter(|name| !name.is_empty()),
        only,
        group: Some(wanted.group.clone()).filter(|name| !name.is_empty()),
        among,
        order,
        descending,
    })
}

/// What `sort` means.
fn order(sort: &str) -> Option<(UserOrder, bool)> {
    let (name, descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
    match name {
        "name" => Some((UserOrder::Name, descending)),
        "last_activity" => Some((UserOrder::LastActivity, descending)),
        "id" => Some((UserOrder::Id, descending)),
        _ => None,
    }
}

/// A user with the default server first, then those that run beside it.
fn row(visit: &Visit, user: &User) -> Option<Value> {
    let owner = UserName::new(user.name.as_str()).ok()?;
    let default = ServerName::default();
    let mut servers = vec![spawner_value(visit, &owner, &default, &visit.hub.server(&owner, &default))];
    for (name, snapshot) in visit.hub.servers_of(&owner) {
        if !name.is_default() {
            servers.push(spawner_value(visit, &owner, &name, &snapshot));
        }
    }
    let unusual = |role: &&String| !USUAL_ROLES.contains(&role.as_str());
    Some(context! {
        name => owner.as_str(),
        url => user_url(visit, owner.as_str()),
        admin => user.admin,
        roles => user.roles.iter().filter(unusual).cloned().collect::<Vec<_>>(),
        groups => user.groups.clone(),
        last_activity => user.last_activity.map(iso_time),
        servers => servers,
    })
}
