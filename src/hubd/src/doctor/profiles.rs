//! The profiles of root's policy: which program each starts, and who asks the people who come to it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml::{Table, Value};

use super::Finding;

/// The programs that are looked for when a profile names none, as in the helper.
const PROGRAMS: &[&str] = &[
    "/opt/hubd/notebook/bin/jupyterhub-singleuser",
    "/usr/local/bin/jupyterhub-singleuser",
    "/usr/bin/jupyterhub-singleuser",
    "/opt/hubd/notebook/bin/jupyter-lab",
    "/usr/local/bin/jupyter-lab",
    "/usr/bin/jupyter-lab",
    "/usr/local/bin/jupyter-notebook",
    "/usr/bin/jupyter-notebook",
];

/// The profile that starts no server: it prints how full a home is.
const NO_SERVER: &str = "room";

/// Looks at all profiles of the policy, which stands in the file `shown`.
pub fn profiles(policy: &Table, shown: &Path, found: &mut Vec<Finding>) {
    let none = Table::new();
    let named = policy.get("profile").and_then(Value::as_table).unwrap_or(&none);
    if !named.contains_key("default") {
        found.push(profile("default", &none, shown));
    }
    for (name, table) in named.iter().filter(|(name, _)| *name != NO_SERVER) {
        found.push(profile(name, table.as_table().unwrap_or(&none), shown));
    }
}

fn profile(name: &str, table: &Table, shown: &Path) -> Finding {
    let texts = |key: &str| -> Option<Vec<&str>> {
        Some(table.get(key)?.as_array()?.iter().filter_map(Value::as_str).collect())
    };
    let programs = texts("program").unwrap_or_else(|| PROGRAMS.to_vec());
    let Some(program) = programs.iter().find(|program| is_program(Path::new(program))) else {
        let what = format!("profile {name}: there is no notebook program at {}", programs.join(", "));
        let cure = format!(
            "apt install jupyter-notebook; or python3 -m venv /opt/hubd/notebook && /opt/hubd/notebook/bin/pip install \
             jupyterhub jupyterlab; or name another program in {}",
            shown.display()
        );
        return Finding::bad(what, cure);
    };
    let arguments = texts("arguments").unwrap_or_default();
    let asks = std::iter::once(program).chain(&arguments).any(|word| asks_itself(word));
    let starts = format!("profile {name} starts {program}");
    match table.get("auth").and_then(Value::as_str).unwrap_or("auto") {
        "oauth" if !asks => Finding::warning(
            format!(
                "{starts} with auth = \"oauth\": unless it asks the hub who comes, it is open to everybody"
            ),
            format!("auth = \"edge\" in {} lets hubd ask", shown.display()),
        ),
        "edge" => Finding::good(format!("{starts}, and hubd asks who comes (auth = \"edge\")")),
        "oauth" => Finding::good(format!("{starts}, which asks the hub who comes (auth = \"oauth\")")),
        _ if asks => Finding::good(format!("{starts}, which asks the hub who comes (oauth, by its name)")),
        _ => Finding::good(format!(
            "{starts}, and hubd asks who comes (edge, as it is not jupyterhub-singleuser)"
        )),
    }
}

/// Whether a word of a command line names a program that speaks JupyterHub's OAuth, as the helper sees it.
fn asks_itself(word: &str) -> bool {
    Path::new(word).ends_with("jupyterhub-singleuser") || word == "jupyterhub.singleuser"
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, is_ill};
    use super::*;

    fn findings(policy: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        profiles(&policy.parse().unwrap(), Path::new("helper.toml"), &mut found);
        found
    }

    #[test]
    fn each_profile_is_told_with_who_asks() {
        for (keys, wanted, severity) in [
            ("program = [\"/nowhere/x\", \"/bin/sh\"]", "hubd asks who comes (edge, as", Severity::Good),
            (
                "program = [\"/bin/sh\"]\nauth = \"edge\"",
                "hubd asks who comes (auth = \"edge\")",
                Severity::Good,
            ),
            ("program = [\"/bin/sh\"]\nauth = \"oauth\"", "open to everybody", Severity::Warning),
            (
                "program = [\"/bin/sh\"]\narguments = [\"/x/jupyterhub-singleuser\"]",
                "which asks the hub who comes (oauth, by its name)",
                Severity::Good,
            ),
            (
                "program = [\"/nonexistent/jupyter\"]",
                "there is no notebook program at /nonexistent/jupyter",
                Severity::Bad,
            ),
        ] {
            let found = findings(&format!("[profile.default]\n{keys}\n"));
            assert_eq!(found.len(), 1);
            assert!(
                found[0].what.starts_with("profile default") && found[0].what.contains(wanted),
                "{found:?}"
            );
            assert_eq!(found[0].severity, severity);
        }
    }

    #[test]
    fn the_default_profile_is_looked_at_also_if_it_is_not_named() {
        let found = findings("[profile.room]\n[profile.code]\nprogram = [\"/nonexistent/code-server\"]\n");
        assert_eq!(found.len(), 2);
        assert!(is_ill(&found) && found[1].what.contains("profile code"), "{found:?}");
    }

    #[test]
    fn the_programs_are_those_of_the_shipped_policy() {
        let shipped = include_str!("../../../../packaging/helper.toml");
        let listed = shipped.lines().filter_map(|line| line.strip_prefix("#     \"")?.strip_suffix("\","));
        let listed: Vec<&str> = listed.filter(|line| line.starts_with('/')).collect();
        assert_eq!(listed, PROGRAMS);
    }
}
