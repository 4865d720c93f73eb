//! `options_form`, `profile_list` and their like: what they mean, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use hubd_hub::servers::{Attribute, GroupOverride, SpawnOptions, SpawnProfile};
use serde_json::Value;

use super::Values;
use super::problem::Problem;

/// Reads the options of `classes`.
pub fn read(values: &Values, classes: &[&str], problems: &mut Vec<Problem>) -> SpawnOptions {
    let form = values.text(classes, "options_form");
    let profiles = profiles(values, classes, problems);
    if !form.is_empty() && !profiles.is_empty() {
        let text = "Spawner.options_form and Spawner.profile_list are both set";
        let cure = "write one of them: profile_list has a form of its own";
        problems.push(Problem::new(&values.origin(classes, "options_form"), text, cure));
    }
    SpawnOptions {
        form,
        simple: values.text(classes, "options_from_form") == "simple",
        apply: apply(values, classes, problems),
        profiles,
    }
}

/// Reads `group_overrides`, in the order of their keys.
pub fn overrides(values: &Values, classes: &[&str], problems: &mut Vec<Problem>) -> Vec<GroupOverride> {
    let mut read = Vec::new();
    for (key, entry) in values.table(classes, "group_overrides") {
        match serde_json::from_value(entry) {
            Ok(entry) => read.push(entry),
            Err(error) => {
                let text = format!("Spawner.group_overrides: {key}: {error}");
                let cure =
                    "see group_overrides in hubd.toml(5); what root decides is a profile of helper.toml(5)";
                problems.push(Problem::new(&values.origin(classes, "group_overrides"), text, cure));
            }
        }
    }
    read
}

fn apply(values: &Values, classes: &[&str], problems: &mut Vec<Problem>) -> BTreeMap<String, Attribute> {
    let mut read = BTreeMap::new();
    for (name, attribute) in values.table(classes, "apply_user_options") {
        match serde_json::from_value(attribute.clone()) {
            Ok(attribute) => {
                read.insert(name, attribute);
            }
            Err(_) => {
                let text = format!("Spawner.apply_user_options: {name} cannot set {attribute}");
                let cure = "write profile, default_url or notebook_dir";
                problems.push(Problem::new(&values.origin(classes, "apply_user_options"), text, cure));
            }
        }
    }
    read
}

fn profiles(values: &Values, classes: &[&str], problems: &mut Vec<Problem>) -> Vec<SpawnProfile> {
    let (mut read, mut slugs) = (Vec::<SpawnProfile>::new(), BTreeSet::new());
    for (index, table) in values.tables(classes, "profile_list").into_iter().enumerate() {
        let mut wrong = |text: String| {
            let origin = values.part_origin("Spawner", "profile_list", &format!("/{index}"));
            let text = format!("Spawner.profile_list: {text}");
            problems.push(Problem::new(&origin, text, "see profile_list in hubd.toml(5)"));
        };
        match serde_json::from_value::<SpawnProfile>(Value::Object(table.into_iter().collect())) {
            Ok(profile) if !slugs.insert(profile.slug.clone()) => {
                wrong(format!("{} stands here twice", profile.slug));
            }
            Ok(profile) if profile.options.iter().any(|option| option.choices.is_empty()) => {
                wrong(format!("a question of {} has no choices", profile.slug));
            }
            Ok(profile) if profile.slug.is_empty() || profile.slug.contains('.') => {
                wrong(format!("{:?} is no slug: write letters, digits and -", profile.slug));
            }
            Ok(profile) => read.push(profile),
            Err(error) => wrong(error.to_string()),
        }
    }
    read
}
