//! A start, step by step: permission, account, rates, PAM session, places, then the fork.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hubd_proto::message::{Endpoint, Listen, RefusalCode, SessionStatus, Start};
use hubd_proto::{ProfileName, Reply, Secret, SessionId, UserName};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, getpid};
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::audit::Record;
use crate::become_user::{self, Plan, Step, c_string};
use crate::channel::Channel;
use crate::limits::{Charge, Limits};
use crate::log::Log;
use crate::login::Login;
use crate::pam::{Pam, Talk};
use crate::policy::Profile;
use crate::refusal::Refusal;
use crate::setup::{Setup, now, open_directory};
use crate::supervise::{self, Running};
use crate::ticket::{Ticket, Tickets};
use crate::{environment, own_limits, program, unix};

/// Serves a start and, if it succeeds, the session to its end.
pub fn run(setup: &Setup, mut channel: Channel, request: &Start, login: Option<Login>) {
    let uid = login.as_ref().map(|login| login.account.uid.as_raw());
    let record = Record { request: "start", user: request.user.as_str(), uid, ..Record::default() };
    match start(setup, request, login) {
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

fn start(setup: &Setup, request: &Start, login: Option<Login>) -> Result<(Running, SessionStatus), Refusal> {
    let (account, pam) = permission(setup, request, login)?;
    if let Some(why) = account.bar(setup) {
        let message = format!("root's policy bars {}: {why}.", account.name);
        return Err(Refusal::new(RefusalCode::AccountBarred, message));
    }
    let name = request.profile.clone().unwrap_or_else(ProfileName::default_profile);
    let profile = setup.policy.profile.get(name.as_str()).ok_or_else(|| {
        let message = format!("helper.toml has no [profile.{name}].");
        Refusal::new(RefusalCode::ProfileUnknown, message)
    })?;
    environment::check(&setup.policy, &request.environment)?;
    let session = session_id(&account, request);
    let places = Places::of(setup, &session);
    let socket = places.directory.join("s").to_string_lossy().into_owned();
    let arguments = program::arguments(&setup.policy, profile, request.listen, &socket, &request.arguments)?;
    let program = program::choose(profile, setup.root)?;
    take_rates(setup, &account)?;
    let lock = places.reserve(setup, &account)?;
    let pam = match pam {
        None if setup.root => Some(pam_without_password(setup, &account)?),
        Some(mut pam) => {
            accept_account(&mut pam)?;
            Some(pam)
        }
        none => none,
    };
    let open = Opening { setup, request, account: &account, profile, pam };
    let started = open.open(&places, &program, &arguments)?;
    let status = SessionStatus {
        session: session.clone(),
        user: account.name.clone(),
        uid: account.uid.as_raw(),
        server: request.server.clone(),
        profile: name,
        pid: started.child.as_raw(),
        started_at: now(),
        endpoint: match request.listen {
            Listen::Unix => Endpoint::Unix(socket),
            Listen::Tcp(port) => Endpoint::Tcp(port),
        },
        note: request.note.clone(),
        stopping: false,
    };
    let log = Log::open(setup, &status);
    let Started { child, output, listener, signals, pam, guard } = started;
    let (reply, connections) = (status.clone(), VecDeque::new());
    Ok((Running { status, child, output, listener, signals, connections, log, pam, guard, lock }, reply))
}

/// Looks an account up.
pub fn find_account(setup: &Setup, name: &UserName) -> Result<Option<Account>, Refusal> {
    Account::find(setup, name).map_err(|error| Refusal::system("looking the account up failed", error))
}

/// The account, if there is one and the policy does not bar it.
pub fn find(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let Some(account) = find_account(setup, name)? else {
        return Err(Refusal::new(RefusalCode::AccountUnknown, format!("There is no account {name}.")));
    };
    match account.bar(setup) {
        None => Ok(account),
        Some(why) => {
            Err(Refusal::new(RefusalCode::AccountBarred, format!("root's policy bars {name}: {why}.")))
        }
    }
}

/// Holds a ticket against the account; an unknown account is told like an unknown ticket.
pub fn with_ticket(setup: &Setup, name: &UserName, ticket: &Secret) -> Result<(Account, Ticket), Refusal> {
    let invalid = |reason: &str| Refusal {
        reason: format!("ticket-invalid: {reason}"),
        ..Refusal::new(RefusalCode::TicketInvalid, "This login is no longer valid. Log in again.")
    };
    let account = find_account(setup, name)?.ok_or_else(|| invalid("no such account"))?;
    let tickets = Tickets::new(setup).map_err(|error| Refusal::system("tickets", error))?;
    let found = tickets.find(&account, ticket).map_err(invalid)?;
    Ok((account, found))
}

/// What PAM's account management says today about somebody who comes with a ticket.
pub fn account_management(setup: &Setup, account: &Account, ticket: &Ticket) -> Result<(), Refusal> {
    refuse_locked(account, ticket)?;
    pam_without_password(setup, account).map(drop)
}

/// An account that was locked since the ticket was made: account management alone does not see it.
fn refuse_locked(account: &Account, ticket: &Ticket) -> Result<(), Refusal> {
    if account.is_locked() && !ticket.was_locked {
        let message = format!("The account {} is locked.", account.name);
        return Err(Refusal::new(RefusalCode::AccountClosed, message));
    }
    Ok(())
}

/// Whether this start may be: after a login in this very process, with a ticket, or by a standing grant.
fn permission(
    setup: &Setup,
    request: &Start,
    login: Option<Login>,
) -> Result<(Account, Option<Pam>), Refusal> {
    if let Some(login) = login {
        if login.account.name == request.user {
            return Ok((login.account, Some(login.pam)));
        }
        let message = "The start is for somebody else than the one who logged in on this connection.";
        return Err(Refusal::new(RefusalCode::TicketInvalid, message));
    }
    if !setup.root {
        return Ok((find(setup, &request.user)?, None));
    }
    if let Some(ticket) = &request.ticket {
        let (account, ticket) = with_ticket(setup, &request.user, ticket)?;
        if let Some(group) = member_of(&account, &setup.policy.fresh_password_groups)? {
            let message =
                format!("Members of {group} start a server only right after logging in. Log in again.");
            return Err(Refusal::new(RefusalCode::TicketInvalid, message));
        }
        refuse_locked(&account, &ticket)?;
        return Ok((account, None));
    }
    if let Some(account) = find_account(setup, &request.user)?
        && member_of(&account, &setup.policy.standing_groups)?.is_some()
        && member_of(&account, &setup.policy.fresh_password_groups)?.is_none()
    {
        return Ok((account, None));
    }
    let message = format!(
        "Nobody has logged in for this start. For starts without a login, root's helper.toml has to name a group of {} in standing_groups.",
        request.user
    );
    Err(Refusal::new(RefusalCode::TicketMissing, message))
}

fn member_of<'a>(account: &Account, groups: &'a [String]) -> Result<Option<&'a str>, Refusal> {
    account.member_of(groups).map_err(|error| Refusal::system("looking groups up failed", error))
}

