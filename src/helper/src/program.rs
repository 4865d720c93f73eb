//! Which program a profile runs, and whether only root could have put it there.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::{fs, io::Read};

use hubd_proto::Secret;
use hubd_proto::message::{Edge, Listen, RefusalCode, Start};

use crate::policy::{Auth, Policy, Profile};
use crate::refusal::Refusal;

/// Most symbolic links on the way to a program, as the kernel's own limit.
const LINKS_MAX: usize = 40;
/// Longest argument that the daemon may add, in bytes.
const ARGUMENT_BYTES_MAX: usize = 4096;
/// How much of a program is read to find its interpreter, in bytes; the kernel reads as much.
const INTERPRETER_BYTES_MAX: u64 = 256;

/// What Jupyter of both kinds, with and without jupyter_server, needs if the daemon asks who comes in its place.
const JUPYTER_ARGUMENTS: &str = "--no-browser --ServerApp.base_url={base_url} --NotebookApp.base_url={base_url} \
    --ServerApp.allow_remote_access=True --NotebookApp.allow_remote_access=True --IdentityProvider.token= \
    --PasswordIdentityProvider.hashed_password= --NotebookApp.token= --NotebookApp.password= \
    --NotebookApp.sock={socket} --NotebookApp.sock_mode=0660";

/// The first of the profile's programs that exists, after checking that it is safe to run.
///
/// # Errors
/// `program-missing`, with everything that was looked at and the cure.
pub fn choose(profile: &Profile, root: bool) -> Result<PathBuf, Refusal> {
    let missing = |message: String| Refusal::new(RefusalCode::ProgramMissing, message);
    let Some(program) = profile.program.iter().find(|path| path.exists()) else {
        let tried: Vec<_> = profile.program.iter().map(|path| path.display().to_string()).collect();
        return Err(missing(format!(
            "No notebook program is installed: looked for {}. Install jupyterhub and jupyterlab into a place of root's, or name the program as `program` in helper.toml.",
            tried.join(", ")
        )));
    };
    let check = || {
        let found = fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?;
        if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
            return Err(format!("{} is not an executable file; run: chmod 755 {0}", program.display()));
        }
        if root {
            let resolved = only_root_can_change(program)?;
            if let Some(interpreter) = interpreter(&resolved) {
                only_root_can_change(&interpreter)?;
            }
        }
        Ok(())
    };
    check().map_err(missing)?;
    Ok(program.clone())
}

/// Follows the path component by component: each one, and each link's own place, must be root's alone.
fn only_root_can_change(path: &Path) -> Result<PathBuf, String> {
    let mut done = PathBuf::from("/");
    let mut left: Vec<PathBuf> = components(path);
    let mut links = 0;
    loop {
        let found = fs::symlink_metadata(&done).map_err(|error| format!("{}: {error}", done.display()))?;
        let link = found.file_type().is_symlink();
        if found.uid() != 0 {
            return Err(format!("{} does not belong to root; run: chown root {0}", done.display()));
        }
        if !link && found.mode() & 0o022 != 0 {
            return Err(format!("others than root may write {}; run: chmod go-w {0}", done.display()));
        }
        if link {
            links += 1;
            if links > LINKS_MAX {
                return Err(format!("too many symbolic links on the way to {}", path.display()));
            }
            let target = fs::read_link(&done).map_err(|error| format!("{}: {error}", done.display()))?;
            done.pop();
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            left.extend(components(&target));
        }
        match left.pop() {
            None => return Ok(done),
            Some(part) if part.as_os_str() == ".." => {
                done.pop();
            }
            Some(part) => done.push(part),
        }
    }
}

/// The parts of a path below the root, last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    let below = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(PathBuf::from(part.as_os_str())),
        _ => None,
    };
    path.components().rev().filter_map(below).collect()
}

/// The program behind `#!`, if the file is a script.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    fs::File::open(script).ok()?.take(INTERPRETER_BYTES_MAX).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    Some(PathBuf::from(word))
}

/// How the daemon has to reach a program that does not ask who comes; nothing for one that does.
///
/// # Errors
/// `not-available` if everybody on this machine could reach it, too.
pub fn edge(profile: &Profile, program: &Path, listen: Listen) -> Result<Option<Edge>, Refusal> {
    let asks =
        |word: &Path| word.ends_with("jupyterhub-singleuser") || word == Path::new("jupyterhub.singleuser");
    let oauth = match profile.auth {
        Auth::Auto => asks(program) || profile.arguments.iter().any(|word| asks(Path::new(word))),
        auth => auth == Auth::Oauth,
    };
    if !oauth && listen != Listen::Unix {
        let message = "This program does not ask who comes, so it must listen on a Unix socket: set [Spawner] socket = \"unix\" in hubd.toml.";
        return Err(Refusal::new(RefusalCode::NotAvailable, message.to_owned()));
    }
    Ok((!oauth).then_some(Edge { strip_prefix: profile.strip_prefix }))
}

