//! What the process above a running server and `hubd-session`, which answers for it without privilege, say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::message::{Exited, SessionStatus};

/// The byte that asks for the end of the server.
pub const STOP: u8 = b's';
/// The byte that tells of a connection that was not the daemon's, or broke the rules.
pub const VIOLATION: u8 = b'v';

/// What the process is told, each as one packet.
#[derive(Serialize, Deserialize)]
pub enum Told {
    /// The server runs; where its figures are, and how many bytes its log may have before it becomes the older
    /// one. With it come, in this order: the control socket, the server's output, the log, the older log, and the
    /// connection that asked for the start.
    Runs(Box<SessionStatus>, Option<PathBuf>, u64),
    /// It has been asked to end.
    Stopping,
    /// It has ended, and nothing is left of it.
    Ended(Exited),
}
