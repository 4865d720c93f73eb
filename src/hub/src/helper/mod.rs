//! The client of the root helper: each function is one request of `hubd_proto::message`.

use std::path::PathBuf;
use std::time::Duration;

/// Knows the helper's socket; opens one connection per task.
#[derive(Debug, Clone)]
pub struct HelperClient {
    /// `JupyterHub.helper_socket`, for instance `/run/hubd/helper.sock`. `sessions` lies beside it.
    pub socket: PathBuf,
    /// The longest wait for an answer that needs no person.
    pub timeout: Duration,
}

/// An `authenticated` connection: a PAM handle that is still held by its helper process.
pub struct HeldLogin {}
