//! With which arguments a server runs, and who asks the people who come to it.

use std::ffi::{CString, OsStr};
use std::{iter, path::Path};

use hubd_proto::Secret;
use hubd_proto::message::{Edge, Listen, RefusalCode, Start};

use crate::policy::{Auth, Policy, Profile};
use crate::refusal::Refusal;

/// Longest argument that the daemon may add, in bytes.
const ARGUMENT_BYTES_MAX: usize = 4096;

/// What Jupyter of both kinds, with and without jupyter_server, needs if the daemon asks who comes in its place.
const JUPYTER_ARGUMENTS: &str = "--no-browser --ServerApp.base_url={base_url} --NotebookApp.base_url={base_url} \
    --ServerApp.allow_remote_access=True --NotebookApp.allow_remote_access=True --IdentityProvider.token= \
    --PasswordIdentityProvider.hashed_password= --NotebookApp.token= --NotebookApp.password= \
    --NotebookApp.sock={socket} --NotebookApp.sock_mode=0660";

/// The whole command line as execve(2) takes it, and how the daemon has to reach the program if that does not ask who
/// comes; a service `asks`. `socket` is the server's own.
///
/// # Errors
/// Those of [`edge`] and [`arguments`].
pub fn words(
    policy: &Policy,
    profile: &Profile,
    request: &Start,
    (program, socket): (&Path, &str),
    asks: bool,
) -> Result<(Option<Edge>, Vec<CString>), Refusal> {
    let edge = if asks { None } else { edge(profile, program, request.listen)? };
    let arguments = arguments(policy, profile, request, (socket, edge.map(|_| program)))?;
    let arguments = arguments.into_iter().map(String::into_bytes);
    let words = iter::once(program.as_os_str().as_encoded_bytes().to_vec()).chain(arguments);
    // The daemon's hold no zero byte; one of root's that does is nothing.
    Ok((edge, words.map(|word| CString::new(word).unwrap_or_default()).collect()))
}

/// How the daemon has to reach a program that does not ask who comes; nothing for one that does.
///
/// # Errors
/// `not-available` if everybody on this machine could reach it, too.
fn edge(profile: &Profile, program: &Path, listen: Listen) -> Result<Option<Edge>, Refusal> {
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
fn arguments(
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
}
