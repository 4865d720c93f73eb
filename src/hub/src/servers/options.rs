//! What a person may choose for a server, and what a choice means for its start.
//!
//! `options_form` is a site's own HTML, whose fields become `user_options` as they are. `profile_list` is data:
//! environments to choose from, each with choices of its own, visible to all or to the members of some groups.
//! Whatever way a choice comes in, by form, link or API, it is checked here.

use std::collections::BTreeMap;

use hubd_proto::{ProfileName, Secret, ServerName, UserName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Hub;

/// The key of `user_options` that names an entry of `profile_list`.
pub const PROFILE: &str = "profile";

/// What may be chosen.
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    /// `Spawner.options_form`: HTML.
    pub form: String,
    /// `Spawner.options_from_form` is `simple`: single values are no lists, and `on` is true.
    pub simple: bool,
    /// `Spawner.apply_user_options`: which part of a start an option of the form sets.
    pub apply: BTreeMap<String, Attribute>,
    /// `Spawner.profile_list`.
    pub profiles: Vec<SpawnProfile>,
}

/// A part of a start that an option may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The helper's profile.
    Profile,
    /// Where the server opens.
    DefaultUrl,
    /// The directory that it shows.
    NotebookDir,
}

/// An environment to choose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpawnProfile {
    /// Its name in `user_options` and links.
    pub slug: String,
    /// Its title.
    pub display_name: String,
    /// A sentence about it.
    #[serde(default)]
    pub description: String,
    /// What it is limited to, for people: `4 GB of memory, 2 processors`.
    #[serde(default)]
    pub limits: String,
    /// Who sees it: members of these groups; everybody if there are none.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Chosen if nothing else is; otherwise the first is.
    #[serde(default)]
    pub default: bool,
    /// What it means.
    #[serde(default)]
    pub start: Chosen,
    /// What can be chosen inside it.
    #[serde(default)]
    pub options: Vec<ProfileOption>,
}

/// One question of an environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileOption {
    /// Its key in `user_options`.
    pub name: String,
    /// The question.
    pub display_name: String,
    /// The answers; the first is taken if there is none.
    pub choices: Vec<Choice>,
}

/// One answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Its value in `user_options`.
    pub name: String,
    /// Its title.
    pub display_name: String,
    /// What it means.
    #[serde(default)]
    pub start: Chosen,
}

/// What a choice changes about a start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// The `[profile.NAME]` of the helper's policy.
    #[serde(default)]
    pub profile: Option<ProfileName>,
    /// Where the server opens.
    #[serde(default)]
    pub default_url: Option<String>,
    /// The directory that it shows.
    #[serde(default)]
    pub notebook_dir: Option<String>,
    /// Variables; the helper's policy has to allow them.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

impl SpawnOptions {
    /// Whether people are asked before a start.
    pub fn asks(&self) -> bool {
        !self.form.is_empty() || !self.profiles.is_empty()
    }

    /// The environments that a member of `groups` sees.
    pub fn visible<'a>(&'a self, groups: &'a [String]) -> impl Iterator<Item = &'a SpawnProfile> {
        self.profiles.iter().filter(move |profile| {
            profile.groups.is_empty() || profile.groups.iter().any(|group| groups.contains(group))
        })
    }