/// The arguments: root's, with the place to listen filled in, then the daemon's, each allowed by root.
///
/// # Errors
/// `argument-refused`, with the line that would allow it.
pub fn arguments(
    policy: &Policy,
    profile: &Profile,
    request: &Start,
    (socket, edge): (&str, Option<&Path>),
) -> Result<Vec<String>, Refusal> {
    for argument in &request.arguments {
        let allowed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => argument.starts_with(start),
            None => argument == pattern,
        };
        let long = argument.len() > ARGUMENT_BYTES_MAX || argument.contains('\0');
        if long || !policy.allow_arguments.iter().any(allowed) {
            let shown: String = argument.chars().filter(|c| !c.is_control()).take(100).collect();
            let message = format!(
                "The argument {shown} may not be given: root's helper.toml would have to name it in allow_arguments."
            );
            return Err(Refusal::new(RefusalCode::ArgumentRefused, message));
        }
    }
    let (place, fixed) = match request.listen {
        Listen::Unix => (("{socket}", socket.to_owned()), &profile.unix_arguments),
        Listen::Tcp(port) => (("{port}", port.to_string()), &profile.tcp_arguments),
    };
    // From the daemon: nothing that means anything to a shell, nor another argument.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%@".contains(&byte);
    let prefix = request.environment.get("JUPYTERHUB_SERVICE_PREFIX").map(Secret::expose);
    let prefix =
        prefix.filter(|path| path.starts_with('/') && path.bytes().all(plain)).unwrap_or("{base_url}");
    let name = edge.and_then(Path::file_name).map_or("".into(), OsStr::to_string_lossy);
    let jupyter = if name.starts_with("jupyter") { JUPYTER_ARGUMENTS } else { "" };
    let fill = |word: &str| word.replace(place.0, &place.1).replace("{base_url}", prefix);
    let own = profile.arguments.iter().map(String::as_str).chain(jupyter.split_whitespace());
    let own = own.chain(fixed.iter().map(String::as_str)).map(fill);
    Ok(own.chain(request.arguments.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> Policy {
        Policy {
            allow_arguments: allowed.iter().map(|text| (*text).to_owned()).collect(),
            ..Policy::default()
        }
    }

    fn request(arguments: &[&str], prefix: &str) -> Start {
        Start {
            user: hubd_proto::UserName::new("alice").expect("a good name"),
            ticket: None,
            server: hubd_proto::ServerName::default(),
            profile: None,
            listen: Listen::Unix,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: [("JUPYTERHUB_SERVICE_PREFIX".to_owned(), Secret::new(prefix.into()))].into(),
            note: String::new(),
        }
    }

    #[test]
    fn arguments_are_refused_unless_root_allows_them() {
        let try_one = |allowed: &[&str], wanted: &str| {
            arguments(&policy(allowed), &Profile::default(), &request(&[wanted], "/"), ("/s", None)).is_ok()
        };
        assert!(!try_one(&[], "--debug"));
        assert!(try_one(&["--debug"], "--debug") && !try_one(&["--debug"], "--debug=1"));
        assert!(try_one(&["--A.b=*"], "--A.b=c") && !try_one(&["--A.b=*"], "--A.c=--A.b="));
        assert!(!try_one(&["*"], "a\0b") && !try_one(&["*"], &"x".repeat(ARGUMENT_BYTES_MAX + 1)));
    }

    #[test]
    fn the_place_to_listen_and_the_part_of_the_site_are_filled_in() {
        let words = |edge: Option<&str>, prefix: &str| {
            let edge = ("/run/x/s", edge.map(Path::new));
            arguments(&policy(&[]), &Profile::default(), &request(&[], prefix), edge).expect("allowed")
        };
        assert_eq!(words(None, "/user/a/").first().map(String::as_str), Some("--ServerApp.sock=/run/x/s"));
        let has = |words: Vec<String>, wanted: &str| words.iter().any(|word| word == wanted);
        assert!(has(
            words(Some("/usr/bin/jupyter-lab"), "/user/a%40b/"),
            "--ServerApp.base_url=/user/a%40b/"
        ));
        assert!(!has(words(Some("/usr/bin/code-server"), "/"), "--no-browser"));
        for bad in ["/;reboot", "/$(x)", "relative", "/a b", "/a\n"] {
            assert!(
                has(words(Some("/usr/bin/jupyter-lab"), bad), "--ServerApp.base_url={base_url}"),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_daemon_asks_who_comes_unless_the_program_is_known_to() {
        let of = |text: &str, program: &str, listen| {
            let profile: Profile = toml::from_str(text).expect("a profile");
            edge(&profile, Path::new(program), listen).ok()
        };
        let (unix, with, without) =
            (Listen::Unix, Some(Some(Edge { strip_prefix: false })), Some(None::<Edge>));
        assert_eq!(of("", "/x/jupyterhub-singleuser", unix), without);
        assert_eq!(of("", "/x/jupyterhub-singleuser", Listen::Tcp(1)), without);
        assert_eq!(of("arguments = [\"-m\", \"jupyterhub.singleuser\"]", "/bin/python3", unix), without);
        assert_eq!(of("arguments = [\"/x/jupyterhub-singleuser\"]", "/bin/env", unix), without);
        for other in
            ["/x/jupyter-lab", "/x/jupyterhub-singleuser/bin/jupyter-lab", "/x/my-jupyterhub-singleuser"]
        {
            assert_eq!(of("", other, unix), with, "{other}");
            assert_eq!(of("", other, Listen::Tcp(1)), None, "everybody on this machine could come: {other}");
        }
        assert_eq!(of("auth = \"oauth\"", "/x/own", unix), without);
        assert_eq!(of("auth = \"edge\"", "/x/jupyterhub-singleuser", unix), with);
        assert_eq!(of("strip_prefix = true", "/x/own", unix), Some(Some(Edge { strip_prefix: true })));
    }

    #[test]
    fn a_path_of_somebody_else_or_writable_by_others_is_refused() {
        assert!(only_root_can_change(Path::new("/bin/sh")).is_ok());
        let refusal = only_root_can_change(Path::new("/tmp/x")).expect_err("/tmp is writable by all");
        assert!(refusal.contains("/tmp"), "{refusal}");
    }

    #[test]
    fn what_was_looked_for_is_named() {
        let profile =
            Profile { program: vec!["/nowhere/a".into(), "/nowhere/b".into()], ..Profile::default() };
        let refusal = choose(&profile, true).expect_err("nothing there");
        assert!(refusal.refused.message.contains("/nowhere/a, /nowhere/b"));
    }
}
