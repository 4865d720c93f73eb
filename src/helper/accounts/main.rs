//! hubd-accounts: makes accounts, where root allows it: useradd(8) with root's arguments and the daemon's name.
//!
//! An account is never changed or removed here. Which ones were made is kept in root's own directory: for
//! those a start needs no login, because nobody else ever had them.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use hubd_helper::channel::Channel;
use hubd_helper::dispatch::{self, FIRST_REQUEST_TIME_MAX};
use hubd_helper::kept::take_or_wait;
use hubd_helper::setup::{Setup, locked, open_directory, own_directory};
use hubd_helper::{connection, permission};
use hubd_policy::state::{ChannelError, State};
use hubd_policy::{Account, OrRefuse, Refusal, account::takes, rates::Charge};
use hubd_proto::{Reply, Request, UserName, message::RefusalCode};
use nix::unistd::{Group, User};

const USERADD: &str = "/usr/sbin/useradd";
/// How much of what useradd printed is passed on, in characters.
const OUTPUT_CHARACTERS_MAX: usize = 500;

fn main() -> ExitCode {
    connection::run(serve)
}

/// Serves one connection: the name of an account, and what became of it.
fn serve(setup: &Setup, mut channel: Channel) {
    let served = answer(setup, &mut channel);
    dispatch::settle(&mut channel, served);
}

fn answer(setup: &Setup, channel: &mut Channel) -> Result<(), ChannelError> {
    let Request::CreateAccount(request) = channel.receive(State::Accounts, FIRST_REQUEST_TIME_MAX)? else {
        return Err(ChannelError::Closed);
    };
    let made = create(setup, &request.user).map(|account| Reply::Account(account.told(None)));
    channel.send(&dispatch::recorded("create_account", request.user.as_str(), made))
}

/// Makes the account.
///
/// # Errors
/// Switched off, the name is taken or not allowed, too many or too fast, or useradd's own words.
fn create(setup: &Setup, name: &UserName) -> Result<Account, Refusal> {
    let (policy, what) = (&setup.policy, "making an account");
    if !policy.create_system_users || !setup.root {
        let message = "Making accounts is off: root would have to set create_system_users in helper.toml.";
        return Err(Refusal::new(RefusalCode::NotAvailable, message));
    }
    take_or_wait(setup, &[Charge::new("account", policy.accounts_per_minute)])?;
    own_directory(&policy.accounts_dir, 0o700, None).or_refuse(what)?;
    let _lock = open_directory(&policy.accounts_dir).and_then(locked).or_refuse(what)?;
    let taken = User::from_name(name.as_str()).or_refuse(what)?.is_some()
        || Group::from_name(name.as_str()).or_refuse(what)?.is_some();
    if taken || !takes(policy, name.as_str()) {
        let message = format!("{name} is an account or a group already, or not a name for one.");
        return Err(Refusal::new(RefusalCode::AccountExists, message));
    }
    let made = fs::read_dir(&policy.accounts_dir).or_refuse(what)?.count();
    if made >= policy.accounts_max as usize {
        let message = format!("{made} accounts were made, as many as accounts_max in helper.toml allows.");
        return Err(Refusal::new(RefusalCode::RateLimited, message));
    }
    useradd(setup, name)?;
    let account = permission::find(setup, name)?;
    fs::write(policy.accounts_dir.join(format!("u{}", account.uid)), account.name.as_str())
        .or_refuse(what)?;
    Ok(account)
}

/// Runs useradd(8): no shell, no environment, a name that cannot be an option. The password is locked.
fn useradd(setup: &Setup, name: &UserName) -> Result<(), Refusal> {
    let failed = |said: &str| {
        let said: String =
            said.trim().chars().filter(|c| !c.is_control()).take(OUTPUT_CHARACTERS_MAX).collect();
        Refusal::new(RefusalCode::AccountNotMade, format!("useradd {name}: {said}"))
    };
    let mut command = Command::new(USERADD);
    command.args(["--create-home", "--shell", &setup.policy.account_shell]);
    if !setup.policy.account_groups.is_empty() {
        command.arg("--groups").arg(setup.policy.account_groups.join(","));
    }
    command.arg("--").arg(name.as_str()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(&error.to_string()))?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(failed(&String::from_utf8_lossy(&said))) }
}
