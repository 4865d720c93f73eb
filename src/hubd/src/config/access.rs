//! What the checked configuration says about who may log in.

use std::collections::{BTreeMap, BTreeSet};

use hubd_hub::settings::{AuthenticatorKind, AuthenticatorSettings, SharedPasswords};
use hubd_proto::{Secret, UserName};

use super::Values;
use super::plan::HUB;
use super::problem::Problem;

/// Classes of the authenticators, most specific first.
const PAM: &[&str] = &["PAMAuthenticator", "LocalAuthenticator", "Authenticator"];
const DUMMY: &[&str] = &["DummyAuthenticator", "Authenticator"];
const SHARED: &[&str] = &["SharedPasswordAuthenticator", "Authenticator"];
const NULL: &[&str] = &["Authenticator"];
/// Shortest `user_password`, in characters, as in JupyterHub.
const USER_PASSWORD_MIN: usize = 8;
/// Shortest `admin_password` and password of a group, in characters, as in JupyterHub.
const ADMIN_PASSWORD_MIN: usize = 32;

/// Who may log in and how.
pub fn authenticator(values: &Values, problems: &mut Vec<Problem>) -> AuthenticatorSettings {
    let (classes, kind) = kind(values, problems);
    let names = |key, problems: &mut Vec<Problem>| user_names(values, classes, key, problems);
    let admin_users = names("admin_users", problems);
    let mut allowed_users = names("allowed_users", problems);
    let blocked_users = names("blocked_users", problems);
    let set = |key| values.list(classes, key).into_iter().collect::<BTreeSet<String>>();
    let chosen = |key| values.is_set(classes, key).then(|| values.yes(classes, key));
    let restricted = !allowed_users.is_empty();
    if restricted {
        allowed_users.extend(admin_users.iter().cloned());
    }
    let allow_existing_users = chosen("allow_existing_users").unwrap_or(restricted);
    let allowed_groups = if classes == PAM { set("allowed_groups") } else { BTreeSet::new() };
    let nothing_said = !restricted && allowed_groups.is_empty() && !allow_existing_users;
    let everybody = match kind {
        AuthenticatorKind::Pam => nothing_said,
        AuthenticatorKind::Dummy { .. } => !restricted,
        AuthenticatorKind::Shared(_) | AuthenticatorKind::Null => false,
    };
    AuthenticatorSettings {
        kind,
        admin_users,
        allowed_users,
        blocked_users,
        allow_all: chosen("allow_all").unwrap_or(everybody),
        allow_existing_users,
        allowed_groups,
        admin_groups: if classes == PAM { set("admin_groups") } else { BTreeSet::new() },
        username_map: username_map(values, classes, problems),
        username_pattern: username_pattern(values, classes, problems),
        delete_invalid_users: values.yes(classes, "delete_invalid_users"),
        manage_groups: values.yes(classes, "manage_groups"),
        auto_login: auto_login(values, classes, &mut *problems),
        create_system_users: classes == PAM && values.yes(classes, "create_system_users"),
    }
}

/// What an operator should know about these rules before somebody finds out.
pub fn warnings(values: &Values, access: &AuthenticatorSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    let nobody = !access.allow_all
        && !access.allow_existing_users
        && access.allowed_users.is_empty()
        && access.allowed_groups.is_empty();
    let silenced = values.yes(NULL, "any_allow_config") || matches!(access.kind, AuthenticatorKind::Null);
    if nobody && !silenced {
        warnings.push(
            "No allow config found, it's possible that nobody can login to your Hub! Set allow_all = true, or \
             allowed_users, in [Authenticator]; any_allow_config = true silences this."
                .to_owned(),
        );
    }
    let trial = "NOT FOR PRODUCTION: authenticator_class";
    match &access.kind {
        AuthenticatorKind::Dummy { password } => {
            let how = if password.is_some() { "one password for everybody" } else { "no password" };
            warnings.push(format!("{trial} = \"dummy\" lets anybody in under any name, with {how}"));
        }
        AuthenticatorKind::Shared(passwords) => {
            warnings.push(format!(
                "{trial} = \"shared-password\": whoever knows the password can log in as anybody who shares it"
            ));
            if passwords.user.is_none() && passwords.groups.is_empty() {
                warnings.push("user_password is not set: nobody but admins can log in".to_owned());
            }
            if passwords.admin.is_none() != access.admin_users.is_empty() {
                warnings.push(
                    "only one of admin_password and admin_users is set: no admin can log in".to_owned(),
                );
            }
        }
        AuthenticatorKind::Pam | AuthenticatorKind::Null => {}
    }
    warnings
}

