//! The words that hubd, the network daemon, and hubd-helper, the root program, say to each other.
//!
//! This crate is linked into both, so it stays small: no Cargo features, no async code, no I/O beyond
//! a reader and a writer handed in. Start at [`message`], which lists every request with the state in
//! which it is legal; [`frame`] turns messages into bytes; [`name`] holds the validated names that
//! messages carry; [`line`] is what two parts of the helper say to each other; [`secret`] keeps passwords and tickets out of logs and wipes them.
//!
//! A change of a message bumps [`frame::VERSION`], `man/hubd-helper.8` and the golden bytes in
//! `frame.rs` in the same commit; a peer of another version is refused.

pub mod frame;
pub mod line;
pub mod message;
pub mod name;
pub mod secret;

pub use frame::{FRAME_BYTES_MAX, FrameError, VERSION};
pub use message::{Reply, Request};
pub use name::{NameError, ProfileName, ServerName, SessionId, UserName};
pub use secret::Secret;