    /// `user_options` of a posted form.
    pub fn of_form<'a>(&self, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
        let mut options: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let fields: Vec<(&str, &str)> = fields.filter(|(name, _)| *name != "_xsrf").collect();
        let slug = fields.iter().find(|(name, _)| *name == PROFILE).map_or("", |(_, slug)| slug);
        for (name, value) in fields {
            let name = match self.profiles.is_empty() {
                true => name,
                // A form has the questions of all environments; only those of the chosen one count.
                false => match name.strip_prefix("option.").and_then(|rest| rest.split_once('.')) {
                    Some((of, name)) if of == slug => name,
                    Some(_) => continue,
                    None => name,
                },
            };
            options.entry(name.to_owned()).or_default().push(Value::from(value));
        }
        let unpack = self.simple || !self.profiles.is_empty();
        let value = |mut values: Vec<Value>| match (unpack, values.len()) {
            (true, 1) => match values.pop() {
                Some(Value::String(on)) if on == "on" => Value::Bool(true),
                value => value.unwrap_or_default(),
            },
            _ => Value::Array(values),
        };
        options.into_iter().map(|(name, values)| (name, value(values))).collect::<Map<_, _>>().into()
    }

    /// What `options` mean for a member of `groups`.
    ///
    /// # Errors
    /// They name what there is not, or not for this person; the text says what.
    fn chosen(&self, options: &Value, groups: &[String]) -> Result<Chosen, String> {
        let mut chosen = Chosen::default();
        for (name, attribute) in &self.apply {
            let Some(text) = single(options, name) else { continue };
            match attribute {
                Attribute::Profile => {
                    chosen.profile =
                        Some(ProfileName::new(text).map_err(|error| format!("{name}: {error}"))?);
                }
                Attribute::DefaultUrl => chosen.default_url = Some(text.to_owned()),
                Attribute::NotebookDir => chosen.notebook_dir = Some(text.to_owned()),
            }
        }
        if self.profiles.is_empty() {
            return Ok(chosen);
        }
        let visible: Vec<&SpawnProfile> = self.visible(groups).collect();
        let profile = match single(options, PROFILE) {
            Some(slug) => visible.iter().find(|profile| profile.slug == slug),
            None => visible.iter().find(|profile| profile.default).or(visible.first()),
        };
        let Some(profile) = profile else {
            return Err(match single(options, PROFILE) {
                Some(slug) => format!("There is no environment {slug} for you."),
                None => "There is no environment for you. Ask the people who run this hub.".to_owned(),
            });
        };
        chosen.take(&profile.start);
        for option in &profile.options {
            let choice = match single(options, &option.name) {
                Some(name) => option.choices.iter().find(|choice| choice.name == name),
                None => option.choices.first(),
            };
            let choice =
                choice.ok_or_else(|| format!("{} is not one of the choices.", option.display_name))?;
            chosen.take(&choice.start);
        }
        Ok(chosen)
    }
}

impl Chosen {
    /// Takes over what `other` says.
    fn take(&mut self, other: &Self) {
        self.profile = other.profile.clone().or(self.profile.take());
        self.default_url = other.default_url.clone().or(self.default_url.take());
        self.notebook_dir = other.notebook_dir.clone().or(self.notebook_dir.take());
        self.environment.extend(other.environment.clone());
    }

    /// Writes it into the variables of a start.
    pub(super) fn apply(&self, user: &str, base_url: &str, variables: &mut BTreeMap<String, Secret>) {
        let filled = |text: &String| text.replace("{username}", user).replace("{base_url}", base_url);
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), Secret::new(value));
        if let Some(url) = &self.default_url {
            set("JUPYTERHUB_DEFAULT_URL", filled(url));
        }
        if let Some(path) = &self.notebook_dir {
            set("JUPYTERHUB_ROOT_DIR", filled(path));
        }
        for (name, value) in &self.environment {
            set(name, value.clone());
        }
    }
}

/// One option as text: links give lists, forms and programs texts.
fn single<'a>(options: &'a Value, name: &str) -> Option<&'a str> {
    match options.get(name)? {
        Value::Array(list) => list.first()?.as_str(),
        value => value.as_str(),
    }
}

