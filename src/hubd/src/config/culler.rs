//! What `[IdleCuller]` means.

use std::time::Duration;

use hubd_hub::servers::CullerSettings;

use super::Values;
use super::options::OPTIONS;

const CULLER: &[&str] = &["IdleCuller"];

/// When idle servers are stopped; nothing if `[IdleCuller]` says nothing, or that it is off.
pub fn settings(values: &Values) -> Option<CullerSettings> {
    let mentioned =
        OPTIONS.iter().any(|option| option.class == "IdleCuller" && values.is_set(CULLER, option.key));
    let enabled = if values.is_set(CULLER, "enabled") { values.yes(CULLER, "enabled") } else { mentioned };
    if !enabled {
        return None;
    }
    let seconds = |key| Duration::from_secs(u64::try_from(values.integer(CULLER, key)).unwrap_or(0));
    let timeout = seconds("timeout");
    let every = if values.is_set(CULLER, "cull_every") { seconds("cull_every") } else { timeout / 2 };
    Some(CullerSettings {
        timeout,
        every: every.max(Duration::from_secs(1)),
        max_age: Some(seconds("max_age")).filter(|age| !age.is_zero()),
        users: values.yes(CULLER, "cull_users"),
        admin_users: values.yes(CULLER, "cull_admin_users"),
        default_servers: values.yes(CULLER, "cull_default_servers"),
        named_servers: values.yes(CULLER, "cull_named_servers"),
        remove_named_servers: values.yes(CULLER, "remove_named_servers"),
        concurrency: usize::try_from(values.integer(CULLER, "concurrency")).unwrap_or(1),
        busy_cpu_percent: values.number(CULLER, "busy_cpu_percent"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn culler(text: &str) -> Option<CullerSettings> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut problems = Vec::new();
        let values = crate::config::load(Some(file.path()), &[], &mut problems);
        assert_eq!(problems, []);
        settings(&values)
    }

    #[test]
    fn it_is_on_when_something_is_said_about_it() {
        assert!(culler("").is_none());
        assert!(culler("[IdleCuller]\nenabled = false\ntimeout = 60\n").is_none());
        let rules = culler("[IdleCuller]\ntimeout = \"1h\"\n").unwrap();
        assert_eq!((rules.timeout.as_secs(), rules.every.as_secs()), (3600, 1800));
        assert!(rules.max_age.is_none() && rules.default_servers && !rules.users);
        let rules = culler("[IdleCuller]\nenabled = true\n").unwrap();
        assert_eq!((rules.timeout.as_secs(), rules.concurrency), (600, 10));
    }
}
