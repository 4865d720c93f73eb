//! A start, step by step: permission, account, rates, PAM session, places, then the fork.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use hubd_proto::message::{Endpoint, Listen, RefusalCode, SessionStatus, Start, StartService};
use hubd_proto::{ProfileName, Reply, SessionId};
use nix::fcntl::OFlag;
use nix::sys::signalfd::SignalFd;
use nix::unistd::{ForkResult, Pid, getpid};
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::audit::Record;
use crate::become_user::{self, Plan, Step, c_string};
use crate::channel::Channel;
use crate::limits::{Charge, Limits};
use crate::log::Log;
use crate::login::Login;
use crate::pam::Pam;
use crate::places::Places;
use crate::policy::{Profile, Service};
use crate::refusal::Refusal;
use crate::setup::{Setup, now};
use crate::supervise::{self, Running};
use crate::{environment, own_limits, permission, program, service, unix};

/// Serves a start and, if it succeeds, the session to its end.
pub fn run(setup: &Setup, channel: Channel, request: &Start, login: Option<Login>) {
    let uid = login.as_ref().map(|login| login.account.uid.as_raw());
    let record = Record { request: "start", user: request.user.as_str(), uid, ..Record::default() };
    let begun = of_server(setup, request, login).and_then(|grant| start(setup, request, grant));
    supervise(setup, channel, record, begun);
}

/// Serves the start of a service and, if it succeeds, the service to its end.
pub fn run_service(setup: &Setup, channel: Channel, request: StartService) {
    let name = request.service.clone();
    let record = Record { request: "start_service", user: name.as_str(), ..Record::default() };
    let begun = service::grant(setup, request).and_then(|(request, grant)| start(setup, &request, grant));
    supervise(setup, channel, record, begun);
}

type Begun = Result<(Running, SessionStatus), Refusal>;

fn supervise(setup: &Setup, mut channel: Channel, record: Record, begun: Begun) {
    match begun {
        Ok((running, status)) => {
            let (uid, session) = (Some(status.uid), status.session.as_str());
            Record { verdict: "accepted", uid, session, ..record }.write();
            // If the daemon is gone already, the session lives on behind its control socket.
            let connection = channel.send(&Reply::Started(status)).is_ok().then(|| channel.into_stream());
            supervise::run(setup, running, connection);
        }
        Err(refusal) => {
            Record { verdict: "refused", reason: &refusal.reason, ..record }.write();
            // The refusal is in the record; a daemon that is gone does not need it.
            let _ = channel.send(&Reply::Refused(refusal.refused));
        }
    }
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

fn of_server<'a>(setup: &'a Setup, request: &Start, login: Option<Login>) -> Result<Grant<'a>, Refusal> {
    let (account, pam) = permission::of_start(setup, request, login)?;
    permission::refuse_barred(account.bar(setup), &account.name)?;
    let name = request.profile.clone().unwrap_or_else(ProfileName::default_profile);
    let profile = setup.policy.profile.get(name.as_str()).cloned().ok_or_else(|| {
        let message = format!("helper.toml has no [profile.{name}].");
        Refusal::new(RefusalCode::ProfileUnknown, message)
    })?;
    Ok(Grant { account, pam, profile, service: None })
}

fn start(setup: &Setup, request: &Start, grant: Grant) -> Begun {
    let Grant { account, pam, profile, service } = grant;
    environment::check(&setup.policy, &request.environment)?;
    let session = session_id(&account, request, service);
    let mut places = Places::of(setup, &session);
    let socket = places.directory.join("s").to_string_lossy().into_owned();
    let arguments = program::arguments(&setup.policy, &profile, request.listen, &socket, &request.arguments)?;
    let program = program::choose(&profile, setup.root)?;
    take_rates(setup, &account)?;
    let lock = places.reserve(setup, &account)?;
    let pam = match pam {
        None if setup.root => Some(permission::pam_without_password(setup, &account)?),
        Some(mut pam) => {
            permission::accept_account(&mut pam)?;
            Some(pam)
        }
        none => none,
    };
    let directory = service.and_then(|service| service.directory.as_deref());
    let open = Opening { setup, request, account: &account, profile: &profile, directory, pam };
    let started = open.open(places, &program, &arguments)?;
    let status = SessionStatus {
        session: session.clone(),
        user: account.name.clone(),
        uid: account.uid.as_raw(),
        server: request.server.clone(),
        profile: request.profile.clone().unwrap_or_else(ProfileName::default_profile),
        pid: started.child.as_raw(),
        started_at: now(),
        endpoint: match request.listen {
            _ if service.is_some() => Endpoint::Service,
            Listen::Unix => Endpoint::Unix(socket),
            Listen::Tcp(port) => Endpoint::Tcp(port),
        },
        note: request.note.clone(),
        stopping: false,
    };
    let log = Log::open(setup, &status);
    let Started { child, output, listener, signals, pam, places } = started;
    let (reply, connections) = (status.clone(), VecDeque::new());
    Ok((Running { status, child, output, listener, signals, connections, log, pam, places, lock }, reply))
}

