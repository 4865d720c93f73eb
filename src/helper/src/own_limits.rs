//! What this process takes from itself, and what a user's session must not inherit of that.

use caps::{CapSet, Capability, CapsHashSet};
use hubd_policy::Account;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::setgroups;

use crate::{account, setup::Setup, unix};

/// What neither this program nor a PAM module needs. The bounding set, which a user's sudo(8) works
/// within, is left alone.
const NEVER_NEEDED: &str = "
    CAP_BLOCK_SUSPEND CAP_BPF CAP_CHECKPOINT_RESTORE CAP_LINUX_IMMUTABLE CAP_MKNOD CAP_NET_RAW
    CAP_PERFMON CAP_SYSLOG CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME CAP_WAKE_ALARM";

/// How much nicer a process is while PAM checks a password: hashing it takes a processor for tens of milliseconds.
const LOGIN_NICE: i32 = 10;

/// The SELinux context of this program's one thread, see proc_pid_attr(5).
const CONTEXT: &str = "/proc/thread-self/attr/current";

/// No core dump and no tracing by others, since passwords pass through; fewer capabilities.
pub fn restrict_this_process() -> Result<(), String> {
    prctl::set_dumpable(false).map_err(|error| format!("switching core dumps off: {error}"))?;
    umask(Mode::from_bits_truncate(0o077));
    for set in [CapSet::Effective, CapSet::Permitted] {
        let mut kept: CapsHashSet = caps::read(None, set).map_err(|error| error.to_string())?;
        kept.retain(|capability| !NEVER_NEEDED.contains(&capability.to_string()));
        caps::set(None, set, &kept).map_err(|error| format!("giving capabilities up: {error}"))?;
    }
    Ok(())
}

/// Does `work` behind everybody else's: many people who log in at once do not keep pages from those who are in. Only
/// where that can be taken back, because the nice value of a session is not the helper's to choose.
pub fn behind_others<T>(work: impl FnOnce() -> T) -> T {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_NICE).unwrap_or(false) {
        return work();
    }
    let before = unix::nice();
    unix::set_nice(before + LOGIN_NICE);
    let done = work();
    unix::set_nice(before);
    done
}

/// SELinux: leaves the domain of logins for that of sessions, the only one that people's domains are entered
/// from. There is no way back. Elsewhere this does nothing.
pub fn enter_session_domain() -> std::io::Result<()> {
    let context = std::fs::read_to_string(CONTEXT).unwrap_or_default();
    let session = context.replace(":hubd_helper_t:", ":hubd_session_t:");
    if session == context { Ok(()) } else { std::fs::write(CONTEXT, session) }
}

/// Makes this process look like a fresh login for PAM and the fork. The account's groups come first, as in
/// login(1), so that PAM modules can add to them. As there, the process above a session keeps what PAM then sets.
pub fn enter_login(setup: &Setup, account: &Account) -> nix::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    if setup.root { setgroups(&account::groups(account)?) } else { Ok(()) }
}
