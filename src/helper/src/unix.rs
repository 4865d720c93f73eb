//! The only `unsafe` code of the helper: what nix, caps and pam-client do not offer as safe functions.
//!
//! One call per block. Everything here relies on one fact, which `main.rs` keeps: this program has a
//! single thread.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_uint, c_void};

use nix::{errno::Errno, unistd::ForkResult};
use pam_client::{Context, ConversationHandler};
use zeroize::Zeroize;

/// An allocator that wipes what is given back, so that no copy of a password outlives its use: not in
/// a JSON decoder's buffer, not in a string that `pam-client` drops, not when a vector grows.
pub struct WipingAllocator;

// SAFETY: every call is handed to the system's allocator unchanged. `realloc` is the trait's own, which
// allocates, copies and calls `dealloc` below, so a moved block is wiped too.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract, and it is the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` was allocated with `layout`, so that many bytes are ours to write; they may be
        // uninitialised, which writing allows.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(block.cast::<std::mem::MaybeUninit<u8>>(), layout.size())
        };
        bytes.zeroize();
        // SAFETY: the caller keeps GlobalAlloc's contract, and it is the same contract.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Makes a second process, see fork(2).
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: fork(2) is harmless in a program with one thread: no lock can be held by another.
    unsafe { nix::unistd::fork() }
}

/// Ends this process without running destructors, which belong to the parent after a fork.
pub fn exit_at_once(status: c_int) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(status) }
}

/// This process's nice value, see getpriority(2).
pub fn nice() -> c_int {
    // SAFETY: getpriority(2) takes numbers only, and finds the process that calls it.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Changes it. What is not allowed is left as it is.
pub fn set_nice(value: c_int) {
    // SAFETY: setpriority(2) takes numbers only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
}

/// Has exec close every descriptor from `first` on, see close_range(2).
pub fn close_on_exec_from(first: c_uint) -> nix::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: nothing is closed now, so every owner of a descriptor keeps it.
    let result = unsafe { libc::close_range(first, c_uint::MAX, flags) };
    Errno::result(result).map(drop)
}

/// Gives every signal its default action, see signal(7). What cannot be set is left as it is.
pub fn default_signals() {
    // All zero: SIG_DFL, no flags, an empty mask. glibc's own function would skip its two real-time signals.
    let default = [0_u64; 4];
    for number in 1..=libc::SIGRTMAX() {
        let (none, mask_bytes) = (std::ptr::null_mut::<u64>(), size_of::<u64>());
        // SAFETY: rt_sigaction(2) reads a `struct kernel_sigaction`, which has 32 bytes or fewer, and writes
        // nothing for a null pointer; SIG_DFL installs no code.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), none, mask_bytes) };
    }
}

/// Ignores a signal that would end this program where it expects an error instead.
pub fn ignore_signal(number: c_int) {
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}

/// Switches PAM's own random delay after a failure off: `login.rs` pads every refusal to one time.
pub fn no_fail_delay<C: ConversationHandler>(context: &mut Context<C>) -> pam_client::Result<()> {
    extern "C" fn no_delay(_status: c_int, _microseconds: c_uint, _data: *mut c_void) {}
    let function = no_delay as extern "C" fn(c_int, c_uint, *mut c_void) as *const c_void;
    // SAFETY: pam_set_item(3) wants for PAM_FAIL_DELAY (10) a function of exactly this type, and keeps the
    // pointer, which is valid for the whole program.
    unsafe { context.set_item(PAM_FAIL_DELAY, function) }
}

/// The item's number in `security/_pam_types.h`.
const PAM_FAIL_DELAY: c_int = 10;
