//! What the configuration says of services and of tokens for services and users.

use std::collections::BTreeSet;
use std::time::Duration;

use hubd_hub::services::{ServiceSettings, Spec, token_is_good};
use hubd_proto::{Secret, ServerName, UserName};

use super::plan::HUB;
use super::problem::Problem;
use super::{Values, value};

/// Reads the options; problems name the line of the service or token, never the token.
pub fn settings(values: &Values, problems: &mut Vec<Problem>) -> ServiceSettings {
    let interval = u64::try_from(values.integer(HUB, "service_check_interval")).unwrap_or(0);
    let service = |name: &str| ServerName::new(name).ok().map(|_| name.to_owned());
    let user = |name: &str| Some(UserName::new(name.to_lowercase()).ok()?.to_string());
    ServiceSettings {
        specs: specs(values, problems),
        service_tokens: tokens(values, "service_tokens", service, problems),
        user_tokens: tokens(values, "api_tokens", user, problems),
        trust_tokens: values.yes(HUB, "trust_user_provided_tokens"),
        target_tls: None,
        check_interval: Some(Duration::from_secs(interval)).filter(|interval| !interval.is_zero()),
    }
}

fn specs(values: &Values, problems: &mut Vec<Problem>) -> Vec<Spec> {
    let (mut specs, mut names, mut clients) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, table) in values.fields(HUB, "services").iter().enumerate() {
        let token = table.api_token.as_ref().map(|value::Hidden(token)| token.clone());
        let spec = Spec::read(&table.rest, token).map_err(|error| error.to_string()).and_then(|spec| {
            if !names.insert(spec.name.clone()) {
                Err(format!("the service {} stands here twice", spec.name))
            } else if !clients.insert(spec.client_id()) {
                Err(format!("{} is the oauth_client_id of two services", spec.client_id()))
            } else {
                Ok(spec)
            }
        });
        match spec {
            Ok(spec) => specs.push(spec),
            Err(text) => {
                let origin = values.part_origin("JupyterHub", "services", &format!("/{index}"));
                let cure = "see SERVICES in hubd.toml(5)";
                problems.push(Problem::new(&origin, format!("JupyterHub.services: {text}"), cure));
            }
        }
    }
    specs
}

fn tokens(
    values: &Values,
    key: &'static str,
    name_of: impl Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Vec<(Secret, String)> {
    let mut good = Vec::new();
    for (token, name) in values.tokens(HUB, key) {
        let found = if token_is_good(token.expose()) {
            name_of(&name).ok_or_else(|| format!("{name:?} cannot be a name"))
        } else {
            Err(format!("the token of {name} must have 8 to 64 characters"))
        };
        match found {
            Ok(name) => good.push((token, name)),
            Err(text) => {
                let cure = "write \"TOKEN\" = \"NAME\"; a good token comes from: openssl rand -hex 32";
                let origin = values.origin(HUB, key);
                problems.push(Problem::new(&origin, format!("JupyterHub.{key}: {text}"), cure));
            }
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (ServiceSettings, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd.toml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let values = crate::config::load(Some(&path), &[], &mut problems);
        let settings = settings(&values, &mut problems);
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn services_and_tokens_are_read_in_their_order() {
        let (settings, problems) = read(
            "[JupyterHub]\nservice_tokens = { \"0123456789\" = \"cull\" }\napi_tokens = { \"abcdefghij\" = \"Ann\" }\n\
             [[JupyterHub.services]]\nname = \"b\"\nurl = \"http://127.0.0.1:1\"\n\
             [[JupyterHub.services]]\nname = \"a\"\ncommand = [\"/bin/x\"]\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let names: Vec<&str> = settings.specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(settings.service_tokens[0].1, "cull");
        assert_eq!(settings.user_tokens[0].1, "ann");
        assert_eq!(settings.check_interval, Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_token() {
        let refused = |text: &str, word: &str| {
            let (_, problems) = read(text);
            let found = problems.iter().any(|problem| problem.contains(word) && !problem.contains("hunter2"));
            assert!(found, "{text}: {problems:?}");
        };
        let table = "[[JupyterHub.services]]\nname = \"a\"\n";
        refused(&format!("{table}{table}"), "hubd.toml:3:");
        refused(&format!("{table}{table}"), "the service a stands here twice");
        refused(&format!("{table}prefix = 1\n"), "No such service field: prefix");
        refused(&format!("{table}api_token = \"hunter2\"\n"), "hubd.toml:1:");
        refused("[JupyterHub]\nservice_tokens = { hunter2 = \"a\" }\n", "8 to 64 characters");
        refused("[JupyterHub]\napi_tokens = { 0123456789 = \"-x\" }\n", "cannot be a name");
        refused("[JupyterHub]\napi_tokens = [\"hunter2\"]\n", "JupyterHub.api_tokens");
    }
}
