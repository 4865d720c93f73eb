//! Root's policy: `/etc/jupyterhub/helper.toml`, see helper.toml(5). Every key has a default.

use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use hubd_proto::{ProfileName, ServerName, UserName};
use serde::Deserialize;

use crate::{environment, limits::Limits, table::keys};

/// Where the policy is looked for when none is named.
pub const POLICY_PATH: &str = "/etc/jupyterhub/helper.toml";
/// Groups whose members could become root: a stolen ticket must not be enough for them.
const FRESH_PASSWORD_GROUPS: &str =
    "root wheel sudo admin adm docker podman lxd incus incus-admin libvirt disk shadow kvm systemd-journal";
/// Programs that are looked for.
const PROGRAMS: &str = "/opt/hubd/notebook/bin/jupyterhub-singleuser /usr/local/bin/jupyterhub-singleuser \
    /usr/bin/jupyterhub-singleuser /opt/hubd/notebook/bin/jupyter-lab /usr/local/bin/jupyter-lab \
    /usr/bin/jupyter-lab /usr/local/bin/jupyter-notebook /usr/bin/jupyter-notebook";
const UNIX_ARGUMENTS: &str =
    "--ServerApp.sock={socket} --ServerApp.sock_mode=0660 --ConnectionFileMixin.transport=ipc";

keys! {
/// Everything that root decides. The fields are the keys of helper.toml(5), which explains them.
pub struct Policy {
    pub daemon_user: String = "hubd".into(),
    pub min_uid: u32 = 1000,
    pub max_uid: u32 = 60000,
    pub username_extra: String = String::new(),
    pub denied_users: Vec<String> = Vec::new(),
    pub denied_groups: Vec<String> = Vec::new(),
    pub fresh_password_groups: Vec<String> = words(FRESH_PASSWORD_GROUPS),
    pub standing_groups: Vec<String> = Vec::new(),
    pub pam_service: String = "hubd".into(),
    pub create_system_users: bool = false,
    pub account_shell: String = "/bin/bash".into(),
    pub account_groups: Vec<String> = Vec::new(),
    pub accounts_per_minute: NonZeroU16 = nonzero(60),
    pub accounts_max: u32 = 1000,
    pub accounts_dir: PathBuf = "/var/lib/hubd-helper".into(),
    pub runtime_dir: PathBuf = "/run/hubd".into(),
    pub state_dir: PathBuf = "/run/hubd-helper".into(),
    pub log_dir: PathBuf = "/var/log/hubd".into(),
    pub log_bytes: u64 = 10 * 1024 * 1024,
    pub ticket_days: NonZeroU16 = nonzero(14),
    pub login_hold_seconds: u32 = 300,
    pub conversation_seconds: u32 = 180,
    pub refusal_seconds: NonZeroU16 = nonzero(2),
    pub stop_seconds: u32 = 30,
    pub sessions_per_user: u32 = 10,
    pub sessions_in_all: u32 = 2000,
    pub starts_per_minute: NonZeroU16 = nonzero(600),
    pub starts_per_user_per_minute: NonZeroU16 = nonzero(20),
    pub failures_per_minute: NonZeroU16 = nonzero(1200),
    pub failures_per_source_per_minute: NonZeroU16 = nonzero(300),
    pub failures_per_user_per_minute: NonZeroU16 = nonzero(12),
    pub allow_arguments: Vec<String> = Vec::new(),
    pub allow_environment: Vec<String> = Vec::new(),
    pub home_template: String = "{runtime_dir}/homes/{user}".into(),
    pub profile: BTreeMap<String, Profile> = BTreeMap::from([("default".to_owned(), Profile::default())]),
    pub cgroup_dir: PathBuf = PathBuf::new(),
    pub group: BTreeMap<String, Limits> = BTreeMap::new(),
    pub service: BTreeMap<String, Service> = BTreeMap::new(),
}
}

keys! {
/// One `[profile.NAME]`: a program that root lets people start.
pub struct Profile {
    pub program: Vec<PathBuf> = PROGRAMS.split_whitespace().map(PathBuf::from).collect(),
    pub arguments: Vec<String> = Vec::new(),
    pub unix_arguments: Vec<String> = words(UNIX_ARGUMENTS),
    pub tcp_arguments: Vec<String> = words("--ConnectionFileMixin.transport=ipc"),
    pub environment: BTreeMap<String, String> = BTreeMap::new(),
    pub auth: Auth = Auth::Auto,
    pub strip_prefix: bool = false,
    pub limits: Limits = Limits::default(),
}
}

/// Who asks the people who come to a server: the program itself, or the daemon for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Whichever fits the program.
    Auto,
    /// The program, as jupyterhub-singleuser does.
    Oauth,
    /// The daemon.
    Edge,
}

/// One `[service.NAME]`: a program that root lets the daemon start, as the account that root says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "helper.toml(5) explains each key")]
pub struct Service {
    pub user: UserName,
    pub command: Vec<String>,
    pub directory: Option<PathBuf>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub system_account: bool,
}

