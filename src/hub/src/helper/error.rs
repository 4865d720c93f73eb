//! Why the helper did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hubd_proto::FrameError;
use hubd_proto::message::Refused;

/// What went wrong between hubd and its helper; the texts say what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Nothing listens at the helper's socket.
    #[error("nothing answers at {}: is hubd-helper running? See: systemctl status hubd-helper.socket ({source})", socket.display())]
    Missing {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket exists, but this process may not connect to it.
    #[error("{} may not be opened by this process: it belongs to root and the group of hubd (mode 0660); run hubd as that user, see: systemctl status hubd-helper.socket ({source})", socket.display())]
    Forbidden {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket cannot be used for another reason.
    #[error("cannot connect to {}: {source}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("hubd-helper did not answer within {} seconds; its own log has more: journalctl -t hubd-helper", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection broke, or what came is no message of the protocol.
    #[error("talking to hubd-helper failed: {0}")]
    Frame(#[from] FrameError),
    /// A message came that does not answer the request.
    #[error("hubd-helper gave an answer that does not belong to the request {0}")]
    Unexpected(&'static str),
    /// The helper said no.
    #[error("hubd-helper refused ({}): {}", .0.code.as_str(), .0.message)]
    Refused(Box<Refused>),
}

impl HelperError {
    /// Sorts a failed connect by what the operator has to do.
    pub(super) fn connect(socket: &Path, source: io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::Missing { socket, source },
            io::ErrorKind::PermissionDenied => Self::Forbidden { socket, source },
            _ => Self::Unreachable { socket, source },
        }
    }

    /// Whether the other end has simply gone: a helper process whose time was over.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Frame(FrameError::Closed | FrameError::Io(_)))
    }
}
