//! The child's way from root to the user's program. It ends with exec or with a report of the step
//! that failed; nothing of the parent's state is touched.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use caps::CapSet;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, Gid, Pid, Uid};

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
    /// What to run.
    pub program: CString,
    /// Its arguments, beginning with its own name.
    pub arguments: Vec<CString>,
    /// Its whole environment.
    pub environment: Vec<CString>,
    /// Where its output goes.
    pub output: OwnedFd,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// A session and process group of its own.
    Session = 1,
    /// Only 0 to 2 stay open.
    Descriptors,
    /// Signals as a fresh program expects them.
    Signals,
    /// Groups, then gid.
    Groups,
    /// uid, all three.
    Uid,
    /// Going back must fail.
    Regain,
    /// To end with the parent.
    ParentDeath,
    /// The home directory, entered and to be written as the user.
    Home,
    /// It is the user's own.
    HomeOwner,
    /// The program.
    Exec,
}

const STEPS: [Step; 10] = [
    Step::Session,
    Step::Descriptors,
    Step::Signals,
    Step::Groups,
    Step::Uid,
    Step::Regain,
    Step::ParentDeath,
    Step::Home,
    Step::HomeOwner,
    Step::Exec,
];

/// Longest time from fork to exec, in milliseconds: only a home on a dead file server takes long.
const EXEC_MILLISECONDS_MAX: u16 = 30_000;
/// Descriptor of the report pipe in the child: the first after 0 to 2.
const REPORT: u32 = 3;

/// Runs in the child; never returns.
pub fn run(plan: &Plan, parent: Pid, report: OwnedFd) -> ! {
    let Err((step, errno, report)) = steps(plan, parent, report);
    let mut bytes = vec![step as u8];
    bytes.extend_from_slice(&(errno as i32).to_be_bytes());
    // If even this fails, the parent sees a report of no length and the exit status.
    let _ = File::from(report).write_all(&bytes);
    unix::exit_at_once(127)
}

fn steps(
    plan: &Plan,
    parent: Pid,
    report: OwnedFd,
) -> Result<std::convert::Infallible, (Step, Errno, OwnedFd)> {
    let report = match descriptors(plan, report) {
        Ok(report) => report,
        Err((errno, report)) => return Err((Step::Descriptors, errno, report)),
    };
    let mut now = Step::Session;
    let mut go = || -> nix::Result<std::convert::Infallible> {
        unistd::setsid()?;
        now = Step::Signals;
        unix::default_signals();
        SigSet::empty().thread_set_mask()?;
        if plan.root {
            now = Step::Groups;
            unistd::setgroups(&plan.groups)?;
            unistd::setresgid(plan.gid, plan.gid, plan.gid)?;
            now = Step::Uid;
            unistd::setresuid(plan.uid, plan.uid, plan.uid)?;
            now = Step::Regain;
            prove_no_way_back(plan)?;
            // The change of uid resets it by fs.suid_dumpable; until exec this is the helper's memory.
            prctl::set_dumpable(false)?;
        }
        now = Step::ParentDeath;
        // After setresuid, which clears it. The check after it catches a parent that is gone already.
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        if unistd::getppid() != parent {
            return Err(Errno::ESRCH);
        }
        now = Step::Home;
        unistd::chdir(&plan.home)?;
        now = Step::HomeOwner;
        let owner =
            std::fs::metadata(".").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        if plan.must_own_home && owner.uid() != plan.uid.as_raw() {
            return Err(Errno::EPERM);
        }
        // A notebook server would start and then fail at every save.
        if plan.must_own_home {
            now = Step::Home;
            unistd::access(".", unistd::AccessFlags::W_OK)?;
        }
        now = Step::Exec;
        unistd::execve(&plan.program, &plan.arguments, &plan.environment)
    };
    let Err(errno) = go();
    Err((now, errno, report))
}

/// Leaves 0 (nothing), 1 and 2 (the log), and the report pipe, which exec closes.
fn descriptors(plan: &Plan, report: OwnedFd) -> Result<OwnedFd, (Errno, OwnedFd)> {
    let arrange = || -> nix::Result<OwnedFd> {
        let null = File::open("/dev/null").map_err(|_| Errno::ENOENT)?;
        unistd::dup2_stdin(&null)?;
        unistd::dup2_stdout(&plan.output)?;
        unistd::dup2_stderr(&plan.output)?;
        unix::report_as(report.as_fd(), REPORT)
    };
    match arrange() {
        Err(errno) => Err((errno, report)),
        Ok(placed) => {
            // Whatever owned a higher descriptor in the parent is never dropped here.
            std::mem::forget(report);
            match unix::close_from(REPORT + 1) {
                Ok(()) => Ok(placed),
                Err(errno) => Err((errno, placed)),
            }
        }
    }
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
///
/// # Errors
/// The step that failed, and why.
pub fn wait_for_exec(report: OwnedFd) -> Result<(), (Step, Errno)> {
    let mut bytes = Vec::new();
    let mut watched = [PollFd::new(report.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, EXEC_MILLISECONDS_MAX) {
        Ok(0) => return Err((Step::Home, Errno::ETIMEDOUT)),
        Ok(_) => {}
        Err(errno) => return Err((Step::Exec, errno)),
    }
    if File::from(report).take(5).read_to_end(&mut bytes).is_err() {
        return Err((Step::Exec, Errno::EIO));
    }
    match bytes.as_slice() {
        [] => Ok(()),
        [step, errno @ ..] => {
            let step = STEPS.into_iter().find(|known| *known as u8 == *step).unwrap_or(Step::Exec);
            let errno = errno.try_into().map_or(0, i32::from_be_bytes);
            Err((step, Errno::from_raw(errno)))
        }
    }
}

/// Text as execve(2) takes it; texts were checked for zero bytes when they came.
pub fn c_string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}
