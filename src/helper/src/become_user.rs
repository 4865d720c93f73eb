//! The child's way from root to the user's program. It ends with exec or with a report of the step
//! that failed; nothing of the parent's state is touched.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::{fd::AsFd, fd::OwnedFd, unix::fs::DirBuilderExt};
use std::{convert::Infallible, ffi::CString, path::PathBuf};

use caps::CapSet;
use hubd_policy::refusal::{EXEC, HOME, HOME_OWNER};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::{prctl, stat::stat, wait::waitpid};
use nix::unistd::{self, AccessFlags, ForkResult, Gid, Pid, Uid};
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
/// Longest report, in bytes.
const REPORT_BYTES_MAX: u64 = 100;

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
    let Err((step, errno)) = steps(plan, parent);
    // If even this fails, the parent sees a report of no length and the exit status.
    let _ = File::from(report).write_all(format!("{} {step}", errno as i32).as_bytes());
    unix::exit_at_once(127)
}

fn steps(plan: &Plan, parent: Pid) -> Result<Infallible, (&'static str, Errno)> {
    let at = |step| move |errno| (step, errno);
    descriptors(plan).map_err(at("control group and descriptors"))?;
    unistd::setsid().map_err(at("session"))?;
    unix::default_signals();
    SigSet::empty().thread_set_mask().map_err(at("signals"))?;
    if plan.root {
        unistd::setgroups(&plan.groups).map_err(at("groups"))?;
        unistd::setresgid(plan.gid, plan.gid, plan.gid).map_err(at("groups"))?;
        unistd::setresuid(plan.uid, plan.uid, plan.uid).map_err(at("uid"))?;
        prove_no_way_back(plan).map_err(at("proof that there is no way back"))?;
        // The change of uid resets it by fs.suid_dumpable; until exec this is the helper's memory.
        prctl::set_dumpable(false).map_err(at("proof that there is no way back"))?;
    }
    // After setresuid, which clears it. The check after it catches a parent that is gone already.
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(at("parent"))?;
    if unistd::getppid() != parent {
        return Err(("parent", Errno::ESRCH));
    }
    if !plan.root {
        // The home of a hub user in a trial. Where it cannot be made, it cannot be entered.
        let _ = DirBuilder::new().mode(0o700).recursive(true).create(&plan.home);
    }
    unistd::chdir(&plan.home).map_err(at(HOME))?;
    if plan.must_own_home {
        if stat(".").map_err(at(HOME_OWNER))?.st_uid != plan.uid.as_raw() {
            return Err((HOME_OWNER, Errno::EPERM));
        }
        // A notebook server would start and then fail at every save.
        unistd::access(".", AccessFlags::W_OK).map_err(at(HOME))?;
    }
    let program = plan.arguments.first().ok_or((EXEC, Errno::ENOENT))?;
    unistd::execve(program, &plan.arguments, &plan.environment).map_err(at(EXEC))
}

/// Enters the control group, and leaves 0 to 2 to the program: exec closes everything else.
fn descriptors(plan: &Plan) -> nix::Result<()> {
    // A zero is the process that writes it.
    plan.cgroup.as_ref().map_or(Ok(0), |entrance| unistd::write(entrance, b"0"))?;
    unistd::dup2_stdin(&plan.input)?;
    unistd::dup2_stdout(&plan.output)?;
    unistd::dup2_stderr(&plan.output)?;
    unix::close_on_exec_from(3)
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
    let powerless = [CapSet::Effective, CapSet::Permitted, CapSet::Ambient].into_iter().all(empty);
    if back || !is_user || !powerless { Err(Errno::EPERM) } else { Ok(()) }
}

/// Waits in the parent for exec: `Ok` when the pipe closed without a report.
fn wait_for_exec(report: OwnedFd) -> Result<(), Failure> {
    let ready = poll(&mut [PollFd::new(report.as_fd(), PollFlags::POLLIN)], EXEC_MILLISECONDS_MAX);
    if ready == Ok(0) {
        return Err((HOME.into(), Errno::ETIMEDOUT));
    }
    let mut text = String::new();
    let read = File::from(report).take(REPORT_BYTES_MAX).read_to_string(&mut text).ok();
    if read == Some(0) {
        return Ok(());
    }
    let (errno, step) = text.split_once(' ').unwrap_or(("", EXEC));
    Err((step.to_owned(), errno.parse().map_or(Errno::EIO, Errno::from_raw)))
}

/// Text as execve(2) takes it; texts were checked for zero bytes when they came.
pub fn c_string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}
