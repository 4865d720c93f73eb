//! The environment of a server, built from empty: the account, PAM, root's profile, then what the
//! daemon may say.

use std::{collections::BTreeMap, ffi::CString, os::unix::ffi::OsStrExt, path::Path};

use hubd_proto::{Secret, message::RefusalCode};
use zeroize::Zeroizing;

use crate::policy::{Policy, Profile};
use crate::{account::Account, refusal::Refusal};

/// Names and values, as PAM modules want them in the environment.
pub type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// Search path before PAM says another one; as sshd's.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/games";
/// Longest value that the daemon may set, in bytes.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// What JupyterHub tells a user server, complete; nothing here says how a program loads or runs.
const JUPYTERHUB: &str = "
    CPU_GUARANTEE CPU_LIMIT JPY_API_TOKEN JUPYTERHUB_ACTIVITY_INTERVAL JUPYTERHUB_ACTIVITY_URL
    JUPYTERHUB_ADMIN_ACCESS JUPYTERHUB_API_TOKEN JUPYTERHUB_API_URL JUPYTERHUB_BASE_URL
    JUPYTERHUB_CLIENT_ID JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED JUPYTERHUB_COOKIE_OPTIONS
    JUPYTERHUB_DEBUG JUPYTERHUB_DEFAULT_URL JUPYTERHUB_DISABLE_USER_CONFIG JUPYTERHUB_HOST
    JUPYTERHUB_OAUTH_ACCESS_SCOPES JUPYTERHUB_OAUTH_CALLBACK_URL
    JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES JUPYTERHUB_OAUTH_SCOPES JUPYTERHUB_PUBLIC_HUB_URL
    JUPYTERHUB_PUBLIC_URL JUPYTERHUB_ROOT_DIR JUPYTERHUB_SERVER_NAME JUPYTERHUB_SERVICE_NAME
    JUPYTERHUB_SERVICE_PREFIX JUPYTERHUB_SERVICE_URL JUPYTERHUB_SSL_CERTFILE
    JUPYTERHUB_SSL_CLIENT_CA JUPYTERHUB_SSL_KEYFILE JUPYTERHUB_USER MEM_GUARANTEE MEM_LIMIT";

/// What no policy can open to the daemon: names that choose programs, libraries or start-up files.
const DANGEROUS: &str = "
    BASHOPTS BASH_ENV BROWSER CDPATH EDITOR ENV GCONV_PATH HOME HOSTALIASES IFS JAVA_TOOL_OPTIONS
    JUPYTERHUB_SINGLEUSER_APP JUPYTERHUB_SINGLEUSER_EXTENSION LOCPATH LOGNAME MAIL NLSPATH PAGER
    PATH PROMPT_COMMAND PS4 RES_OPTIONS SHELL SHELLOPTS TERMCAP TERMINFO TMPDIR USER VISUAL ZDOTDIR";

/// As [`DANGEROUS`], for every name that begins so.
const DANGEROUS_PREFIXES: &str = "
    LD_ PYTHON PERL RUBY NODE_ GLIBC_ MALLOC_ DYLD_ BASH_FUNC_ GIT_ SSH_ SUDO_ XDG_ DBUS_ JUPYTER_
    IPYTHON KRB5";

/// Whether a variable changes how programs load or run.
pub fn is_dangerous(name: &str) -> bool {
    let shape_good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let named = name.is_empty() || name.as_bytes().first().is_some_and(u8::is_ascii_digit);
    !shape_good
        || named
        || lists(DANGEROUS, name)
        || DANGEROUS_PREFIXES.split_whitespace().any(|prefix| name.starts_with(prefix))
}

fn lists(names: &str, name: &str) -> bool {
    names.split_whitespace().any(|listed| listed == name)
}

/// Refuses what the daemon may not set.
pub fn check(policy: &Policy, wanted: &BTreeMap<String, Secret>) -> Result<(), Refusal> {
    for (name, value) in wanted {
        let known = lists(JUPYTERHUB, name) || policy.allow_environment.contains(name);
        let cure = if is_dangerous(name) {
            "it changes how programs load or run, so no policy can allow it"
        } else if !known {
            "root's helper.toml would have to name it in allow_environment"
        } else if value.len() > VALUE_BYTES_MAX || value.expose().contains('\0') {
            "its value is too long or holds a zero byte"
        } else {
            continue;
        };
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let message = format!("The variable {name} may not be set: {cure}.");
        return Err(Refusal::new(RefusalCode::EnvironmentRefused, message));
    }
    Ok(())
}

/// The whole environment as execve(2) takes it. Later ones win, so what PAM and root say stands against
/// nothing that the daemon says: [`check`] has seen to it that the names differ.
/// Kernels get their sockets in `directory`, the server's own, because a path below a home directory may be
/// longer than the 107 bytes of a Unix socket's address (unix(7)).
pub fn build(
    account: &Account,
    pam: Variables,
    profile: &Profile,
    wanted: &BTreeMap<String, Secret>,
    directory: &Path,
) -> Vec<CString> {
    let mut all: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>> = BTreeMap::new();
    let mut set = |name: &[u8], value: &[u8]| all.insert(name.to_vec(), Zeroizing::new(value.to_vec()));
    for (name, secret) in wanted {
        set(name.as_bytes(), secret.expose().as_bytes());
    }
    set(b"PATH", PATH.as_bytes());
    set(b"JUPYTER_RUNTIME_DIR", directory.join("r").as_os_str().as_bytes());
    for (name, value) in &pam {
        set(name, value);
    }
    for (name, value) in &profile.environment {
        set(name.as_bytes(), value.as_bytes());
    }
    set(b"USER", account.name.as_str().as_bytes());
    set(b"LOGNAME", account.name.as_str().as_bytes());
    set(b"HOME", account.home.as_os_str().as_bytes());
    set(b"SHELL", account.shell.as_os_str().as_bytes());
    all.iter()
        .filter_map(|(name, value)| CString::new([name, b"=".as_slice(), value].concat()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> bool {
        let policy = Policy { allow_environment: vec!["MY_OPTION".into()], ..Policy::default() };
        check(&policy, &BTreeMap::from([(name.to_owned(), Secret::new(value.into()))])).is_err()
    }

    #[test]
    fn what_changes_how_programs_load_is_refused() {
        for name in DANGEROUS.split_whitespace().chain([
            "LD_PRELOAD",
            "PYTHONPATH",
            "NODE_OPTIONS",
            "PERL5LIB",
            "RUBYOPT",
        ]) {
            assert!(refused(name, "x") && is_dangerous(name), "{name}");
        }
        for name in ["", "A=B", "A B", "A\0", "1A", "ä", "UNKNOWN", "my_option"] {
            assert!(refused(name, "x"), "{name:?}");
        }
    }

    #[test]
    fn what_jupyterhub_sets_and_the_policy_names_is_allowed() {
        for name in JUPYTERHUB.split_whitespace().chain(["MY_OPTION"]) {
            assert!(!refused(name, "value"), "{name}");
            assert!(!is_dangerous(name), "{name}");
        }
        assert!(refused("MY_OPTION", "a\0b") && refused("MY_OPTION", &"x".repeat(VALUE_BYTES_MAX + 1)));
    }
}
