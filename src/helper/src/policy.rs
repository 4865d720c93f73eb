//! Root's policy: `/etc/jupyterhub/helper.toml`, see helper.toml(5). Every key has a default.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hubd_proto::{ServerName, UserName};
use serde::Deserialize;

use crate::pattern::Pattern;

/// Where the policy is looked for when none is named.
pub const POLICY_PATH: &str = "/etc/jupyterhub/helper.toml";
/// Longest policy file, in bytes; the shipped one with all comments has 8 KiB.
const POLICY_BYTES_MAX: u64 = 256 * 1024;
/// Groups whose members could become root: a stolen ticket must not be enough for them.
const FRESH_PASSWORD_GROUPS: &str =
    "root wheel sudo admin adm docker podman lxd incus incus-admin libvirt disk shadow kvm systemd-journal";

/// Why a policy was refused: what is wrong where, and the cure.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}")]
pub struct PolicyError {
    path: PathBuf,
    what: String,
}

/// Everything that root decides. The fields are the keys of helper.toml(5), which explains them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub daemon_user: String,
    pub min_uid: u32,
    pub max_uid: u32,
    pub username_pattern: Pattern,
    pub denied_users: Vec<String>,
    pub denied_groups: Vec<String>,
    pub fresh_password_groups: Vec<String>,
    pub standing_groups: Vec<String>,
    pub pam_service: String,
    pub runtime_dir: PathBuf,
    pub state_dir: PathBuf,
    pub log_dir: PathBuf,
    pub log_bytes: u64,
    pub ticket_days: u32,
    pub login_hold_seconds: u32,
    pub conversation_seconds: u32,
    pub refusal_seconds: u32,
    pub stop_seconds: u32,
    pub sessions_per_user: u32,
    pub sessions_in_all: u32,
    pub starts_per_minute: u32,
    pub starts_per_user_per_minute: u32,
    pub failures_per_minute: u32,
    pub failures_per_source_per_minute: u32,
    pub failures_per_user_per_minute: u32,
    pub allow_arguments: Vec<String>,
    pub allow_environment: Vec<String>,
    pub home_template: String,
    pub profile: BTreeMap<String, Profile>,
    pub service: BTreeMap<String, Service>,
}

