//! The form of a server's options: a site's own HTML, or the environments of `profile_list`.

use axum::response::Response;
use http::StatusCode;
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::home::spawner_value;
use super::spawn::Target;
use super::templates::with_nonces;
use super::urls;
use super::visit::Visit;
use crate::servers::{PROFILE, SpawnProfile};

/// The form with what was chosen, and what was wrong with it.
pub fn page(
    visit: &Visit,
    target: &Target,
    chosen: Option<&serde_json::Value>,
    problem: Option<(StatusCode, &str)>,
) -> Result<Response, PageError> {
    let (owner, server) = (&target.owner, &target.server);
    let stored = match chosen {
        Some(_) => None,
        None => visit.hub.store.spawner(owner.as_str(), server.as_str())?.and_then(|row| row.user_options),
    };
    let chosen = chosen.or(stored.as_ref());
    let snapshot = visit.hub.server(owner, server);
    let options = &visit.hub.settings.spawner.options;
    let form = if options.profiles.is_empty() { own_form(visit) } else { profiles(visit, target, chosen)? };
    let mut query = visit.query();
    query.retain(|(name, _)| name != "_xsrf");
    query.push(("_xsrf".to_owned(), visit.xsrf_token()));
    let extra = context! {
        for_user => context! { name => owner.as_str() },
        spawner => spawner_value(visit, owner, server, &snapshot),
        spawner_options_form => form,
        error_message => problem.map(|(_, text)| visit.say(text)),
        url => urls::with_query(visit.parts.uri.path(), &query),
    };
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    Ok(visit.page(status, "spawn.html", extra))
}

/// A site's own HTML, whose scripts may run.
fn own_form(visit: &Visit) -> String {
    with_nonces(&visit.hub.settings.spawner.options.form).replace("{{ nonce }}", &visit.nonce.0)
}

/// The environments that the owner sees.
fn profiles(visit: &Visit, target: &Target, chosen: Option<&serde_json::Value>) -> Result<String, PageError> {
    let groups = visit.hub.store.groups_of(target.owner.as_str())?;
    let options = &visit.hub.settings.spawner.options;
    let visible: Vec<&SpawnProfile> = options.visible(&groups).collect();
    let given = |name: &str| {
        let value = chosen?.get(name)?;
        value.as_array().and_then(|list| list.first()).unwrap_or(value).as_str()
    };
    let default = || visible.iter().find(|profile| profile.default).or(visible.first());
    let slug = given(PROFILE).filter(|slug| visible.iter().any(|profile| profile.slug == *slug));
    let slug = slug.or_else(|| default().map(|profile| profile.slug.as_str())).unwrap_or_default();
    let rows = visible.iter().map(|profile| {
        let options = profile.options.iter().map(|option| {
            let choices = option.choices.iter().map(|choice| {
                let chosen = given(&option.name) == Some(choice.name.as_str()) && profile.slug == slug;
                context! { name => choice.name.as_str(), display_name => choice.display_name.as_str(), chosen => chosen }
            });
            let (name, title) = (option.name.as_str(), option.display_name.as_str());
            context! { name => name, display_name => title, choices => choices.collect::<Vec<Value>>() }
        });
        context! {
            slug => profile.slug.as_str(),
            display_name => profile.display_name.as_str(),
            description => profile.description.as_str(),
            limits => profile.limits.as_str(),
            chosen => profile.slug == slug,
            options => options.collect::<Vec<Value>>(),
        }
    });
    let texts = Value::from_pairs([("_", visit.language.function.clone())]);
    let context = context! { profiles => rows.collect::<Vec<Value>>(), ..texts };
    visit.hub.templates.render("spawn_profiles.html", context).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "template");
        PageError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    })
}
