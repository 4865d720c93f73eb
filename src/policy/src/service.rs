//! Which service may be started: one that root's policy names, as the account and with the command that
//! stand there. The daemon names it, and says what it believes about it.

use hubd_proto::message::{Listen, Start, StartService};
use hubd_proto::{ProfileName, UserName};

use crate::policy::{Policy, Profile, Service};
use crate::refusal::Refusal;

/// What root wrote of a service, and the request as a start of it.
///
/// # Errors
/// `profile-unknown` unless the policy has the service just as the daemon believes.
pub fn start(policy: &Policy, request: StartService) -> Result<(&Service, Profile, Start), Refusal> {
    let name = &request.service;
    let service = policy.service.get(name.as_str()).ok_or_else(|| Refusal::service(name, None))?;
    if let Some(key) = difference(service, &request) {
        return Err(Refusal::service(name, Some(key)));
    }
    let profile = Profile {
        program: service.command.iter().take(1).map(Into::into).collect(),
        arguments: service.command.iter().skip(1).cloned().collect(),
        tcp_arguments: Vec::new(),
        environment: service.environment.clone(),
        ..Profile::default()
    };
    let start = Start {
        user: service.user.clone(),
        ticket: None,
        server: request.service,
        profile: Some(ProfileName::of_a_service()),
        listen: Listen::Tcp(0),
        arguments: Vec::new(),
        environment: request.environment,
        note: request.note,
    };
    Ok((service, profile, start))
}

/// The first key in which the policy is not as the daemon believes.
fn difference(service: &Service, believed: &StartService) -> Option<&'static str> {
    let directory = service.directory.as_ref().map(|path| path.to_string_lossy());
    if service.command != believed.command {
        return Some("command");
    }
    if believed.user.as_ref().is_some_and(|user: &UserName| *user != service.user) {
        return Some("user");
    }
    (believed.directory.is_some() && believed.directory.as_deref() != directory.as_deref())
        .then_some("directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the daemon believes of the service `cull`: its account, command and directory.
    fn asked(name: &str, user: Option<&str>, command: &[&str], directory: Option<&str>) -> StartService {
        StartService {
            service: hubd_proto::ServerName::new(name).expect("a good name"),
            user: user.map(|name| UserName::new(name).expect("a good name")),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            directory: directory.map(str::to_owned),
            environment: std::collections::BTreeMap::new(),
            note: String::new(),
        }
    }

    #[test]
    fn a_service_runs_as_root_wrote_it_or_not_at_all() {
        let text =
            "[service.cull]\nuser = \"culler\"\ncommand = [\"/bin/cull\", \"-x\"]\ndirectory = \"/srv\"";
        let policy = Policy::parse(text).expect("a policy");
        let command = ["/bin/cull", "-x"];
        let (service, profile, begun) =
            start(&policy, asked("cull", None, &command, None)).expect("as written");
        assert_eq!((service.user.as_str(), begun.user.as_str()), ("culler", "culler"));
        assert_eq!((profile.program, profile.arguments), (vec!["/bin/cull".into()], vec!["-x".to_owned()]));
        assert!(start(&policy, asked("cull", Some("culler"), &command, Some("/srv"))).is_ok());
        for (other, key) in [
            (asked("else", None, &command, None), "no [service.else]"),
            (asked("cull", None, &["/bin/cull"], None), "`command`"),
            (asked("cull", Some("root"), &command, None), "`user`"),
            (asked("cull", None, &command, Some("/")), "`directory`"),
        ] {
            let refusal = start(&policy, other).map(drop).expect_err(key);
            assert!(refusal.reason.contains(key), "{}", refusal.reason);
        }
    }
}
