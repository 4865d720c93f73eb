//! The root programs of hubd. README.md in this crate tells their whole story.
//!
//! `hubd-helper` (main.rs) checks logins with PAM and starts people's servers as themselves;
//! `hubd-accounts` (../accounts) makes accounts; `hubd-listen` (../listen) stands in for systemd's socket
//! units; `hubd-session` (../session), which has no privilege, answers for running servers. One thread, one
//! connection, one process. Read `dispatch.rs` next.

pub mod account;
pub mod arguments;
pub mod audit;
mod become_user;
pub mod cgroup;
pub mod channel;
pub mod control;
pub mod dispatch;
mod environment;
mod log;
mod login;
mod own_limits;
mod pam;
pub mod permission;
mod places;
pub mod policy;
mod program;
pub mod rates;
pub mod refusal;
mod service;
mod session;
pub mod setup;
pub mod supervise;
pub mod ticket;
pub mod unix;

#[global_allocator]
static ALLOCATOR: unix::WipingAllocator = unix::WipingAllocator;