fn kind(values: &Values, problems: &mut Vec<Problem>) -> (&'static [&'static str], AuthenticatorKind) {
    let class = values.text(HUB, "authenticator_class").to_lowercase();
    if class.contains("dummy") {
        (DUMMY, AuthenticatorKind::Dummy { password: values.secret(DUMMY, "password") })
    } else if class.contains("shared") {
        (SHARED, AuthenticatorKind::Shared(shared_passwords(values, problems)))
    } else if class.contains("null") {
        (NULL, AuthenticatorKind::Null)
    } else {
        (PAM, AuthenticatorKind::Pam)
    }
}

fn shared_passwords(values: &Values, problems: &mut Vec<Problem>) -> SharedPasswords {
    let mut problem = |key: &str, text: String| {
        let text = format!("SharedPasswordAuthenticator.{key} {text}");
        problems.push(Problem::new(&values.origin(SHARED, key), text, "make one with: openssl rand -hex 16"));
    };
    let (user, admin) = (values.secret(SHARED, "user_password"), values.secret(SHARED, "admin_password"));
    for (key, password, least) in
        [("user_password", &user, USER_PASSWORD_MIN), ("admin_password", &admin, ADMIN_PASSWORD_MIN)]
    {
        let length = password.as_ref().map(|password| password.expose().chars().count());
        if length.is_some_and(|length| length < least) {
            problem(key, format!("has to have {least} characters at least"));
        }
    }
    if let (Some(user), Some(admin)) = (&user, &admin)
        && user.same_as(admin)
    {
        problem("admin_password", "is the same as user_password".to_owned());
    }
    let manage_groups = values.yes(SHARED, "manage_groups");
    let mut groups = Vec::new();
    for (password, names) in values.table(SHARED, "password_groups") {
        let names: Option<Vec<String>> = names
            .as_array()
            .and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
        match names {
            Some(names) => groups.push((Secret::new(password), names)),
            None => problem("password_groups", "is no table of lists of groups".to_owned()),
        }
    }
    if !groups.is_empty() && !manage_groups {
        problem("password_groups", "is set, but manage_groups is not".to_owned());
    }
    SharedPasswords { user, admin, groups }
}

fn username_map(values: &Values, classes: &[&str], problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (from, to) in values.table(classes, "username_map") {
        let to = to.as_str().unwrap_or_default().to_owned();
        if UserName::new(to.clone()).is_err() {
            let text = format!("Authenticator.username_map: {to:?} is not a user name");
            problems.push(Problem::new(
                &values.origin(classes, "username_map"),
                text,
                "write names of accounts",
            ));
        }
        map.insert(from, to);
    }
    map
}

/// `auto_login` is for authenticators that ask nothing.
fn auto_login(values: &Values, classes: &[&str], problems: &mut Vec<Problem>) -> bool {
    let wanted = values.yes(classes, "auto_login");
    if wanted && classes != NULL {
        let text = "Authenticator.auto_login: this authenticator asks with the login form";
        let cure = "delete the line; only authenticator_class = \"null\" has no form";
        problems.push(Problem::new(&values.origin(classes, "auto_login"), text.to_owned(), cure));
    }
    wanted && classes == NULL
}

fn username_pattern(
    values: &Values,
    classes: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<regex_lite::Regex> {
    let pattern = values.text(classes, "username_pattern");
    if pattern.is_empty() {
        return None;
    }
    // Anchored as a whole, so that "a|b" means what it means in Python's re.match.
    match regex_lite::Regex::new(&format!("^(?:{pattern})")) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let text = format!("Authenticator.username_pattern: {error}");
            let cure = "write a regular expression without look-around, such as ^[a-z][a-z0-9]*$";
            problems.push(Problem::new(&values.origin(classes, "username_pattern"), text, cure));
            None
        }
    }
}

