//! Which service may be started: one that root's policy names, as the account and with the command that
//! stand there. The daemon names it, and says what it believes about it.

use hubd_proto::message::{Listen, RefusalCode, Start, StartService};
use hubd_proto::{ProfileName, UserName};

use crate::policy::{Profile, Service};
use crate::{permission, refusal::Refusal, session::Grant, setup::Setup};

/// The grant that root's policy is, and the request as a start.
///
/// # Errors
/// `profile-unknown` unless the policy has the service just as the daemon believes; `account-barred`.
pub fn grant(setup: &Setup, request: StartService) -> Result<(Start, Grant<'_>), Refusal> {
    let name = request.service.as_str();
    let unknown = |what: String| Err(Refusal::new(RefusalCode::ProfileUnknown, what));
    let Some(service) = setup.policy.service.get(name) else {
        return unknown(format!("Root's helper.toml has no [service.{name}]."));
    };
    if let Some(key) = difference(service, &request) {
        return unknown(format!("Root's helper.toml has another `{key}` in [service.{name}]."));
    }
    let account = permission::of_service(setup, service)?;
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
    Ok((start, Grant { account, pam: None, profile, service: Some(service) }))
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
