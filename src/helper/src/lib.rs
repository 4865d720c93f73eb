//! The root programs of hubd. README.md in this crate tells their whole story; what they may do, the crate
//! `hubd-policy` (../policy) decides, without touching anything.
//!
//! `hubd-helper` (main.rs) checks logins with PAM and starts people's servers as themselves;
//! `hubd-accounts` (../accounts) makes accounts; `hubd-listen` (../listen) stands in for systemd's socket
//! units; `hubd-session` (../session), which has no privilege, answers for running servers. One thread, one
//! connection, one process. Read `dispatch.rs` next.

pub mod account;
pub mod audit;
mod become_user;
pub mod cgroup;
pub mod channel;
pub mod connection;
pub mod control;
pub mod dispatch;
pub mod kept;
mod log;
mod login;
pub mod own_limits;
mod pam;
pub mod permission;
mod places;
mod program;
mod session;
pub mod setup;
pub mod supervise;
pub mod unix;

#[global_allocator]
static ALLOCATOR: unix::WipingAllocator = unix::WipingAllocator;
