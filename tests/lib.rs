//! What the whole-program tests share: programs, processes, people, a browser of a few lines, and a
//! private installation of helper and daemon.
//!
//! Nothing here sleeps for luck: a wait names its condition and has a limit. Nothing outlives its
//! value: processes end, people and directories go when they are dropped, also in a test that fails.
//!
//! Start at [`Installation`] for the root helper with PAM, at [`Web`] for talking to the hub, at
//! [`programs()`] for the two programs, which Cargo does not build for another crate by itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness that cannot go on ends the test and says why; there is nobody to hand an error to"
)]

#[path = "harness/installation.rs"]
mod installation;
#[path = "harness/person.rs"]
mod person;
#[path = "harness/process.rs"]
mod process;
#[path = "harness/programs.rs"]
mod programs;
#[path = "harness/system.rs"]
mod system;
#[path = "harness/web.rs"]
mod web;

pub use installation::{Installation, Setup};
pub use person::{Person, PersonKind};
pub use process::{Process, until};
pub use programs::{Programs, programs, repository};
pub use system::{free_port, notebook_program, processes_of, require_root, run, test_python, try_run};
pub use web::{Answer, Web};

pub mod helper_process;
