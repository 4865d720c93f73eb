//! Root's policy: `/etc/jupyterhub/helper.toml`, see helper.toml(5). Every key has a default.

use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs::File, io::Read, num::NonZeroU16, os::unix::fs::MetadataExt};

use hubd_proto::{ProfileName, ServerName, UserName};
use serde::Deserialize;

/// Where the policy is looked for when none is named.
pub const POLICY_PATH: &str = "/etc/jupyterhub/helper.toml";
/// Longest policy file, in bytes; the shipped one with all comments has 8 KiB.
const POLICY_BYTES_MAX: u64 = 256 * 1024;
/// Groups whose members could become root: a stolen ticket must not be enough for them.
const FRESH_PASSWORD_GROUPS: &str =
    "root wheel sudo admin adm docker podman lxd incus incus-admin libvirt disk shadow kvm systemd-journal";
/// Programs that are looked for.
const PROGRAMS: &str = "/opt/hubd/notebook/bin/jupyterhub-singleuser /usr/local/bin/jupyterhub-singleuser \
    /usr/bin/jupyterhub-singleuser /opt/hubd/notebook/bin/jupyter-lab /usr/local/bin/jupyter-lab \
    /usr/bin/jupyter-lab /usr/local/bin/jupyter-notebook /usr/bin/jupyter-notebook";
const UNIX_ARGUMENTS: &str =
    "--ServerApp.sock={socket} --ServerApp.sock_mode=0660 --ConnectionFileMixin.transport=ipc";

/// The keys of one table of the policy: name, type and default of each, in one place.
macro_rules! keys {
    ($(#[$about:meta])* pub struct $table:ident { $(pub $key:ident: $kind:ty = $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[allow(missing_docs, reason = "helper.toml(5) explains each key")]
        pub struct $table { $(pub $key: $kind,)* }

        impl Default for $table {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

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

keys! {
/// What a server may use, of a profile or of a `[group.NAME]`'s members; 0 is no limit.
pub struct Limits {
    pub mem_limit: Bytes = Bytes(0),
    pub mem_guarantee: Bytes = Bytes(0),
    pub cpu_limit: f64 = 0.0,
    pub cpu_guarantee: f64 = 0.0,
    pub tasks_max: u64 = 0,
}
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

/// A size as JupyterHub writes it, such as "2G" or "512M".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
        let unit = match text.strip_prefix(number).unwrap_or_default() {
            "" => Some(0),
            unit => "KMGT".find(unit).and_then(|place| u32::try_from(place + 1).ok()),
        };
        let bytes =
            unit.zip(number.parse::<u64>().ok()).and_then(|(unit, n)| n.checked_mul(1024_u64.pow(unit)));
        bytes.map(Self).ok_or_else(|| format!("{text} is not a size such as \"2G\" or \"512M\""))
    }
}

impl Limits {
    /// These, with what `other` says in its place.
    pub fn with(self, other: &Self) -> Self {
        fn or<T: PartialEq + Default + Copy>(own: T, other: T) -> T {
            if other == T::default() { own } else { other }
        }
        Self {
            mem_limit: or(self.mem_limit, other.mem_limit),
            mem_guarantee: or(self.mem_guarantee, other.mem_guarantee),
            cpu_limit: or(self.cpu_limit, other.cpu_limit),
            cpu_guarantee: or(self.cpu_guarantee, other.cpu_guarantee),
            tasks_max: or(self.tasks_max, other.tasks_max),
        }
    }
}

fn nonzero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Policy {
    /// Reads and checks the policy. Without a file at `path` the defaults hold, unless it was named.
    ///
    /// # Errors
    /// Names the file, the line or key, and the cure.
    pub fn load(named: Option<&Path>) -> Result<Self, String> {
        let path = named.unwrap_or(Path::new(POLICY_PATH));
        let text = match read(path) {
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| format!("{}: {error}", path.display()))?,
        };
        Self::parse(&text).map_err(|what| {
            let manual = "helper.toml(5) lists every key; `hubd-helper check` tries a file";
            format!("{}: {what}\n{manual}", path.display())
        })
    }

    /// Reads and checks the text of a policy.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut policy: Self = toml::from_str(text).map_err(|wrong| wrong.to_string())?;
        policy.profile.entry("default".to_owned()).or_default();
        policy.check()?;
        Ok(policy)
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
        if let Some(name) = self.allow_environment.iter().find(|name| crate::environment::is_dangerous(name))
        {
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

/// The file's text, if nobody but root (or who runs this trial) could have written it.
fn read(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    let (found, root) = (file.metadata()?, nix::unistd::geteuid().is_root());
    if root && (found.uid() != 0 || found.mode() & 0o022 != 0) {
        return Err(std::io::Error::other(format!(
            "it must belong to root and be writable by root alone; run: chown root:root {0} && chmod go-w {0}",
            path.display()
        )));
    }
    let mut text = String::new();
    file.take(POLICY_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
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
    fn every_key_of_the_shipped_file_is_in_the_manual() {
        let manual = include_str!("../../../man/helper.toml.5");
        for line in shipped().lines().filter(|line| line.contains(" = ")) {
            let key = line.split(" = ").next().unwrap_or_default();
            assert!(manual.contains(&format!("Cm {key}")), "helper.toml.5 lacks {key}");
        }
    }

    #[test]
    fn sizes_are_read_as_jupyterhub_writes_them_and_a_group_goes_before_its_profile() {
        let bytes = |text: &str| Bytes::try_from(text.to_owned()).map(|bytes| bytes.0);
        assert_eq!((bytes("2G"), bytes("512M"), bytes("7")), (Ok(2 << 30), Ok(512 << 20), Ok(7)));
        for bad in ["", "G", "2g", "2GB", "-1", "1.5G", "99999999999T"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        let profile = Limits { mem_limit: Bytes(1), cpu_limit: 2.0, ..Limits::default() };
        let group = Limits { mem_limit: Bytes(5), tasks_max: 9, ..Limits::default() };
        let both = profile.with(&group);
        assert_eq!((both.mem_limit, both.cpu_limit, both.tasks_max), (Bytes(5), 2.0, 9));
    }
}