fn nonzero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Policy {
    /// As [`Policy::parse`], of the file at `path`.
    ///
    /// # Errors
    /// Names the file, the line or key, and the cure.
    pub fn of_file(path: &Path, text: &str) -> Result<Self, String> {
        let manual = "helper.toml(5) lists every key; `hubd-helper check` tries a file";
        Self::parse(text).map_err(|what| format!("{}: {what}\n{manual}", path.display()))
    }

    /// Reads and checks the text of a policy.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut policy: Self = toml::from_str(text).map_err(|wrong| wrong.to_string())?;
        policy.profile.entry("default".to_owned()).or_default();
        policy.check()?;
        Ok(policy)
    }

    /// How long a refusal waits that comes so long after the last answer: for the next full `refusal_seconds`, so
    /// that neither a fast refusal nor a slow hash shows why.
    pub fn refusal_pause(&self, passed: Duration) -> Duration {
        let step = u64::from(self.refusal_seconds.get()) * 1000;
        Duration::from_millis(step - u64::try_from(passed.as_millis()).unwrap_or(0) % step)
    }

    /// How long a login is held for its first start.
    pub fn login_hold(&self) -> Duration {
        Duration::from_secs(self.login_hold_seconds.into())
    }

    /// How long a conversation may take.
    pub fn conversation_time(&self) -> Duration {
        Duration::from_secs(self.conversation_seconds.into())
    }

    /// How long a server has between SIGTERM and SIGKILL.
    pub fn stop_time(&self) -> Duration {
        Duration::from_secs(self.stop_seconds.into())
    }

    /// The home that a name gets in a trial without root. A [`UserName`] holds no slash and starts with no dot.
    pub fn trial_home(&self, runtime: &Path, name: &UserName) -> PathBuf {
        let runtime = runtime.to_string_lossy();
        self.home_template.replace("{runtime_dir}", &runtime).replace("{user}", name.as_str()).into()
    }

    fn check(&self) -> Result<(), String> {
        let relative = |dir: &Path| (!dir.is_absolute()).then_some("must be an absolute path");
        // Linux-PAM turns the name into small letters, and a file that it does not find then into `other`.
        let service_good = ProfileName::new(&*self.pam_service).is_ok();
        let wrong = [
            ("runtime_dir", relative(&self.runtime_dir)),
            ("state_dir", relative(&self.state_dir)),
            ("log_dir", relative(&self.log_dir)),
            ("accounts_dir", relative(&self.accounts_dir)),
            ("min_uid", (self.min_uid == 0).then_some("must be at least 1: root never runs a server")),
            ("max_uid", (self.min_uid > self.max_uid).then_some("must not be below min_uid")),
            ("pam_service", (!service_good).then_some("must be a file in /etc/pam.d, in small letters")),
        ];
        let wrong = wrong.iter().find_map(|(key, what)| what.map(|what| format!("{key} {what}")));
        wrong.map_or(Ok(()), Err)?;
        if let Some(name) = self.allow_environment.iter().find(|name| environment::is_dangerous(name)) {
            return Err(format!("allow_environment: {name} changes how programs load or run"));
        }
        let barred = |group| self.fresh_password_groups.contains(group) || self.denied_groups.contains(group);
        let groups = self.standing_groups.iter().chain(&self.account_groups);
        if let Some(group) = groups.into_iter().find(|group| barred(group)) {
            return Err(format!(
                "standing_groups, account_groups: {group} is also a group that needs a password"
            ));
        }
        for (name, profile) in &self.profile {
            ProfileName::new(&**name).map_err(|error| format!("profile.{name}: {error}"))?;
            if profile.program.is_empty() || profile.program.iter().any(|path| !path.is_absolute()) {
                return Err(format!("profile.{name}.program must list absolute paths"));
            }
        }
        for (name, service) in &self.service {
            let program = Path::new(service.command.first().map_or("", String::as_str));
            let directory = service.directory.as_deref().unwrap_or(program);
            let name_good = !name.is_empty() && ServerName::new(name.as_str()).is_ok();
            if !name_good || !program.is_absolute() || !directory.is_absolute() {
                let what = "its name must have no slash; `command` and `directory` begin with absolute paths";
                return Err(format!("service.{name}: {what}"));
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
        assert_eq!(keys.len(), 36, "a key is missing in the shipped file or new in the policy");
    }

    #[test]
    fn refusals_come_at_full_steps_after_the_last_answer() {
        let policy = Policy::default();
        let at = |passed| (policy.refusal_pause(Duration::from_millis(passed)).as_millis()) as u64 + passed;
        assert_eq!(
            [0, 1, 300, 1999, 2000, 2001, 61_234].map(at),
            [2000, 2000, 2000, 2000, 4000, 4000, 62_000]
        );
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
