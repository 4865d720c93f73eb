//! What the process may do: as little as possible, made sure of before any thread starts.

use std::io;

use anyhow::{Context, bail};
use caps::CapSet;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{close, getegid, geteuid, getgid, getuid};

/// For how many descriptors there is room from the start, if so many are allowed: several thousand people with their
/// connections, for eight bytes each.
const DESCRIPTORS_ROOM: u64 = 16 * 1024;

/// Refuses root, gives up every capability and every way to get one, forbids core dumps, and raises the number of
/// descriptors as far as allowed.
pub fn drop_all() -> anyhow::Result<()> {
    refuse_root()?;
    clear_capabilities()?;
    harden()
}

/// No new privileges, no core dumps, as many descriptors as allowed.
pub fn harden() -> anyhow::Result<()> {
    prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    // Memory holds passwords for moments and the TLS key for good: no core file, no ptrace by the same uid.
    prctl::set_dumpable(false).context("cannot forbid core dumps")?;
    if getrlimit(Resource::RLIMIT_CORE).context("cannot read the limit of core dumps")? != (0, 0) {
        setrlimit(Resource::RLIMIT_CORE, 0, 0).context("cannot forbid core dumps")?;
    }
    raise_descriptors()?;
    make_room_for_descriptors().context("cannot make room for descriptors")
}

/// How many descriptors the process may have once the limit is raised.
pub fn descriptors() -> usize {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    usize::try_from(hard).unwrap_or(usize::MAX)
}

fn refuse_root() -> anyhow::Result<()> {
    let root = getuid().is_root() || geteuid().is_root() || getgid().as_raw() == 0 || getegid().as_raw() == 0;
    if root {
        bail!(
            "hubd does not run as root: it talks to the network, and hubd-helper does what needs root\n    \
             cure: systemctl start hubd; where there is no systemd, as hubd(8) shows:\n    \
             setpriv --reuid=hubd --regid=hubd --init-groups --bounding-set=-all --no-new-privs hubd …"
        );
    }
    Ok(())
}

fn clear_capabilities() -> anyhow::Result<()> {
    // The bounding set needs a capability to be changed; without one, no_new_privs makes it worthless.
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        // The unit's seccomp filter forbids capset(2) and setrlimit(2), and has done what they would do here.
        if caps::read(None, set)?.is_empty() {
            continue;
        }
        caps::clear(None, set).with_context(|| format!("cannot give up the {set:?} capabilities"))?;
        if !caps::read(None, set)?.is_empty() {
            bail!("the {set:?} capabilities are still there after giving them up");
        }
    }
    Ok(())
}

/// Each person needs a few descriptors; the usual soft limit of 1024 is there for select(2), which nothing here uses.
fn raise_descriptors() -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of descriptors")?;
    if soft == hard {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of descriptors")
}

/// Has the kernel make the table of descriptors large while there is one thread. For several, it waits each time it
/// makes it larger until no processor uses the old one any more, and accept(2) with it: a second, where all
/// processors are taken, for instance by 500 people who log in at once.
fn make_room_for_descriptors() -> anyhow::Result<()> {
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let highest = i32::try_from(allowed.min(DESCRIPTORS_ROOM).saturating_sub(1))?;
    // The copy is closed again; the table stays as large as it was for it.
    close(fcntl(io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(highest))?)?;
    Ok(())
}
