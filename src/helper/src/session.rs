//! A start, step by step: permission, account, rates, PAM session, places, then the fork.

use std::os::unix::{ffi::OsStrExt, fs::DirBuilderExt};
use std::{fs::File, iter, path::Path};

use hubd_proto::message::{Endpoint, Listen, RefusalCode, SessionStatus, Start, StartService};
use hubd_proto::{ProfileName, Reply, SessionId};
use nix::unistd::{getgroups, pipe2};
use nix::{errno::Errno, fcntl::OFlag};
use sha2::{Digest, Sha256};

use crate::become_user::{self, EXEC, Failure, HOME, HOME_OWNER, Plan, c_string};
use crate::cgroup::{self, Cgroup};
use crate::control::{Control, Told};
use crate::policy::{Limits, Profile, Service};
use crate::rates::{Charge, take_or_wait};
use crate::setup::{Setup, bind, now};
use crate::supervise::{self, Running};
use crate::{
    account::Account, audit::Record, channel::Channel, login::Login, pam::Pam, places::Places,
    refusal::Refusal,
};
use crate::{environment, log, own_limits, permission, program, service};

/// A request for something to run.
pub enum Asked {
    /// A person's server, with the login of this very connection, if there was one.
    Server(Box<Start>, Option<Login>),
    /// A service that root's policy names.
    Service(StartService),
}

/// What may be started, as whom.
pub struct Grant<'a> {
    /// The account.
    pub account: Account,
    /// The login of this very connection.
    pub pam: Option<Pam>,
    /// What root lets start.
    pub profile: Profile,
    /// Whether it is a service.
    pub service: Option<&'a Service>,
}

/// Serves a start and, if it succeeds, the session to its end.
pub fn run(setup: &Setup, mut channel: Channel, asked: Asked) {
    let (request, user, uid) = match &asked {
        Asked::Server(start, login) => {
            ("start", start.user.to_string(), login.as_ref().map(|login| login.account.uid.as_raw()))
        }
        Asked::Service(start) => ("start_service", start.service.to_string(), None),
    };
    let record = Record { request, user: &user, uid, ..Record::default() };
    let begun = match asked {
        Asked::Server(request, login) => {
            of_server(setup, &request, login).and_then(|grant| start(setup, &request, grant))
        }
        Asked::Service(request) => {
            service::grant(setup, request).and_then(|(request, grant)| start(setup, &request, grant))
        }
    };
    match begun {
        Ok(mut running) => {
            let (uid, session) = (Some(running.status.uid), running.status.session.as_str());
            Record { verdict: "accepted", uid, session, ..record }.write();
            let figures = running.cgroup.as_ref().map(|group| group.directory.clone());
            let told = Told::Runs(Box::new(running.status.clone()), figures, setup.policy.log_bytes);
            running.control.handed.push(channel.into());
            running.control.tell(&told);
            supervise::run(setup, running);
        }
        Err(refusal) => {
            Record { verdict: "refused", reason: &refusal.reason, ..record }.write();
            // The refusal is in the record; a daemon that is gone does not need it.
            let _ = channel.send(&Reply::Refused(refusal.refused));
        }
    }
}

fn of_server<'a>(setup: &Setup, request: &Start, login: Option<Login>) -> Result<Grant<'a>, Refusal> {
    let (account, pam) = permission::of_start(setup, request, login)?;
    let name = profile_name(request);
    let unknown =
        || Refusal::new(RefusalCode::ProfileUnknown, format!("helper.toml has no [profile.{name}]."));
    let profile = setup.policy.profile.get(name.as_str()).cloned().ok_or_else(unknown)?;
    Ok(Grant { account, pam, profile, service: None })
}

fn profile_name(request: &Start) -> ProfileName {
    request.profile.clone().unwrap_or_else(ProfileName::default_profile)
}

