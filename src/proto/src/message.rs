//! Every request that the daemon can make of the root helper, and every answer.
//!
//! One connection is one helper process. Each request is legal in one state only; any other one
//! ends the process:
//!
//! | state | legal requests | leads to |
//! |---|---|---|
//! | `idle`, just connected | [`Authenticate`] | `conversing` |
//! | | [`CheckAccount`], [`Revoke`] | answered, then the connection ends |
//! | | [`Start`] with a ticket or a standing grant, [`StartService`] | `running` |
//! | `conversing`, after a [`Reply::Prompt`] | [`Answer`] | `conversing`, `authenticated` or the end |
//! | `authenticated`, the PAM handle is kept for a while | [`Start`] without a ticket, for the same user | `running` |
//! | `accounts`, just connected to the socket for it | [`CreateAccount`] | answered, then the connection ends |
//! | `running`; also every connection to a session's control socket | `status`, `stop`, `log` | `running` |
//!
//! In state `running` the helper also sends one [`Reply::Exited`] unasked, when the server ends; then
//! the connection closes. Names, sizes and counts are checked while a message is decoded; what policy
//! decides (who, which program, how often) the helper checks afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ProfileName, Secret, ServerName, SessionId, UserName};

/// Most extra arguments that a start may carry; JupyterHub installations use fewer than ten.
pub const ARGUMENTS_MAX: usize = 32;
/// Most environment variables that a start may carry; JupyterHub itself sets about thirty.
pub const VARIABLES_MAX: usize = 96;
/// Longest note kept for the daemon, in bytes; it has to fit into every [`SessionStatus`].
pub const NOTE_BYTES_MAX: usize = 4096;
/// Most lines of the server's own output that come back, as the failed-start page shows them.
pub const LOG_LINES_MAX: usize = 30;
/// Longest line of output that comes back, in bytes; the rest of a longer one is cut.
pub const LOG_LINE_BYTES_MAX: usize = 256;

/// What the daemon asks of the helper.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Begin a PAM conversation.
    Authenticate(Authenticate),
    /// Answer the prompt that came last.
    Answer(Answer),
    /// Ask whether an account may use hubd, or whether a ticket still holds.
    CheckAccount(CheckAccount),
    /// Start a server.
    Start(Box<Start>),
    /// Start a service that root's policy names.
    StartService(StartService),
    /// Make a ticket, or all of a user's tickets, worthless.
    Revoke(Revoke),
    /// Make an account; only on the socket that is there for it.
    CreateAccount(CreateAccount),
    /// Ask what this session is.
    Status,
    /// End this session's server: SIGTERM, then SIGKILL after the policy's time.
    Stop,
    /// Ask for the last lines of the server's output.
    Log,
}

/// Begin a PAM conversation for `user`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authenticate {
    /// Who wants to log in.
    pub user: UserName,
    /// The browser's address as the daemon saw it, for `PAM_RHOST`, limits and the audit record.
    pub source: Option<std::net::IpAddr>,
}

/// The person's answer to one prompt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// A password, a one-time code, a new password.
    pub text: Secret,
}

/// Ask whether `user` may use hubd.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAccount {
    /// The account.
    pub user: UserName,
    /// If given, it must be one of this user's live tickets.
    pub ticket: Option<Secret>,
}

/// Make an account with the form that root's policy gives it. Only the name is asked for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// Its name, which nobody may have yet.
    pub user: UserName,
}

/// Make tickets worthless. Knowing one ticket of the user is the permission.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Whose ticket it is.
    pub user: UserName,
    /// The ticket.
    pub ticket: Secret,
    /// Which tickets end.
    pub which: Revocation,
}

/// Which tickets a [`Revoke`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// The given one: a logout.
    This,
    /// All of the user's: a logout everywhere.
    All,
}

