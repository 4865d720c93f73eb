//! What the daemon takes from itself for good, also where no systemd does: with Landlock the right to write
//! anywhere but in its own directories, to execute anything and to signal others; with seccomp every system
//! call that a program which serves sockets and files does not need.
//!
//! Both are inherited by threads, so this comes before the first one. Reading is left to file modes: new
//! certificates and templates may be anywhere when a reload names them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The newest rules that are asked for; an older kernel holds what it knows.
const LANDLOCK: ABI = ABI::V6;
/// Flags of clone(2) for namespaces, where capabilities could be had.
const NAMESPACES: u64 = 0x7e02_0080;
/// Protections of memory, see mmap(2).
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
/// The ioctl that types into a terminal.
const TYPE_INTO_TERMINAL: u64 = 0x5412;

/// What may be called with any argument: files, sockets, memory, time and threads of the process's own.
const CALLS: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_chdir,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_getxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mkdirat,
    libc::SYS_mlock,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_sendfile,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync_file_range,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_settime,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_wait4,
    libc::SYS_write,
    libc::SYS_writev,
    // glibc falls back to clone(2), whose flags can be seen; see `refuse_clone3`.
    libc::SYS_clone3,
];
/// Older forms that only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getdents,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: &[i64] = &[];

/// Locks the process in; `writable` are the directories that it works in. Says what holds now.
///
/// # Errors
/// A kernel without seccomp, or a filter above this one that does not let one be set.
pub fn lock(writable: Vec<PathBuf>) -> anyhow::Result<String> {
    let files = match restrict_files(writable) {
        Ok(RulesetStatus::FullyEnforced) => "no execution, no writing elsewhere (Landlock)",
        Ok(RulesetStatus::PartiallyEnforced) => "no execution, no writing elsewhere (an older Landlock)",
        Ok(RulesetStatus::NotEnforced) | Err(_) => "this kernel has no Landlock",
    };
    apply(refuse_clone3()?)?;
    apply(allowed()?)?;
    Ok(format!("{files}; {} system calls (seccomp)", CALLS.len() + OLDER_CALLS.len()))
}

fn restrict_files(mut writable: Vec<PathBuf>) -> Result<RulesetStatus, landlock::RulesetError> {
    writable.push("/dev/null".into());
    let writing = AccessFs::from_write(LANDLOCK);
    let rules =
        Ruleset::default().handle_access(writing | AccessFs::Execute)?.scope(Scope::Signal)?.create()?;
    Ok(rules.add_rules(path_beneath_rules(writable, writing))?.restrict_self()?.ruleset)
}

fn apply(filter: SeccompFilter) -> anyhow::Result<()> {
    let program: BpfProgram = filter.try_into().context("the filter of system calls")?;
    seccompiler::apply_filter(&program).context("seccomp")
}

/// The condition that some bits of an argument have this value.
fn bits(argument: u8, mask: u64, value: u64) -> anyhow::Result<SeccompRule> {
    let operator = SeccompCmpOp::MaskedEq(mask);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn allowed() -> anyhow::Result<SeccompFilter> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().chain(OLDER_CALLS).map(|&call| (call, Vec::new())).collect();
    let domain = |domain: libc::c_int| bits(0, u64::MAX, u64::try_from(domain).unwrap_or(0));
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![domain(libc::AF_UNIX)?, domain(libc::AF_INET)?, domain(libc::AF_INET6)?]);
    }
    // Threads, but neither namespaces nor, by the want of execve(2), other programs.
    rules.insert(libc::SYS_clone, vec![bits(0, NAMESPACES, 0)?]);
    // Memory can be written or executed, not both; NSS modules are loaded as the linker does it.
    rules.insert(libc::SYS_mmap, vec![bits(2, EXECUTE, 0)?, bits(2, WRITE, 0)?]);
    rules.insert(libc::SYS_mprotect, vec![bits(2, EXECUTE, 0)?]);
    let not_typing = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, TYPE_INTO_TERMINAL)?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![not_typing])?]);
    // Limits can be read, not set.
    rules.insert(libc::SYS_prlimit64, vec![bits(2, u64::MAX, 0)?]);
    let refused = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
    Ok(SeccompFilter::new(rules, refused, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?)
}

/// clone3(2) has its flags in memory, where no filter looks. With this error glibc takes clone(2).
fn refuse_clone3() -> anyhow::Result<SeccompFilter> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let refused = SeccompAction::Errno(u32::try_from(libc::ENOSYS)?);
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Locks a thread of its own in, which then tries what a stolen daemon would.
    #[test]
    fn a_locked_process_works_and_can_neither_execute_nor_write_elsewhere() {
        let inside = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let (own, others) = (inside.path().to_owned(), outside.path().to_owned());
        let tried = std::thread::spawn(move || {
            let said = lock(vec![own.clone()]).unwrap();
            fs::write(own.join("file"), "good").unwrap();
            fs::rename(own.join("file"), own.join("other")).unwrap();
            assert_eq!(fs::read_to_string(own.join("other")).unwrap(), "good");
            assert!(UnixStream::pair().is_ok() && std::net::TcpListener::bind(("127.0.0.1", 0)).is_ok());
            assert!(std::thread::spawn(|| users::get_user_by_uid(0)).join().unwrap().is_some());
            assert!(
                File::open("/etc/passwd").is_ok() && File::options().write(true).open("/dev/null").is_ok()
            );
            if said.contains("no execution") {
                assert!(fs::write(others.join("file"), "bad").is_err());
                assert!(fs::create_dir(others.join("folder")).is_err());
            }
            let sent = nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None);
            assert_eq!(sent, Err(nix::errno::Errno::EPERM));
            nix::unistd::execv(c"/bin/true", &[c"true"]).map(|_| ())
        });
        assert_eq!(tried.join().unwrap(), Err(nix::errno::Errno::EPERM));
    }
}