fn pam_without_password(setup: &Setup, account: &Account) -> Result<Pam, Refusal> {
    let mut pam = Pam::start(&setup.policy.pam_service, &account.name, None, Talk::with_nobody())
        .map_err(|message| Refusal::new(RefusalCode::System, message))?;
    accept_account(&mut pam)?;
    if pam.is_about(&account.name) {
        return Ok(pam);
    }
    Err(Refusal::new(RefusalCode::AccountClosed, "PAM changed the user."))
}

fn accept_account(pam: &mut Pam) -> Result<(), Refusal> {
    let why = match pam.account() {
        Ok(false) => return Ok(()),
        Ok(true) => "its password has expired; log in again to change it".to_owned(),
        Err(why) => why,
    };
    let message = format!("This account may not be used now: {why}.");
    Err(Refusal::new(RefusalCode::AccountClosed, message).with_notices(pam.take_notices()))
}

fn take_rates(setup: &Setup, account: &Account) -> Result<(), Refusal> {
    let policy = &setup.policy;
    Limits::new(setup).take_or_wait(&[
        Charge::new("start", policy.starts_per_minute),
        Charge::new(format!("start user {}", account.name), policy.starts_per_user_per_minute),
    ])
}

fn session_id(account: &Account, request: &Start) -> SessionId {
    let digest = Sha256::digest(format!("{}\0{}", account.name, request.server));
    let mut hash = [0; 8];
    hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    SessionId::from_parts(account.uid.as_raw(), hash)
}

/// The paths of one session; no name is part of them, only its id.
struct Places {
    lock: PathBuf,
    control: PathBuf,
    directory: PathBuf,
}

impl Places {
    fn of(setup: &Setup, session: &SessionId) -> Self {
        Self {
            lock: setup.places.state.join(format!("sessions/{session}")),
            control: setup.places.sessions.join(format!("{session}.sock")),
            directory: setup.places.servers.join(session.as_str()),
        }
    }