fn take_rates(setup: &Setup, account: &Account) -> Result<(), Refusal> {
    let policy = &setup.policy;
    Limits::new(setup).take_or_wait(&[
        Charge::new("start", policy.starts_per_minute),
        Charge::new(format!("start user {}", account.name), policy.starts_per_user_per_minute),
    ])
}

fn session_id(account: &Account, request: &Start, service: Option<&Service>) -> SessionId {
    // No name holds a zero byte, so no server has the id of a service.
    let kind = if service.is_some() { "\0" } else { "" };
    let digest = Sha256::digest(format!("{}\0{kind}{}", account.name, request.server));
    let mut hash = [0; 8];
    hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    SessionId::from_parts(account.uid.as_raw(), hash)
}

struct Opening<'a> {
    setup: &'a Setup,
    request: &'a Start,
    account: &'a Account,
    profile: &'a Profile,
    /// Where root lets it start, if not in the account's home.
    directory: Option<&'a Path>,
    pam: Option<Pam>,
}

struct Started {
    child: Pid,
    output: OwnedFd,
    listener: UnixListener,
    signals: SignalFd,
    pam: Option<Pam>,
    places: Places,
}

impl Opening<'_> {
    /// Makes the places, opens the PAM session, forks.
    fn open(mut self, places: Places, program: &Path, arguments: &[String]) -> Result<Started, Refusal> {
        let listener = places.listen(self.setup).map_err(|e| Refusal::system("the control socket", e))?;
        places
            .make_directory(self.setup, self.account)
            .map_err(|e| Refusal::system("the server's directory", e))?;
        let system = |error: nix::errno::Errno| Refusal::system("starting a process", error);
        let own = own_limits::of_a_session(self.setup, self.account).map_err(system)?;
        let from_pam = match &mut self.pam {
            None => Vec::new(),
            Some(pam) => pam.open_session().map_err(|why| {
                let message = format!("PAM did not open a session: {why}.");
                Refusal::new(RefusalCode::SessionRefused, message).with_notices(pam.take_notices())
            })?,
        };
        if !self.setup.root {
            make_home(&self.account.home)?;
        }
        let (output, plan_output) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(system)?;
        let (report, child_report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(system)?;
        let words = std::iter::once(program.to_string_lossy().into_owned()).chain(arguments.iter().cloned());
        let plan = Plan {
            root: self.setup.root,
            uid: self.account.uid,
            gid: self.account.gid,
            // Those of NSS, and what modules such as pam_group(8) added.
            groups: nix::unistd::getgroups().map_err(system)?,
            home: self.directory.unwrap_or(&self.account.home).to_owned(),
            must_own_home: self.directory.is_none(),
            program: c_string(program.to_string_lossy().into_owned()),
            arguments: words.map(c_string).collect(),
            environment: environment::build(
                self.account,
                from_pam,
                self.profile,
                &self.request.environment,
                &places.directory,
            ),
            output: plan_output,
        };
        let signals =
            supervise::prepare().map_err(|error| Refusal::system("preparing the session", error))?;
        let parent = getpid();
        let child = match unix::fork().map_err(system)? {
            ForkResult::Child => become_user::run(&plan, parent, child_report),
            ForkResult::Parent { child } => child,
        };
        let own = own.take_back();
        drop((child_report, plan));
        // The child has ended or is stuck, for instance in a home directory that does not answer.
        if let Err((step, errno)) = become_user::wait_for_exec(report) {
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(child, None);
            return Err(self.failed(step, errno, program));
        }
        own.map_err(system)?;
        Ok(Started { child, output, listener, signals, pam: self.pam, places })
    }

    fn failed(&self, step: Step, errno: nix::errno::Errno, program: &Path) -> Refusal {
        let home = self.directory.unwrap_or(&self.account.home).display();
        let name = &self.account.name;
        let (code, message) = match step {
            Step::Home => (
                RefusalCode::HomeUnusable,
                format!("{name} cannot enter or write in the home directory {home}: {}.", errno.desc()),
            ),
            Step::HomeOwner => (
                RefusalCode::HomeUnusable,
                format!("The home directory {home} does not belong to {name}; run: chown {name}: {home}"),
            ),
            Step::Exec => (
                RefusalCode::ExecFailed,
                format!("{name} cannot execute {}: {}.", program.display(), errno.desc()),
            ),
            _ => (
                RefusalCode::BecomeUserFailed,
                format!("Becoming {name} failed at step {step:?}: {}.", errno.desc()),
            ),
        };
        Refusal::new(code, message)
    }
}

/// The home of a hub user in a trial without root.
fn make_home(home: &Path) -> Result<(), Refusal> {
    DirBuilder::new().mode(0o700).recursive(true).create(home).map_err(|error| {
        let message = format!("The home directory {} cannot be made: {error}.", home.display());
        Refusal::new(RefusalCode::HomeUnusable, message)
    })
}