/// Start a server for `user`.
///
/// The program, its fixed arguments, the working directory, umask, groups and limits come from the
/// helper's policy and from PAM; they cannot be named here.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Whose server; the same name as in the login when the connection is `authenticated`.
    pub user: UserName,
    /// Proof of an earlier login. `None` on an `authenticated` connection, or with a standing grant.
    pub ticket: Option<Secret>,
    /// Which of the user's servers.
    pub server: ServerName,
    /// Which `[profile.NAME]` of the policy; `None` is `default`.
    pub profile: Option<ProfileName>,
    /// Where the server shall listen.
    pub listen: Listen,
    /// Arguments after the policy's own; each must be allowed by the policy.
    pub arguments: Vec<String>,
    /// Variables beside those of PAM; each must be one the helper knows or the policy allows.
    pub environment: BTreeMap<String, Secret>,
    /// Kept by the session and given back in every [`SessionStatus`]; the helper never reads it.
    pub note: String,
}

/// Start the service that the policy has as `[service.NAME]`, as the account that stands there.
///
/// What the daemon's own configuration says of it is sent along to be compared: it chooses nothing, and a
/// difference is refused, so that nobody believes that something else runs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartService {
    /// Which service.
    pub service: ServerName,
    /// The account that it is believed to run as; `None` is whichever root chose.
    pub user: Option<UserName>,
    /// The program and arguments that are believed to be started.
    pub command: Vec<String>,
    /// The directory that it is believed to start in; `None` is whichever root chose.
    pub directory: Option<String>,
    /// As [`Start::environment`].
    pub environment: BTreeMap<String, Secret>,
    /// As [`Start::note`].
    pub note: String,
}

/// Where a server is asked to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// On a Unix socket in a directory that the helper makes for this server alone.
    Unix,
    /// On this port of 127.0.0.1. The helper does not bind it; the server does.
    Tcp(u16),
}

/// What the helper says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// PAM asks the person something; answer it with [`Request::Answer`].
    Prompt(Prompt),
    /// PAM tells the person something; it is not answered.
    Notice(Notice),
    /// The login succeeded. The connection keeps the PAM handle for the policy's time.
    Authenticated(Authenticated),
    /// The account may use hubd, or was made.
    Account(Account),
    /// The server's process runs its program; the connection is now a control connection.
    Started(SessionStatus),
    /// Answer to `status`.
    Status(SessionStatus),
    /// Answer to `log`: at most [`LOG_LINES_MAX`] lines, oldest first.
    Log(Vec<String>),
    /// The request was carried out; nothing more to say.
    Done,
    /// The server has ended.
    Exited(Exited),
    /// The request was refused or failed; the connection ends.
    Refused(Refused),
}

/// One question of a PAM module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Whether what is typed may be seen on the screen.
    pub echo: bool,
    /// The module's own words, for instance `Password: `.
    pub text: String,
}

/// One message of a PAM module, for instance that the password expires soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Whether the module called it an error.
    pub error: bool,
    /// The module's own words.
    pub text: String,
}

/// A login that PAM accepted, account management included.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authenticated {
    /// The account's name as NSS spells it.
    pub user: UserName,
    /// Its uid.
    pub uid: u32,
    /// What starts servers later: belongs into the person's own cookie and nowhere else.
    pub ticket: Secret,
    /// When the ticket ends, in seconds since 1970.
    pub ticket_expires_at: u64,
}

/// An account that may use hubd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account's name as NSS spells it.
    pub user: UserName,
    /// Its uid.
    pub uid: u32,
    /// When the given ticket ends, in seconds since 1970; `None` when none was given.
    pub ticket_expires_at: Option<u64>,
}

/// What a session is, as its own process tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionStatus {
    /// Its id, also the name of its control socket.
    pub session: SessionId,
    /// Whose server, or the account of a service.
    pub user: UserName,
    /// The uid that it runs as.
    pub uid: u32,
    /// Which of the user's servers, or which service.
    pub server: ServerName,
    /// Which profile it was started from; `service` for a service.
    pub profile: ProfileName,
    /// The server's process.
    pub pid: i32,
    /// When it was started, in seconds since 1970.
    pub started_at: u64,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What the daemon asked to be kept, see [`Start::note`].
    pub note: String,
    /// That the server does not ask who comes: the daemon has to. Not there for one that does, so that an older
    /// daemon knows its status, and refuses that of a server that it would leave open to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// Whether a stop has been asked for.
    pub stopping: bool,
    /// Memory that it uses now, in bytes, where the kernel counts it.
    pub memory_bytes: Option<u64>,
    /// How much of it the kernel lets it use, in bytes, if there is a limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processor time that it has used, in microseconds, where the kernel counts it.
    pub cpu_microseconds: Option<u64>,
}

