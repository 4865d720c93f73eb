//! What each refusal of the helper means for the person whose server it is.

use hubd_proto::message::RefusalCode;

use crate::pages::language::text;

/// A row of the table of refusals: status, step, what happened, advice. In English the helper's own words, which are
/// more exact, stand in the place of what happened.
type Row = (u16, &'static str, &'static str, &'static str);

/// Nothing that the person can do.
const ASK_ADMINISTRATOR: &str = text!("Tell your administrator; the log of hubd-helper has the details.");

/// What each refusal of the helper means for the person.
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
pub fn of_refusal(code: RefusalCode) -> Row {
    match code {
        RefusalCode::TicketMissing => (
            403,
            text!("checking your login"),
            text!("Starting a server needs your login."),
            text!(
                "Log in again, then start the server. An administrator can allow starts without a login for a group: standing_groups in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::TicketInvalid => (
            403,
            text!("checking your login"),
            text!("Your login does not count any more."),
            text!("Your login has expired or was ended. Log in again, then start the server."),
        ),
        RefusalCode::LoginRefused => (
            403,
            text!("checking your login"),
            text!("The login was refused."),
            text!("Log in again, then start the server."),
        ),
        RefusalCode::AccountClosed => (
            403,
            text!("checking your account"),
            text!("Your account is closed."),
            text!(
                "The account is expired, locked or closed at this hour. Ask your administrator to open it."
            ),
        ),
        RefusalCode::AccountBarred => (
            403,
            text!("checking your account"),
            text!("Your account may not have servers here."),
            text!(
                "The rules of this machine bar the account from servers. Ask your administrator: /etc/jupyterhub/helper.toml decides."
            ),
        ),
        RefusalCode::AccountUnknown => (
            403,
            text!("looking up your account"),
            text!("There is no such account."),
            text!("There is no account of this name on this machine. Ask your administrator to create one."),
        ),
        RefusalCode::AccountExists | RefusalCode::AccountNotMade => {
            (400, text!("making your account"), text!("The account could not be made."), ASK_ADMINISTRATOR)
        }
        RefusalCode::RateLimited => (
            429,
            text!("waiting for a turn"),
            text!("There were too many attempts."),
            text!("Too many starts at once. Try again in a moment."),
        ),
        RefusalCode::TooManySessions => (
            429,
            text!("finding a place for the server"),
            text!("There are too many servers."),
            text!(
                "Stop a server that you do not need, or try again later. Your administrator sets the limit: sessions_per_user and sessions_in_all in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::AlreadyRunning => (
            503,
            text!("starting the server"),
            text!("The server runs already."),
            text!("An earlier server of yours is still ending. Try again in a moment."),
        ),
        RefusalCode::ProfileUnknown => (
            500,
            text!("choosing the program"),
            text!("There is no such profile."),
            text!(
                "Ask your administrator: the profile that the hub asks for must be a [profile.NAME] in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::ProgramMissing => (
            500,
            text!("finding the notebook program"),
            text!("The notebook program was not found."),
            text!(
                "Ask your administrator to install it, for instance: python3 -m venv /opt/hubd/notebook && /opt/hubd/notebook/bin/pip install jupyterhub jupyterlab; or to name another program in /etc/jupyterhub/helper.toml ([profile.default] program)."
            ),
        ),
        RefusalCode::ArgumentRefused => (
            500,
            text!("checking the arguments"),
            text!("An argument of the server is not allowed."),
            text!(
                "Ask your administrator: the arguments in [Spawner] args must be allowed by allow_arguments in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::EnvironmentRefused => (
            500,
            text!("checking the environment"),
            text!("A variable of the server is not allowed."),
            text!(
                "Ask your administrator: the variables in [Spawner] environment must be allowed by allow_environment in /etc/jupyterhub/helper.toml."
            ),
        ),
        RefusalCode::HomeUnusable => (
            500,
            text!("entering your home directory"),
            text!("Your home directory cannot be used."),
            text!("Ask your administrator: the home directory must exist, belong to you and be open to you."),
        ),
        RefusalCode::SessionRefused => (
            500,
            text!("opening your session"),
            text!("Your session could not be opened."),
            text!(
                "Log in again and start the server at once, so that it can use your password. If that does not help, ask your administrator: /etc/pam.d/hubd and the log of hubd-helper tell more."
            ),
        ),
        RefusalCode::BecomeUserFailed => (
            500,
            text!("becoming your account"),
            text!("The program could not become your account."),
            ASK_ADMINISTRATOR,
        ),
        RefusalCode::ExecFailed => (
            500,
            text!("starting the notebook program"),
            text!("The notebook program could not be run."),
            text!(
                "Ask your administrator: the program was found but could not be run as you. Its permissions, its interpreter or a mount option may be wrong."
            ),
        ),
        RefusalCode::NotAvailable => (
            500,
            text!("asking hubd-helper"),
            text!("hubd-helper cannot do this."),
            text!("Ask your administrator: this is not possible with the way hubd-helper was started."),
        ),
        RefusalCode::Protocol => (
            500,
            text!("asking hubd-helper"),
            text!("hubd-helper did not understand the hub."),
            text!(
                "Ask your administrator: hubd and hubd-helper do not understand each other. Install both from one package and restart hubd."
            ),
        ),
        RefusalCode::System => (
            503,
            text!("starting the server"),
            text!("The machine could not start the server."),
            text!(
                "The machine is short of something. Try again; if it happens again, tell your administrator."
            ),
        ),
    }
}
