//! A start, step by step: permission, account, rates, PAM session, places, then the fork.

use std::fs::File;

use hubd_policy::{Account, OrRefuse, Refusal, environment, launch, rates, service, session};
use hubd_policy::{policy::Profile, policy::Service, record::Record};
use hubd_proto::message::{SessionStatus, Start, StartService};
use hubd_proto::{Reply, line::Told};
use nix::unistd::{Gid, Uid, getgroups, pipe2};
use nix::{errno::Errno, fcntl::OFlag};

use crate::account::member_of;
use crate::become_user::{self, Plan};
use crate::setup::{Setup, bind, now};
use crate::supervise::{self, Running};
use crate::{audit, channel::Channel, login::Login, pam::Pam, places::Places};
use crate::{cgroup, cgroup::Cgroup, control::Control};
use crate::{kept::take_or_wait, log, own_limits, permission, program};

/// A request for something to run.
pub enum Asked {
    /// A person's server, with the login of this very connection, if there was one.
    Server(Box<Start>, Option<Login>),
    /// A service that root's policy names.
    Service(StartService),
}

/// What may be started, as whom.
struct Grant<'a> {
    account: Account,
    /// The login of this very connection.
    pam: Option<Pam>,
    /// What root lets start.
    profile: Profile,
    /// Whether it is a service.
    service: Option<&'a Service>,
}

/// Serves a start and, if it succeeds, the session to its end.
pub fn run(setup: &Setup, mut channel: Channel, asked: Asked) {
    let (request, user, uid) = match &asked {
        Asked::Server(start, login) => {
            ("start", start.user.to_string(), login.as_ref().map(|login| login.account.uid))
        }
        Asked::Service(start) => ("start_service", start.service.to_string(), None),
    };
    let record = Record { request, user: &user, uid, ..Record::default() };
    match granted(setup, asked).and_then(|(request, grant)| start(setup, &request, grant)) {
        Ok(mut running) => {
            let (uid, session) = (Some(running.status.uid), running.status.session.as_str());
            audit::write(&Record { verdict: "accepted", uid, session, ..record });
            let figures = running.cgroup.as_ref().map(|group| group.directory.clone());
            let told = Told::Runs(Box::new(running.status.clone()), figures, setup.policy.log_bytes);
            running.control.handed.push(channel.0.into());
            running.control.tell(&told);
            supervise::run(setup, running);
        }
        Err(refusal) => {
            audit::write(&Record { verdict: "refused", reason: &refusal.reason, ..record });
            // The refusal is in the record; a daemon that is gone does not need it.
            let _ = channel.send(&Reply::Refused(refusal.refused));
        }
    }
}

fn granted(setup: &Setup, asked: Asked) -> Result<(Start, Grant<'_>), Refusal> {
    match asked {
        Asked::Server(request, login) => {
            let (account, pam) = permission::of_start(setup, &request, login)?;
            let profile = session::profile(&setup.policy, &request)?;
            Ok((*request, Grant { account, pam, profile, service: None }))
        }
        Asked::Service(request) => {
            let (service, profile, request) = service::start(&setup.policy, request)?;
            let account = permission::of_service(setup, service)?;
            Ok((request, Grant { account, pam: None, profile, service: Some(service) }))
        }
    }
}

fn start(setup: &Setup, request: &Start, grant: Grant) -> Result<Running, Refusal> {
    let (policy, wanted) = (&setup.policy, &request.environment);
    let Grant { account, pam, mut profile, service } = grant;
    environment::check(policy, wanted)?;
    own_limits::enter_session_domain().or_refuse("the domain of sessions")?;
    let id = session::id(&account, request, service.is_some());
    let mut places = Places::of(setup, &id);
    let socket = places.directory.join("s").to_string_lossy().into_owned();
    let program = program::choose(&profile, setup.root)?;
    let asks = service.is_some();
    let (edge, words) = launch::words(policy, &profile, request, (&program, &socket), asks)?;
    take_or_wait(setup, &rates::of_start(policy, &account.name))?;
    places.reserve(setup, &account)?;
    let mut pam = match pam {
        None if setup.root => Some(permission::pam_without_password(setup, &account)?),
        mut held => held.as_mut().map_or(Ok(()), permission::accept_account).map(|()| held)?,
    };
    let is_member = |group: &String| Ok(member_of(&account, std::slice::from_ref(group))?.is_some());
    let limits = session::limits(policy, &profile, is_member)?;
    profile.environment.extend(limits.variables());
    let listener = bind(setup, &places.control).or_refuse("the control socket")?;
    places.make_directory(setup, &account).or_refuse("the server's directory")?;
    let system = |error: Errno| Refusal::system("starting a process", error);
    let (output, plan_output) = pipe2(OFlag::O_CLOEXEC).map_err(system)?;
    let [log, older_log] = log::open(setup, &account, service.is_some()).or_refuse("the log")?;
    let control = Control::start(setup, vec![listener.into(), output, log.into(), older_log.into()])?;
    own_limits::enter_login(setup, &account).map_err(system)?;
    // With the umask of a login: the server may read what it has and uses.
    let cgroup = cgroup::make(setup, &id, &limits)?;
    let entrance = cgroup.as_ref().map(Cgroup::entrance).transpose();
    let from_pam = pam.as_mut().map_or(Ok(Vec::new()), Pam::open_session)?;
    let plan = Plan {
        root: setup.root,
        uid: Uid::from_raw(account.uid),
        gid: Gid::from_raw(account.gid),
        // Those of NSS, and what modules such as pam_group(8) added.
        groups: getgroups().map_err(system)?,
        home: service.and_then(|s| s.directory.clone()).unwrap_or_else(|| account.home.clone()),
        must_own_home: service.is_none_or(|service| service.directory.is_none()),
        cgroup: entrance.or_refuse("the control group")?,
        arguments: words,
        environment: environment::build(&account, from_pam, &profile, wanted, &places.directory),
        input: File::open("/dev/null").or_refuse("standard input")?.into(),
        output: plan_output,
    };
    let signals = supervise::prepare().or_refuse("preparing the session")?;
    let child = become_user::start(&plan).map_err(|(step, errno)| {
        let why = (step.as_str(), errno.desc());
        Refusal::step(&account.name, plan.home.display(), program.display(), why)
    })?;
    let status = session::status(&account, request, id, socket, service.is_some());
    let status = SessionStatus { pid: child.as_raw(), started_at: now(), edge, ..status };
    Ok(Running { status, control, signals, pam, places, cgroup })
}
