//! Root's policy, and every decision that follows from it: who may, what runs, with which words and limits.
//!
//! Nothing in this crate asks or changes the system: no file, clock, process, account or descriptor, no `unsafe`. The
//! root programs in `../helper` look things up, ask here, and do what comes back; so a decision can be read
//! and tested without root. Begin with [`policy`], root's own table; [`refusal`] has the words of every "no".

pub mod account;
pub mod conversation;
pub mod ending;
pub mod environment;
pub mod launch;
pub mod limits;
pub mod paths;
pub mod policy;
pub mod rates;
pub mod record;
pub mod refusal;
pub mod service;
pub mod session;
pub mod state;
mod table;
pub mod ticket;

pub use account::Account;
pub use policy::Policy;
pub use refusal::{OrRefuse, Refusal};