    /// Locks the session's own file for as long as this process lives, and counts the others'.
    fn reserve(&self, setup: &Setup, account: &Account) -> Result<Flock<File>, Refusal> {
        let failed = |error: io::Error| Refusal::system("the session could not be reserved", error);
        let sessions = setup.places.state.join("sessions");
        let all = Flock::lock(open_directory(&sessions).map_err(failed)?, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed(errno.into()))?;
        let (mut in_all, mut of_user, mine) = (0, 0, format!("u{}-", account.uid));
        for entry in fs::read_dir(&sessions).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if lock_file(&path).map_err(failed)?.is_some() {
                // Nobody holds it: left behind by a process that was killed.
                fs::remove_file(&path).map_err(failed)?;
                continue;
            }
            if path == self.lock {
                let message = "This server runs already.";
                return Err(Refusal::new(RefusalCode::AlreadyRunning, message));
            }
            in_all += 1;
            of_user +=
                u32::from(path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&mine)));
        }
        let policy = &setup.policy;
        if in_all >= policy.sessions_in_all || (setup.root && of_user >= policy.sessions_per_user) {
            let message = format!(
                "Too many servers run: {of_user} of {} for this account, {in_all} of {} in all. Stop one first.",
                policy.sessions_per_user, policy.sessions_in_all
            );
            return Err(Refusal::new(RefusalCode::TooManySessions, message));
        }
        let lock = lock_file(&self.lock).map_err(failed)?;
        drop(all);
        lock.ok_or_else(|| Refusal::new(RefusalCode::AlreadyRunning, "This server runs already."))
    }
}

/// The file's lock, or `None` when a living process holds it.
fn lock_file(path: &Path) -> io::Result<Option<Flock<File>>> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Removed by its former owner between open and lock: it is nobody's lock any more.
            Ok(lock) if lock.metadata()?.nlink() == 0 => {}
            Ok(lock) => return Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// Removes what a session has in the file system when it ends, however it ends.
pub struct Guard {
    paths: [PathBuf; 3],
}

impl Drop for Guard {
    fn drop(&mut self) {
        let [control, directory, lock] = &self.paths;
        // What cannot be removed now, for instance because the user still writes into it, the next start
        // of this server removes, or says that it cannot.
        let _ = fs::remove_file(control);
        let _ = fs::remove_dir_all(directory);
        let _ = fs::remove_file(lock);
    }
}

struct Opening<'a> {
    setup: &'a Setup,
    request: &'a Start,
    account: &'a Account,
    profile: &'a Profile,
    pam: Option<Pam>,
}

struct Started {
    child: Pid,
    output: OwnedFd,
    listener: UnixListener,
    signals: SignalFd,
    pam: Option<Pam>,
    guard: Guard,
}

impl Opening<'_> {
    /// Makes the places, opens the PAM session, forks.
    fn open(mut self, places: &Places, program: &Path, arguments: &[String]) -> Result<Started, Refusal> {
        let guard = Guard { paths: [places.control.clone(), places.directory.clone(), places.lock.clone()] };
        let listener = self.listen(&places.control).map_err(|e| Refusal::system("the control socket", e))?;
        self.make_directory(&places.directory).map_err(|e| Refusal::system("the server's directory", e))?;
        let own = own_limits::of_a_session();
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
        let system = |error: nix::errno::Errno| Refusal::system("starting a process", error);
        let (output, plan_output) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(system)?;
        let (report, child_report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(system)?;
        let words = std::iter::once(program.to_string_lossy().into_owned()).chain(arguments.iter().cloned());
        let plan = Plan {
            root: self.setup.root,
            uid: self.account.uid,
            gid: self.account.gid,
            groups: self.account.groups().map_err(system)?,
            home: self.account.home.clone(),
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
        own.take_back();
        drop((child_report, plan));
        // The child has ended or is stuck, for instance in a home directory that does not answer.
        if let Err((step, errno)) = become_user::wait_for_exec(report) {
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(child, None);
            return Err(self.failed(step, errno, program));
        }
        Ok(Started { child, output, listener, signals, pam: self.pam, guard })
    }

    /// A socket left behind by a killed process is replaced: the session's lock is ours.
    fn listen(&self, path: &Path) -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::os::unix::fs::lchown(path, None, Some(self.setup.daemon_gid.as_raw()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The directory for the server's own socket: for its user and the daemon's group, nobody else.
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(path)?;
        let directory = open_directory(path)?;
        nix::unistd::fchown(&directory, Some(self.account.uid), Some(self.setup.daemon_gid))?;
        nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(0o2710))?;
        Ok(())
    }

    fn failed(&self, step: Step, errno: nix::errno::Errno, program: &Path) -> Refusal {
        let (home, name) = (self.account.home.display(), &self.account.name);
        let (code, message) = match step {
            Step::Home => (
                RefusalCode::HomeUnusable,
                format!("{name} cannot enter the home directory {home}: {}.", errno.desc()),
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
