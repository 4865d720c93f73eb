//! `Spawner.group_overrides`: other settings for the servers of some groups' members.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hubd_proto::ProfileName;
use serde::Deserialize;

use crate::settings::SpawnerSettings;

/// One entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupOverride {
    /// For members of any of these groups.
    pub groups: Vec<String>,
    /// What is another for them.
    pub spawner_override: SpawnerOverride,
}

/// Options of `Spawner` with other values; what is not said stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpawnerOverride {
    /// The profile of helper.toml.
    pub profile: Option<ProfileName>,
    /// Arguments.
    pub args: Option<Vec<String>>,
    /// Variables beside the others; `false` takes one away.
    pub environment: BTreeMap<String, Variable>,
    /// Where a server opens.
    pub default_url: Option<String>,
    /// The directory that it shows.
    pub notebook_dir: Option<String>,
    /// More log lines.
    pub debug: Option<bool>,
    /// No configuration of the person's.
    pub disable_user_config: Option<bool>,
    /// Seconds for the process to start.
    pub start_timeout: Option<u32>,
    /// Seconds for its first answer.
    pub http_timeout: Option<u32>,
}

/// A variable's value.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// Its text.
    Text(String),
    /// `false`: there is no such variable.
    Set(bool),
}

impl SpawnerSettings {
    /// The settings for a member of `groups`: the entries are applied one after the other.
    pub(super) fn for_groups(&self, groups: &[String]) -> Cow<'_, Self> {
        let mut settings = Cow::Borrowed(self);
        for entry in self.group_overrides.iter() {
            if entry.groups.iter().any(|group| groups.contains(group)) {
                entry.spawner_override.apply(settings.to_mut());
            }
        }
        settings
    }
}

impl SpawnerOverride {
    fn apply(&self, settings: &mut SpawnerSettings) {
        fn set<T: Clone>(place: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                place.clone_from(value);
            }
        }
        if self.profile.is_some() {
            settings.profile.clone_from(&self.profile);
        }
        set(&mut settings.args, self.args.as_ref());
        set(&mut settings.default_url, self.default_url.as_ref());
        set(&mut settings.notebook_dir, self.notebook_dir.as_ref());
        set(&mut settings.debug, self.debug.as_ref());
        set(&mut settings.disable_user_config, self.disable_user_config.as_ref());
        let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(seconds.into()));
        set(&mut settings.start_timeout, seconds(self.start_timeout).as_ref());
        set(&mut settings.http_timeout, seconds(self.http_timeout).as_ref());
        for (name, value) in &self.environment {
            match value {
                Variable::Text(text) => {
                    settings.environment.insert(name.clone(), text.clone());
                }
                Variable::Set(_) => {
                    settings.environment.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::settings;

    #[test]
    fn overrides_of_all_groups_of_a_person_count_in_order() {
        let entries = json!([
            {"groups": ["alpha"], "spawner_override": {"environment": {"A": "1", "BOTH": "a"}, "debug": true}},
            {"groups": ["beta", "gamma"], "spawner_override": {
                "environment": {"BOTH": "b", "BASE": false}, "default_url": "/tree", "http_timeout": 5
            }},
        ]);
        let mut spawner = settings().spawner;
        spawner.environment = [("BASE".to_owned(), "x".to_owned())].into();
        let entries: Vec<GroupOverride> = serde_json::from_value(entries).unwrap();
        spawner.group_overrides = entries.into();
        let of = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            spawner.for_groups(&groups).into_owned()
        };
        let nobody = of(&["other"]);
        assert_eq!((nobody.environment.len(), nobody.debug, nobody.default_url.as_str()), (1, false, ""));
        let both = of(&["gamma", "alpha"]);
        let shown: Vec<String> =
            both.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=1", "BOTH=b"]);
        assert!(both.debug && both.default_url == "/tree" && both.http_timeout == Duration::from_secs(5));
        assert_eq!(of(&["beta"]).environment.len(), 1);
    }

    #[test]
    fn what_cannot_be_overridden_is_named() {
        let entry = json!({"groups": [], "spawner_override": {"mem_limit": "2G"}});
        let error = serde_json::from_value::<GroupOverride>(entry).unwrap_err().to_string();
        assert!(error.contains("mem_limit"), "{error}");
    }
}
