//! The child's way from root to the user's program. It ends with exec or with a report of the step
//! that failed; nothing of the parent's state is touched.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::{ffi::CString, fs::File, path::PathBuf};

use caps::CapSet;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::{prctl, wait::waitpid};
use nix::unistd::{self, ForkResult, Gid, Pid, Uid};
use nix::{errno::Errno, fcntl::OFlag};

use crate::unix;

/// Everything that the child needs, made before the fork: it must not ask NSS or allocate much later.
pub struct Plan {
    /// Whether there is an identity to change.
    pub root: bool,
    /// Who to become.
    pub uid: Uid,
    /// The primary group.
    pub gid: Gid,
    /// All groups.
    pub groups: Vec<Gid>,
    /// Where to go as that user.
    pub home: PathBuf,
    /// Whether that has to be the user's own and writable, as a person's home.
    pub must_own_home: bool,
    /// Where to write itself into, to be in its control group.
    pub cgroup: Option<File>,
    /// What to run, and its arguments.
    pub arguments: Vec<CString>,
    /// Its whole environment.
    pub environment: Vec<CString>,
    /// Its standard input.
    pub input: OwnedFd,
    /// Where its output goes.
    pub output: OwnedFd,
}

/// A step and why it failed.
pub type Failure = (String, Errno);

/// Longest time from fork to exec, in milliseconds: only a home on a dead file server takes long.
const EXEC_MILLISECONDS_MAX: u16 = 30_000;
/// Descriptor of the report pipe in the child: the first after 0 to 2.
const REPORT: u32 = 3;
/// Longest report, in bytes.
const REPORT_BYTES_MAX: u64 = 100;
/// The steps whose failure is the account's or root's to cure, not this program's.
pub const HOME: &str = "home directory";
/// The home belongs to somebody else.
pub const HOME_OWNER: &str = "owner of the home directory";
/// The program.
pub const EXEC: &str = "exec";

/// Makes the child and waits until it runs the program.
pub fn start(plan: &Plan) -> Result<Pid, Failure> {
    let system = |errno| ("fork".to_owned(), errno);
    let (report, child_report) = unistd::pipe2(OFlag::O_CLOEXEC).map_err(system)?;
    let parent = unistd::getpid();
    let child = match unix::fork().map_err(system)? {
        ForkResult::Child => run(plan, parent, child_report),
        ForkResult::Parent { child } => child,
    };
    drop(child_report);
    wait_for_exec(report).inspect_err(|_| {
        // It has ended, or is stuck, for instance in a home directory that does not answer.
        let _ = kill(child, Signal::SIGKILL);
        let _ = waitpid(child, None);
    })?;
    Ok(child)
}

/// Runs in the child; never returns.
fn run(plan: &Plan, parent: Pid, report: OwnedFd) -> ! {
    let mut step = "control group and descriptors";
    let failed = match descriptors(plan, &report) {
        Err(errno) => (report, errno),
        Ok(placed) => {
            // It was closed with everything else; nothing may close its number again.
            std::mem::forget(report);
            let Err(errno) = steps(plan, parent, &mut step);
            (placed, errno)
        }
    };
    // If even this fails, the parent sees a report of no length and the exit status.
    let _ = File::from(failed.0).write_all(format!("{} {step}", failed.1 as i32).as_bytes());
    unix::exit_at_once(127)
}

fn steps(plan: &Plan, parent: Pid, step: &mut &str) -> nix::Result<std::convert::Infallible> {
    *step = "session";
    unistd::setsid()?;
    *step = "signals";
    unix::default_signals();
    SigSet::empty().thread_set_mask()?;
    if plan.root {
        *step = "groups";
        unistd::setgroups(&plan.groups)?;
        unistd::setresgid(plan.gid, plan.gid, plan.gid)?;
        *step = "uid";
        unistd::setresuid(plan.uid, plan.uid, plan.uid)?;
        *step = "proof that there is no way back";
        prove_no_way_back(plan)?;
        // The change of uid resets it by fs.suid_dumpable; until exec this is the helper's memory.
        prctl::set_dumpable(false)?;
    }
    *step = "parent";
    // After setresuid, which clears it. The check after it catches a parent that is gone already.
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    if unistd::getppid() != parent {
        return Err(Errno::ESRCH);
    }
    *step = HOME;
    unistd::chdir(&plan.home)?;
    if plan.must_own_home {
        *step = HOME_OWNER;
        if nix::sys::stat::stat(".")?.st_uid != plan.uid.as_raw() {
            return Err(Errno::EPERM);
        }
        *step = HOME;
        // A notebook server would start and then fail at every save.
        unistd::access(".", unistd::AccessFlags::W_OK)?;
    }
    *step = EXEC;
    unistd::execve(plan.arguments.first().ok_or(Errno::ENOENT)?, &plan.arguments, &plan.environment)
}

/// Leaves 0 to 2 and the report pipe, which exec closes.
fn descriptors(plan: &Plan, report: &OwnedFd) -> nix::Result<OwnedFd> {
    // A zero is the process that writes it.
    plan.cgroup.as_ref().map_or(Ok(0), |entrance| unistd::write(entrance, b"0"))?;
    unistd::dup2_stdin(&plan.input)?;
    unistd::dup2_stdout(&plan.output)?;
    unistd::dup2_stderr(&plan.output)?;
    let placed = unix::report_as(report.as_fd(), REPORT)?;
    unix::close_from(REPORT + 1)?;
    Ok(placed)
}

/// Tries to become root again in every way; each one must be refused.
fn prove_no_way_back(plan: &Plan) -> nix::Result<()> {
    let root = Uid::from_raw(0);
    let back = unistd::setuid(root).is_ok()
        || unistd::seteuid(root).is_ok()
        || unistd::setresuid(root, root, root).is_ok()
        || (plan.gid.as_raw() != 0 && unistd::setegid(Gid::from_raw(0)).is_ok())
        || unistd::setgroups(&[]).is_ok();
    let uids = unistd::getresuid()?;
    let gids = unistd::getresgid()?;
    let is_user = [uids.real, uids.effective, uids.saved] == [plan.uid; 3]
        && [gids.real, gids.effective, gids.saved] == [plan.gid; 3];
    let empty = |set| caps::read(None, set).is_ok_and(|capabilities| capabilities.is_empty());
    let powerless = empty(CapSet::Effective) && empty(CapSet::Permitted) && empty(CapSet::Ambient);
    if back || !is_user || !powerless { Err(Errno::EPERM) } else { Ok(()) }
}

/// Waits in the parent for exec: `Ok` when the pipe closed without a report.
fn wait_for_exec(report: OwnedFd) -> Result<(), Failure> {
    let ready = poll(&mut [PollFd::new(report.as_fd(), PollFlags::POLLIN)], EXEC_MILLISECONDS_MAX);
    if ready == Ok(0) {
        return Err((HOME.into(), Errno::ETIMEDOUT));
    }
    let mut text = String::new();
    let read = File::from(report).take(REPORT_BYTES_MAX).read_to_string(&mut text);
    match (read, text.split_once(' ')) {
        (Ok(0), _) => Ok(()),
        (Ok(_), Some((errno, step))) => {
            Err((step.to_owned(), errno.parse().map_or(Errno::EIO, Errno::from_raw)))
        }
        _ => Err((EXEC.into(), Errno::EIO)),
    }
}

/// Text as execve(2) takes it; texts were checked for zero bytes when they came.
pub fn c_string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}