impl Hub {
    /// What `user_options` mean for a start, or the options of the last start if there are none. Stored ones
    /// that mean nothing any more are as if there were none.
    ///
    /// # Errors
    /// They name what there is not for this person.
    pub(super) fn chosen(
        &self,
        user: &UserName,
        server: &ServerName,
        user_options: Option<&Value>,
    ) -> Result<Chosen, String> {
        let options = &self.settings.spawner.options;
        if options.profiles.is_empty() && options.apply.is_empty() {
            return Ok(Chosen::default());
        }
        let groups = self.store.groups_of(user.as_str()).map_err(|error| error.to_string())?;
        if let Some(given) = user_options {
            return options.chosen(given, &groups);
        }
        let stored = self.store.spawner(user.as_str(), server.as_str()).map_err(|error| error.to_string())?;
        let stored = stored.and_then(|row| row.user_options).unwrap_or_default();
        options.chosen(&stored, &groups).or_else(|_| options.chosen(&Value::Null, &groups))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options() -> SpawnOptions {
        let profiles = json!([
            {"slug": "small", "display_name": "Small", "start": {"environment": {"SIZE": "1"}}},
            {"slug": "gpu", "display_name": "GPU", "groups": ["ml"], "start": {"profile": "gpu"}, "options": [
                {"name": "image", "display_name": "Image", "choices": [
                    {"name": "stable", "display_name": "Stable"},
                    {"name": "new", "display_name": "New", "start": {"default_url": "/lab/{username}"}},
                ]},
            ]},
        ]);
        SpawnOptions { profiles: serde_json::from_value(profiles).unwrap(), ..SpawnOptions::default() }
    }

    #[test]
    fn a_choice_means_what_its_entry_says() {
        let ml = ["ml".to_owned()];
        let chosen = options().chosen(&json!({"profile": ["gpu"], "image": "new"}), &ml).unwrap();
        assert_eq!(chosen.profile.as_ref().map(ProfileName::as_str), Some("gpu"));
        let mut variables = BTreeMap::new();
        chosen.apply("alice", "/", &mut variables);
        assert_eq!(variables["JUPYTERHUB_DEFAULT_URL"].expose(), "/lab/alice");
        let chosen = options().chosen(&Value::Null, &ml).unwrap();
        assert_eq!(chosen.environment["SIZE"], "1");
    }

    #[test]
    fn what_is_not_there_for_a_person_is_refused() {
        let refused = |given: Value, groups: &[String]| options().chosen(&given, groups).unwrap_err();
        assert_eq!(refused(json!({"profile": "gpu"}), &[]), "There is no environment gpu for you.");
        let ml = ["ml".to_owned()];
        let text = refused(json!({"profile": "gpu", "image": "x"}), &ml);
        assert_eq!(text, "Image is not one of the choices.");
        let mut none = options();
        none.profiles.remove(0);
        assert!(none.chosen(&Value::Null, &[]).unwrap_err().contains("no environment for you"));
    }

    #[test]
    fn a_form_becomes_options_as_the_site_wants_them() {
        let fields = [("_xsrf", "x"), ("a", "1"), ("a", "2"), ("b", "on")];
        let mut plain = SpawnOptions::default();
        assert_eq!(plain.of_form(fields.into_iter()), json!({"a": ["1", "2"], "b": ["on"]}));
        plain.simple = true;
        assert_eq!(plain.of_form(fields.into_iter()), json!({"a": ["1", "2"], "b": true}));
        let fields = [("profile", "gpu"), ("option.gpu.image", "new"), ("option.small.x", "1")];
        assert_eq!(options().of_form(fields.into_iter()), json!({"profile": "gpu", "image": "new"}));
    }

    #[test]
    fn an_option_of_a_form_sets_what_the_site_says() {
        let apply =
            BTreeMap::from([("dir".to_owned(), Attribute::NotebookDir), ("p".into(), Attribute::Profile)]);
        let options = SpawnOptions { apply, ..SpawnOptions::default() };
        let chosen = options.chosen(&json!({"dir": ["~/x"]}), &[]).unwrap();
        assert_eq!(chosen.notebook_dir.as_deref(), Some("~/x"));
        assert!(options.chosen(&json!({"p": "../x"}), &[]).is_err());
    }
}
