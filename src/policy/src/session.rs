//! What a session is called and told to be.

use hubd_proto::message::{Endpoint, Exited, Listen, SessionStatus, Start};
use hubd_proto::{ProfileName, SessionId};
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::limits::Limits;
use crate::policy::{Policy, Profile};
use crate::refusal::Refusal;

/// The signal that nobody can catch, see signal(7).
const SIGKILL: i32 = 9;

/// The id of a server, or of a service, which never have the same one.
pub fn id(account: &Account, request: &Start, service: bool) -> SessionId {
    // No name holds a zero byte, so no server has the id of a service.
    let kind = if service { "\0" } else { "" };
    let digest = Sha256::digest(format!("{}\0{kind}{}", account.name, request.server));
    let mut hash = [0; 8];
    hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    SessionId::from_parts(account.uid, hash)
}

/// The profile that a start names.
pub fn profile_name(request: &Start) -> ProfileName {
    request.profile.clone().unwrap_or_else(ProfileName::default_profile)
}

/// What root lets a start run.
///
/// # Errors
/// `profile-unknown`.
pub fn profile(policy: &Policy, request: &Start) -> Result<Profile, Refusal> {
    let name = profile_name(request);
    let code = hubd_proto::message::RefusalCode::ProfileUnknown;
    let unknown = || Refusal::new(code, format!("helper.toml has no [profile.{name}]."));
    policy.profile.get(name.as_str()).cloned().ok_or_else(unknown)
}

/// The profile's limits, with those of the account's groups in their place; the first group that has one wins.
///
/// # Errors
/// Membership could not be found out.
pub fn limits<E>(
    policy: &Policy,
    profile: &Profile,
    is_member: impl Fn(&String) -> Result<bool, E>,
) -> Result<Limits, E> {
    let mut limits = profile.limits.clone();
    for (group, other) in policy.group.iter().rev() {
        if is_member(group)? {
            limits = limits.with(other);
        }
    }
    Ok(limits)
}

/// The status of a server that is about to run, with everything but its process and the time. `socket` is its own
/// in the file system.
pub fn status(
    account: &Account,
    request: &Start,
    session: SessionId,
    socket: String,
    service: bool,
) -> SessionStatus {
    let endpoint = match request.listen {
        _ if service => Endpoint::Service,
        Listen::Unix => Endpoint::Unix(socket),
        Listen::Tcp(port) => Endpoint::Tcp(port),
    };
    SessionStatus {
        session,
        user: account.name.clone(),
        uid: account.uid,
        server: request.server.clone(),
        profile: profile_name(request),
        pid: 0,
        started_at: 0,
        endpoint,
        note: request.note.clone(),
        edge: None,
        stopping: false,
        memory_bytes: None,
        memory_limit_bytes: None,
        cpu_microseconds: None,
    }
}

/// How it ended: by which exit status or signal, asked or not, and the limit in bytes if the kernel has killed something
/// there for reaching it.
pub fn exited((code, signal): (Option<i32>, Option<i32>), stopped: bool, limit: Option<u64>) -> Exited {
    let killed = signal == Some(SIGKILL) && !stopped;
    Exited { code, signal, stopped, out_of_memory: limit.filter(|_| killed), log: Vec::new() }
}

/// How it ended, for the audit record.
pub fn ending(exited: &Exited, left: bool) -> String {
    match (exited.stopped, exited.code, exited.signal) {
        _ if exited.out_of_memory.is_some() => "out of memory".to_owned(),
        _ if left => "some of its processes cannot be ended".to_owned(),
        (true, ..) => "stopped".to_owned(),
        (_, Some(code), _) => format!("exit status {code}"),
        (.., signal) => format!("signal {}", signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(server: &str) -> Start {
        Start {
            user: hubd_proto::UserName::new("alice").expect("a good name"),
            ticket: None,
            server: hubd_proto::ServerName::new(server).expect("a good name"),
            profile: None,
            listen: Listen::Unix,
            arguments: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            note: String::new(),
        }
    }

    #[test]
    fn ids_tell_servers_services_and_accounts_apart() {
        let account = |uid| Account {
            name: hubd_proto::UserName::new("alice").expect("a good name"),
            uid,
            gid: 1,
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        let ids = [
            id(&account(1000), &start(""), false),
            id(&account(1000), &start("a"), false),
            id(&account(1000), &start("a"), true),
            id(&account(1001), &start("a"), false),
        ];
        assert_eq!(ids.iter().map(SessionId::as_str).collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert!(ids.iter().take(3).all(|id| id.as_str().starts_with("u1000-")));
    }

    #[test]
    fn the_limits_of_the_first_group_go_before_those_of_others_and_of_the_profile() {
        let text = "[profile.default.limits]\ntasks_max = 1\ncpu_limit = 1.0\n[group.a]\ntasks_max = 2\n[group.b]\ntasks_max = 3\ncpu_limit = 3.0";
        let policy = Policy::parse(text).expect("a policy");
        let profile = profile(&policy, &start("")).expect("the default one");
        let of = |groups: &[&str]| {
            let is_member = |group: &String| Ok::<_, ()>(groups.contains(&group.as_str()));
            limits(&policy, &profile, is_member).map(|limits| (limits.tasks_max, limits.cpu_limit))
        };
        assert_eq!((of(&[]), of(&["b"]), of(&["a", "b"])), (Ok((1, 1.0)), Ok((3, 3.0)), Ok((2, 3.0))));
        assert_eq!(limits(&policy, &profile, |_| Err("NSS")).map(drop), Err("NSS"));
    }
}