fn user_names(
    values: &Values,
    classes: &[&str],
    key: &str,
    problems: &mut Vec<Problem>,
) -> BTreeSet<UserName> {
    let mut names = BTreeSet::new();
    for text in values.list(classes, key) {
        match UserName::new(text.to_lowercase()) {
            Ok(name) => {
                names.insert(name);
            }
            Err(error) => {
                let text = format!("Authenticator.{key}: {text:?} is not a user name: {error}");
                problems.push(Problem::new(&values.origin(classes, key), text, "write names of accounts"));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(text: &str) -> (AuthenticatorSettings, Vec<String>, String) {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut problems = Vec::new();
        let values = crate::config::load(Some(file.path()), &[], &mut problems);
        let access = authenticator(&values, &mut problems);
        let warned = warnings(&values, &access);
        (access, warned, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn with_pam_an_account_is_the_permission_unless_something_is_said() {
        let open = |text: &str| configured(text).0.allow_all;
        assert!(open(""));
        assert!(open("[Authenticator]\nadmin_users = [\"a\"]\n"));
        assert!(!open("[Authenticator]\nallowed_users = [\"a\"]\n"));
        assert!(!open("[PAMAuthenticator]\nallowed_groups = [\"staff\"]\n"));
        assert!(!open("[LocalAuthenticator]\nallowed_groups = [\"staff\"]\n"));
        assert!(!open("[Authenticator]\nallow_existing_users = true\n"));
        assert!(!open("[Authenticator]\nallow_all = false\n"));
    }

    #[test]
    fn nobody_gets_in_by_accident_with_another_authenticator() {
        let shared = "[JupyterHub]\nauthenticator_class = \"shared-password\"\n";
        let (access, warnings, _) = configured(shared);
        assert!(!access.allow_all);
        assert!(warnings.iter().any(|warning| warning.contains("nobody can login")), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("NOT FOR PRODUCTION")), "{warnings:?}");
        let silenced = configured(&format!("{shared}[Authenticator]\nany_allow_config = true\n")).1;
        assert!(!silenced.iter().any(|warning| warning.contains("nobody can login")));
        let none = configured("[Authenticator]\nallow_all = false\n").1;
        assert!(none.iter().any(|warning| warning.contains("nobody can login")));
        let dummy = configured("[JupyterHub]\nauthenticator_class = \"dummy\"\n");
        assert!(dummy.0.allow_all && dummy.1[0].contains("no password"), "{:?}", dummy.1);
    }

    #[test]
    fn only_an_authenticator_that_asks_nothing_logs_in_by_itself() {
        let null = "[JupyterHub]\nauthenticator_class = \"null\"\n";
        let (access, _, problems) = configured(&format!("{null}[Authenticator]\nauto_login = true\n"));
        assert!(access.auto_login && problems.is_empty(), "{problems}");
        let (access, _, problems) = configured("[Authenticator]\nauto_login = true\n");
        assert!(!access.auto_login && problems.contains("login form"), "{problems}");
    }

    #[test]
    fn shared_passwords_follow_jupyterhubs_rules() {
        let refused = |lines: &str, wanted: &str| {
            let text = format!(
                "[JupyterHub]\nauthenticator_class = \"shared-password\"\n[SharedPasswordAuthenticator]\n{lines}\n"
            );
            let problems = configured(&text).2;
            assert!(problems.contains(wanted), "{lines}: {problems}");
            assert!(!problems.contains("hunter"), "{problems}");
        };
        let long = "hunter2hunter2hunter2hunter2hunter2";
        refused("user_password = \"hunter2\"", "8 characters");
        refused(&format!("admin_password = \"{}\"", &long[..31]), "32 characters");
        refused(&format!("user_password = \"{long}\"\nadmin_password = \"{long}\""), "the same as");
        refused(&format!("password_groups = {{ {long} = [\"a\"] }}"), "manage_groups is not");
        refused(&format!("password_groups = {{ {long} = \"a\" }}\nmanage_groups = true"), "lists of groups");
    }

    #[test]
    fn names_are_mapped_and_have_to_match() {
        let (access, _, problems) = configured(
            "[Authenticator]\nusername_pattern = \"a|bob$\"\nusername_map = { \"alice.smith\" = \"asmith\" }\n",
        );
        assert_eq!(problems, "");
        let name = |text| access.hub_name(text).map(|name| name.to_string());
        assert_eq!(name("Alice.Smith").as_deref(), Some("asmith"));
        assert_eq!(name("anna").as_deref(), Some("anna"));
        assert_eq!(name("bobby"), None);
        assert_eq!(name("xa"), None);
        assert!(configured("[Authenticator]\nusername_pattern = \"(\"\n").2.contains("username_pattern"));
        assert!(configured("[Authenticator]\nusername_map = { a = \"/\" }\n").2.contains("username_map"));
    }
}