/// How requests reach a server that does not ask who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Without the part of the path by which the daemon knows the server.
    pub strip_prefix: bool,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// A Unix socket at this absolute path.
    Unix(String),
    /// This port of 127.0.0.1.
    Tcp(u16),
    /// A service, which listens where the daemon's configuration says, if at all.
    Service,
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exited {
    /// Exit status, if it exited by itself.
    pub code: Option<i32>,
    /// Signal number, if a signal ended it.
    pub signal: Option<i32>,
    /// Whether it ended because a stop was asked for.
    pub stopped: bool,
    /// The limit in bytes, if the kernel killed it for using all of that memory.
    pub out_of_memory: Option<u64>,
    /// The last lines that it printed, oldest first, at most [`LOG_LINES_MAX`].
    pub log: Vec<String>,
}

/// A refusal or failure. `message` is for people, `code` for programs; both are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// What happened and what to do, in one or two sentences; never a secret.
    pub message: String,
    /// What PAM modules said on the way, in their own words.
    pub notices: Vec<String>,
    /// When it makes sense to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

/// The kinds of refusal. Their names in JSON are stable codes that logs, pages and the API show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// Wrong password, no such account, locked, or barred by policy: told apart in the helper's audit record only.
    LoginRefused,
    /// The password was right but PAM's account management says no: expired, or closed at this hour.
    AccountClosed,
    /// The policy bars this account; only said after PAM accepted a login, or for a start.
    AccountBarred,
    /// No such account; only said for a start.
    AccountUnknown,
    /// An account that should be made exists already, or has a name that the policy does not take.
    AccountExists,
    /// The account could not be made; the message has the words of useradd(8).
    AccountNotMade,
    /// No ticket was given, and no standing grant covers the user.
    TicketMissing,
    /// The ticket is unknown, expired, revoked, or somebody else's.
    TicketInvalid,
    /// Too many attempts; see `retry_after_seconds`.
    RateLimited,
    /// The policy's number of sessions is reached.
    TooManySessions,
    /// This server runs already.
    AlreadyRunning,
    /// The policy has no such profile or service, or another service than the daemon believes.
    ProfileUnknown,
    /// None of the profile's programs exists, or one is not safe to run.
    ProgramMissing,
    /// An argument that the policy does not allow.
    ArgumentRefused,
    /// A variable that the helper does not allow.
    EnvironmentRefused,
    /// The home directory is missing, not the user's, or cannot be entered.
    HomeUnusable,
    /// PAM did not open the session.
    SessionRefused,
    /// Becoming the user failed.
    BecomeUserFailed,
    /// The program could not be executed.
    ExecFailed,
    /// This helper was started without root, or a feature is switched off.
    NotAvailable,
    /// The request is not legal in this state, or malformed.
    Protocol,
    /// The system failed: no memory, no process, disk full. The message has the system's words.
    System,
}

impl RefusalCode {
    /// The stable text of the code, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoginRefused => "login-refused",
            Self::AccountClosed => "account-closed",
            Self::AccountBarred => "account-barred",
            Self::AccountUnknown => "account-unknown",
            Self::AccountExists => "account-exists",
            Self::AccountNotMade => "account-not-made",
            Self::TicketMissing => "ticket-missing",
            Self::TicketInvalid => "ticket-invalid",
            Self::RateLimited => "rate-limited",
            Self::TooManySessions => "too-many-sessions",
            Self::AlreadyRunning => "already-running",
            Self::ProfileUnknown => "profile-unknown",
            Self::ProgramMissing => "program-missing",
            Self::ArgumentRefused => "argument-refused",
            Self::EnvironmentRefused => "environment-refused",
            Self::HomeUnusable => "home-unusable",
            Self::SessionRefused => "session-refused",
            Self::BecomeUserFailed => "become-user-failed",
            Self::ExecFailed => "exec-failed",
            Self::NotAvailable => "not-available",
            Self::Protocol => "protocol",
            Self::System => "system",
        }
    }
}
