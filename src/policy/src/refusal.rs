//! A refusal on its way to the daemon and into the audit record: every code with its words.

use std::{fmt::Display, path::PathBuf};

use hubd_proto::message::{RefusalCode, Refused};
use hubd_proto::{ServerName, UserName};

use crate::policy::Policy;

/// The step of becoming the user that enters the home directory.
pub const HOME: &str = "home directory";
/// The step that finds the home belonging to somebody else.
pub const HOME_OWNER: &str = "owner of the home directory";
/// The step that executes the program.
pub const EXEC: &str = "exec";

/// What the system refuses, on its way to be a refusal.
pub trait OrRefuse<T> {
    /// The value, or that the system failed while doing `what`.
    fn or_refuse(self, what: &str) -> Result<T, Refusal>;
}

impl<T, E: Display> OrRefuse<T> for Result<T, E> {
    fn or_refuse(self, what: &str) -> Result<T, Refusal> {
        self.map_err(|error| Refusal::system(what, error))
    }
}

/// Why a request is refused: what the daemon may know, and what only root's audit record says.
#[derive(Debug)]
pub struct Refusal {
    /// What is sent.
    pub refused: Refused,
    /// The true reason, for the audit record alone.
    pub reason: String,
}

impl Refusal {
    /// A refusal whose reason may be known.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let message = message.into();
        let reason = format!("{}: {message}", code.as_str());
        Self { refused: Refused { code, message, notices: Vec::new(), retry_after_seconds: None }, reason }
    }

    /// The one answer to every login that fails before PAM said yes.
    pub fn login(reason: impl Into<String>) -> Self {
        let message = "The user name or the password is not right, or this account may not log in here.";
        Self { reason: reason.into(), ..Self::new(RefusalCode::LoginRefused, message) }
    }

    /// The one answer to every ticket that does not hold, also to one of an account that is not there.
    pub fn ticket(reason: &str) -> Self {
        let refusal = Self::new(RefusalCode::TicketInvalid, "This login is no longer valid. Log in again.");
        Self { reason: format!("ticket-invalid: {reason}"), ..refusal }
    }

    /// The system failed while doing `what`.
    pub fn system(what: &str, error: impl Display) -> Self {
        Self::new(RefusalCode::System, format!("{what}: {error}"))
    }

    /// Adds what PAM modules said.
    pub fn with_notices(mut self, notices: Vec<String>) -> Self {
        self.refused.notices = notices;
        self
    }

    /// Too many of something; when to try again.
    pub fn too_fast(seconds: u32) -> Self {
        let message = format!("Too many attempts. Try again in {seconds} seconds.");
        let mut refusal = Self::new(RefusalCode::RateLimited, message);
        refusal.refused.retry_after_seconds = Some(seconds);
        refusal
    }

    /// A limit that root wrote cannot be held.
    pub fn limit(what: &str) -> Self {
        let message = format!("Root's limits cannot be held: {what}. helper.toml(5) tells what they need.");
        Self::new(RefusalCode::NotAvailable, message)
    }

    /// None of the profile's programs is there.
    pub fn no_program(tried: &[PathBuf]) -> Self {
        let tried: Vec<_> = tried.iter().map(|path| path.to_string_lossy()).collect();
        let message = format!(
            "No notebook program is installed: looked for {}. Install jupyterhub and jupyterlab into a place of root's, or name the program as `program` in helper.toml.",
            tried.join(", ")
        );
        Self::new(RefusalCode::ProgramMissing, message)
    }

    /// Without root nobody's password can be checked.
    pub fn without_root() -> Self {
        let message =
            "this helper runs without root: it checks no passwords; use authenticator_class = \"dummy\"";
        Self::new(RefusalCode::NotAvailable, message)
    }

    /// PAM has no such service.
    pub fn no_pam_service(service: &str) -> Self {
        let cure = "install it, or name another one as pam_service";
        Self::new(RefusalCode::System, format!("/etc/pam.d/{service} is missing; {cure}"))
    }

    /// PAM opened no session.
    pub fn no_session(why: impl Display) -> Self {
        Self::new(RefusalCode::SessionRefused, format!("PAM did not open a session: {why}."))
    }

    /// What account management says without a password: open, to be changed first, or closed.
    pub fn without_password(open: Result<bool, String>) -> Option<Self> {
        let why = match open {
            Ok(false) => return None,
            Ok(true) => "its password has expired; log in again to change it".to_owned(),
            Err(why) => why,
        };
        Some(Self::closed(format!("This account may not be used now: {why}.")))
    }

    /// What account management says after the right password, which may have been changed; `same` is whether PAM has kept
    /// the user.
    pub fn after_password(open: Result<bool, String>, same: bool) -> Option<Self> {
        let why = match open {
            Ok(false) if same => return None,
            Ok(false) => "PAM changed the user".to_owned(),
            Ok(true) => "its password has expired and was not changed".to_owned(),
            Err(why) => why,
        };
        let message = format!("The password is right, but this account may not log in now: {why}.");
        Some(Self::closed(message))
    }

    /// Nobody has this name.
    pub fn no_account(name: &UserName) -> Self {
        Self::new(RefusalCode::AccountUnknown, format!("There is no account {name}."))
    }

    /// The policy bars the account.
    pub fn barred(name: &UserName, why: &str) -> Self {
        Self::new(RefusalCode::AccountBarred, format!("root's policy bars {name}: {why}."))
    }

    /// The account may not be used today.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::AccountClosed, message)
    }

    /// A group of the account needs a fresh password.
    pub fn stale(group: &str) -> Self {
        let message = format!("Members of {group} start a server only right after logging in. Log in again.");
        Self::new(RefusalCode::TicketInvalid, message)
    }

    /// The start is for somebody else than the login of this connection.
    pub fn another_login() -> Self {
        let message = "The start is for somebody else than the one who logged in on this connection.";
        Self::new(RefusalCode::TicketInvalid, message)
    }

    /// Neither a login nor a standing grant; also for an account that is not there.
    pub fn no_login(name: &UserName) -> Self {
        let message = format!(
            "Nobody has logged in for this start. For starts without a login, root's helper.toml has to name a group of {name} in standing_groups."
        );
        Self::new(RefusalCode::TicketMissing, message)
    }

    /// This server of this account runs.
    pub fn runs_already() -> Self {
        Self::new(RefusalCode::AlreadyRunning, "This server runs already.")
    }

    /// The policy's numbers of sessions are reached.
    pub fn too_many_sessions(policy: &Policy, of_user: u32, in_all: u32) -> Self {
        let message = format!(
            "Too many servers run: {of_user} of {} for this account, {in_all} of {} in all. Stop one first.",
            policy.sessions_per_user, policy.sessions_in_all
        );
        Self::new(RefusalCode::TooManySessions, message)
    }

    /// Root's table has another service than the daemon believes, or none.
    pub fn service(name: &ServerName, difference: Option<&str>) -> Self {
        let message = match difference {
            None => format!("Root's helper.toml has no [service.{name}]."),
            Some(key) => format!("Root's helper.toml has another `{key}` in [service.{name}]."),
        };
        Self::new(RefusalCode::ProfileUnknown, message)
    }

    /// Becoming the user, or executing the program as them, failed at `step`.
    pub fn step(
        name: &UserName,
        home: impl Display,
        program: impl Display,
        (step, why): (&str, &str),
    ) -> Self {
        use RefusalCode::{BecomeUserFailed, ExecFailed, HomeUnusable};
        let (code, message) = match step {
            HOME => {
                (HomeUnusable, format!("{name} cannot enter or write in the home directory {home}: {why}."))
            }
            HOME_OWNER => (
                HomeUnusable,
                format!("The home {home} does not belong to {name}; run: chown {name}: {home}"),
            ),
            EXEC => (ExecFailed, format!("{name} cannot execute {program}: {why}.")),
            _ => (BecomeUserFailed, format!("Becoming {name} failed at {step}: {why}.")),
        };
        Self::new(code, message)
    }
}
