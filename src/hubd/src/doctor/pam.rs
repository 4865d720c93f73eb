//! The PAM service: its file, its syntax (pam.conf(5)), and the modules that it names.

use std::path::{Path, PathBuf};

use super::Finding;

/// Where services are, the administrator's first.
const SERVICES: &[&str] = &["/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d"];
/// Deepest chain of includes.
const INCLUDES_MAX: usize = 8;

/// Looks at the service of this name.
pub fn service(name: &str, found: &mut Vec<Finding>) {
    let Some(path) = SERVICES.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
    else {
        let what = format!(
            "there is no PAM service {name}: PAM takes \"other\", which refuses everybody or checks nothing"
        );
        let cure = format!(
            "install packaging/pam.d/hubd as /etc/pam.d/{name}, or set pam_service in helper.toml(5)"
        );
        return found.push(Finding::bad(what, cure));
    };
    let mut stacks = Vec::new();
    let mut problems = Vec::new();
    read(&path, &mut stacks, &mut problems, 0);
    for stack in ["auth", "account", "session"] {
        if !stacks.iter().any(|present| present == stack) {
            problems.push(format!("it has no {stack} line"));
        }
    }
    let shown = path.display();
    if problems.is_empty() {
        found.push(Finding::good(format!("the PAM service {shown} is good")));
    }
    for problem in problems {
        found.push(Finding::bad(
            format!("the PAM service {shown}: {problem}"),
            format!("correct it, see pam.conf(5): editor {shown}"),
        ));
    }
}

/// Reads a file and what it includes; adds the stacks that there are, and what is wrong.
fn read(path: &Path, stacks: &mut Vec<String>, problems: &mut Vec<String>, depth: usize) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text.replace("\\\n", " "),
        Err(error) => return problems.push(format!("{}: {error}", path.display())),
    };
    let folder = path.parent().unwrap_or(Path::new("/etc/pam.d"));
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        let here = format!("{} line {}", path.display(), number + 1);
        if first == "@include" {
            include(&folder.join(words.next().unwrap_or_default()), None, stacks, problems, depth);
            continue;
        }
        let (optional, stack) = (first.starts_with('-'), first.trim_start_matches('-'));
        if !["auth", "account", "password", "session"].contains(&stack) {
            problems.push(format!("{here}: {first} is none of auth, account, password, session"));
            continue;
        }
        let rest = line.trim_start().get(first.len()..).unwrap_or_default().trim();
        let (control, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or((rest, ""), |(control, rest)| (control, rest)),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let Some(module) = rest.split_whitespace().next() else {
            problems.push(format!("{here}: there is no module"));
            continue;
        };
        if ["include", "substack"].contains(&control) {
            include(&folder.join(module), Some(stack), stacks, problems, depth);
            continue;
        }
        stacks.push(stack.to_owned());
        let plain = ["required", "requisite", "sufficient", "optional"].contains(&control);
        if !plain && !control.contains('=') {
            problems.push(format!(
                "{here}: {control} is none of required, requisite, sufficient, optional, include"
            ));
        }
        if !optional && module_path(module).is_none() {
            problems.push(format!("{here}: the module {module} is not installed"));
        }
    }
}

fn include(
    path: &Path,
    stack: Option<&str>,
    stacks: &mut Vec<String>,
    problems: &mut Vec<String>,
    depth: usize,
) {
    if depth >= INCLUDES_MAX {
        return problems.push(format!("{} includes itself", path.display()));
    }
    let mut included = Vec::new();
    read(path, &mut included, problems, depth + 1);
    stacks.extend(included.into_iter().filter(|name| stack.is_none_or(|stack| stack == name)));
}

/// Where a module is.
fn module_path(module: &str) -> Option<PathBuf> {
    if module.starts_with('/') {
        return Some(PathBuf::from(module)).filter(|path| path.exists());
    }
    let fixed = ["/lib/security", "/lib64/security", "/usr/lib/security", "/usr/lib64/security"];
    let multiarch = ["/lib", "/usr/lib"].into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let multiarch = multiarch.flatten().flatten().map(|entry| entry.path().join("security"));
    fixed
        .iter()
        .map(PathBuf::from)
        .chain(multiarch)
        .map(|folder| folder.join(module))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubd");
        std::fs::write(&path, text).unwrap();
        std::fs::write(
            directory.path().join("common"),
            "auth required /dev/null\nsession required /dev/null\n",
        )
        .unwrap();
        let (mut stacks, mut problems) = (Vec::new(), Vec::new());
        read(&path, &mut stacks, &mut problems, 0);
        stacks.sort();
        stacks.dedup();
        problems.push(stacks.join(" "));
        problems
    }

    #[test]
    fn services_are_read_with_what_they_include() {
        let text = "# x\n@include common\naccount [success=ok default=bad] /dev/null a=b\n-session optional pam_nothing.so\n";
        assert_eq!(problems(text), ["account auth session"]);
        assert_eq!(problems("auth include common\n"), ["auth"]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let found = problems(
            "auth requierd /dev/null\nauht required /dev/null\nauth required\nauth required pam_nothing.so\n@include none\n",
        );
        for (number, wanted) in [
            "line 1: requierd",
            "line 2: auht",
            "line 3: there is no module",
            "line 4: the module pam_nothing.so",
            "none: No such",
        ]
        .iter()
        .enumerate()
        {
            assert!(found[number].contains(wanted), "{wanted}: {found:?}");
        }
        assert!(problems("@include hubd\n")[0].contains("includes itself"));
    }

    #[test]
    fn a_missing_service_is_bad() {
        let mut found = Vec::new();
        service("hubt-no-such-service", &mut found);
        assert!(super::super::is_ill(&found));
    }
}