/// One `[profile.NAME]`: a program that root lets people start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    pub program: Vec<PathBuf>,
    pub arguments: Vec<String>,
    pub unix_arguments: Vec<String>,
    pub tcp_arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// One `[service.NAME]`: a program that root lets the daemon start, as the account that root says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub user: UserName,
    pub command: Vec<String>,
    pub directory: Option<PathBuf>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub system_account: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            daemon_user: "hubd".into(),
            min_uid: 1000,
            max_uid: 60000,
            username_pattern: Pattern::default(),
            denied_users: Vec::new(),
            denied_groups: Vec::new(),
            fresh_password_groups: FRESH_PASSWORD_GROUPS.split(' ').map(String::from).collect(),
            standing_groups: Vec::new(),
            pam_service: "hubd".into(),
            runtime_dir: "/run/hubd".into(),
            state_dir: "/run/hubd-helper".into(),
            log_dir: "/var/log/hubd".into(),
            log_bytes: 10 * 1024 * 1024,
            ticket_days: 14,
            login_hold_seconds: 300,
            conversation_seconds: 180,
            refusal_seconds: 2,
            stop_seconds: 30,
            sessions_per_user: 10,
            sessions_in_all: 1000,
            starts_per_minute: 600,
            starts_per_user_per_minute: 20,
            failures_per_minute: 1200,
            failures_per_source_per_minute: 300,
            failures_per_user_per_minute: 12,
            allow_arguments: Vec::new(),
            allow_environment: Vec::new(),
            home_template: "{runtime_dir}/homes/{user}".into(),
            profile: BTreeMap::from([("default".to_owned(), Profile::default())]),
            service: BTreeMap::new(),
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            program: [
                "/opt/hubd/notebook/bin/jupyterhub-singleuser",
                "/usr/local/bin/jupyterhub-singleuser",
                "/usr/bin/jupyterhub-singleuser",
            ]
            .map(PathBuf::from)
            .into(),
            arguments: Vec::new(),
            unix_arguments: strings(&[
                "--ServerApp.sock={socket}",
                "--ServerApp.sock_mode=0660",
                "--ConnectionFileMixin.transport=ipc",
            ]),
            tcp_arguments: strings(&["--ConnectionFileMixin.transport=ipc"]),
            environment: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// Reads and checks the policy. Without a file at `path` the defaults hold, unless it was named.
    ///
    /// # Errors
    /// Names the file, the line or key, and the cure.
    pub fn load(named: Option<&Path>, root: bool) -> Result<Self, PolicyError> {
        let path = named.unwrap_or(Path::new(POLICY_PATH)).to_owned();
        let error = |what: String| PolicyError { path: path.clone(), what };
        let mut file = match File::open(&path) {
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            opened => opened.map_err(|failed| error(failed.to_string()))?,
        };
        let found = file.metadata().map_err(|failed| error(failed.to_string()))?;
        if root && (found.uid() != 0 || found.mode() & 0o022 != 0) {
            let place = path.display();
            return Err(error(format!(
                "it must belong to root and be writable by root alone; run: chown root:root {place} && chmod go-w {place}"
            )));
        }
        let mut text = String::new();
        file.by_ref()
            .take(POLICY_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|failed| error(failed.to_string()))?;
        let mut policy: Self = toml::from_str(&text).map_err(|wrong| {
            error(format!("{wrong}\nhelper.toml(5) lists every key; `hubd-helper check` tries a file"))
        })?;
        policy.profile.entry("default".to_owned()).or_default();
        policy.check().map_err(|(key, what)| error(format!("{key}: {what}")))?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, what: &str| Err((key.to_owned(), what.to_owned()));
        for (key, dir) in
            [("runtime_dir", &self.runtime_dir), ("state_dir", &self.state_dir), ("log_dir", &self.log_dir)]
        {
            if !dir.is_absolute() {
                return wrong(key, "must be an absolute path");
            }
        }
        let positive = [
            ("ticket_days", self.ticket_days),
            ("refusal_seconds", self.refusal_seconds),
            ("starts_per_minute", self.starts_per_minute),
            ("starts_per_user_per_minute", self.starts_per_user_per_minute),
            ("failures_per_minute", self.failures_per_minute),
            ("failures_per_source_per_minute", self.failures_per_source_per_minute),
            ("failures_per_user_per_minute", self.failures_per_user_per_minute),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0 || *value > 60_000) {
            return wrong(key, "must be between 1 and 60000");
        }
        // Linux-PAM turns the name into small letters, and a file that it does not find then into `other`.
        let service_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.pam_service.is_empty() || !self.pam_service.chars().all(service_good) {
            return wrong("pam_service", "must be the name of a file in /etc/pam.d, in small letters");
        }
        if self.min_uid == 0 || self.min_uid > self.max_uid {
            return wrong("min_uid", "must be at least 1 and at most max_uid: root never runs a server");
        }
        for group in &self.standing_groups {
            if self.fresh_password_groups.contains(group) || self.denied_groups.contains(group) {
                return wrong("standing_groups", &format!("{group} is also a group that needs a password"));
            }
        }
        for name in &self.allow_environment {
            if crate::environment::is_dangerous(name) {
                return wrong("allow_environment", &format!("{name} changes how programs load or run"));
            }
        }
        for (name, profile) in &self.profile {
            if hubd_proto::ProfileName::new(name.as_str()).is_err() {
                return wrong(&format!("profile.{name}"), "a profile's name is made of a-z, 0-9, - and _");
            }
            if profile.program.is_empty() || profile.program.iter().any(|path| !path.is_absolute()) {
                return wrong(&format!("profile.{name}.program"), "must list absolute paths");
            }
        }
        for (name, service) in &self.service {
            let program = Path::new(service.command.first().map_or("", String::as_str));
            let directory = service.directory.as_deref().unwrap_or(program);
            let name_good = !name.is_empty() && ServerName::new(name.as_str()).is_ok();
            if !name_good || !program.is_absolute() || !directory.is_absolute() {
                let what = "its name must have no slash; `command` and `directory` begin with absolute paths";
                return wrong(&format!("service.{name}"), what);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped file with its commented keys switched on.
    fn shipped() -> String {
        let text = include_str!("../../../packaging/helper.toml");
        let is_key = |rest: &str| {
            let key = rest.split(" = ").next().unwrap_or_default();
            let key_good =
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            (rest.contains(" = ") && key_good)
                || rest.starts_with("[profile")
                || rest.starts_with("    \"")
                || rest == "]"
        };
        let lines = text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|rest| is_key(rest));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_shipped_file_shows_every_key_with_its_default() {
        let policy: Policy = toml::from_str(&shipped()).expect("the shipped file is TOML");
        assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::default()));
        let keys: toml::Table = shipped().parse().expect("a table");
        assert_eq!(keys.len(), 29, "a key is missing in the shipped file or new in the policy");
    }

    #[test]
    fn every_key_of_the_shipped_file_is_in_the_manual() {
        let manual = include_str!("../../../man/helper.toml.5");
        for line in shipped().lines().filter(|line| line.contains(" = ")) {
            let key = line.split(" = ").next().unwrap_or_default();
            assert!(manual.contains(&format!("Cm {key}")), "helper.toml.5 lacks {key}");
        }
    }
}
