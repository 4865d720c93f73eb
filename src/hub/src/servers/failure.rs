//! Why a server does not run, in words for the person, the API and the journal.

use std::time::Duration;

use hubd_proto::message::{Exited, RefusalCode, Refused};
use serde::Serialize;

use super::names::Which;
use crate::helper::HelperError;
use crate::pages::language::text;
use crate::settings::SpawnerSettings;

/// Why a server does not run: told to the person, the API and the journal in the same words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Stable code: one of the helper's (`program-missing`, …) or `exited-early`, `start-timeout`,
    /// `http-timeout`, `wrong-peer`, `helper-unreachable`, `died`, `database`, `options-refused`.
    pub code: String,
    /// Which step failed, in words for the person: `starting the notebook program`.
    pub step: String,
    /// What happened.
    pub message: String,
    /// What to do, and whom to ask.
    pub advice: String,
    /// The last lines that the server printed, oldest first.
    pub log: Vec<String>,
    /// HTTP status that fits: 403, 429, 500, 503.
    pub status: u16,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

/// A row of the table of refusals: status, step, advice.
type Row = (u16, &'static str, &'static str);

const ASK_ADMINISTRATOR: &str = text!("Tell your administrator; the log of hubd-helper has the details.");

/// What each refusal of the helper means for the person. The message is the helper's own.
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
fn refusal_row(code: RefusalCode) -> Row {
    match code {
        RefusalCode::TicketMissing => (
            403,
            text!("checking your login"),
            text!(
                "Log in again, then start the server. An administrator can allow starts without a login for a group: standing_groups in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::TicketInvalid => (
            403,
            text!("checking your login"),
            text!("Your login has expired or was ended. Log in again, then start the server."),
        ),
        RefusalCode::LoginRefused => {
            (403, text!("checking your login"), text!("Log in again, then start the server."))
        }
        RefusalCode::AccountClosed => (
            403,
            text!("checking your account"),
            text!(
                "The account is expired, locked or closed at this hour. Ask your administrator to open it."
            ),
        ),
        RefusalCode::AccountBarred => (
            403,
            text!("checking your account"),
            text!(
                "The rules of this machine bar the account from servers. Ask your administrator: /etc/jupyterhub/helper.toml decides."
            ),
        ),
        RefusalCode::AccountUnknown => (
            403,
            text!("looking up your account"),
            text!("There is no account of this name on this machine. Ask your administrator to create one."),
        ),
        RefusalCode::AccountExists | RefusalCode::AccountNotMade => {
            (400, "making your account", ASK_ADMINISTRATOR)
        }
        RefusalCode::RateLimited => {
            (429, text!("waiting for a turn"), text!("Too many starts at once. Try again in a moment."))
        }
        RefusalCode::TooManySessions => (
            429,
            text!("finding a place for the server"),
            text!(
                "Stop a server that you do not need, or try again later. Your administrator sets the limit: sessions_per_user and sessions_in_all in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::AlreadyRunning => (
            503,
            text!("starting the server"),
            text!("An earlier server of yours is still ending. Try again in a moment."),
        ),
        RefusalCode::ProfileUnknown => (
            500,
            text!("choosing the program"),
            text!(
                "Ask your administrator: the profile that the hub asks for must be a [profile.NAME] in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::ProgramMissing => (
            500,
            text!("finding the notebook program"),
            text!(
                "Ask your administrator to install it, for instance: python3 -m venv /opt/hubd/notebook && /opt/hubd/notebook/bin/pip install jupyterhub jupyterlab; or to name another program in /etc/jupyterhub/helper.toml ([profile.default] program)."
            ),
        ),
        RefusalCode::ArgumentRefused => (
            500,
            text!("checking the arguments"),
            text!(
                "Ask your administrator: the arguments in [Spawner] args must be allowed by allow_arguments in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::EnvironmentRefused => (
            500,
            text!("checking the environment"),
            text!(
                "Ask your administrator: the variables in [Spawner] environment must be allowed by allow_environment in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::HomeUnusable => (
            500,
            text!("entering your home directory"),
            text!("Ask your administrator: the home directory must exist, belong to you and be open to you."),
        ),
        RefusalCode::SessionRefused => (
            500,
            text!("opening your session"),
            text!(
                "Log in again and start the server at once, so that it can use your password. If that does not help, ask your administrator: /etc/pam.d/hubd and the log of hubd-helper tell more."
            ),
        ),
        RefusalCode::BecomeUserFailed => (500, text!("becoming your account"), ASK_ADMINISTRATOR),
        RefusalCode::ExecFailed => (
            500,
            text!("starting the notebook program"),
            text!(
                "Ask your administrator: the program was found but could not be run as you. Its permissions, its interpreter or a mount option may be wrong."
            ),
        ),
        RefusalCode::NotAvailable => (
            500,
            text!("asking hubd-helper"),
            text!("Ask your administrator: this is not possible with the way hubd-helper was started."),
        ),
        RefusalCode::Protocol => (
            500,
            text!("asking hubd-helper"),
            text!(
                "Ask your administrator: hubd and hubd-helper do not understand each other. Install both from one package and restart hubd."
            ),
        ),
        RefusalCode::System => (
            503,
            text!("starting the server"),
            text!(
                "The machine is short of something. Try again; if it happens again, tell your administrator."
            ),
        ),
    }
}

impl Failure {
    fn new(code: &str, step: &str, message: String, advice: &str) -> Self {
        Self {
            code: code.to_owned(),
            step: step.to_owned(),
            message,
            advice: advice.to_owned(),
            log: Vec::new(),
            status: 500,
            retry_after_seconds: None,
        }
    }

    /// The helper said no, or said nothing.
    pub(super) fn from_helper(error: HelperError) -> Self {
        match error {
            HelperError::Refused(refused) => Self::refused(*refused),
            HelperError::Timeout(limit) => Self::start_timeout(limit),
            error => {
                let mut failure = Self::new(
                    "helper-unreachable",
                    text!("asking hubd-helper"),
                    format!("The program that starts servers cannot be asked: {error}"),
                    text!("Try again in a moment; if it happens again, tell your administrator."),
                );
                failure.status = 503;
                failure
            }
        }
    }

    fn refused(refused: Refused) -> Self {
        let (status, step, advice) = refusal_row(refused.code);
        let mut failure = Self::new(refused.code.as_str(), step, refused.message, advice);
        for notice in &refused.notices {
            failure.message.push(' ');
            failure.message.push_str(notice);
        }
        failure.status = status;
        failure.retry_after_seconds = refused.retry_after_seconds;
        failure
    }

    /// No process within `start_timeout`.
    pub(super) fn start_timeout(limit: Duration) -> Self {
        Self::new(
            "start-timeout",
            text!("starting the server"),
            format!("The server was not started within {} seconds.", limit.as_secs()),
            text!(
                "Opening a session takes unusually long: a home directory on the network, or a login module that waits. Try again; if it happens again, tell your administrator (start_timeout, and the log of hubd-helper)."
            ),
        )
    }

    /// A process, but no answer within `http_timeout`.
    pub(super) fn http_timeout(url: &str, limit: Duration) -> Self {
        Self::new(
            "http-timeout",
            text!("waiting for the server's first answer"),
            format!("Server at {url}api didn't respond in {} seconds", limit.as_secs()),
            text!(
                "The program runs but does not answer. A slow home directory or a broken extension can be the reason: see the lines below. Your administrator can allow more time (http_timeout)."
            ),
        )
    }

    /// Another user's program listens where the server should.
    pub(super) fn wrong_peer(url: &str) -> Self {
        Self::new(
            "wrong-peer",
            text!("waiting for the server's first answer"),
            format!("A program of another user listens at {url}, nothing was sent to it."),
            text!(
                "Try again. If it happens again, tell your administrator: somebody may be trying to take over servers' ports."
            ),
        )
    }

    /// The process ended before its first answer.
    pub(super) fn exited_early(exited: &Exited) -> Self {
        let mut failure = Self::new(
            if exited.out_of_memory.is_some() { OUT_OF_MEMORY } else { "exited-early" },
            text!("starting the notebook program"),
            format!("The server {} before it was ready.", ended(exited)),
            text!("The lines below are the last it printed; the last ones usually name the reason."),
        );
        failure.log = exited.log.clone();
        failure
    }

    /// A ready server ended by itself.
    pub(super) fn died(exited: &Exited) -> Self {
        let mut failure = Self::new(
            if exited.out_of_memory.is_some() { OUT_OF_MEMORY } else { "died" },
            text!("running the server"),
            format!("The server {} while it was running.", ended(exited)),
            text!("Start it again. Notebooks are saved every two minutes; what was in memory is lost."),
        );
        if exited.out_of_memory.is_some() {
            failure
                .advice
                .push_str(" Work with less data at a time, or ask your administrator for more memory.");
        } else if exited.signal == Some(SIGKILL) {
            failure.advice.push_str(
                " A server that is killed has often used more memory than there is: try with less data.",
            );
        }
        failure.log = exited.log.clone();
        failure
    }

    /// The process above the server has gone without a word.
    pub(super) fn lost(error: &HelperError) -> Self {
        Self::new(
            "died",
            text!("running the server"),
            format!("The session process of the server has gone: {error}"),
            text!("Start the server again. If it happens again, tell your administrator."),
        )
    }

    /// What was chosen for the server is not there for this person any more.
    pub(super) fn options(error: &str) -> Self {
        let mut failure = Self::new(
            "options-refused",
            text!("reading what was chosen"),
            error.to_owned(),
            text!("Start the server again and choose something else."),
        );
        failure.status = 400;
        failure
    }

    /// The rows of the server cannot be written.
    pub(super) fn database(error: &str) -> Self {
        let mut failure = Self::new(
            "database",
            text!("writing the hub's records"),
            format!("The hub's database cannot be written: {error}"),
            text!(
                "Try again soon; if it happens again, tell your administrator. A full disk is the usual reason."
            ),
        );
        failure.status = 503;
        failure
    }

    /// Tells the journal, in JupyterHub's words where it has some. `place` is where the server was
    /// to listen.
    pub(super) fn tell(&self, which: &Which, place: &str, limits: &SpawnerSettings) {
        let (user, message, advice) = (&which.user, self.message.trim_end_matches('.'), &self.advice);
        let last = self.log.last().map(String::as_str).unwrap_or_default();
        let code = &self.code;
        match code.as_str() {
            "start-timeout" => {
                let seconds = limits.start_timeout.as_secs();
                tracing::warn!(
                    code,
                    "{user}'s server failed to start in {seconds} seconds, giving up. {advice}"
                );
            }
            "http-timeout" => {
                let seconds = limits.http_timeout.as_secs();
                tracing::warn!(
                    code,
                    last,
                    "{user}'s server never showed up at {place} after {seconds} seconds. Giving up. {advice}"
                );
            }
            "died" | OUT_OF_MEMORY => tracing::error!(code, "{which}'s server: {message}. {advice}"),
            _ if self.status < 500 => {
                tracing::warn!(code, "Not starting {user}'s server {}: {message}. {advice}", which.server);
            }
            _ => tracing::error!(code, last, "Error starting {which}'s server: {message}. {advice}"),
        }
    }
}

const SIGKILL: i32 = 9;
/// The failure of a server that the kernel ended for its memory limit.
const OUT_OF_MEMORY: &str = "out-of-memory";

/// How a process ended, as the end of "The server …".
pub(super) fn ended(exited: &Exited) -> String {
    if let Some(bytes) = exited.out_of_memory {
        return format!("was stopped because it used all of its {}", size(bytes));
    }
    match (exited.code, exited.signal) {
        (_, Some(signal)) => format!("was ended by signal {signal}{}", signal_words(signal)),
        (Some(code), None) => format!("exited with status {code}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// A number of bytes for people: 2 GB, 512 MB, 1.5 GB, in units of 1024 as in mem_limit.
fn size(bytes: u64) -> String {
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) >> 20, "MB");
    if tenths >= 10_240 {
        (tenths, unit) = (tenths >> 10, "GB");
    }
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// What the usual signals mean (signal(7), the numbers of x86 and ARM).
fn signal_words(signal: i32) -> &'static str {
    match signal {
        1 => " (hangup)",
        2 => " (interrupt)",
        4 => " (illegal instruction)",
        6 => " (aborted)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        SIGKILL => " (killed)",
        11 => " (segmentation fault)",
        13 => " (broken pipe)",
        15 => " (terminated)",
        24 => " (CPU time limit)",
        25 => " (file size limit)",
        31 => " (forbidden system call)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [RefusalCode; 20] = [
        RefusalCode::LoginRefused,
        RefusalCode::AccountClosed,
        RefusalCode::AccountBarred,
        RefusalCode::AccountUnknown,
        RefusalCode::TicketMissing,
        RefusalCode::TicketInvalid,
        RefusalCode::RateLimited,
        RefusalCode::TooManySessions,
        RefusalCode::AlreadyRunning,
        RefusalCode::ProfileUnknown,
        RefusalCode::ProgramMissing,
        RefusalCode::ArgumentRefused,
        RefusalCode::EnvironmentRefused,
        RefusalCode::HomeUnusable,
        RefusalCode::SessionRefused,
        RefusalCode::BecomeUserFailed,
        RefusalCode::ExecFailed,
        RefusalCode::NotAvailable,
        RefusalCode::Protocol,
        RefusalCode::System,
    ];

    fn exited(code: Option<i32>, signal: Option<i32>) -> Exited {
        Exited { code, signal, stopped: false, out_of_memory: None, log: vec!["Traceback".into()] }
    }

    #[test]
    fn every_refusal_keeps_its_code_and_message_and_says_what_to_do() {
        for code in ALL {
            let refused = Refused {
                code,
                message: "The reason.".into(),
                notices: vec!["pam_x: said".into()],
                retry_after_seconds: Some(5),
            };
            let failure = Failure::from_helper(HelperError::Refused(Box::new(refused)));
            assert_eq!(failure.code, code.as_str());
            assert_eq!(failure.message, "The reason. pam_x: said");
            assert!([403, 429, 500, 503].contains(&failure.status), "{code:?}");
            assert!(!failure.step.is_empty() && failure.advice.len() > 20, "{code:?}");
            assert_eq!(failure.retry_after_seconds, Some(5));
        }
    }

    #[test]
    fn a_missing_program_is_told_with_how_to_install_it() {
        let (status, _, advice) = refusal_row(RefusalCode::ProgramMissing);
        assert_eq!(status, 500);
        assert!(advice.contains("pip install jupyterhub"));
        let (status, _, advice) = refusal_row(RefusalCode::TicketMissing);
        assert_eq!(status, 403);
        assert!(advice.starts_with("Log in again"));
    }

    #[test]
    fn the_end_of_a_process_is_told_in_words() {
        assert_eq!(ended(&exited(Some(1), None)), "exited with status 1");
        assert_eq!(ended(&exited(None, Some(11))), "was ended by signal 11 (segmentation fault)");
        assert_eq!(ended(&exited(None, Some(64))), "was ended by signal 64");
        let failure = Failure::exited_early(&exited(Some(1), None));
        assert_eq!(failure.message, "The server exited with status 1 before it was ready.");
        assert_eq!(failure.log, ["Traceback"]);
        assert!(Failure::died(&exited(None, Some(SIGKILL))).advice.contains("memory"));
    }

    #[test]
    fn a_server_that_used_all_of_its_memory_is_told_so() {
        let mut exited = exited(None, Some(SIGKILL));
        exited.out_of_memory = Some(2 << 30);
        let failure = Failure::died(&exited);
        assert_eq!(failure.code, OUT_OF_MEMORY);
        assert!(failure.message.contains("stopped because it used all of its 2 GB"), "{}", failure.message);
        assert_eq!((size(512 << 20), size(3 << 29)), ("512 MB".to_owned(), "1.5 GB".to_owned()));
    }
}