fn start(setup: &Setup, request: &Start, grant: Grant) -> Result<Running, Refusal> {
    let (policy, wanted) = (&setup.policy, &request.environment);
    let Grant { account, pam, mut profile, service } = grant;
    environment::check(policy, wanted)?;
    own_limits::enter_session_domain().map_err(|error| Refusal::system("the domain of sessions", error))?;
    let session = session_id(&account, request, service);
    let mut places = Places::of(setup, &session);
    let socket = places.directory.join("s").to_string_lossy().into_owned();
    let program = program::choose(&profile, setup.root)?;
    let edge = if service.is_some() { None } else { program::edge(&profile, &program, request.listen)? };
    let for_edge = (socket.as_str(), edge.map(|_| program.as_path()));
    let words = program::arguments(policy, &profile, request, for_edge)?.into_iter().map(c_string);
    let words = iter::once(c_string(program.as_os_str().as_bytes())).chain(words).collect();
    take_rates(setup, &account)?;
    places.reserve(setup, &account)?;
    let mut pam = match pam {
        None if setup.root => Some(permission::pam_without_password(setup, &account)?),
        mut held => held.as_mut().map_or(Ok(()), permission::accept_account).map(|()| held)?,
    };
    let limits = limits(setup, &account, &profile)?;
    profile.environment.extend(limits.variables());
    let listener = bind(setup, &places.control).map_err(|e| Refusal::system("the control socket", e))?;
    places.make_directory(setup, &account).map_err(|e| Refusal::system("the server's directory", e))?;
    let system = |error: Errno| Refusal::system("starting a process", error);
    let (output, plan_output) = pipe2(OFlag::O_CLOEXEC).map_err(system)?;
    let [log, older_log] =
        log::open(setup, &account, service.is_some()).map_err(|error| Refusal::system("the log", error))?;
    let control = Control::start(setup, vec![listener.into(), output, log.into(), older_log.into()])?;
    own_limits::enter_login(setup, &account).map_err(system)?;
    // With the umask of a login: the server may read what it has and uses.
    let cgroup = cgroup::make(setup, &session, &limits)?;
    let entrance = cgroup.as_ref().map(Cgroup::entrance).transpose();
    let from_pam = pam.as_mut().map_or(Ok(Vec::new()), open_session)?;
    if !setup.root {
        make_home(&account.home)?;
    }
    let plan = Plan {
        root: setup.root,
        uid: account.uid,
        gid: account.gid,
        // Those of NSS, and what modules such as pam_group(8) added.
        groups: getgroups().map_err(system)?,
        home: service.and_then(|s| s.directory.clone()).unwrap_or_else(|| account.home.clone()),
        must_own_home: service.is_none_or(|service| service.directory.is_none()),
        cgroup: entrance.map_err(|error| Refusal::system("the control group", error))?,
        arguments: words,
        environment: environment::build(&account, from_pam, &profile, wanted, &places.directory),
        input: File::open("/dev/null").map_err(|error| Refusal::system("standard input", error))?.into(),
        output: plan_output,
    };
    let signals = supervise::prepare().map_err(|error| Refusal::system("preparing the session", error))?;
    let child = become_user::start(&plan).map_err(|failure| failed(&account, &plan, failure))?;
    let status = SessionStatus {
        session,
        user: account.name,
        uid: account.uid.as_raw(),
        server: request.server.clone(),
        profile: profile_name(request),
        pid: child.as_raw(),
        started_at: now(),
        endpoint: match request.listen {
            _ if service.is_some() => Endpoint::Service,
            Listen::Unix => Endpoint::Unix(socket),
            Listen::Tcp(port) => Endpoint::Tcp(port),
        },
        note: request.note.clone(),
        edge,
        stopping: false,
        memory_bytes: None,
        memory_limit_bytes: None,
        cpu_microseconds: None,
    };
    Ok(Running { status, control, signals, pam, places, cgroup })
}

/// The profile's limits, with those of the account's groups in their place; the first group that has one wins.
fn limits(setup: &Setup, account: &Account, profile: &Profile) -> Result<Limits, Refusal> {
    let mut limits = profile.limits.clone();
    for (group, other) in setup.policy.group.iter().rev() {
        let member = permission::member_of(account, std::slice::from_ref(group))?;
        limits = member.map(|_| limits.clone().with(other)).unwrap_or(limits);
    }
    Ok(limits)
}

fn open_session(pam: &mut Pam) -> Result<crate::pam::Variables, Refusal> {
    pam.open_session().map_err(|why| {
        let message = format!("PAM did not open a session: {why}.");
        Refusal::new(RefusalCode::SessionRefused, message).with_notices(pam.take_notices())
    })
}

fn take_rates(setup: &Setup, account: &Account) -> Result<(), Refusal> {
    let policy = &setup.policy;
    take_or_wait(
        setup,
        &[
            Charge::new("start", policy.starts_per_minute),
            Charge::new(format!("start user {}", account.name), policy.starts_per_user_per_minute),
        ],
    )
}

fn session_id(account: &Account, request: &Start, service: Option<&Service>) -> SessionId {
    // No name holds a zero byte, so no server has the id of a service.
    let kind = if service.is_some() { "\0" } else { "" };
    let digest = Sha256::digest(format!("{}\0{kind}{}", account.name, request.server));
    let mut hash = [0; 8];
    hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    SessionId::from_parts(account.uid.as_raw(), hash)
}

fn failed(account: &Account, plan: &Plan, (step, errno): Failure) -> Refusal {
    let (home, name, why) = (plan.home.display(), &account.name, errno.desc());
    let program = plan.arguments.first().cloned().unwrap_or_default();
    use RefusalCode::{BecomeUserFailed, ExecFailed, HomeUnusable};
    let (code, message) = match step.as_str() {
        HOME => (HomeUnusable, format!("{name} cannot enter or write in the home directory {home}: {why}.")),
        HOME_OWNER => {
            (HomeUnusable, format!("The home {home} does not belong to {name}; run: chown {name}: {home}"))
        }
        EXEC => (ExecFailed, format!("{name} cannot execute {}: {why}.", program.to_string_lossy())),
        _ => (BecomeUserFailed, format!("Becoming {name} failed at {step}: {why}.")),
    };
    Refusal::new(code, message)
}

/// The home of a hub user in a trial without root.
fn make_home(home: &Path) -> Result<(), Refusal> {
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(home).map_err(|error| {
        let message = format!("The home directory {} cannot be made: {error}.", home.display());
        Refusal::new(RefusalCode::HomeUnusable, message)
    })
}
